//! What the scheduler may do in Kubernetes: read schedules, note in them what it found, ask for what is due, and be the
//! leader.

use pgo_k8s::{
    lease,
    rights::{
        Right, Rights,
        Verb::{Create, Delete, Get, List, Patch, Watch},
    },
};

/// The rights of the process.
pub const RIGHTS: Rights = Rights {
    process: "scheduler",
    targets: &[
        Right::new(
            "",
            &["configmaps"],
            &[List, Watch, Patch],
            "Schedules are ConfigMaps with a label, which cannot limit a right. What is said of one goes to its annotations.",
        ),
        Right::new(
            "crunchydata.com",
            &["pgtasks"],
            &[Get, List, Watch, Create, Delete],
            "A run is asked for by a Pgtask, whose name repeats: the one of a former run that is over makes way.",
        ),
        Right::new(
            "crunchydata.com",
            &["pgclusters"],
            &[List, Watch, Patch],
            "Which clusters there are and what they have. What became of a run is noted in an annotation, for the reconciler to tell.",
        ),
    ],
    operator: &OPERATOR,
    cluster: &[],
};

const LEASE: [Right; 2] = lease::rights(&[crate::LEASE]);

const OPERATOR: [Right; 3] = [
    LEASE[0],
    LEASE[1],
    Right::new(
        "",
        &["configmaps"],
        &[Get],
        "Whether clusters that do not say it have pgBackRest.",
    )
    .named(&["pgo-config"]),
];
