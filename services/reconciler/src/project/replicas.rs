//! What a Pgreplica says of itself: 4.1's state, and whether it follows the primary.

use jiff::Timestamp;
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
};
use pgo_core::{Cluster, ClusterStatus, ConditionStatus, RESULT_READY, ReplicaStatus, StorageKind};
use pgo_crd::Pgreplica;
use serde_json::{Value, json};

use super::{COMPLETED, within};
use crate::{
    conditions::{self, Verdict},
    context::Context,
};

/// Notes in each Pgreplica of a cluster how it is.
pub async fn project(cluster: &Cluster, status: &ClusterStatus, context: &Context) {
    let namespace = cluster.namespace.as_str();
    let api: Api<Pgreplica> = Api::namespaced(context.client.clone(), namespace);
    for object in context.cache.replicas.state() {
        let Ok(object) = &object.0 else { continue };
        let uid = object.uid().unwrap_or_default();
        let known = status.replicas.iter().find(|known| known.uid == uid);
        let Some(known) = known.filter(|_| object.namespace().as_deref() == Some(namespace)) else {
            continue;
        };
        let (name, parameters) = (object.name_any(), PatchParams::default());
        if let Some(patch) = of_spec(object, cluster, (status, known)) {
            within(&name, api.patch(&name, &parameters, &Patch::Merge(&patch))).await;
        }
        if let Some(patch) = of_status(object, known, Timestamp::now()) {
            let patch = Patch::Merge(&patch);
            within(&name, api.patch_status(&name, &parameters, &patch)).await;
        }
    }
}

/// 4.1's state of a replica that is there, and the name of its claim; once.
fn of_spec(
    object: &Pgreplica,
    cluster: &Cluster,
    (status, known): (&ClusterStatus, &ReplicaStatus),
) -> Option<Value> {
    if !known.joined || known.leaving || object.spec.status == COMPLETED {
        return None;
    }
    let on_a_claim = cluster
        .desired_of(status, &known.name)
        .is_some_and(|desired| desired.storage.kind != StorageKind::EmptyDir);
    Some(if on_a_claim {
        json!({"spec": {"status": COMPLETED, "replicastorage": {"name": known.name.as_str()}}})
    } else {
        json!({"spec": {"status": COMPLETED}})
    })
}

/// 4.1's state, and the condition that says whether it follows the primary.
fn of_status(object: &Pgreplica, known: &ReplicaStatus, now: Timestamp) -> Option<Value> {
    let verdict = Verdict {
        name: RESULT_READY,
        status: if known.ready {
            ConditionStatus::True
        } else {
            ConditionStatus::False
        },
        reason: match known.reason.as_str() {
            "Streaming" => "Streaming",
            "Primary" => "Primary",
            "NotStreaming" => "NotStreaming",
            "Creating" => "Creating",
            "Leaving" => "Leaving",
            "Invalid" => "Invalid",
            _ => "Failed",
        },
        message: known.message.clone(),
    };
    let present = object
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice());
    let generation = object.metadata.generation.unwrap_or(0);
    let conditions = conditions::with(present.unwrap_or_default(), &verdict, generation, now)?;
    Some(json!({"status": {
        "state": "pgreplica Processed",
        "message": "Successfully processed Pgreplica by controller",
        "conditions": conditions,
    }}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(status: Value) -> Pgreplica {
        let object = json!({
            "apiVersion": "crunchydata.com/v1", "kind": "Pgreplica",
            "metadata": {"name": "hippo-abcd", "namespace": "pgouser1", "uid": "r1"},
            "spec": {"clustername": "hippo"}, "status": status,
        });
        serde_json::from_value(object).expect("a Pgreplica")
    }

    fn known(ready: bool, reason: &str) -> ReplicaStatus {
        let known = json!({
            "name": "hippo-abcd", "uid": "r1", "joined": ready, "ready": ready, "reason": reason,
            "message": "how it is",
        });
        serde_json::from_value(known).expect("a status")
    }

    #[test]
    fn a_replica_says_whether_it_follows_and_says_it_once() {
        for (ready, reason, told) in [
            (true, "Streaming", "True"),
            (false, "Creating", "False"),
            (false, "PodNotScheduled", "False"),
        ] {
            let patch = of_status(
                &object(json!({})),
                &known(ready, reason),
                Timestamp::UNIX_EPOCH,
            );
            let patch = patch.expect("news");
            let condition = &patch["status"]["conditions"][0];
            assert_eq!(
                (&condition["type"], &condition["status"]),
                (&json!("Ready"), &json!(told))
            );
            assert_eq!(patch["status"]["state"], "pgreplica Processed");
            let told = object(patch["status"].clone());
            assert_eq!(
                of_status(&told, &known(ready, reason), Timestamp::now()),
                None
            );
        }
    }
}
