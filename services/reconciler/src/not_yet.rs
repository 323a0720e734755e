//! Requests that nothing is done for says their own condition: objects of 4.1's kinds that PGO keeps for later versions,
//! and deletions of clusters that are not there. None is passed over in silence.

use std::time::Duration;

use futures::StreamExt as _;
use jiff::Timestamp;
use kube::{
    Api, Client, CustomResourceExt as _, ResourceExt as _,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    runtime::{WatchStreamExt as _, watcher},
};
use pgo_core::{ConditionStatus, RESULT_READY};
use pgo_crd::{Pgbackup, Pgcluster, Pgreplica, Pgtask, task_cluster};
use pgo_telemetry::CancellationToken;
use serde_json::{Value, json};

use crate::conditions::{self, Verdict};

/// How long Kubernetes may take for an answer. What is missed is told with the next change, or by the next leader.
const DEADLINE: Duration = Duration::from_secs(5);

/// Tells so in one namespace, until told to end.
pub async fn tell(client: Client, namespace: String, shutdown: CancellationToken) {
    let follow = |resource: ApiResource| follow(client.clone(), namespace.clone(), resource);
    let all = async {
        tokio::join!(
            follow(Pgreplica::api_resource()),
            follow(Pgbackup::api_resource()),
            follow(Pgtask::api_resource()),
        )
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        _ = all => {}
    }
}

async fn follow(client: Client, namespace: String, resource: ApiResource) {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &resource);
    let clusters: Api<Pgcluster> = Api::namespaced(client, &namespace);
    let watched = watcher(api.clone(), watcher::Config::default());
    let mut seen = std::pin::pin!(watched.default_backoff().applied_objects());
    while let Some(object) = seen.next().await {
        match object {
            Ok(object) => {
                let told = tell_one(&resource.kind, &object, &api, &clusters);
                let told = tokio::time::timeout(DEADLINE, told);
                match told.await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => {
                        tracing::warn!(object = object.name_any(), kind = resource.kind, %error, "cannot tell what becomes of a request");
                    }
                    Err(_) => {
                        tracing::warn!(
                            object = object.name_any(),
                            kind = resource.kind,
                            "no answer while telling what becomes of a request"
                        );
                    }
                }
            }
            Err(error) => {
                tracing::warn!(namespace, kind = resource.kind, %error, "a watch was interrupted; it begins again");
            }
        }
    }
}

async fn tell_one(
    kind: &str,
    object: &DynamicObject,
    api: &Api<DynamicObject>,
    clusters: &Api<Pgcluster>,
) -> Result<(), kube::Error> {
    let verdict = match cluster_of(kind, object) {
        Some(cluster) if clusters.get_metadata_opt(cluster).await?.is_none() => {
            let wanted = match object.data["spec"]["tasktype"].as_str() {
                Some("failover") => "give another primary",
                Some("minorupgradecluster") => "upgrade",
                Some("reload") => "reload",
                Some("restart") => "restart",
                Some("backrest") => "back up",
                Some("restore") => "restore",
                Some("pgdump") => "dump",
                Some("pgrestore") => "restore a dump into",
                Some("pgbasebackup") => "back up",
                Some("pgbasebackuprestore") => "restore a backup of",
                Some("applypolicy") => "apply a policy to",
                Some("benchmark") => "measure",
                Some("load") => "load a file into",
                _ => "delete",
            };
            no_such_cluster(kind, cluster, wanted)
        }
        Some(_) => return Ok(()),
        None => match not_available(kind) {
            Some(verdict) => verdict,
            None => return Ok(()),
        },
    };
    let empty = Vec::new();
    let present = object.data["status"]["conditions"].as_array();
    let generation = object.metadata.generation.unwrap_or(0);
    let now = Timestamp::now();
    let Some(conditions) = conditions::with(present.unwrap_or(&empty), &verdict, generation, now)
    else {
        return Ok(());
    };
    let patch: Value = json!({"status": {"conditions": conditions}});
    let parameters = PatchParams::default();
    api.patch_status(&object.name_any(), &parameters, &Patch::Merge(&patch))
        .await
        .map(drop)
}

/// The cluster that a request is about: a replica is for one, and a Pgtask asks for something to be done with one.
fn cluster_of<'a>(kind: &str, object: &'a DynamicObject) -> Option<&'a str> {
    let spec = &object.data["spec"];
    match kind {
        "Pgreplica" => spec["clustername"].as_str(),
        "Pgtask" => {
            let parameters = spec["parameters"].as_object()?.iter();
            let parameters =
                parameters.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)));
            task_cluster(spec["tasktype"].as_str()?, parameters)
        }
        _ => None,
    }
}

fn no_such_cluster(kind: &str, cluster: &str, wanted: &str) -> Verdict {
    let (name, message) = match kind {
        "Pgreplica" => (
            RESULT_READY,
            format!("there is no Pgcluster {cluster} that it could be a replica of"),
        ),
        _ => (
            "Complete",
            format!("there is no Pgcluster {cluster} to {wanted}"),
        ),
    };
    Verdict {
        name,
        status: ConditionStatus::False,
        reason: "NoSuchCluster",
        message,
    }
}

/// What is said of objects of a kind that this version does nothing for.
fn not_available(kind: &str) -> Option<Verdict> {
    let what = match kind {
        "Pgbackup" => "base backups by a Pgbackup",
        _ => return None,
    };
    Some(Verdict {
        name: RESULT_READY,
        status: ConditionStatus::False,
        reason: "NotAvailable",
        message: format!(
            "{what} are not available in this version yet; nothing is done for this object: make a Pgtask of type pgbasebackup"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_that_is_kept_for_later_says_so() {
        let verdict = not_available("Pgbackup").expect("a verdict");
        assert!(verdict.message.contains("backups"), "{verdict:?}");
        assert_eq!(not_available("Pgtask"), None);
    }

    #[test]
    fn a_deletion_and_a_replica_name_their_cluster() {
        let object = |spec: Value| -> DynamicObject {
            let object = json!({"metadata": {"name": "x"}, "spec": spec});
            serde_json::from_value(object).expect("an object")
        };
        let deletion =
            object(json!({"tasktype": "delete-data", "parameters": {"pg-cluster": "hippo"}}));
        assert_eq!(cluster_of("Pgtask", &deletion), Some("hippo"));
        let replica = object(json!({"clustername": "zebra"}));
        assert_eq!(cluster_of("Pgreplica", &replica), Some("zebra"));
        let workflow = object(json!({"tasktype": "workflow"}));
        assert_eq!(cluster_of("Pgtask", &workflow), None);
    }
}
