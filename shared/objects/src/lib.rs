//! Kubernetes objects of a cluster, built from what is wanted. Pure, and cannot fail: everything that could be wrong was
//! refused when [`pgo_core::Desired`] was made.

mod access;
mod drill;
mod dump;
mod identity;
mod job;
mod pod;
mod probe;
mod replica;
mod repository;
mod rivals;
mod secret;
mod service;
mod volume;
mod worker;

pub use access::{agent_role, agent_role_binding, agent_service_account};
pub use drill::{DRILL_CONTAINER, drill, drill_name};
pub use dump::{DUMP_CONTAINER, dump_pod};
pub use identity::{
    FORM, agent_identity, cluster_labels, fixture_name, form, is_labelled, is_owned, made_for,
    owner, owners, stranger,
};
pub use job::{JOB_CONTAINER, job_pod};
pub use pod::{LogSettings, pod, pod_labels};
pub use probe::{PROBE_CONTAINER, probe, probe_name};
pub use replica::replica;
pub use repository::{REPOSITORY_PORT, is_repository, repository, repository_service};
pub use rivals::{Rival, rivals};
pub use secret::{
    BUCKET_KEYS, CERTIFICATE_UNTIL, bucket_secret, certificate_secret, password, user_secret,
};
pub use service::{
    AUTOFAIL, PREFERRED, RESTORED, SYNC_FALLBACK, SYNCHRONOUS, TAKE_UP, TAKEOVERS, TERM,
    endpoint_slice, lease, preferred, preferred_instances, replica_service, service,
};
pub use volume::{FIRST_SINCE, Holds, claim, dump_claim, holds, repository_claim, restored_claim};

/// Port of an agent's gRPC service.
pub const AGENT_PORT: u16 = 8445;

/// Administration port of an agent: liveness, readiness, metrics.
pub const ADMIN_PORT: u16 = 9090;
