//! Which changes of a spec are not in force yet, and what brings them into force.

use pgo_ids::InstanceName;

use crate::{
    Cluster, ClusterStatus, ConditionStatus, Desired, Form, Kind, Observed, Outcome, Upgrade,
    form::SIZE,
    growth::{self, Growth},
};

/// Whether everything that the spec asks for is in force, as a condition says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Applied {
    pub status: ConditionStatus,
    pub reason: &'static str,
    pub message: String,
}

impl Applied {
    /// Holds what is there against what is wanted. Until a cluster was ready, its pods are replaced by themselves.
    pub(crate) fn of(status: &ClusterStatus, cluster: &Cluster, observed: &Observed) -> Self {
        let was_ready = status.was_ready();
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
        if let Some(upgrade) = status.upgrading() {
            return not("Upgrading", under_way(upgrade));
        }
        let instance = status.first(&cluster.name);
        if let Some(desired) = cluster.desired_of(status, &instance) {
            let (claim_form, pod_form) = (desired.claim_form(), desired.pod_form());
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
            // Another size is judged below.
            let made = claim.and_then(|claim| claim.form.as_ref());
            let made = made.map(|form| form.with(SIZE, desired.storage.size.clone()));
            let outgrown = changed(made.as_ref(), &claim_form);
            if let Some(fields) = outgrown {
                let message = format!(
                    "PersistentVolumeClaim {instance} has its volume and stays as it was made; a change of {fields} is not \
                     available in this version yet"
                );
                return not("NotAvailable", message);
            }
        }
        if let Some(pending) = growth::pending(status, cluster, observed) {
            let reason = match pending.1 {
                Growth::Impossible(_) => "VolumeCannotGrow",
                _ => "VolumeGrows",
            };
            return not(reason, growth::words(&pending));
        }
        if let Some((reason, message)) = of_image(status, desired) {
            return not(reason, message);
        }
        Self {
            status: ConditionStatus::True,
            reason: "AsWanted",
            message: "what is there was made for what the spec asks for now".to_owned(),
        }
    }
}

fn under_way(upgrade: &Upgrade) -> String {
    let version = match upgrade.version.as_str() {
        "" => String::new(),
        version => format!(" (PostgreSQL {version})"),
    };
    format!("an upgrade to image {}{version} goes on", upgrade.image.0)
}

/// Which image is not in force that should be, and why: as a reason and for people.
fn of_image(status: &ClusterStatus, desired: &Desired) -> Option<(&'static str, String)> {
    let images = status.images.as_ref()?;
    let newest = status.journal.newest(Kind::UpgradeCluster);
    let failed = newest.filter(|newest| newest.outcome == Some(Outcome::Failed));
    let cause = failed.and_then(|failed| failed.cause.as_deref());
    let torn: Vec<&InstanceName> = images.others.keys().collect();
    if let (Some(cause), Some(first)) = (cause, torn.first()) {
        let message = format!(
            "instance {first} runs another image than the cluster's, {}; the last upgrade ended so: {cause}",
            images.in_force.0
        );
        return Some(("UpgradeFailed", message));
    }
    if desired.image == images.in_force {
        return None;
    }
    let why = match cause {
        Some(cause) => format!("the last upgrade ended so: {cause}"),
        None => "it takes effect with pgo upgrade".to_owned(),
    };
    let message = format!(
        "the instances are made from image {}, not from {}; {why}",
        images.in_force.0, desired.image.0
    );
    Some(("ImageNotInForce", message))
}

/// The fields that differ, if any does.
fn changed(made: Option<&Form>, wanted: &Form) -> Option<String> {
    let fields: Vec<&str> = made?.differing(wanted).collect();
    (!fields.is_empty()).then(|| fields.join("; "))
}
