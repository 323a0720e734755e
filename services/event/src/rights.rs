//! What the event service may do in Kubernetes: tell what happened.

use pgo_k8s::rights::{Right, Rights, Verb::Create};

const TELL: [Right; 1] = [Right::new(
    "events.k8s.io",
    &["events"],
    &[Create],
    "What happened to a cluster is mirrored to Kubernetes Events; one that is there already is refused.",
)];

/// The rights of the process.
pub const RIGHTS: Rights = Rights {
    process: "event",
    targets: &TELL,
    operator: &TELL,
    cluster: &[],
};
