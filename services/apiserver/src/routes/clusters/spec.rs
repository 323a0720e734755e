//! A Pgcluster as 4.1's apiserver writes it, field by field.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::api::ObjectMeta;
use pgo_api::{CreateClusterRequest, PGO_VERSION};
use pgo_core::DrillPolicy;
use pgo_crd::{ContainerResources, Pgcluster, PgclusterSpec, PgoConfig, StorageSpec, label};
use pgo_ids::{ClusterName, OperationId};

use super::wanted::{self, Checked, Facts, GLOBAL_CONFIG, metadata_labels};

/// Image with PostgreSQL, as in 4.1.
const IMAGE: &str = "crunchy-postgres";

/// The only strategy there is, as in 4.1.
const STRATEGY: &str = "1";

/// The Pgcluster for a request that was checked.
pub(super) fn cluster(
    request: &CreateClusterRequest,
    config: &PgoConfig,
    facts: &Facts,
    checked: &Checked,
    name: &ClusterName,
    (caller, id, now): (&str, OperationId, Timestamp),
) -> Pgcluster {
    let or = |given: &str, default: &str| if given.is_empty() { default } else { given }.to_owned();
    let settings = &config.cluster;
    let replicas = wanted::replicas(request, config);
    let spec = PgclusterSpec {
        namespace: request.namespace.clone(),
        name: name.to_string(),
        clustername: name.to_string(),
        policies: or(&request.policies, &settings.policies),
        ccpimage: or(&request.ccp_image, IMAGE),
        ccpimagetag: or(&request.ccp_image_tag, &settings.ccp_image_tag),
        port: settings.port.clone(),
        pgbadgerport: settings.pgbadger_port.clone(),
        exporterport: settings.exporter_port.clone(),
        primary_storage: storage(
            config,
            &or(&request.storage_config, &config.primary_storage),
        ),
        replica_storage: storage(
            config,
            &or(&request.replica_storage_config, &config.replica_storage),
        ),
        backrest_storage: storage(config, &config.backrest_storage),
        container_resources: resources(
            config,
            &or(
                &request.container_resources,
                &config.default_container_resources,
            ),
        ),
        primaryhost: name.to_string(),
        user: settings.user.clone(),
        database: settings.database.clone(),
        replicas: replicas.to_string(),
        replica_count: u32::try_from(replicas).ok().filter(|count| *count > 0),
        sync_replication: request.sync_replication.then_some(true),
        sync_fallback: request.sync_fallback.then_some(true),
        restore_drills: DrillPolicy::named(&request.restore_drills),
        synchronous_standbys: u32::try_from(request.sync_standbys).ok().filter(|k| *k > 0),
        strategy: or(&settings.strategy, STRATEGY),
        secretfrom: request.secret_from.clone(),
        usersecretname: format!("{name}-{}-secret", settings.user),
        rootsecretname: format!("{name}-postgres-secret"),
        primarysecretname: format!("{name}-primaryuser-secret"),
        collect_secret_name: format!("{name}-collect-secret"),
        pswlastupdate: now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        customconfig: request.custom_config.clone(),
        userlabels: user_labels(request, config, facts, checked, id),
        ..PgclusterSpec::default()
    };
    Pgcluster {
        metadata: ObjectMeta {
            name: Some(name.to_string()),
            namespace: Some(request.namespace.clone()),
            labels: Some(metadata_labels(name, caller, checked)),
            ..ObjectMeta::default()
        },
        spec,
        status: None,
    }
}

fn storage(config: &PgoConfig, name: &str) -> StorageSpec {
    config
        .storage
        .get(name)
        .map(StorageSpec::from)
        .unwrap_or_default()
}

fn resources(config: &PgoConfig, name: &str) -> ContainerResources {
    let named = config.container_resources.get(name);
    named.map(ContainerResources::from).unwrap_or_default()
}

/// 4.1's user labels: what `--labels` gave, and settings.
fn user_labels(
    request: &CreateClusterRequest,
    config: &PgoConfig,
    facts: &Facts,
    checked: &Checked,
    id: OperationId,
) -> BTreeMap<String, String> {
    let mut labels = checked.user_labels.clone();
    let mut set = |key: &str, value: &str| labels.insert(key.to_owned(), value.to_owned());
    set("archive-timeout", &config.cluster.archive_timeout);
    set("crunchy_collect", "false");
    set("pgo-version", PGO_VERSION);
    set(label::WORKFLOW_ID, &id.to_string());
    if facts.global_config {
        set("custom-config", GLOBAL_CONFIG);
    } else if !request.custom_config.is_empty() {
        set("custom-config", &request.custom_config);
    }
    if !request.backrest_storage_type.is_empty() {
        set(pgo_crd::STORAGE_TYPE, &request.backrest_storage_type);
    }
    if !request.service_type.is_empty() {
        set("service-type", &request.service_type);
    }
    if let Some((key, value)) = &checked.node_label {
        set("NodeLabelKey", key);
        set("NodeLabelValue", value);
    }
    labels
}
