//! What the apiserver may do in Kubernetes: what its routes need, verb by verb.

use pgo_k8s::rights::{
    Right, Rights,
    Verb::{Create, Delete, Get, List, Patch, Watch},
};

/// 4.1's API group.
const PGO: &str = "crunchydata.com";

/// The rights of the process.
pub const RIGHTS: Rights = Rights {
    process: "apiserver",
    targets: &[
        Right::new(
            PGO,
            &["pgclusters"],
            &[Get, List, Create, Patch],
            "Clusters: shown, and made as asked for; patched with 4.1's label autofail, and with notes on who set it and what a test has shown. Deleting one is a task, so there is no right to delete.",
        ),
        Right::new(
            PGO,
            &["pgreplicas"],
            &[List, Create, Patch],
            "Replicas: shown, made as asked for, and patched with a larger size of their volumes. Removing one is a task.",
        ),
        Right::new(
            PGO,
            &["pgtasks"],
            &[Get, List, Create, Patch, Delete],
            "Tasks that follow a creation or ask for a deletion or another primary, and are found by the id of their workflow; \
             patched with a note on who cancels what they ask for; \
             one that a former cluster of the name left behind makes way. Benchmarks are deleted with theirs.",
        ),
        Right::new(
            PGO,
            &["pgpolicies"],
            &[Get, List, Create, Patch, Delete],
            "Policies, as they are asked for; patched with a note on who deletes one.",
        ),
        Right::new(
            "",
            &["secrets"],
            &[Get, List, Create, Delete],
            "User Secrets where a password is given, taken back where the cluster cannot be made; read to test \
             connections.",
        ),
        Right::new(
            "",
            &["configmaps"],
            &[Get, List, Create, Delete],
            "Whether the ConfigMap of --custom-config is there; schedules, which are ConfigMaps, and the transactions of benchmarks.",
        ),
        Right::new(
            "",
            &["pods", "services", "persistentvolumeclaims"],
            &[List],
            "What is shown of a cluster, and the figures of the status.",
        ),
        Right::new("batch", &["jobs"], &[List], "The backups in the status."),
    ],
    operator: &[
        Right::new(
            "",
            &["secrets"],
            &[Get, List, Watch, Create],
            "Users and roles are Secrets. Names cannot limit list, watch and create; of what comes, only those and \
             pgo.tls are kept.",
        ),
        Right::new(
            "",
            &["configmaps"],
            &[List, Watch],
            "pgo.yaml, as it is now.",
        )
        .named(&["pgo-config"]),
        Right::new(PGO, &["pginstallations"], &[Get], "When PGO was started."),
    ],
    cluster: &[
        Right::new(
            "",
            &["namespaces"],
            &[List, Watch],
            "Which namespaces there are, and whose.",
        ),
        Right::new(
            "",
            &["nodes"],
            &[List],
            "Node labels that a request or pgo.yaml names, and the nodes of the status.",
        ),
        Right::new(
            "storage.k8s.io",
            &["storageclasses"],
            &[List],
            "Where there is no pgo.yaml: of which class the claims of clusters are. Where volumes are to grow: whether their class allows it.",
        ),
    ],
};
