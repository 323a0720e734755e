//! `pgo.yaml`, with 4.1's keys, defaults and rules.

mod built_in;
mod check;
mod ignored;
mod later;

use std::collections::{BTreeMap, BTreeSet};

use pgo_core::DrillPolicy;
use serde::{Deserialize, Deserializer, Serialize};

/// Why a `pgo.yaml` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It is no YAML of this form.
    #[error("Error in pgoconfig: check pgo.yaml: {0}")]
    Form(String),
    /// A value breaks a rule.
    #[error("Error in pgoconfig: check pgo.yaml: {key}: {problem}")]
    Value {
        /// The key, with the section it is in.
        key: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
}

/// A value; a key without one, of which 4.1's own file has many, says as little as none.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A storage configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct StorageConfig {
    /// Access mode of the claim.
    #[serde(deserialize_with = "given")]
    pub access_mode: String,
    /// Size of the claim.
    #[serde(deserialize_with = "given")]
    pub size: String,
    /// `create`, `dynamic`, `existing`, `emptydir`.
    #[serde(deserialize_with = "given")]
    pub storage_type: String,
    /// Storage class, with `dynamic`.
    #[serde(deserialize_with = "given")]
    pub storage_class: String,
    /// Group that owns the files.
    #[serde(deserialize_with = "given")]
    pub fsgroup: String,
    /// Further groups.
    #[serde(deserialize_with = "given")]
    pub supplemental_groups: String,
    /// One label the volume must carry, `key=value`.
    #[serde(deserialize_with = "given")]
    pub match_labels: String,
}

/// A resource profile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResourcesConfig {
    /// Guaranteed memory.
    #[serde(rename = "RequestsMemory", deserialize_with = "given")]
    pub requests_memory: String,
    /// Guaranteed CPU.
    #[serde(rename = "RequestsCPU", deserialize_with = "given")]
    pub requests_cpu: String,
    /// Most memory.
    #[serde(rename = "LimitsMemory", deserialize_with = "given")]
    pub limits_memory: String,
    /// Most CPU.
    #[serde(rename = "LimitsCPU", deserialize_with = "given")]
    pub limits_cpu: String,
}

/// Section `Cluster`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(
    missing_docs,
    reason = "the keys are 4.1's and documented in docs/configuration.md"
)]
pub struct ClusterConfig {
    #[serde(rename = "PrimaryNodeLabel", deserialize_with = "given")]
    pub primary_node_label: String,
    #[serde(rename = "ReplicaNodeLabel", deserialize_with = "given")]
    pub replica_node_label: String,
    #[serde(rename = "CCPImagePrefix", deserialize_with = "given")]
    pub ccp_image_prefix: String,
    #[serde(rename = "CCPImageTag", deserialize_with = "given")]
    pub ccp_image_tag: String,
    #[serde(rename = "Policies", deserialize_with = "given")]
    pub policies: String,
    #[serde(rename = "Metrics", deserialize_with = "given")]
    pub metrics: bool,
    #[serde(rename = "Badger", deserialize_with = "given")]
    pub badger: bool,
    #[serde(rename = "Port", deserialize_with = "given")]
    pub port: String,
    #[serde(rename = "PGBadgerPort", deserialize_with = "given")]
    pub pgbadger_port: String,
    #[serde(rename = "ExporterPort", deserialize_with = "given")]
    pub exporter_port: String,
    #[serde(rename = "User", deserialize_with = "given")]
    pub user: String,
    #[serde(rename = "Database", deserialize_with = "given")]
    pub database: String,
    #[serde(rename = "PasswordAgeDays", deserialize_with = "given")]
    pub password_age_days: String,
    #[serde(rename = "PasswordLength", deserialize_with = "given")]
    pub password_length: String,
    #[serde(rename = "Strategy", deserialize_with = "given")]
    pub strategy: String,
    #[serde(rename = "Replicas", deserialize_with = "given")]
    pub replicas: String,
    #[serde(rename = "ArchiveTimeout", deserialize_with = "given")]
    pub archive_timeout: String,
    #[serde(rename = "ServiceType", deserialize_with = "given")]
    pub service_type: String,
    #[serde(rename = "Backrest", deserialize_with = "given")]
    pub backrest: bool,
    #[serde(rename = "BackrestPort", deserialize_with = "given")]
    pub backrest_port: u16,
    #[serde(rename = "BackrestS3Bucket", deserialize_with = "given")]
    pub backrest_s3_bucket: String,
    #[serde(rename = "BackrestS3Endpoint", deserialize_with = "given")]
    pub backrest_s3_endpoint: String,
    #[serde(rename = "BackrestS3Region", deserialize_with = "given")]
    pub backrest_s3_region: String,
    // These four are not of 4.1.
    #[serde(rename = "BackrestS3URIStyle", deserialize_with = "given")]
    pub backrest_s3_uri_style: String,
    #[serde(rename = "BackrestRetentionFull", deserialize_with = "given")]
    pub backrest_retention_full: String,
    #[serde(rename = "BackrestRetentionFullType", deserialize_with = "given")]
    pub backrest_retention_full_type: String,
    #[serde(rename = "BackrestRetentionDiff", deserialize_with = "given")]
    pub backrest_retention_diff: String,
    #[serde(rename = "Autofail", deserialize_with = "given")]
    pub autofail: bool,
    #[serde(rename = "SyncReplication", deserialize_with = "given")]
    pub sync_replication: bool,
    #[serde(rename = "SyncFallback", deserialize_with = "given")]
    pub sync_fallback: bool,
    #[serde(rename = "VolumeDeadline", deserialize_with = "given")]
    pub volume_deadline: String,
    #[serde(rename = "BackupStallTimeout", deserialize_with = "given")]
    pub backup_stall_timeout: String,
    #[serde(rename = "RestoreDrills", deserialize_with = "given")]
    pub restore_drills: String,
    #[serde(rename = "AutofailReplaceReplica", deserialize_with = "given")]
    pub autofail_replace_replica: bool,
    #[serde(rename = "LogStatement", deserialize_with = "given")]
    pub log_statement: String,
    #[serde(rename = "LogMinDurationStatement", deserialize_with = "given")]
    pub log_min_duration_statement: String,
    #[serde(rename = "PgmonitorPassword", deserialize_with = "given")]
    pub pgmonitor_password: String,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            primary_node_label: String::new(),
            replica_node_label: String::new(),
            ccp_image_prefix: String::new(),
            ccp_image_tag: String::new(),
            policies: String::new(),
            metrics: false,
            badger: false,
            port: "5432".to_owned(),
            pgbadger_port: "10000".to_owned(),
            exporter_port: "9187".to_owned(),
            user: String::new(),
            database: "userdb".to_owned(),
            password_age_days: "365".to_owned(),
            password_length: "32".to_owned(),
            strategy: "1".to_owned(),
            replicas: "0".to_owned(),
            archive_timeout: String::new(),
            service_type: "ClusterIP".to_owned(),
            backrest: false,
            backrest_port: 2022,
            backrest_s3_bucket: String::new(),
            backrest_s3_endpoint: String::new(),
            backrest_s3_region: String::new(),
            backrest_s3_uri_style: String::new(),
            backrest_retention_full: String::new(),
            backrest_retention_full_type: String::new(),
            backrest_retention_diff: String::new(),
            autofail: false,
            sync_replication: false,
            sync_fallback: false,
            volume_deadline: "20".to_owned(),
            backup_stall_timeout: String::new(),
            restore_drills: DrillPolicy::default().as_str().to_owned(),
            autofail_replace_replica: false,
            log_statement: "none".to_owned(),
            log_min_duration_statement: "60000".to_owned(),
            pgmonitor_password: String::new(),
        }
    }
}

/// After how many seconds a data volume counts as hung where `pgo.yaml` leaves that empty.
const VOLUME_DEADLINE: u32 = 20;

/// After how many seconds a backup is ended that gets no further, where `pgo.yaml` leaves that empty: longer than PostgreSQL may take
/// for a checkpoint, which it waits for in silence with `--no-start-fast`.
const BACKUP_STALL_TIMEOUT: u32 = 3600;

impl ClusterConfig {
    /// Gives what is empty, and has a default that says more than that, the default.
    fn fill(&mut self) {
        let default = Self::default();
        for (value, default) in [
            (&mut self.port, default.port),
            (&mut self.pgbadger_port, default.pgbadger_port),
            (&mut self.exporter_port, default.exporter_port),
            (&mut self.database, default.database),
            (&mut self.password_age_days, default.password_age_days),
            (&mut self.password_length, default.password_length),
            (&mut self.strategy, default.strategy),
            (&mut self.replicas, default.replicas),
            (&mut self.service_type, default.service_type),
            (&mut self.volume_deadline, default.volume_deadline),
            (&mut self.restore_drills, default.restore_drills),
            (&mut self.log_statement, default.log_statement),
            (
                &mut self.log_min_duration_statement,
                default.log_min_duration_statement,
            ),
        ] {
            if value.is_empty() {
                *value = default;
            }
        }
        if self.backrest_port == 0 {
            self.backrest_port = default.backrest_port;
        }
    }

    /// After how many seconds without the end of a write a data volume counts as hung; 0 for never.
    #[must_use]
    pub fn volume_deadline(&self) -> u32 {
        self.volume_deadline.parse().unwrap_or(VOLUME_DEADLINE)
    }

    /// After how many seconds a backup is ended that gets no further; 0 for never.
    #[must_use]
    pub fn backup_stall_timeout(&self) -> u32 {
        self.backup_stall_timeout
            .parse()
            .unwrap_or(BACKUP_STALL_TIMEOUT)
    }

    /// Which backups are tried.
    #[must_use]
    pub fn restore_drills(&self) -> DrillPolicy {
        DrillPolicy::named(&self.restore_drills).unwrap_or_default()
    }
}

/// Section `Pgo`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(
    missing_docs,
    reason = "the keys are 4.1's and documented in docs/configuration.md"
)]
pub struct PgoSection {
    #[serde(rename = "AutofailSleepSeconds", deserialize_with = "given")]
    pub autofail_sleep_seconds: String,
    #[serde(rename = "PreferredFailoverNode", deserialize_with = "given")]
    pub preferred_failover_node: String,
    #[serde(rename = "Audit", deserialize_with = "given")]
    pub audit: bool,
    #[serde(rename = "PGOImagePrefix", deserialize_with = "given")]
    pub image_prefix: String,
    #[serde(rename = "PGOImageTag", deserialize_with = "given")]
    pub image_tag: String,
    // Not of 4.1.
    #[serde(rename = "UpgradesAtOnce", deserialize_with = "given")]
    pub upgrades_at_once: String,
    #[serde(rename = "RestoreDrillsAtOnce", deserialize_with = "given")]
    pub drills_at_once: String,
}

/// How many clusters are upgraded at once where `pgo.yaml` does not say: each loads the registry, its nodes and its volumes.
const UPGRADES_AT_ONCE: usize = 2;

/// Backups of how many clusters are tried at once where `pgo.yaml` does not say: each reads all of a database twice.
const DRILLS_AT_ONCE: usize = 2;

impl PgoSection {
    /// How many clusters are upgraded at once.
    #[must_use]
    pub fn upgrades_at_once(&self) -> usize {
        self.upgrades_at_once.parse().unwrap_or(UPGRADES_AT_ONCE)
    }

    /// Backups of how many clusters are tried at once.
    #[must_use]
    pub fn drills_at_once(&self) -> usize {
        self.drills_at_once.parse().unwrap_or(DRILLS_AT_ONCE)
    }
}

/// All of `pgo.yaml`. Keys that there are not, of which older files have some, are no reason to refuse a file: 4.1 ignored
/// them. They are told by [`PgoConfig::not_available`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(
    missing_docs,
    reason = "the keys are 4.1's and documented in docs/configuration.md"
)]
pub struct PgoConfig {
    #[serde(rename = "BasicAuth", deserialize_with = "given")]
    pub basic_auth: String,
    #[serde(rename = "PrimaryStorage", deserialize_with = "given")]
    pub primary_storage: String,
    #[serde(rename = "BackupStorage", deserialize_with = "given")]
    pub backup_storage: String,
    #[serde(rename = "ReplicaStorage", deserialize_with = "given")]
    pub replica_storage: String,
    #[serde(rename = "BackrestStorage", deserialize_with = "given")]
    pub backrest_storage: String,
    #[serde(rename = "Storage", deserialize_with = "given")]
    pub storage: BTreeMap<String, StorageConfig>,
    #[serde(rename = "DefaultContainerResources", deserialize_with = "given")]
    pub default_container_resources: String,
    #[serde(rename = "DefaultLoadResources", deserialize_with = "given")]
    pub default_load_resources: String,
    #[serde(rename = "DefaultLspvcResources", deserialize_with = "given")]
    pub default_lspvc_resources: String,
    #[serde(rename = "DefaultRmdataResources", deserialize_with = "given")]
    pub default_rmdata_resources: String,
    #[serde(rename = "DefaultBackupResources", deserialize_with = "given")]
    pub default_backup_resources: String,
    #[serde(rename = "DefaultBadgerResources", deserialize_with = "given")]
    pub default_badger_resources: String,
    #[serde(rename = "DefaultPgpoolResources", deserialize_with = "given")]
    pub default_pgpool_resources: String,
    #[serde(rename = "DefaultPgbouncerResources", deserialize_with = "given")]
    pub default_pgbouncer_resources: String,
    #[serde(rename = "ContainerResources", deserialize_with = "given")]
    pub container_resources: BTreeMap<String, ResourcesConfig>,
    #[serde(rename = "Cluster", deserialize_with = "given")]
    pub cluster: ClusterConfig,
    #[serde(rename = "Pgo", deserialize_with = "given")]
    pub pgo: PgoSection,
    /// The keys of the file that there are not. Part of what tells one file from another, and no key itself.
    #[serde(skip_deserializing, skip_serializing_if = "BTreeSet::is_empty")]
    pub unknown: BTreeSet<String>,
}

impl PgoConfig {
    /// Reads and checks a `pgo.yaml`.
    ///
    /// # Errors
    /// No YAML of this form, or a value that breaks a rule; the text begins as 4.1's does.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        // Without the lines of the file, which an error would quote: a password may stand in them.
        let options = serde_saphyr::options! { with_snippet: false };
        let form = |error: serde_saphyr::Error| ConfigError::Form(error.to_string());
        let mut config: Self =
            serde_saphyr::from_str_with_options(text, options.clone()).map_err(form)?;
        let file = serde_saphyr::from_str_with_options(text, options).map_err(form)?;
        config.unknown = ignored::unknown(&file);
        if config.backrest_storage.is_empty() {
            config.backrest_storage.clone_from(&config.primary_storage);
        }
        config.cluster.fill();
        check::check(&config)?;
        Ok(config)
    }

    /// Whether requests need a password: 4.1's default is yes.
    #[must_use]
    pub fn needs_password(&self) -> bool {
        !matches!(
            self.basic_auth.to_ascii_lowercase().as_str(),
            "false" | "f" | "0"
        )
    }

    /// Puts image settings of the environment over those of the file, as 4.1's operator does.
    #[must_use]
    pub fn with_images(mut self, variable: impl Fn(&str) -> Option<String>) -> Self {
        let over = |setting: &mut String, name: &str| {
            if let Some(value) = variable(name).filter(|value| !value.is_empty()) {
                *setting = value;
            }
        };
        over(&mut self.pgo.image_prefix, "PGO_IMAGE_PREFIX");
        over(&mut self.pgo.image_tag, "PGO_IMAGE_TAG");
        over(&mut self.cluster.ccp_image_prefix, "CCP_IMAGE_PREFIX");
        over(&mut self.cluster.ccp_image_tag, "CCP_IMAGE_TAG");
        self
    }
}
