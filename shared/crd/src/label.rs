//! Labels of 4.1 and ours, which of them users may set, and whose a namespace is by them.

use std::collections::BTreeMap;

/// On a Pgcluster: whether another instance becomes the primary by itself, `true` or `false`.
pub const AUTOFAIL: &str = "autofail";

/// On every object of ours; its value is `crunchydata`.
pub const VENDOR: &str = "vendor";
/// Name of the cluster an object belongs to.
pub const PG_CLUSTER: &str = "pg-cluster";
/// On a Pgcluster: its own name, for selectors. On a Pod: as [`SERVICE_NAME`].
pub const NAME: &str = "name";
/// On a Pgcluster and its Pods: its uid, by which 4.1 tells clusters of one name apart.
pub const PG_CLUSTER_ID: &str = "pg-cluster-id";
/// On a Pgcluster: the instance that is primary.
pub const CURRENT_PRIMARY: &str = "current-primary";
/// On a Pgtask that asks for another primary: the instance that is to be it.
pub const TARGET: &str = "target";
/// On the same, 4.1's wish for a replica in the place of the one that is promoted, `true` or `false`.
pub const AUTOFAIL_REPLACE_REPLICA: &str = "autofail-replace-replica";
/// On the same: `true` where the primary is to hand over in order or not at all.
pub const PLANNED: &str = "pgo.crunchydata.com/planned";
/// Who asked for it.
pub const PGOUSER: &str = "pgouser";
/// Id of the operation that made it.
pub const WORKFLOW_ID: &str = "workflow-id";
/// The same on a Pgtask.
pub const WORKFLOWID: &str = "workflowid";
/// Service an instance belongs to: `<c>` or `<c>-replica`.
pub const SERVICE_NAME: &str = "service-name";
/// Instance of a Pod or claim, under 4.1's key.
pub const DEPLOYMENT_NAME: &str = "deployment-name";
/// On the Pod of an instance that was made as a replica: its name.
pub const REPLICA_NAME: &str = "replica-name";
/// On claims that belong to a cluster.
pub const PGREMOVE: &str = "pgremove";
/// On a Pgtask that asks for a deletion.
pub const PGRMDATA: &str = "pgrmdata";
/// On a namespace: the installation that manages it.
pub const INSTALLATION: &str = "pgo-installation-name";
/// On the pod that asks an image for its version: id of the upgrade.
pub const UPGRADE_PROBE: &str = "pgo.crunchydata.com/upgrade-probe";
/// On the pod in which a backup is tried: id of the operation.
pub const RESTORE_DRILL: &str = "pgo.crunchydata.com/restore-drill";
/// On the pod for a dump: id of the operation.
pub const DUMP: &str = "pgo.crunchydata.com/dump";
/// On what makes dumps, and on their claim.
pub const PGDUMP: &str = "pgdump";
/// On what restores them.
pub const PGRESTORE: &str = "pgrestore";
/// On what restores a backup by `pg_basebackup`, and on the claim that it makes.
pub const PGBASEBACKUP_RESTORE: &str = "pgo-pgbasebackup-restore";
/// On the pod for a benchmark or a load: id of the operation.
pub const JOB: &str = "pgo.crunchydata.com/job";
/// On what is made for a benchmark.
pub const BENCHMARK: &str = "pgo-benchmark";
/// On what is made for a load.
pub const LOAD: &str = "pgo-load";
/// Annotation of a Pgtask: who wants what it asks for to go on no longer.
pub const CANCEL: &str = "pgo.crunchydata.com/cancel";
/// On a Pgcluster: 4.1's state of its last upgrade.
pub const MINOR_UPGRADE: &str = "minor-upgrade";
/// On a Pgreplica that PGO made because of a Pgcluster's `spec.replicaCount`.
pub const DERIVED: &str = "pgo.crunchydata.com/derived";
/// On a Pgcluster: whether it has backups by pgBackRest, `true` or `false`.
pub const PGO_BACKREST: &str = "pgo-backrest";
/// On what runs pg_basebackup.
pub const PGBACKUP: &str = "pgbackup";
/// On the repository of pgBackRest.
pub const BACKREST_REPO: &str = "pgo-backrest-repo";
/// On what runs a command of pgBackRest.
pub const BACKREST_JOB: &str = "pgo-backrest-job";
/// On what restores with pgBackRest.
pub const BACKREST_RESTORE: &str = "pgo-backrest-restore";
/// Value of the label of a Pgcluster whose key is the name of a policy that was applied.
pub const PGPOLICY: &str = "pgpolicy";
/// On pgBouncer.
pub const PGBOUNCER: &str = "crunchy-pgbouncer";
/// On pgpool.
pub const PGPOOL_POD: &str = "crunchy-pgpool-pod";

/// Labels by which PGO and 4.1 tell what an object is. A user's one would make an instance look like something else, and
/// hide it.
const KINDS: &[&str] = &[
    BACKREST_JOB,
    BACKREST_REPO,
    BACKREST_RESTORE,
    INSTALLATION,
    PGBACKUP,
    PGBOUNCER,
    PGPOOL_POD,
    PGREMOVE,
    PGRMDATA,
    SERVICE_NAME,
    WORKFLOWID,
    "backrest-command",
    "crunchy-pgpool",
    "crunchy-scheduler",
    "pg-policy",
    "pg-schedule",
    "pg-task",
    PGDUMP,
    BENCHMARK,
    LOAD,
    PGBASEBACKUP_RESTORE,
    "pgo-pgorole",
    "pgo-pgouser",
    "pgo-sqlrunner",
    PGRESTORE,
    "replica-name",
];

/// User labels of 4.1 that carry settings or names that PGO sets on each object itself.
const SETTINGS: &[&str] = &[
    DEPLOYMENT_NAME,
    NAME,
    PG_CLUSTER,
    VENDOR,
    "NodeLabelKey",
    "NodeLabelValue",
    "backrest-storage-type",
    "ccp-image-tag",
    "custom-config",
    "pgbouncer-password",
    "pgbouncer-secret",
    "pgbouncer-user",
    "pgpool-secret",
    "service-type",
];

/// Further labels that PGO sets on a Pgcluster, among its user labels or in its metadata.
const OF_CLUSTERS: &[&str] = &[
    PGOUSER,
    WORKFLOW_ID,
    "archive-timeout",
    AUTOFAIL,
    "crunchy-pgbadger",
    "crunchy_collect",
    CURRENT_PRIMARY,
    "minor-upgrade",
    PG_CLUSTER_ID,
    PGO_BACKREST,
    "pgo-version",
];

/// Whether Kubernetes takes a text as the value of a label.
#[must_use]
pub fn is_value(text: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    text.len() <= 63
        && text.chars().all(is_allowed)
        && !text.starts_with(['-', '_', '.'])
        && !text.ends_with(['-', '_', '.'])
}

/// Whether only PGO sets this label: a request to set it is refused.
#[must_use]
pub fn is_reserved(key: &str) -> bool {
    !is_passed_on(key) || OF_CLUSTERS.contains(&key)
}

/// Whether a user label of a Pgcluster becomes a label of the cluster's objects.
#[must_use]
pub fn is_passed_on(key: &str) -> bool {
    !KINDS.contains(&key) && !SETTINGS.contains(&key)
}

/// Whose a namespace is, by its labels (4.1: both [`VENDOR`] and [`INSTALLATION`] make it an installation's).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The installation that asks.
    Us,
    /// Another installation, of this name.
    Another(String),
    /// No installation: one of the labels is not there.
    Nobody,
}

impl Owner {
    /// Judges the labels of a namespace for the installation of a name.
    #[must_use]
    pub fn of(labels: &BTreeMap<String, String>, installation: &str) -> Self {
        let value = |key: &str| labels.get(key).map(String::as_str);
        match (value(VENDOR), value(INSTALLATION)) {
            (Some("crunchydata"), Some(name)) if name == installation => Self::Us,
            (Some("crunchydata"), Some(name)) if !name.is_empty() => Self::Another(name.to_owned()),
            _ => Self::Nobody,
        }
    }
}
