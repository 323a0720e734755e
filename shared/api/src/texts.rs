//! Texts of answers, as 4.1 has them: scripts look for these words.
//!
//! Blanks at the end are part of some of them.

/// The client's version is another one than the apiserver's.
pub const VERSION_MISMATCH: &str = "pgo client and server version mismatch";
/// No namespace was given.
pub const EMPTY_NAMESPACE: &str = "empty namespace is not valid from pgo clients";
/// Body of 401 where the header is missing or unreadable.
pub const NOT_AUTHORIZED: &str = "Not authorized";
/// Body of 401 where user or password are wrong.
pub const NOT_AUTHENTICATED: &str = "Not authenticated in apiserver";
/// Body of 401 where the permission is missing.
pub const NOT_PERMITTED: &str = "Not authorized for this apiserver action";
/// Body of 403 where a client certificate is needed and none was shown.
pub const CERTIFICATE_REQUIRED: &str = "Forbidden: Client Certificate Required";
/// A cluster may not be called `all`.
pub const NAME_ALL: &str = "invalid cluster name 'all' is not allowed as a cluster name";
/// Fewer than no replicas.
pub const NEGATIVE_REPLICA_COUNT: &str =
    "invalid replica-count , should be greater than or equal to 0";
/// A user label without `=`.
pub const LABELS_FORMAT: &str = "invalid labels format";
/// A type of Service that is none (`NodePort` is fine too).
pub const SERVICE_TYPE: &str = "error ServiceType should be either ClusterIP or LoadBalancer ";
/// `--pgbackrest` with something else.
pub const BACKREST_FLAG: &str = "valid values for --pgbackrest are true or false";
/// A storage type for pgBackRest without pgBackRest.
pub const BACKREST_STORAGE_TYPE: &str =
    "pgBackRest storage type is only applicable if pgBackRest is enabled";
/// pgpool without replicas.
pub const PGPOOL_REPLICAS: &str = "--pgpool requires replica-count be >= 1";
/// Automatic failover without replicas.
pub const AUTOFAIL_REPLICAS: &str =
    "replica-count of 1 or more is required when autofail is specified";
/// Nothing to delete.
pub const NO_CLUSTERS: &str = "no clusters found";
/// A cluster to test has a primary that is not ready.
pub const NOT_READY: &str = "cluster not ready yet, try later";

/// A backup is asked for while the primary does not serve.
pub const PRIMARY_NOT_READY: &str = "primary pod is not in Ready state";
/// A selector of a backup selects nothing.
pub const NO_CLUSTERS_SELECTED: &str = "no clusters found with that selector";

/// A policy of the name is there.
pub const POLICY_EXISTS: &str = "policy already exists with that name";
/// A name that no policy can have; the reason is that of Kubernetes' library.
pub const POLICY_NAME: &str = "invalid policy name format a DNS-1035 label must consist of lower case alphanumeric \
                               characters or '-', start with an alphabetic character, and end with an alphanumeric \
                               character (e.g. 'my-name',  or 'abc-123', regex used for validation is \
                               '[a-z]([-a-z0-9]*[a-z0-9])?')";

/// Not all clusters at once.
pub const SCALE_ALL: &str = "all is not allowed for the scale command";
/// A type of Service that is none, asked for with more replicas.
pub const SCALE_SERVICE_TYPE: &str =
    "error --service-type should be either ClusterIP, NodePort, or LoadBalancer ";
/// Nothing to scale down.
pub const NO_REPLICAS: &str = "no replicas found for this cluster";

/// `--autofail-replace-replica` with something else.
pub const AUTOFAIL_REPLACE_REPLICA: &str =
    "true or false value required for --autofail-replace-replica flag";
/// A failover is asked for to where the primary is.
pub const TARGET_IS_PRIMARY: &str = "deployment primary can not be selected as failover target";
/// A failover is asked for while instances take over by themselves.
pub const AUTOFAIL_IS_ON: &str = "autofail flag is set to true, manual failover requires it to be false: pgo update cluster \
    CLUSTER --autofail=false; or ask with --planned, by which the primary hands over in order";

/// A request for files names no cluster.
pub const NO_CLUSTER_NAME: &str = "no cluster name was passed";

/// A path has characters in it that would mean something to a shell.
pub fn not_allowed(argument: &str) -> String {
    format!("{argument} contains non-allowed characters [&|;>]")
}

/// There is no workflow of this id.
pub fn no_workflow(id: &str) -> String {
    format!("workflow id NOT found for id {id}")
}

/// Several tasks have the same workflow id.
pub fn several_workflows(namespace: &str, id: &str) -> String {
    format!(
        "more than one task has workflow id {id}: kubectl get pgtasks -n {namespace} -l workflowid={id}"
    )
}

/// An operation is to go on no longer.
pub fn cancelling(id: &str, cluster: &str) -> String {
    format!("operation {id} of cluster {cluster} is being cancelled")
}

/// The cluster of a failover is not there.
pub fn no_cluster_named(cluster: &str) -> String {
    format!("no cluster found named {cluster}")
}

/// The target of a failover is not there.
pub fn no_target(target: &str) -> String {
    format!("no target found named {target}")
}

/// Result of `POST /failover`.
pub fn created_failover(cluster: &str) -> String {
    format!("created Pgtask (failover) for cluster {cluster}")
}

/// Result of `POST /clustersupdate`, one per cluster.
pub fn updated_cluster(cluster: &str) -> String {
    format!("updated pgcluster {cluster}")
}

/// Whether WAL flows to a replica, and how far it is behind.
pub fn failover_status(streaming: bool, lag_bytes: u64, lag_ms: u64) -> String {
    let flows = if streaming {
        "streaming"
    } else {
        "not streaming"
    };
    let (seconds, tenths) = (lag_ms / 1000, lag_ms / 100 % 10);
    format!("{flows}, lag {lag_bytes} bytes, {seconds}.{tenths} s")
}

/// Result of `/backrestbackup`, one per cluster.
pub fn created_backup(task: &str) -> String {
    format!("created Pgtask {task}")
}

/// There is no such claim; Kubernetes' text.
pub fn no_claim(claim: &str) -> String {
    format!("persistentvolumeclaims \"{claim}\" not found")
}

/// Result of `/restoredrill`, one per cluster.
pub fn asked_drill(cluster: &str, backup: &str) -> String {
    match backup {
        "" => format!("a restore drill of the newest backup of {cluster} was asked for"),
        backup => format!("a restore drill of backup {backup} of {cluster} was asked for"),
    }
}

/// Result of `/backups`, one per cluster.
pub fn created_base_backup(cluster: &str) -> String {
    format!("created backup Job for {cluster}")
}

/// Nobody asked for a backup by pg_basebackup of a cluster.
pub fn no_base_backup(cluster: &str) -> String {
    format!("backup not found for {cluster}")
}

/// Backups are deleted of one cluster after the other.
pub fn no_cluster_name(name: &str) -> String {
    format!("{name} not a valid cluster name")
}

/// Result of `/pgbasebackuprestore`.
pub fn base_restore_performed(cluster: &str, claim: &str, path: &str) -> String {
    format!("pgbasebackup restore performed on {cluster} to PVC {claim} using backup '{path}'")
}

/// There is nothing that asked for a dump of a cluster.
pub fn no_dumps(cluster: &str) -> String {
    format!("pgDump for {cluster} not found")
}

/// A cluster without pgBackRest is to be backed up by it.
pub fn no_backrest(cluster: &str) -> String {
    format!("{cluster} does not have pgbackrest enabled")
}

/// A cluster has no pod with its repository of backups.
pub fn no_repository(cluster: &str) -> String {
    format!("backrestrepo pod not found for cluster {cluster}")
}

/// A cluster without pgBackRest is to be restored by it.
pub const RESTORE_WITHOUT_BACKREST: &str =
    "can't restore, cluster restoring from does not have backrest enabled";

/// Result of `/restore`.
pub fn restore_performed(cluster: &str, to: &str, (options, target): (&str, &str)) -> String {
    format!("restore performed on {cluster} to {to} opts={options} pitr-target={target}")
}

/// Result of `/schedule`, one per cluster.
pub fn created_schedule(schedule: &str, cluster: &str) -> String {
    format!("created schedule {schedule} for cluster {cluster}")
}

/// A schedule of that name is there.
pub fn schedule_exists(schedule: &str) -> String {
    format!("Schedule {schedule} already exists")
}

/// Result of `/scheduledelete`, one per schedule.
pub fn deleted_schedule(schedule: &str) -> String {
    format!("deleted schedule {schedule}")
}

/// A schedule that was named cannot be deleted.
pub fn schedule_not_deleted(schedule: &str, why: &str) -> String {
    format!("Could not delete ConfigMap {schedule}: {why}")
}

/// Result of `/reload`, one per cluster.
pub fn reloaded(cluster: &str) -> String {
    format!("reload performed on {cluster}")
}

/// The cluster to reload or restart is not there.
pub fn not_found(cluster: &str) -> String {
    format!("{cluster} was not found, verify cluster name")
}

/// A selector of `/reload` selects nothing.
pub fn no_pods(selector: &str) -> String {
    format!("no pods found using {selector}")
}

/// Result of `POST /restart`, one per cluster.
pub fn created_restart(cluster: &str) -> String {
    format!("created Pgtask (restart) for cluster {cluster}")
}

/// Result of `/upgrades`, one per cluster.
pub fn created_upgrade(cluster: &str) -> String {
    format!("created minor upgrade task for {cluster}")
}

/// The cluster to upgrade is not there.
pub fn not_a_cluster(cluster: &str) -> String {
    format!("{cluster} is not a valid pgcluster")
}

/// The cluster to upgrade has the image already.
pub fn same_image_tag(tag: &str) -> String {
    format!("can not upgrade to the same image tag {tag}")
}

/// Kubernetes' words for a Pgcluster that is not there.
pub fn no_such_cluster(cluster: &str) -> String {
    format!("pgclusters.crunchydata.com {cluster:?} not found")
}

/// Result of `/clusters/scale/{name}`, one per replica.
pub fn created_replica(replica: &str) -> String {
    format!("created Pgreplica {replica}")
}

/// Result of `/scaledown/{name}`.
pub fn deleted_replica(replica: &str) -> String {
    format!("deleted Pgreplica {replica}")
}

/// The replica to remove is not one of the cluster.
pub fn replica_not_found(replica: &str) -> String {
    format!("{replica} replica not found")
}

/// How far a replica has received and replayed WAL, in bytes.
pub fn replication_status(received: u64, replayed: u64) -> String {
    format!("receive {received} replay {replayed}")
}

/// The user's namespaces do not have this one, or it does not exist.
pub fn namespace_not_allowed(user: &str, namespace: &str) -> String {
    format!("user [{user}] is not allowed access to namespace [{namespace}]")
}

/// The namespace belongs to no or another installation.
pub fn namespace_not_ours(namespace: &str) -> String {
    format!("namespace [{namespace}] is not part of the Operator installation")
}

/// Result of `/clusters`, one per cluster.
pub fn created_cluster(cluster: &str) -> String {
    format!("created Pgcluster {cluster}")
}

/// Result of what goes on after the answer; the id names its pgtask and its events.
pub fn workflow_id(id: &str) -> String {
    format!("workflow id {id}")
}

/// The name is taken.
pub fn cluster_exists(cluster: &str) -> String {
    format!("pgcluster {cluster} was found so we will not create it")
}

/// The name cannot be one of a cluster.
pub fn invalid_cluster_name(reason: &str) -> String {
    format!("invalid cluster name format {reason}")
}

/// `--custom-config` names no ConfigMap.
pub fn config_map_not_found(name: &str) -> String {
    format!("{name} configmap was not found ")
}

/// `--storage-config` or `--replica-storage-config` name nothing in pgo.yaml.
pub fn storage_not_found(name: &str) -> String {
    format!("{name} Storage config was not found ")
}

/// `--resources-config` names nothing in pgo.yaml.
pub fn resources_not_found(name: &str) -> String {
    format!("{name} ContainerResource config was not found ")
}

/// `--node-label` without exactly one `=`.
pub fn node_label_format(label: &str) -> String {
    format!("{label} node label does not follow key=value format")
}

/// No node has the key of `--node-label`.
pub fn node_label_key(label: &str) -> String {
    format!(
        "{label} key was not valid, no node has it; kubectl get nodes --show-labels shows what they have"
    )
}

/// No node has the value of `--node-label`.
pub fn node_label_value(label: &str) -> String {
    format!(
        "{label} node label value was not valid, no node has it; kubectl get nodes --show-labels shows what they have"
    )
}

/// `--secret-from` names a cluster without the three Secrets.
pub fn secret_not_found(cluster: &str) -> String {
    format!("{cluster} secret was not found ")
}

/// `--pgpool-secret` names no Secret.
pub fn pgpool_secret_not_found(secret: &str) -> String {
    format!("--pgpool-secret specified secret {secret} not found")
}

/// Result of `/clustersdelete`, one per cluster.
pub fn deleted_cluster(cluster: &str) -> String {
    format!("deleted pgcluster {cluster}")
}

/// A command, route or setting of 4.1 that this version does not have yet.
pub fn not_available(what: &str) -> String {
    format!("'{what}' is not available in this version yet")
}

/// A policy was deleted.
pub fn deleted_policy(policy: &str) -> String {
    format!("deleted policy {policy}")
}

/// There is no policy of the name to delete.
pub fn policy_not_found(policy: &str) -> String {
    format!("policy {policy} not found")
}

/// First result of `/benchmark` for a cluster.
pub fn created_benchmark(cluster: &str) -> String {
    format!("Created benchmark task for {cluster}")
}

/// Second result of `/benchmark` for a cluster.
pub fn benchmark_workflow_id(id: &str) -> String {
    format!("workflow id is {id}")
}

/// There is no policy of the name with a transaction for a benchmark.
pub fn no_benchmark_policy(policy: &str) -> String {
    format!("Policy not found: {policy}")
}

/// The policy with a transaction for a benchmark has none.
pub fn benchmark_policy_without_sql(policy: &str) -> String {
    format!("Policy contained no SQL: {policy}")
}

/// There is no benchmark to show or delete.
pub const NO_BENCHMARKS: &str = "no benchmark jobs found";

/// Result of `/benchmarkdelete`, one per benchmark.
pub fn deleted_benchmark(job: &str) -> String {
    format!("deleted benchmark {job}")
}

/// Result of `/load`, one per cluster.
pub fn created_job(job: &str) -> String {
    format!("created Job {job}")
}

/// A load names no clusters.
pub const LOAD_WITHOUT_CLUSTERS: &str = "args or --selector required";

/// There is no policy of the name to apply.
pub fn policy_to_apply_not_found(policy: &str) -> String {
    format!("policy {policy} is not found, cancelling request")
}
