//! What the scheduler may do in Kubernetes: read schedules, note in them what it found, and be the leader.

use pgo_k8s::{
    lease,
    rights::{
        Right, Rights,
        Verb::{List, Patch, Watch},
    },
};

/// The rights of the process.
pub const RIGHTS: Rights = Rights {
    process: "scheduler",
    targets: &[Right::new(
        "",
        &["configmaps"],
        &[List, Watch, Patch],
        "Schedules are ConfigMaps with a label, which cannot limit a right. What is said of one goes to its annotations.",
    )],
    operator: &lease::rights(&[crate::LEASE]),
    cluster: &[],
};
