//! What the tests begin with: a pgo.yaml, and a Pgcluster with this spec.

use pgo_crd::{Pgcluster, PgoConfig};
use serde_json::json;

/// A pgo.yaml with what it must have, and a key that is known no more.
pub const PGO_YAML: &str = "
PrimaryStorage: local
BackupStorage: local
ReplicaStorage: local
Storage:
  local:
    AccessMode: ReadWriteOnce
    Size: 1Gi
    StorageType: dynamic
    StorageClass: local
    Fsgroup: 26
ContainerResources:
  small:
    RequestsMemory: 512Mi
    RequestsCPU: 0.1
    LimitsMemory: 512Mi
    LimitsCPU: 0.1
Cluster:
  CCPImagePrefix: example.org/pgo
  CCPImageTag: debian12-15
  User: testuser
  Port: 5432
  LSPVCTemplate: of an older file
Pgo:
  PGOImagePrefix: example.org/pgo
  PGOImageTag: v1
";

/// What it says.
pub fn config() -> PgoConfig {
    PgoConfig::parse(PGO_YAML).expect("a pgo.yaml")
}

/// A cluster `hippo`.
pub fn cluster(spec: serde_json::Value) -> Pgcluster {
    serde_json::from_value(json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgcluster",
        "metadata": {"name": "hippo", "namespace": "pgouser1", "uid": "uid-1"},
        "spec": spec,
    }))
    .expect("a Pgcluster")
}
