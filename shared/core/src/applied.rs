//! Which changes of a spec are not in force yet, and what brings them into force.

use crate::{Cluster, ConditionStatus, Form, Observed};

/// Whether everything that the spec asks for is in force, as a condition says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Applied {
    pub status: ConditionStatus,
    pub reason: &'static str,
    pub message: String,
}

impl Applied {
    /// Holds what is there against what is wanted. Until a cluster `was_ready`, its pods are replaced by themselves.
    pub(crate) fn of(was_ready: bool, cluster: &Cluster, observed: &Observed) -> Self {
        let not = |reason, message| Self {
            status: ConditionStatus::False,
            reason,
            message,
        };
        let desired = match &cluster.desired {
            Ok(desired) => desired,
            Err(invalid) => return not("Invalid", invalid.clone()),
        };
        if let Some(refused) = &observed.refused {
            return not("Refused", refused.clone());
        }
        let (claim_form, pod_form) = (desired.claim_form(), desired.pod_form());
        for instance in desired.instances() {
            let pod = observed.pods.get(&instance);
            let outdated = changed(pod.and_then(|pod| pod.form.as_ref()), &pod_form);
            if let Some(fields) = outdated.filter(|_| was_ready) {
                let namespace = &cluster.namespace;
                let message = format!(
                    "pod {instance} was made before this changed: {fields}; it takes effect when the pod is made anew, \
                     which interrupts the database for a moment: kubectl delete pod {instance} -n {namespace}"
                );
                return not("RestartNeeded", message);
            }
            let claim = observed.claims.get(&instance).filter(|c| c.has_volume);
            let outgrown = changed(claim.and_then(|claim| claim.form.as_ref()), &claim_form);
            if let Some(fields) = outgrown {
                let message = format!(
                    "PersistentVolumeClaim {instance} has its volume and stays as it was made; a change of {fields} is not \
                     available in this version yet"
                );
                return not("NotAvailable", message);
            }
        }
        Self {
            status: ConditionStatus::True,
            reason: "AsWanted",
            message: "what is there was made for what the spec asks for now".to_owned(),
        }
    }
}

/// The fields that differ, if any does.
fn changed(made: Option<&Form>, wanted: &Form) -> Option<String> {
    let fields: Vec<&str> = made?.differing(wanted).collect();
    (!fields.is_empty()).then(|| fields.join("; "))
}
