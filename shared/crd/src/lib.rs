//! The custom resources of group `crunchydata.com`, version `v1`, with 4.1's field names, and `pgo.yaml`; both become the
//! core's types here.
//!
//! ```text
//! Pgcluster ─┐
//!            ├─► desired() ─► core::Desired
//! pgo.yaml ──┘
//! ```

#![allow(
    clippy::duplicated_attributes,
    reason = "columns of one definition share their type"
)]

mod asking;
mod backing_up;
mod backup;
mod cluster;
mod config;
mod convert;
mod demands;
mod drilling;
mod dumping;
mod event_page;
mod failover;
mod image;
mod installation;
mod invalid;
mod job;
pub mod label;
mod notes;
mod places;
mod policy;
mod policying;
mod replica;
mod requests;
mod restarting;
mod restoring;
mod scaling;
mod schema;
mod state;
mod storage;
mod task;
mod upgrading;
mod volume;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON,
};

pub use asking::{asking, cancelled, requested};
pub use backing_up::{
    BACKUP, COMMAND, OPTIONS, STORAGE_TYPE, backup_request, backup_requests, has_backrest,
};
pub use backup::{Pgbackup, PgbackupSpec};
pub use cluster::{Pgcluster, PgclusterSpec, PgclusterStatus};
pub use config::{
    ClusterConfig, ConfigError, PgoConfig, PgoSection, ResourcesConfig, StorageConfig,
};
pub use convert::{
    actor, autofail, cluster, delete_request, delete_requests, desired, is_over, synchronous,
};
pub use drilling::{DRILLED_BACKUP, drill_request, drill_requests};
pub use dumping::{
    BASE_FROM_CLAIM, BASE_FROM_CLUSTER, BASE_OPTIONS, BASE_PATH, BASE_TO, DUMP_ALL, DUMP_CLAIM,
    DUMP_DATABASE, DUMP_OPTIONS, LOAD_CLAIM, LOAD_CLUSTER, LOAD_DATABASE, LOAD_DUMP, LOAD_OPTIONS,
    REMOVED_TYPE, base_name, dump_operation, dump_requests, is_claim, is_dump, removal_operation,
    removal_requests,
};
pub use event_page::{PgEventPage, PgEventPageSpec};
pub use failover::{failover_request, failover_requests};
pub use installation::{PgInstallation, PgInstallationSpec, PgInstallationStatus};
pub use invalid::InvalidSpec;
pub use job::{
    BENCHMARK_SCRIPT, CLUSTER_NAME, FILE_CLAIM, LOAD_KEYS, benchmark_wish, job_operation,
    job_requests, load_wish,
};
pub use notes::{
    MOST_RUNS, MOST_SCHEDULES, MOST_TESTS, RECONCILER, RunNote, ScheduleNote, TestNote, UpdateNote,
    noted,
};
pub use pgo_core::quantity;
pub use places::{FullType, RetentionSpec, bucket, storage_types};
pub use policy::{Pgpolicy, PgpolicySpec};
pub use policying::{
    DATABASE, DELETED_BY, POLICY, SECRET, at_creation as policies_at_creation, is_dns_1035_label,
    policy_name, policy_request, policy_requests,
};
pub use replica::{Pgreplica, PgreplicaSpec};
pub use requests::Requests;
pub use restarting::{
    INSTANCE, reload_request, reload_requests, restart_request, restart_requests,
};
pub use restoring::{
    NODE_LABEL, RESTORE_FROM, RESTORE_OPTIONS, RESTORE_TARGET, RESTORE_TO, restore_request,
    restore_requests,
};
pub use scaling::{replica, scale_down_request, scale_down_requests};
pub use state::{RequestStatus, RequestVerdict};
pub use storage::{ContainerResources, StorageSpec};
pub use task::{Pgtask, PgtaskSpec, TaskType, task_cluster};
pub use upgrading::{CCP_IMAGE_TAG, upgrade_operation, upgrade_requests};

/// What this version of PGO calls itself, in `pgo-version` labels and to clients.
pub const PGO_VERSION: &str = env!("CARGO_PKG_VERSION");

/// The finalizer that holds a Pgcluster until its database is stopped and its last event is safe.
pub const FINALIZER: &str = "pgo.crunchydata.com/cluster";

/// The finalizer that holds a Pgreplica until its pod is gone.
pub const REPLICA_FINALIZER: &str = "pgo.crunchydata.com/replica";

/// The finalizer of ours on Pgpolicies.
pub const POLICY_FINALIZER: &str = "pgo.crunchydata.com/policy";

/// Every definition, in the order they are installed.
#[must_use]
pub fn definitions() -> Vec<CustomResourceDefinition> {
    use kube::CustomResourceExt as _;
    vec![
        with_empty_spec(Pgcluster::crd()),
        Pgreplica::crd(),
        Pgtask::crd(),
        Pgpolicy::crd(),
        Pgbackup::crd(),
        with_empty_spec(PgInstallation::crd()),
        PgEventPage::crd(),
    ]
}

/// Lets an object come without a spec: every field of it has a default.
fn with_empty_spec(mut definition: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut definition.spec.versions {
        let spec = version
            .schema
            .as_mut()
            .and_then(|schema| schema.open_api_v3_schema.as_mut())
            .and_then(|schema| schema.properties.as_mut())
            .and_then(|properties| properties.get_mut("spec"));
        if let Some(spec) = spec {
            spec.default = Some(JSON(serde_json::json!({})));
        }
    }
    definition
}
