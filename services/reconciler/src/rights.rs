//! What the reconciler may do in Kubernetes, verb by verb as it does it; and what it gives the agents, as nobody can give
//! what he does not have.

use pgo_k8s::{
    lease,
    rights::{
        Right, Rights,
        Verb::{Create, Delete, DeleteCollection, Get, List, Patch, Update, Watch},
    },
};

/// 4.1's API group.
const PGO: &str = "crunchydata.com";

const LEADERSHIP: [Right; 2] = lease::rights(&[crate::LEASE]);

/// The rights of the process.
pub const RIGHTS: Rights = Rights {
    process: "reconciler",
    targets: &[
        Right::new(
            PGO,
            &["pgclusters"],
            &[List, Watch, Patch, Delete],
            "Clusters: followed, given a finalizer; gone after a deletion that a task asked for.",
        ),
        Right::new(
            PGO,
            &["pgclusters/status"],
            &[Update],
            "State and events are one write.",
        ),
        Right::new(
            PGO,
            &["pgclusters/finalizers"],
            &[Update],
            "Where blockOwnerDeletion is checked (OpenShift): who makes an object that a cluster owns.",
        ),
        Right::new(
            PGO,
            &["pgtasks"],
            &[List, Watch, Patch, DeleteCollection],
            "Requests; the one that follows a creation gets 4.1's note of its end. A cluster's go with it.",
        ),
        Right::new(
            "",
            &["pods", "persistentvolumeclaims"],
            &[List, Watch, Create, Delete],
            "Instances of clusters and their data.",
        ),
        Right::new(
            "",
            &["secrets", "services", "serviceaccounts"],
            &[List, Watch, Create, Patch, Delete],
            "Objects of clusters. Server-side apply is a patch, and a create where there is nothing yet.",
        ),
        Right::new(
            "rbac.authorization.k8s.io",
            &["roles", "rolebindings"],
            &[List, Watch, Create, Patch, Delete],
            "The agents' rights.",
        ),
        Right::new(
            "coordination.k8s.io",
            &["leases"],
            &[Get, List, Watch, Create, Update, Delete],
            "A cluster's Lease is made with it; get and update are given to its agents.",
        ),
        Right::new(
            "discovery.k8s.io",
            &["endpointslices"],
            &[Get, List, Watch, Create, Update, Delete],
            "The EndpointSlice of a cluster's Service, likewise.",
        ),
        Right::new(
            "",
            &["endpoints/restricted"],
            &[Create],
            "An EndpointSlice that names Pods directly needs it where the plugin that guards it is on (OpenShift).",
        ),
        Right::new("", &["events"], &[List], "Why a claim is not bound."),
    ],
    operator: &[
        Right::new(
            "",
            &["configmaps"],
            &[Get, List, Watch],
            "pgo.yaml, at the start and as it is now.",
        )
        .named(&["pgo-config"]),
        Right::new(
            "apps",
            &["deployments", "statefulsets"],
            &[Get],
            "Whether the other services of PGO are ready.",
        ),
        Right::new(
            PGO,
            &["pginstallations"],
            &[Get, Create, Patch],
            "PGO itself; made where there is none.",
        ),
        Right::new(
            PGO,
            &["pginstallations/status"],
            &[Update],
            "Start and stop of PGO, with their events.",
        ),
        Right::new(
            PGO,
            &["pgeventpages"],
            &[List, Watch, Create, Delete],
            "Last events of clusters that are gone, until they are confirmed.",
        ),
        LEADERSHIP[0],
        LEADERSHIP[1],
    ],
    cluster: &[],
};
