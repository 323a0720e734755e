//! What 4.1 demands of the values in `pgo.yaml`.

use std::ops::RangeInclusive;

use pgo_core::DrillPolicy;

use super::{ClusterConfig, ConfigError, PgoConfig, StorageConfig};

/// Truth values as Go reads them.
const BOOLEANS: [&str; 13] = [
    "", "true", "false", "True", "False", "TRUE", "FALSE", "t", "f", "T", "F", "1", "0",
];

/// As many as a Pgcluster can ask for.
const REPLICAS: RangeInclusive<u32> = 0..=100;

/// As a Pgcluster can ask for, in seconds.
const VOLUME_DEADLINES: RangeInclusive<u32> = 0..=3600;

/// Seconds: never, or up to a week.
const STALL_TIMEOUTS: RangeInclusive<u32> = 0..=604_800;

/// What can be guessed is no password, and PostgreSQL's clients take no more than a thousand bytes.
const PASSWORD_LENGTHS: RangeInclusive<u32> = 8..=512;

fn wrong(key: &str, problem: impl Into<String>) -> Result<(), ConfigError> {
    Err(ConfigError::Value {
        key: key.to_owned(),
        problem: problem.into(),
    })
}

/// All rules; the first one that is broken is told.
pub(super) fn check(config: &PgoConfig) -> Result<(), ConfigError> {
    if !BOOLEANS.contains(&config.basic_auth.as_str()) {
        return wrong("BasicAuth", "give true or false");
    }
    entries(config)?;
    required(config)?;
    numbers(config)?;
    retention(&config.cluster)?;
    choices(&config.cluster)?;
    node_labels(&config.cluster)
}

/// What is named must be there, and usable.
fn entries(config: &PgoConfig) -> Result<(), ConfigError> {
    for (key, name) in [
        ("PrimaryStorage", &config.primary_storage),
        ("BackupStorage", &config.backup_storage),
        ("ReplicaStorage", &config.replica_storage),
        ("BackrestStorage", &config.backrest_storage),
    ] {
        if !config.storage.contains_key(name) {
            return wrong(key, format!("{name:?} is not an entry of Storage"));
        }
    }
    for (name, storage) in &config.storage {
        storage_entry(name, storage)?;
    }
    for (key, name) in default_resources(config) {
        if !name.is_empty() && !config.container_resources.contains_key(name) {
            return wrong(
                key,
                format!(
                    "{name:?} is not an entry of ContainerResources; name one, or leave it empty"
                ),
            );
        }
    }
    Ok(())
}

/// The keys that name the resources of a kind of container.
fn default_resources(config: &PgoConfig) -> [(&'static str, &str); 8] {
    [
        (
            "DefaultContainerResources",
            &config.default_container_resources,
        ),
        ("DefaultLoadResources", &config.default_load_resources),
        ("DefaultLspvcResources", &config.default_lspvc_resources),
        ("DefaultRmdataResources", &config.default_rmdata_resources),
        ("DefaultBackupResources", &config.default_backup_resources),
        ("DefaultBadgerResources", &config.default_badger_resources),
        ("DefaultPgpoolResources", &config.default_pgpool_resources),
        (
            "DefaultPgbouncerResources",
            &config.default_pgbouncer_resources,
        ),
    ]
}

fn required(config: &PgoConfig) -> Result<(), ConfigError> {
    let (cluster, pgo) = (&config.cluster, &config.pgo);
    for (key, value) in [
        ("Cluster.CCPImagePrefix", &cluster.ccp_image_prefix),
        ("Cluster.CCPImageTag", &cluster.ccp_image_tag),
        ("Cluster.User", &cluster.user),
        ("Pgo.PGOImagePrefix", &pgo.image_prefix),
        ("Pgo.PGOImageTag", &pgo.image_tag),
    ] {
        if value.is_empty() {
            return wrong(key, "it is required");
        }
    }
    if let Err(problem) = crate::demands::role(&cluster.user) {
        return wrong("Cluster.User", problem);
    }
    Ok(())
}

fn numbers(config: &PgoConfig) -> Result<(), ConfigError> {
    let cluster = &config.cluster;
    if let Err(problem) = crate::demands::port(&cluster.port) {
        return wrong("Cluster.Port", problem);
    }
    for (key, value) in [
        ("Cluster.PGBadgerPort", &cluster.pgbadger_port),
        ("Cluster.ExporterPort", &cluster.exporter_port),
    ] {
        if value.parse::<u16>().is_err() {
            return wrong(key, format!("{value:?} is not a port"));
        }
    }
    for (key, value) in [
        (
            "Cluster.LogMinDurationStatement",
            &cluster.log_min_duration_statement,
        ),
        ("Cluster.ArchiveTimeout", &cluster.archive_timeout),
        (
            "Pgo.AutofailSleepSeconds",
            &config.pgo.autofail_sleep_seconds,
        ),
    ] {
        if !value.is_empty() && value.parse::<i64>().is_err() {
            return wrong(key, format!("{value:?} is not a whole number"));
        }
    }
    for (key, at_once) in [
        ("Pgo.UpgradesAtOnce", &config.pgo.upgrades_at_once),
        ("Pgo.RestoreDrillsAtOnce", &config.pgo.drills_at_once),
    ] {
        if !at_once.is_empty() && !at_once.parse().is_ok_and(|number: usize| number > 0) {
            return wrong(key, format!("{at_once:?} is no number from 1 on"));
        }
    }
    ranges(cluster)
}

/// Numbers with a least and a most.
fn ranges(cluster: &ClusterConfig) -> Result<(), ConfigError> {
    for (key, value, range) in [
        ("Cluster.Replicas", &cluster.replicas, REPLICAS),
        (
            "Cluster.VolumeDeadline",
            &cluster.volume_deadline,
            VOLUME_DEADLINES,
        ),
        (
            "Cluster.BackupStallTimeout",
            &cluster.backup_stall_timeout,
            STALL_TIMEOUTS,
        ),
        (
            "Cluster.PasswordLength",
            &cluster.password_length,
            PASSWORD_LENGTHS,
        ),
    ] {
        if !value.is_empty() && !value.parse().is_ok_and(|number| range.contains(&number)) {
            let (least, most) = (range.start(), range.end());
            return wrong(
                key,
                format!("{value:?} is not a number from {least} to {most}"),
            );
        }
    }
    Ok(())
}

/// How many backups stay.
fn retention(cluster: &ClusterConfig) -> Result<(), ConfigError> {
    for (key, value) in [
        (
            "Cluster.BackrestRetentionFull",
            &cluster.backrest_retention_full,
        ),
        (
            "Cluster.BackrestRetentionDiff",
            &cluster.backrest_retention_diff,
        ),
    ] {
        let is_number = |number: u32| (1..=crate::places::MOST).contains(&number);
        if !value.is_empty() && !value.parse().is_ok_and(is_number) {
            return wrong(key, format!("{value:?} is no number from 1 on"));
        }
    }
    if !["", "count", "time"].contains(&cluster.backrest_retention_full_type.as_str()) {
        return wrong("Cluster.BackrestRetentionFullType", "give count or time");
    }
    Ok(())
}

fn choices(cluster: &ClusterConfig) -> Result<(), ConfigError> {
    if !["ClusterIP", "NodePort", "LoadBalancer"].contains(&cluster.service_type.as_str()) {
        return wrong(
            "Cluster.ServiceType",
            "give ClusterIP, NodePort or LoadBalancer",
        );
    }
    if !["ddl", "none", "mod", "all"].contains(&cluster.log_statement.as_str()) {
        return wrong("Cluster.LogStatement", "give none, ddl, mod or all");
    }
    let drills = &cluster.restore_drills;
    if !drills.is_empty() && DrillPolicy::named(drills).is_none() {
        return wrong("Cluster.RestoreDrills", "give each, daily or never");
    }
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':');
    if !cluster.backrest_s3_endpoint.chars().all(is_host) {
        return wrong(
            "Cluster.BackrestS3Endpoint",
            "give the name of a host, with its port where that is not 443",
        );
    }
    if !["", "host", "path"].contains(&cluster.backrest_s3_uri_style.as_str()) {
        return wrong("Cluster.BackrestS3URIStyle", "give host or path");
    }
    if !["", "1"].contains(&cluster.strategy.as_str()) {
        return wrong("Cluster.Strategy", "give 1, the only one there is");
    }
    Ok(())
}

fn node_labels(cluster: &ClusterConfig) -> Result<(), ConfigError> {
    for (key, label) in [
        ("Cluster.PrimaryNodeLabel", &cluster.primary_node_label),
        ("Cluster.ReplicaNodeLabel", &cluster.replica_node_label),
    ] {
        if !label.is_empty() && label.split_once('=').is_none() {
            return wrong(key, "give key=value");
        }
    }
    Ok(())
}

fn storage_entry(name: &str, storage: &StorageConfig) -> Result<(), ConfigError> {
    let problem = if !matches!(
        storage.storage_type.as_str(),
        "create" | "dynamic" | "existing" | "emptydir" | ""
    ) {
        "StorageType is create, dynamic, existing or emptydir"
    } else if !storage.fsgroup.is_empty() && !storage.supplemental_groups.is_empty() {
        "Fsgroup and SupplementalGroups cannot both be set"
    } else if !storage.fsgroup.is_empty() && storage.fsgroup.parse::<i64>().is_err() {
        "Fsgroup is a number"
    } else if !storage.match_labels.is_empty() && storage.match_labels.split_once('=').is_none() {
        "MatchLabels is key=value"
    } else if !storage
        .supplemental_groups
        .split(',')
        .all(|group| group.trim().is_empty() || group.trim().parse::<i64>().is_ok())
    {
        "SupplementalGroups is a comma list of numbers"
    } else if let Err(problem) = crate::demands::access_mode(&storage.access_mode) {
        return wrong(&format!("Storage.{name}"), format!("AccessMode: {problem}"));
    } else {
        return Ok(());
    };
    wrong(&format!("Storage.{name}"), problem)
}
