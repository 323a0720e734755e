//! Pgcluster: a PostgreSQL cluster.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use pgo_core::{ClusterStatus, DrillPolicy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ContainerResources, RetentionSpec, StorageSpec, schema};

/// What a user wants of a cluster, under 4.1's names. What is left out or empty comes from `pgo.yaml`.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema,
)]
#[kube(
    group = "crunchydata.com",
    version = "v1",
    kind = "Pgcluster",
    plural = "pgclusters",
    singular = "pgcluster",
    namespaced,
    status = "PgclusterStatus",
    derive = "PartialEq",
    doc = "A PostgreSQL cluster",
    scale(
        spec_replicas_path = ".spec.replicaCount",
        status_replicas_path = ".status.replicaCount.wanted"
    ),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Primary", type_ = "string", json_path = ".status.currentPrimary"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.instances[0].postgresVersion"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.reason", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$') && size(self.metadata.name) <= 58")
        .message("the name of a cluster has 1 to 58 of a-z, 0-9 and '-', begins with a letter and ends with a letter or a digit"),
    validation = Rule::new("self.metadata.name != 'all'").message("a cluster cannot be named all"),
    validation = Rule::new("!has(self.spec.name) || self.spec.name == '' || self.spec.name == self.metadata.name")
        .message("spec.name is the object's name"),
    validation = Rule::new("!has(self.spec.clustername) || self.spec.clustername == '' || self.spec.clustername == self.metadata.name")
        .message("spec.clustername is the object's name")
)]
#[x_kube(
    validation = Rule::new("!has(self.port) || self.port == '' || (self.port.matches('^[0-9]{1,5}$') && int(self.port) >= 1024 && int(self.port) <= 65535)")
        .message("port is a number from 1024 to 65535: PostgreSQL does not run as root and cannot listen on others"),
    validation = Rule::new("!has(self.pgbadgerport) || self.pgbadgerport == '' || (self.pgbadgerport.matches('^[0-9]{1,5}$') && int(self.pgbadgerport) >= 1 && int(self.pgbadgerport) <= 65535)")
        .message("pgbadgerport is a number from 1 to 65535"),
    validation = Rule::new("!has(self.exporterport) || self.exporterport == '' || (self.exporterport.matches('^[0-9]{1,5}$') && int(self.exporterport) >= 1 && int(self.exporterport) <= 65535)")
        .message("exporterport is a number from 1 to 65535"),
    validation = Rule::new("!has(self.nodename) || self.nodename == ''")
        .message("nodename has no effect, in 4.1 neither; leave it out: nodes are preferred by NodeLabelKey and NodeLabelValue among userlabels"),
    validation = Rule::new("!has(self.pswlastupdate) || self.pswlastupdate.matches('^([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?(Z|[-+][0-9]{2}:[0-9]{2}))?$')")
        .message("pswlastupdate is a time such as 2026-01-31T12:00:00Z"),
    validation = Rule::new("!has(self.strategy) || self.strategy in ['', '1']")
        .message("strategy is 1, the only one there is"),
    validation = Rule::new("!has(self.user) || self.user == '' || self.user.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')")
        .message("user has a-z, 0-9, '-' and '.', with a letter or a digit at both ends: a Secret is named after it"),
    validation = Rule::new("!has(self.replicas) || self.replicas.matches('^[0-9]{0,3}$')")
        .message("replicas is a number, written as text"),
    validation = Rule::new("!has(oldSelf.user) || oldSelf.user == '' || self.user == oldSelf.user")
        .message("user cannot be changed"),
    validation = Rule::new("!has(oldSelf.database) || oldSelf.database == '' || self.database == oldSelf.database")
        .message("database cannot be changed")
)]
pub struct PgclusterSpec {
    /// The object's namespace again.
    #[schemars(length(max = 63))]
    #[serde(default)]
    pub namespace: String,
    /// The object's name again.
    #[schemars(length(max = 63))]
    #[serde(default)]
    pub name: String,
    /// The object's name again.
    #[schemars(length(max = 63))]
    #[serde(default)]
    pub clustername: String,
    /// Policies applied after creation, a comma list.
    #[schemars(length(max = 1024))]
    #[serde(default)]
    pub policies: String,
    /// Image with PostgreSQL, without prefix and tag.
    #[schemars(length(max = 255))]
    #[serde(default)]
    pub ccpimage: String,
    /// Its tag.
    #[schemars(length(max = 128))]
    #[serde(default)]
    pub ccpimagetag: String,
    /// Port of PostgreSQL.
    #[schemars(length(max = 5))]
    #[serde(default)]
    pub port: String,
    /// Port of pgBadger.
    #[schemars(length(max = 5))]
    #[serde(default)]
    pub pgbadgerport: String,
    /// Port of the exporter.
    #[schemars(length(max = 5))]
    #[serde(default)]
    pub exporterport: String,
    /// Always empty: 4.1 has no use for it either.
    #[schemars(length(max = 253))]
    #[serde(default)]
    pub nodename: String,
    /// Storage of the primary.
    #[serde(rename = "PrimaryStorage")]
    #[serde(default)]
    pub primary_storage: StorageSpec,
    /// Kept for 4.1.
    #[serde(rename = "ArchiveStorage")]
    #[serde(default)]
    pub archive_storage: StorageSpec,
    /// Storage of replicas.
    #[serde(rename = "ReplicaStorage")]
    #[serde(default)]
    pub replica_storage: StorageSpec,
    /// Storage of backups.
    #[serde(rename = "BackrestStorage")]
    #[serde(default)]
    pub backrest_storage: StorageSpec,
    /// How many backups stay when a new one is there. Without it, as the configuration says.
    #[serde(rename = "backrestRetention")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backrest_retention: Option<RetentionSpec>,
    /// Resources of PostgreSQL's container.
    #[serde(rename = "ContainerResources")]
    #[serde(default)]
    pub container_resources: ContainerResources,
    /// Name of the primary's Service.
    #[schemars(length(max = 63))]
    #[serde(default)]
    pub primaryhost: String,
    /// The application's role.
    #[schemars(length(max = 63))]
    #[serde(default)]
    pub user: String,
    /// The application's database.
    #[schemars(length(max = 63))]
    #[serde(default)]
    pub database: String,
    /// Number of replicas at the creation, as text: 4.1's.
    #[schemars(length(max = 3))]
    #[serde(default)]
    pub replicas: String,
    /// Number of replicas, for kubectl scale. Without it `replicas` counts.
    #[serde(rename = "replicaCount")]
    #[schemars(range(max = 100))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica_count: Option<u32>,
    /// Whether commits wait for a replica's answer, so that a failover loses none: the same as `synchronousStandbys: 1`. Without
    /// it, as the configuration says.
    #[serde(rename = "syncReplication")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_replication: Option<bool>,
    /// For how many replicas' answers commits wait, whichever come first; goes before `syncReplication`. At most as many as there
    /// are replicas.
    #[serde(rename = "synchronousStandbys")]
    #[schemars(range(max = 64))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synchronous_standbys: Option<u32>,
    /// Whether commits go on without the replicas they wait for where too few are there for a while; what is acknowledged then
    /// may be lost with its primary, and events tell of it. Without it, as the configuration says.
    #[serde(rename = "syncFallback")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_fallback: Option<bool>,
    /// After how many seconds without the end of a write the data volume counts as hung, so that another instance takes over; 0
    /// for never. Without it, as the configuration says.
    #[serde(rename = "volumeDeadline")]
    #[schemars(range(max = 3600))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_deadline: Option<u32>,
    /// Which backups are restored for trial: `each`, the newest one `daily`, or `never`. Without it, as the configuration says.
    #[serde(rename = "restoreDrills")]
    #[schemars(schema_with = "schema::drill_policy")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_drills: Option<DrillPolicy>,
    /// Always `1`.
    #[schemars(length(max = 8))]
    #[serde(default)]
    pub strategy: String,
    /// Cluster of the namespace whose users' passwords its users get.
    #[schemars(length(max = 63))]
    #[serde(default)]
    pub secretfrom: String,
    /// Name of the Secret of the application's role.
    #[schemars(length(max = 253))]
    #[serde(default)]
    pub usersecretname: String,
    /// Name of the superuser's Secret.
    #[schemars(length(max = 253))]
    #[serde(default)]
    pub rootsecretname: String,
    /// Name of the replication user's Secret.
    #[schemars(length(max = 253))]
    #[serde(default)]
    pub primarysecretname: String,
    /// Name of the exporter's Secret: `<cluster>-collect-secret`.
    #[serde(rename = "collectSecretName")]
    #[schemars(length(max = 253))]
    #[serde(default)]
    pub collect_secret_name: String,
    /// 4.1's state: empty, then `completed`. A projection of the status.
    #[schemars(length(max = 64))]
    #[serde(default)]
    pub status: String,
    /// 4.1's note of when a password changed last; it changes nothing.
    #[schemars(length(max = 64))]
    #[serde(default)]
    pub pswlastupdate: String,
    /// ConfigMap with configuration files.
    #[schemars(length(max = 253))]
    #[serde(default)]
    pub customconfig: String,
    /// Labels of 4.1's kind: settings and what `--labels` gave.
    #[schemars(extend("maxProperties" = 64))]
    #[serde(default)]
    pub userlabels: BTreeMap<String, String>,
}

/// State, operations and outbox. Only the reconciler writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct PgclusterStatus(#[schemars(schema_with = "schema::cluster_status")] pub ClusterStatus);
