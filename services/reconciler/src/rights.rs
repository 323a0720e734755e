//! What the reconciler may do in Kubernetes, verb by verb as it does it; and what it gives the agents, as nobody can give
//! what he does not have.

use pgo_k8s::{
    lease,
    rights::{
        Right, Rights,
        Verb::{Create, Delete, Get, List, Patch, Update, Watch},
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
            &[Get, List, Watch, Patch, Delete],
            "Clusters: followed, given a finalizer and 4.1's state; gone after a deletion that a task asked for. Get: whether \
             there is the one that a task names.",
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
            &[Get, List, Watch, Patch, Delete],
            "Requests; the one that follows a creation gets 4.1's note of its end. A cluster's go with it. Get: whether one is \
             still open that is taken up, and over that is forgotten.",
        ),
        Right::new(
            PGO,
            &["pgreplicas"],
            &[Get, List, Watch, Create, Patch, Delete],
            "Replicas: followed, given a finalizer and 4.1's state; made and removed where a cluster is to have more or fewer.",
        ),
        Right::new(
            PGO,
            &["pgpolicies"],
            &[Get, List, Patch],
            "Policies: get reads the SQL that is to be applied; given a finalizer, so that their end is told.",
        ),
        Right::new(
            PGO,
            &["pgbackups"],
            &[List, Watch],
            "What nothing is done for yet.",
        ),
        Right::new(
            PGO,
            &[
                "pgtasks/status",
                "pgreplicas/status",
                "pgpolicies/status",
                "pgbackups/status",
            ],
            &[Patch],
            "What became of a request, or that nothing is done for it.",
        ),
        Right::new(
            "",
            &["pods", "persistentvolumeclaims"],
            &[Get, List, Watch, Create, Delete],
            "Instances of clusters and their data. Get, also below: whose an object is that has the name already.",
        ),
        Right::new(
            "",
            &["persistentvolumeclaims"],
            &[Patch],
            "A larger size, where a cluster's volumes are to grow, and a mark on the one whose data is the newest after a restore.",
        ),
        Right::new(
            "",
            &["pods"],
            &[Patch],
            "4.1's label that says what an instance is, when another one becomes the primary.",
        ),
        Right::new(
            "",
            &["secrets", "services", "serviceaccounts"],
            &[Get, List, Watch, Create, Patch, Delete],
            "Objects of clusters, and the passwords of the cluster that secretfrom names. Server-side apply, which renews them, is a \
             patch.",
        ),
        Right::new(
            "apps",
            &["deployments"],
            &[Get, List, Watch, Create, Patch, Delete],
            "Repositories of backups.",
        ),
        Right::new(
            "rbac.authorization.k8s.io",
            &["roles", "rolebindings"],
            &[Get, List, Watch, Create, Patch, Delete],
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
        Right::new(
            "",
            &["events"],
            &[List],
            "Why a claim is not bound, or a pod does not start.",
        ),
        Right::new(
            "",
            &["namespaces"],
            &[Get],
            "Whose the namespace is, by its labels. In a Role this is a right to the namespace itself, and to no other.",
        ),
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
            &[Get, List, Watch, Create, Delete],
            "Events that have no room in a status, or whose cluster is gone, until they are confirmed.",
        ),
        Right::new(
            "",
            &["pods"],
            &[List],
            "Which processes of PGO run, and how others ended: events tell of it.",
        ),
        LEADERSHIP[0],
        LEADERSHIP[1],
        Right::new(
            "coordination.k8s.io",
            &["leases"],
            &[Get],
            "Who leads the other services: events tell of it.",
        )
        .named(crate::installation::OTHERS),
        Right::new(
            "",
            &["secrets"],
            &[Get],
            "When the certificates of PGO's services end: an event tells it early enough. The keys beside them are not used.",
        )
        .named(crate::installation::CERTIFICATES),
        Right::new(
            "",
            &["secrets"],
            &[Get],
            "The key of S3, which a cluster whose backups are there gets a copy of.",
        )
        .named(&[crate::execute::KEY_SOURCE]),
    ],
    cluster: &[
        Right::new(
            "storage.k8s.io",
            &["storageclasses"],
            &[List],
            "Where there is no pgo.yaml: of which class the claims of clusters are. Where volumes are to grow: whether their class allows it.",
        ),
        Right::new(
            "",
            &["nodes"],
            &[List],
            "Which nodes PreferredFailoverNode of pgo.yaml selects.",
        ),
    ],
};
