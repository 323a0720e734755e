//! Create, show, delete and test clusters: the bodies of `/clusters`, `/showclusters`, `/clustersdelete` and
//! `/testclusters`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    StatusCluster,
    wire::{Outcome, Secret, wire},
};

wire! {
    /// `POST /clusters`. An empty text means the setting of pgo.yaml, or none.
    pub struct CreateClusterRequest {
        /// Name of the cluster; of a series, the part before the number.
        name: String = "Name",
        /// Namespace it goes to.
        namespace: String = "Namespace",
        /// `key=value` that a node must have for the primary to run there.
        node_label: String = "NodeLabel",
        /// Password of all initial users.
        password: Secret = "Password",
        /// Cluster whose user Secrets are copied.
        secret_from: String = "SecretFrom",
        /// `key=value[,key=value]`.
        user_labels: String = "UserLabels",
        /// Comma list of policies to apply.
        policies: String = "Policies",
        /// Image instead of `crunchy-postgres`.
        ccp_image: String = "CCPImage",
        /// Tag of the image.
        ccp_image_tag: String = "CCPImageTag",
        /// How many clusters to create; 0 creates none.
        series: i64 = "Series",
        /// How many replicas each gets.
        replica_count: i64 = "ReplicaCount",
        /// `ClusterIP`, `NodePort` or `LoadBalancer`.
        service_type: String = "ServiceType",
        /// Whether an exporter of metrics stands beside PostgreSQL.
        metrics_flag: bool = "MetricsFlag",
        /// Whether pgBadger stands beside PostgreSQL.
        badger_flag: bool = "BadgerFlag",
        /// Whether a replica takes over by itself.
        autofail_flag: bool = "AutofailFlag",
        /// Sent by no client.
        archive_flag: bool = "ArchiveFlag",
        /// `true` or `false`: whether pgBackRest archives and backs up.
        backrest_flag: String = "BackrestFlag",
        /// `local`, `s3` or both.
        backrest_storage_type: String = "BackrestStorageType",
        /// Whether pgpool is set up.
        pgpool_flag: bool = "PgpoolFlag",
        /// Whether pgBouncer is set up.
        pgbouncer_flag: bool = "PgbouncerFlag",
        /// Secret with the configuration of pgpool.
        pgpool_secret: String = "PgpoolSecret",
        /// Sent by no client.
        pgbouncer_secret: String = "PgbouncerSecret",
        /// Password of the pgBouncer user.
        pgbouncer_pass: Secret = "PgbouncerPass",
        /// Name of the pgBouncer user; clients always send `pgbouncer`.
        pgbouncer_user: String = "PgbouncerUser",
        /// ConfigMap with PostgreSQL's configuration files.
        custom_config: String = "CustomConfig",
        /// Storage configuration of pgo.yaml for the primary.
        storage_config: String = "StorageConfig",
        /// Storage configuration of pgo.yaml for replicas.
        replica_storage_config: String = "ReplicaStorageConfig",
        /// Resource configuration of pgo.yaml.
        container_resources: String = "ContainerResources",
        /// Version of the client.
        client_version: String = "ClientVersion",
        /// Whether commits wait for a replica's answer. 4.1 has no such field, so it is written only where it says something.
        #[serde(default, skip_serializing_if = "crate::wire::is_default")]
        sync_replication: bool = "SyncReplication",
        /// For how many replicas' answers commits wait; 0, which is not written, leaves it open.
        #[serde(default, skip_serializing_if = "crate::wire::is_default")]
        sync_standbys: i64 = "SyncStandbys",
        /// Whether commits go on without the replicas they wait for where too few are there.
        #[serde(default, skip_serializing_if = "crate::wire::is_default")]
        sync_fallback: bool = "SyncFallback",
        /// Which backups are restored for trial: `each`, `daily` or `never`; empty, which is not written, leaves it open.
        #[serde(default, skip_serializing_if = "crate::wire::is_default")]
        restore_drills: String = "RestoreDrills",
    }
}

wire! {
    /// Answer of `POST /clusters`.
    pub response CreateClusterResponse {
        /// One text per thing done. `None` (`null`) where the request was refused before its contents were looked
        /// at, as 4.1 has it.
        results: Option<Vec<String>> = "Results",
    }
}

impl CreateClusterResponse {
    /// The contents of the request were looked at and found wanting: `Results` is `[]`.
    pub fn failed(why: impl Into<String>) -> Self {
        Self {
            results: Some(Vec::new()),
            outcome: Outcome::error(why),
        }
    }
}

wire! {
    /// `POST /showclusters`.
    pub struct ShowClusterRequest {
        /// Name of one cluster.
        cluster_name: String = "Clustername",
        /// Kubernetes label selector; before the name where both are given.
        selector: String = "Selector",
        /// Only clusters of this image tag.
        ccp_image_tag: String = "Ccpimagetag",
        /// Version of the client.
        client_version: String = "ClientVersion",
        /// Namespace to look in.
        namespace: String = "Namespace",
        /// All clusters of the namespace.
        all_flag: bool = "AllFlag",
    }
}

wire! {
    /// Answer of `POST /showclusters`. Nothing selected is no failure.
    pub response ShowClusterResponse {
        /// One entry per cluster.
        results: Vec<ShowClusterDetail> = "Results",
    }
}

wire! {
    /// A cluster and what belongs to it.
    pub struct ShowClusterDetail {
        /// The Pgcluster as Kubernetes has it, with `kind` and `apiVersion`.
        cluster: Value = "Cluster",
        /// Its instances, by the names 4.1 gives their Deployments.
        deployments: Vec<ShowClusterDeployment> = "Deployments",
        /// Its pods.
        pods: Vec<ShowClusterPod> = "Pods",
        /// Its Services.
        services: Vec<ShowClusterService> = "Services",
        /// Its Pgreplicas.
        replicas: Vec<ShowClusterReplica> = "Replicas",
    }
}

wire! {
    /// An instance.
    pub struct ShowClusterDeployment {
        /// Its name.
        name: String = "Name",
        /// Names of the policies applied.
        policy_labels: Vec<String> = "PolicyLabels",
    }
}

wire! {
    /// A pod.
    pub struct ShowClusterPod {
        /// Its name.
        name: String = "Name",
        /// Phase as Kubernetes says it.
        phase: String = "Phase",
        /// Node it runs on.
        node_name: String = "NodeName",
        /// Volume to claim.
        pvc_name: BTreeMap<String, String> = "PVCName",
        /// `ready/all` containers.
        ready_status: String = "ReadyStatus",
        /// Whether all containers are ready.
        ready: bool = "Ready",
        /// Whether it is the primary.
        primary: bool = "Primary",
        /// `primary`, `replica`, `pgbouncer`, `pgpool`, `pgbackrest`, `backup` or `unknown`.
        kind: String = "Type",
    }
}

wire! {
    /// A Service.
    pub struct ShowClusterService {
        /// Its name.
        name: String = "Name",
        /// Empty in 4.1.
        data: String = "Data",
        /// Address inside Kubernetes.
        cluster_ip: String = "ClusterIP",
        /// Address outside, if it has one.
        external_ip: String = "ExternalIP",
        /// Empty in 4.1.
        cluster_name: String = "ClusterName",
        /// Whether pgBouncer is behind it.
        pgbouncer: bool = "Pgbouncer",
        /// Whether the pgBackRest repository is behind it.
        backrest_repo: bool = "BackrestRepo",
    }
}

wire! {
    /// A Pgreplica.
    pub struct ShowClusterReplica {
        /// Its name.
        name: String = "Name",
    }
}

wire! {
    /// `POST /clustersdelete`.
    pub struct DeleteClusterRequest {
        /// Name of one cluster, or `all`.
        cluster_name: String = "Clustername",
        /// Kubernetes label selector; before the name where both are given.
        selector: String = "Selector",
        /// Version of the client.
        client_version: String = "ClientVersion",
        /// Namespace to look in.
        namespace: String = "Namespace",
        /// All clusters of the namespace.
        all_flag: bool = "AllFlag",
        /// Whether its backups go too.
        delete_backups: bool = "DeleteBackups",
        /// Whether its data goes too.
        delete_data: bool = "DeleteData",
    }
}

wire! {
    /// Answer of `POST /clustersdelete`.
    pub response DeleteClusterResponse {
        /// One text per cluster whose deletion has begun.
        results: Vec<String> = "Results",
    }
}

wire! {
    /// `POST /testclusters`.
    pub struct ClusterTestRequest {
        /// Name of one cluster, or `all`.
        cluster_name: String = "Clustername",
        /// Kubernetes label selector; before the name where both are given.
        selector: String = "Selector",
        /// Version of the client.
        client_version: String = "ClientVersion",
        /// Namespace to look in.
        namespace: String = "Namespace",
        /// All clusters of the namespace.
        all_flag: bool = "AllFlag",
    }
}

wire! {
    /// Answer of `POST /testclusters`.
    pub response ClusterTestResponse {
        /// One entry per cluster.
        results: Vec<ClusterTestResult> = "Results",
    }
}

wire! {
    /// What a test of one cluster found.
    pub struct ClusterTestResult {
        /// The cluster.
        cluster_name: String = "ClusterName",
        /// One entry per Service, user and database.
        items: Vec<ClusterTestDetail> = "Items",
        /// How its instances stood to each other when the test began; 4.1 has no such thing.
        #[serde(skip_serializing_if = "Option::is_none")]
        standing: Option<StatusCluster> = "Standing",
    }
}

wire! {
    /// One connection tried.
    pub struct ClusterTestDetail {
        /// The `psql` command that connects in the same way, without the password.
        psql_string: String = "PsqlString",
        /// Whether a query succeeded.
        working: bool = "Working",
    }
}
