//! What 4.1's answers say of a pod.

use std::{collections::BTreeMap, fmt};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use pgo_api::ShowClusterPod;
use pgo_crd::label;

/// Value of label `name` on 4.1's pods that list a volume.
const LSPVC: &str = "lspvc";

/// How many containers a pod has, and how many are ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Containers {
    ready: usize,
    all: usize,
}

impl Containers {
    pub(crate) fn of(pod: &Pod) -> Self {
        let statuses = pod
            .status
            .as_ref()
            .and_then(|status| status.container_statuses.as_ref());
        Self {
            ready: statuses.map_or(0, |all| all.iter().filter(|one| one.ready).count()),
            all: pod.spec.as_ref().map_or(0, |spec| spec.containers.len()),
        }
    }

    pub(crate) fn all_ready(self) -> bool {
        self.all > 0 && self.ready == self.all
    }
}

impl fmt::Display for Containers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ready, self.all)
    }
}

/// What a pod is there for, under 4.1's names.
pub(crate) fn kind(pod: &Pod, cluster: &str) -> &'static str {
    let is = |key: &str| pod.labels().contains_key(key);
    if is(label::BACKREST_REPO) {
        "pgbackrest"
    } else if is(label::PGBOUNCER) {
        "pgbouncer"
    } else if is(label::PGPOOL_POD) {
        "pgpool"
    } else if is(label::PGBACKUP) {
        "backup"
    } else if pod.labels().get(label::SERVICE_NAME).map(String::as_str) == Some(cluster) {
        "primary"
    } else {
        "replica"
    }
}

/// Whether a pod of a cluster runs PostgreSQL.
pub(crate) fn is_instance(pod: &Pod) -> bool {
    is_shown(pod) && matches!(kind(pod, ""), "primary" | "replica")
}

/// Whether a pod of a cluster is that of its repository.
pub(crate) fn is_repository(pod: &Pod) -> bool {
    pod.labels().get(label::BACKREST_REPO).map(String::as_str) == Some("true")
}

/// Whether a pod of a cluster is one that 4.1 shows: no Job's, no repository, and none that does one thing,
/// such as to ask an image or to try a backup.
pub(crate) fn is_shown(pod: &Pod) -> bool {
    let labels = pod.labels();
    let hiding = [
        label::BACKREST_JOB,
        label::BACKREST_RESTORE,
        label::BACKREST_REPO,
        label::PGBACKUP,
        label::UPGRADE_PROBE,
        label::RESTORE_DRILL,
        label::DUMP,
        label::JOB,
    ];
    !hiding.iter().any(|key| labels.contains_key(*key))
        && labels.get(label::NAME).map(String::as_str) != Some(LSPVC)
}

/// The name of the Deployment that a pod would have in 4.1.
pub(crate) fn deployment(pod: &Pod) -> String {
    let labelled = pod.labels().get(label::DEPLOYMENT_NAME).cloned();
    labelled.unwrap_or_else(|| pod.name_any())
}

/// A pod as 4.1 shows it.
pub(crate) fn shown(pod: &Pod, cluster: &str) -> ShowClusterPod {
    let containers = Containers::of(pod);
    let kind = kind(pod, cluster);
    let spec = pod.spec.as_ref();
    let volumes = spec
        .and_then(|spec| spec.volumes.as_ref())
        .into_iter()
        .flatten();
    let claims: BTreeMap<String, String> = volumes
        .filter_map(|volume| {
            let claim = volume.persistent_volume_claim.as_ref()?;
            Some((volume.name.clone(), claim.claim_name.clone()))
        })
        .collect();
    let phase = pod.status.as_ref().and_then(|status| status.phase.clone());
    ShowClusterPod {
        name: pod.name_any(),
        phase: phase.unwrap_or_default(),
        node_name: spec
            .and_then(|spec| spec.node_name.clone())
            .unwrap_or_default(),
        pvc_name: claims,
        ready_status: containers.to_string(),
        ready: containers.all_ready(),
        primary: kind == "primary",
        kind: kind.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(labels: Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "hippo", "labels": labels},
            "spec": {
                "nodeName": "node1",
                "containers": [{"name": "database"}, {"name": "other"}],
                "volumes": [
                    {"name": "pgdata", "persistentVolumeClaim": {"claimName": "hippo"}},
                    {"name": "tmp", "emptyDir": {}},
                ],
            },
            "status": {
                "phase": "Running",
                "containerStatuses": [
                    {"name": "database", "ready": true, "image": "", "imageID": "", "restartCount": 0},
                ],
            },
        }))
        .expect("a pod")
    }

    #[test]
    fn the_type_follows_from_labels_in_4_1s_order() {
        let kind_of = |labels| kind(&pod(labels), "hippo");
        assert_eq!(kind_of(json!({"service-name": "hippo"})), "primary");
        assert_eq!(kind_of(json!({"service-name": "hippo-replica"})), "replica");
        assert_eq!(
            kind_of(json!({"service-name": "hippo", "pgbackup": "true"})),
            "backup"
        );
        assert_eq!(
            kind_of(json!({"service-name": "x", "crunchy-pgbouncer": "true"})),
            "pgbouncer"
        );
    }

    #[test]
    fn jobs_and_repositories_are_not_shown() {
        assert!(is_shown(&pod(json!({"service-name": "hippo"}))));
        for hidden in [
            json!({"pgo-backrest-repo": "true"}),
            json!({"pgbackup": "false"}),
            json!({"name": "lspvc"}),
            json!({"pgo.crunchydata.com/upgrade-probe": "1"}),
            json!({"pgo.crunchydata.com/dump": "1"}),
            json!({"pgo.crunchydata.com/job": "1"}),
        ] {
            assert!(!is_shown(&pod(hidden)));
        }
    }

    #[test]
    fn a_container_that_has_not_begun_counts_as_not_ready() {
        let shown = shown(&pod(json!({"service-name": "hippo"})), "hippo");
        assert_eq!(shown.ready_status, "1/2");
        assert!(!shown.ready && shown.primary);
        assert_eq!(
            shown.pvc_name,
            BTreeMap::from([("pgdata".to_owned(), "hippo".to_owned())])
        );
    }
}
