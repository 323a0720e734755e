//! What the event service may do in Kubernetes: be the leader of its two replicas, and tell what happened.

use pgo_k8s::{
    lease,
    rights::{
        Right, Rights,
        Verb::{Create, Get, Update},
    },
};

use crate::replication::{LEASE, register};

const CONFIG_MAPS: &[&str] = &["configmaps"];

const LEADERSHIP: [Right; 2] = lease::rights(&[LEASE]);

const TELL: Right = Right::new(
    "events.k8s.io",
    &["events"],
    &[Create],
    "What happened to a cluster is mirrored to Kubernetes Events; one that is there already is refused.",
);

/// The rights of the process.
pub const RIGHTS: Rights = Rights {
    process: "event",
    targets: &[TELL],
    operator: &[
        LEADERSHIP[0],
        LEADERSHIP[1],
        Right::new(
            "",
            CONFIG_MAPS,
            &[Create],
            "The object that says which replica has everything. A create cannot be bound to a name.",
        ),
        Right::new(
            "",
            CONFIG_MAPS,
            &[Get, Update],
            "Who leads notes there who has everything; who takes over looks.",
        )
        .named(&[register::NAME]),
        TELL,
    ],
    cluster: &[],
};
