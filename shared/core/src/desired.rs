//! What a user asked for, validated and with every default filled in.

use core::fmt;
use std::collections::BTreeMap;

use pgo_ids::{ClusterName, Namespace, RoleName};
use serde::{Deserialize, Serialize};

/// An image by its full reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image(pub String);

/// How a volume comes to be: the storage types of 4.1 that make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum StorageKind {
    /// A claim without a storage class, bound to a volume made beforehand.
    Create,
    /// A claim of a storage class.
    Dynamic,
    /// No claim: the data goes with the pod.
    EmptyDir,
}

impl StorageKind {
    /// 4.1's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Dynamic => "dynamic",
            Self::EmptyDir => "emptydir",
        }
    }
}

/// Where an instance's data lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Storage {
    /// How the volume comes to be.
    pub kind: StorageKind,
    /// Storage class; with [`StorageKind::Dynamic`].
    pub class: Option<String>,
    /// `ReadWriteOnce` and the like.
    pub access_mode: String,
    /// A Kubernetes quantity.
    pub size: String,
    /// Group that owns the volume's files.
    pub fs_group: Option<i64>,
    /// Further groups the processes are in.
    pub supplemental_groups: Vec<i64>,
    /// Labels the volume must carry; with [`StorageKind::Create`].
    pub match_labels: BTreeMap<String, String>,
}

/// Compute resources, as Kubernetes quantities; an empty one is not set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Resources {
    /// Guaranteed CPU.
    pub requests_cpu: String,
    /// Guaranteed memory.
    pub requests_memory: String,
    /// Most CPU.
    pub limits_cpu: String,
    /// Most memory.
    pub limits_memory: String,
}

/// How the primary's Service is reachable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum ServiceType {
    /// Inside the Kubernetes cluster.
    ClusterIp,
    /// On a port of each node.
    NodePort,
    /// By a load balancer of the platform.
    LoadBalancer,
}

impl ServiceType {
    /// Kubernetes' word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClusterIp => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
        }
    }
}

/// Which nodes a pod prefers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum NodePreference {
    /// Those with this label: key and value.
    With(String, String),
    /// Those without it.
    Without(String, String),
}

impl fmt::Display for NodePreference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::With(key, value) => write!(f, "{key}={value}"),
            Self::Without(key, value) => write!(f, "{key}!={value}"),
        }
    }
}

/// The three Secrets with a user's name and password, under 4.1's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum UserSecret {
    /// `<c>-postgres-secret`: the superuser.
    Superuser,
    /// `<c>-primaryuser-secret`: replication.
    Replication,
    /// `<c>-<user>-secret`: the application's user.
    Application,
}

impl UserSecret {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Superuser, Self::Replication, Self::Application];

    /// Its name, for a cluster and the application's role.
    #[must_use]
    pub fn name(self, cluster: &str, user: &str) -> String {
        match self {
            Self::Superuser => format!("{cluster}-postgres-secret"),
            Self::Replication => format!("{cluster}-primaryuser-secret"),
            Self::Application => format!("{cluster}-{user}-secret"),
        }
    }
}

/// What a user asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Desired {
    /// The cluster.
    pub name: ClusterName,
    /// Its namespace.
    pub namespace: Namespace,
    /// Image with PostgreSQL.
    pub image: Image,
    /// Image with the agent.
    pub agent_image: Image,
    /// Port of PostgreSQL.
    pub port: u16,
    /// Database made for the application.
    pub database: String,
    /// The application's role.
    pub user: RoleName,
    /// Cluster of the same namespace whose users' passwords its own users get; drawn where none is named.
    pub secret_from: Option<ClusterName>,
    /// Storage of the instances.
    pub storage: Storage,
    /// Resources of the container with PostgreSQL.
    pub resources: Resources,
    /// Type of the Service.
    pub service_type: ServiceType,
    /// Type of the replicas' Service.
    pub replica_service_type: ServiceType,
    /// Nodes that pods prefer.
    pub node: Option<NodePreference>,
    /// Whether another instance becomes the primary by itself when that is gone.
    pub autofail: bool,
    /// For how many replicas' answers commits wait; 0 in the asynchronous mode.
    pub synchronous: u32,
    /// Whether commits go on without the replicas they wait for where too few are there.
    pub sync_fallback: bool,
    /// ConfigMap with configuration files.
    pub custom_config: Option<String>,
    /// Labels for every object of the cluster.
    pub labels: BTreeMap<String, String>,
    /// `log_statement`.
    pub log_statement: String,
    /// `log_min_duration_statement`, in milliseconds.
    pub log_min_duration_statement: i64,
    /// After how many seconds without the end of a write a data volume counts as hung; 0 for never.
    pub volume_deadline: u32,
    /// Backups by pgBackRest; none where there are to be none.
    pub backups: Option<crate::Backups>,
    /// What an instance is made to restore; of none but that one.
    pub restore: Option<crate::RestoreOrder>,
}

impl Desired {
    /// The identity of the cluster's agents in their certificate.
    #[must_use]
    pub fn agent_identity(name: &ClusterName, namespace: &Namespace) -> String {
        format!("{name}.{namespace}.agent.pgo")
    }

    /// Names the agents' certificate is for: their identity first, then those that clients of PostgreSQL use, and instances
    /// for the repository of backups.
    #[must_use]
    pub fn certificate_names(&self) -> Vec<String> {
        let (name, namespace) = (&self.name, &self.namespace);
        let mut names = vec![Self::agent_identity(name, namespace)];
        let repository = self.backups.is_some().then(|| self.repository_name());
        let services = [name.to_string(), format!("{name}-replica")];
        for service in services.into_iter().chain(repository) {
            names.push(format!("{service}.{namespace}.svc.cluster.local"));
            names.push(format!("{service}.{namespace}.svc"));
            names.push(format!("{service}.{namespace}"));
            names.push(service);
        }
        names
    }

    /// Name of a user Secret.
    #[must_use]
    pub fn secret_name(&self, secret: UserSecret) -> String {
        secret.name(self.name.as_str(), self.user.as_str())
    }

    /// Name of the PostgreSQL role in a user Secret.
    #[must_use]
    pub fn role_name(&self, secret: UserSecret) -> &str {
        match secret {
            UserSecret::Superuser => "postgres",
            UserSecret::Replication => "primaryuser",
            UserSecret::Application => self.user.as_str(),
        }
    }
}
