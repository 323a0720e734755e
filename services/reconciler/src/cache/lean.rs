//! What is kept of an object: only what is read of it. Of a thousand clusters there are twenty thousand objects, and
//! most of each is what others need.

use k8s_openapi::{
    api::{
        core::v1::{
            ContainerStatus, PersistentVolumeClaim, PersistentVolumeClaimSpec,
            PersistentVolumeClaimStatus, Pod, PodSpec, PodStatus,
        },
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Resource,
    core::{DeserializeGuard, PartialObjectMeta},
};
use pgo_crd::{Pgreplica, Pgtask};
use pgo_objects::{
    AUTOFAIL, CERTIFICATE_UNTIL, DRILL_CONTAINER, DUMP_CONTAINER, FIRST_SINCE, FORM, JOB_CONTAINER,
    PREFERRED, PROBE_CONTAINER, RESTORED, SYNC_FALLBACK, SYNCHRONOUS, TAKEOVERS,
};

/// The annotations that are read of objects other than requests (`crate::observe`, `crate::execute`).
const READ: [&str; 9] = [
    FORM,
    FIRST_SINCE,
    CERTIFICATE_UNTIL,
    SYNCHRONOUS,
    SYNC_FALLBACK,
    AUTOFAIL,
    PREFERRED,
    TAKEOVERS,
    RESTORED,
];

/// The conditions that are read of pods.
const CONDITIONS: [&str; 2] = ["PodScheduled", "Ready"];

/// An object that can be freed of what nobody reads.
pub trait Lean: Resource {
    /// Frees it.
    fn shed(&mut self) {
        shed(self.meta_mut());
    }
}

/// Who wrote which field is the largest part of most objects.
fn shed(meta: &mut ObjectMeta) {
    meta.managed_fields = None;
    if let Some(annotations) = &mut meta.annotations {
        annotations.retain(|name, _| READ.contains(&name.as_str()));
    }
    meta.annotations.take_if(|left| left.is_empty());
}

impl<K> Lean for PartialObjectMeta<K> where PartialObjectMeta<K>: Resource {}

impl Lean for EndpointSlice {}

/// Requests are read as a whole: who wrote a field is who asked for it.
impl Lean for DeserializeGuard<Pgtask> {
    fn shed(&mut self) {}
}

/// Likewise.
impl Lean for DeserializeGuard<Pgreplica> {
    fn shed(&mut self) {}
}

impl Lean for Pod {
    fn shed(&mut self) {
        shed(&mut self.metadata);
        self.spec = self.spec.take().map(|spec| PodSpec {
            node_name: spec.node_name,
            ..PodSpec::default()
        });
        self.status = self.status.take().map(|status| PodStatus {
            phase: status.phase,
            reason: status.reason,
            message: status.message,
            pod_ip: status.pod_ip,
            conditions: status.conditions.map(|mut conditions| {
                conditions.retain(|one| CONDITIONS.contains(&one.type_.as_str()));
                conditions.shrink_to_fit();
                conditions
            }),
            init_container_statuses: status.init_container_statuses.map(containers),
            container_statuses: status.container_statuses.map(containers),
            ..PodStatus::default()
        });
    }
}

/// A container that does not wait for anything is not asked about, but those that do one thing and say what became of it.
fn containers(all: Vec<ContainerStatus>) -> Vec<ContainerStatus> {
    let told = |status: &ContainerStatus| {
        let state = status.state.as_ref();
        let says = [
            PROBE_CONTAINER,
            DRILL_CONTAINER,
            DUMP_CONTAINER,
            JOB_CONTAINER,
        ];
        says.contains(&status.name.as_str()) || state.is_some_and(|state| state.waiting.is_some())
    };
    let all = all.into_iter().filter(told).map(|status| ContainerStatus {
        name: status.name,
        state: status.state,
        last_state: status.last_state,
        ..ContainerStatus::default()
    });
    all.collect()
}

impl Lean for PersistentVolumeClaim {
    fn shed(&mut self) {
        shed(&mut self.metadata);
        self.spec = self.spec.take().map(|spec| PersistentVolumeClaimSpec {
            volume_name: spec.volume_name,
            storage_class_name: spec.storage_class_name,
            resources: spec.resources,
            ..PersistentVolumeClaimSpec::default()
        });
        self.status = self
            .status
            .take()
            .map(|status| PersistentVolumeClaimStatus {
                phase: status.phase,
                capacity: status.capacity,
                conditions: status.conditions,
                ..PersistentVolumeClaimStatus::default()
            });
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::coordination::v1::Lease;
    use serde_json::json;

    use super::*;

    #[test]
    fn of_a_pod_stays_what_is_read() {
        let mut pod: Pod = serde_json::from_value(json!({
            "metadata": {
                "name": "hippo", "uid": "u", "labels": {"pg-cluster": "hippo"},
                "annotations": {FORM: "{}", "cni.example.org/network": "[]"},
                "managedFields": [{"manager": "kubelet"}],
            },
            "spec": {"nodeName": "node1", "containers": [{"name": "database", "image": "postgres"}]},
            "status": {
                "phase": "Pending", "podIP": "10.0.0.7", "hostIP": "10.0.0.1", "message": "late",
                "conditions": [{"type": "Ready", "status": "False"}, {"type": "Initialized", "status": "True"}],
                "containerStatuses": [
                    {
                        "name": "database", "image": "postgres", "imageID": "i", "ready": false, "restartCount": 1,
                        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                        "lastState": {"terminated": {"exitCode": 1, "message": "no volume"}},
                    },
                    {
                        "name": "beside", "image": "x", "imageID": "i", "ready": true, "restartCount": 0,
                        "state": {"running": {}},
                    },
                ],
            },
        }))
        .expect("a pod");
        pod.shed();
        let left = serde_json::to_value(&pod).expect("JSON");
        assert_eq!(
            left["metadata"],
            json!({
                "name": "hippo", "uid": "u", "labels": {"pg-cluster": "hippo"}, "annotations": {FORM: "{}"},
            })
        );
        assert_eq!(left["spec"]["nodeName"], "node1");
        assert_eq!(left["spec"]["containers"], json!([]));
        let status = &left["status"];
        assert_eq!(
            (&status["phase"], &status["podIP"]),
            (&json!("Pending"), &json!("10.0.0.7"))
        );
        assert_eq!(
            status["conditions"],
            json!([{"type": "Ready", "status": "False"}])
        );
        let containers = status["containerStatuses"]
            .as_array()
            .expect("those that wait");
        assert_eq!(containers.len(), 1);
        assert_eq!(
            containers[0]["state"]["waiting"]["reason"],
            "CrashLoopBackOff"
        );
        assert_eq!(
            containers[0]["lastState"]["terminated"]["message"],
            "no volume"
        );
    }

    #[test]
    fn all_that_a_lease_says_of_its_cluster_stays() {
        let said = [AUTOFAIL, SYNCHRONOUS, SYNC_FALLBACK, TAKEOVERS, RESTORED]
            .map(|name| (name.to_owned(), "x".to_owned()));
        let mut lease = PartialObjectMeta::<Lease> {
            metadata: ObjectMeta {
                annotations: Some(said.clone().into()),
                ..ObjectMeta::default()
            },
            ..PartialObjectMeta::default()
        };
        lease.shed();
        assert_eq!(lease.metadata.annotations, Some(said.into()));
    }

    #[test]
    fn annotations_that_nobody_reads_go_and_leave_nothing() {
        let mut claim: PersistentVolumeClaim = serde_json::from_value(json!({
            "metadata": {"name": "hippo", "annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
            "spec": {"volumeName": "v", "storageClassName": "local", "volumeMode": "Filesystem"},
            "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]},
        }))
        .expect("a claim");
        claim.shed();
        let left = serde_json::to_value(&claim).expect("JSON");
        assert_eq!(left["metadata"], json!({"name": "hippo"}));
        assert_eq!(
            left["spec"],
            json!({"volumeName": "v", "storageClassName": "local"})
        );
        let expected = json!({"phase": "Bound", "capacity": {"storage": "1Gi"}});
        assert_eq!(left["status"], expected);
    }
}
