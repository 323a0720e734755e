//! What a request to create clusters asks for: checked in 4.1's order, then the objects to store. Pure: what must be known
//! of Kubernetes is an argument.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ObjectMeta;
use pgo_api::{CreateClusterRequest, LONGEST_SERIES, texts};
use pgo_core::{Desired, Place, UserSecret};
use pgo_crd::{Pgcluster, PgoConfig, label};
use pgo_ids::{ClusterName, OperationId};
use pgo_objects::{Rival, rivals};

use super::{spec, update::drills};
use crate::refusal::Refusal;

/// Most replicas of a cluster, as its definition has it.
pub(super) const MOST_REPLICAS: i64 = 100;

/// Most replicas that commits can be made to wait for, as the definition of a cluster has it.
const MOST_SYNC_STANDBYS: i64 = 64;

/// Longest password, in bytes; psql and drivers take more nowhere.
const LONGEST_PASSWORD: usize = 255;

/// ConfigMap that every cluster of a namespace takes its configuration files from, as in 4.1.
pub(super) const GLOBAL_CONFIG: &str = "pgo-custom-pg-config";

/// What must be known of Kubernetes to judge a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// Names of Pgclusters that are there, among those asked for and those that these could not stand beside.
    pub taken: BTreeSet<String>,
    /// Names of Pgreplicas that are there, among those asked for.
    pub replicas: BTreeSet<String>,
    /// Whether the ConfigMap of `--custom-config` is there.
    pub custom_config: bool,
    /// Whether [`GLOBAL_CONFIG`] is there.
    pub global_config: bool,
    /// Whether the Secret of `--pgpool-secret` is there.
    pub pgpool_secret: bool,
    /// Labels of the nodes.
    pub nodes: Vec<BTreeMap<String, String>>,
    /// Passwords of the cluster that `--secret-from` names; none where one of its Secrets is missing.
    pub source: Option<Passwords>,
    /// Secrets that are there, among those with the names of the clusters' user Secrets.
    pub secrets: BTreeMap<String, ObjectMeta>,
}

/// A password for each user that a cluster begins with.
pub(super) type Passwords = BTreeMap<UserSecret, String>;

/// What a request comes to.
pub(super) struct Judged {
    pub creations: Vec<Creation>,
    /// Settings of pgo.yaml that the clusters are made without, because they are not available yet.
    pub left_out: BTreeSet<&'static str>,
}

/// A cluster to create.
#[derive(Clone)]
pub(super) struct Creation {
    pub name: ClusterName,
    /// 4.1's workflow id; equal in all events of the creation.
    pub id: OperationId,
    pub cluster: Pgcluster,
    /// User Secrets with given passwords; the reconciler makes those that are missing.
    pub secrets: Vec<Secret>,
}

/// What was checked of a request and does not differ between the clusters of a series.
pub(super) struct Checked {
    pub user_labels: BTreeMap<String, String>,
    pub node_label: Option<(String, String)>,
    pub backrest: bool,
    pub autofail: bool,
}

fn refuse<T>(why: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal(why.into()))
}

/// The names of the clusters asked for: of a series of more than one, with a number behind.
pub(super) fn names(request: &CreateClusterRequest) -> Vec<String> {
    match request.series {
        ..1 => Vec::new(),
        1 => vec![request.name.clone()],
        series => (0..series.min(LONGEST_SERIES))
            .map(|number| format!("{}{number}", request.name))
            .collect(),
    }
}

/// Checks a request and makes the objects to store. `id` gives a new id each time.
///
/// # Errors
/// What is wrong, in 4.1's words where it has some.
pub(super) fn judge(
    request: &CreateClusterRequest,
    config: &PgoConfig,
    facts: &Facts,
    caller: &str,
    now: Timestamp,
    mut id: impl FnMut() -> OperationId,
) -> Result<Judged, Refusal> {
    let names = check_names(request, facts)?;
    let checked = Checked {
        autofail: request.autofail_flag || config.cluster.autofail,
        user_labels: check_user_labels(&request.user_labels)?,
        backrest: check_settings(request, config, facts)?,
        node_label: check_resources(request, config, facts)?,
    };
    let passwords = check_passwords(request, facts)?;
    if checked.autofail && replicas(request, config) < 1 {
        return refuse(texts::AUTOFAIL_REPLICAS);
    }
    refuse_later_work(request)?;
    let mut creations = Vec::with_capacity(names.len());
    for name in names {
        let id = id();
        let cluster = spec::cluster(request, config, facts, &checked, &name, (caller, id, now));
        // What the reconciler would refuse is refused before anything is stored.
        let desired =
            pgo_crd::desired(&cluster, config).map_err(|error| Refusal(error.to_string()))?;
        check_secrets(&desired, facts)?;
        let secrets = passwords
            .iter()
            .map(|(which, password)| pgo_objects::user_secret(&desired, *which, password))
            .collect();
        creations.push(Creation {
            name,
            id,
            cluster,
            secrets,
        });
    }
    Ok(Judged {
        creations,
        left_out: config.later_work(),
    })
}

/// How many replicas each cluster is to have: as the request says, else as pgo.yaml does.
pub(super) fn replicas(request: &CreateClusterRequest, config: &PgoConfig) -> i64 {
    match request.replica_count {
        0 => config.cluster.replicas.parse().unwrap_or_default(),
        count => count,
    }
}

fn check_names(request: &CreateClusterRequest, facts: &Facts) -> Result<Vec<ClusterName>, Refusal> {
    if request.name == "all" {
        return refuse(texts::NAME_ALL);
    }
    if request.replica_count < 0 {
        return refuse(texts::NEGATIVE_REPLICA_COUNT);
    }
    if !(0..=MOST_SYNC_STANDBYS).contains(&request.sync_standbys) {
        return refuse(format!(
            "invalid sync-standbys {}, should be from 0 to {MOST_SYNC_STANDBYS}",
            request.sync_standbys
        ));
    }
    drills(&request.restore_drills)?;
    if request.replica_count > MOST_REPLICAS {
        return refuse(format!(
            "invalid replica-count {}, should be at most {MOST_REPLICAS}",
            request.replica_count
        ));
    }
    if !(0..=LONGEST_SERIES).contains(&request.series) {
        return refuse(format!(
            "invalid series {}, should be from 0 to {LONGEST_SERIES}",
            request.series
        ));
    }
    let parse = |name: &str| {
        name.parse::<ClusterName>()
            .map_err(|error| Refusal(texts::invalid_cluster_name(&error.to_string())))
    };
    parse(&request.name)?;
    let names: Vec<ClusterName> = names(request)
        .iter()
        .map(|name| parse(name))
        .collect::<Result<_, _>>()?;
    for name in &names {
        check_free(name, facts)?;
    }
    Ok(names)
}

/// Whether nothing that is there needs a name that the cluster or one of its objects is to have.
fn check_free(name: &ClusterName, facts: &Facts) -> Result<(), Refusal> {
    if facts.taken.contains(name.as_str()) {
        return refuse(texts::cluster_exists(name.as_str()));
    }
    if facts.replicas.contains(name.as_str()) {
        return refuse(format!(
            "pgreplica {name} is there, and its pod and its volume have the name that those of cluster {name} would have; \
             name the new cluster differently"
        ));
    }
    let there = |rival: &Rival| facts.taken.contains(rival.cluster.as_str());
    match rivals(name).into_iter().find(there) {
        None => Ok(()),
        Some(Rival { cluster, object }) => refuse(format!(
            "cluster {name} cannot stand beside cluster {cluster}, which is there: both need {object}; name the new cluster \
             differently"
        )),
    }
}

/// `--labels`: `key=value[,key=value]`.
fn check_user_labels(text: &str) -> Result<BTreeMap<String, String>, Refusal> {
    let mut labels = BTreeMap::new();
    for element in text.split(',').filter(|_| !text.is_empty()) {
        let Some((key, value)) = element.split_once('=') else {
            return refuse(texts::LABELS_FORMAT);
        };
        if label::is_reserved(key) {
            return refuse(format!(
                "{}: {key} is set by PGO itself; take another key",
                texts::LABELS_FORMAT
            ));
        }
        if !is_label_key(key) || !(value.is_empty() || is_label_part(value)) {
            return refuse(format!(
                "{}: Kubernetes takes no label {element:?}; use letters, digits, '-', '_' and '.', at most 63, and begin and end with a letter or a digit",
                texts::LABELS_FORMAT
            ));
        }
        if labels.insert(key.to_owned(), value.to_owned()).is_some() {
            return refuse(format!(
                "{}: {key} is given more than once; leave one of them",
                texts::LABELS_FORMAT
            ));
        }
    }
    Ok(labels)
}

fn is_label_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => is_object_name(prefix) && is_label_part(name),
        None => is_label_part(key),
    }
}

/// Name of a key, or a value that is not empty.
fn is_label_part(text: &str) -> bool {
    let ends = |at: Option<char>| at.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && ends(text.chars().next())
        && ends(text.chars().last())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// Whether a text can be the name of a ConfigMap or a Secret (RFC 1123, section 2.1); others are not asked for.
pub(crate) fn is_object_name(text: &str) -> bool {
    let ends = |at: Option<char>| at.is_some_and(|c| c.is_ascii_alphanumeric());
    let is_label = |label: &str| {
        ends(label.chars().next())
            && ends(label.chars().last())
            && label
                .chars()
                .all(|c| matches!(c, 'a'..='z' | '0'..='9' | '-'))
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

/// Configuration files, Service, backups, pgpool. Whether the cluster is to have pgBackRest.
fn check_settings(
    request: &CreateClusterRequest,
    config: &PgoConfig,
    facts: &Facts,
) -> Result<bool, Refusal> {
    if !request.custom_config.is_empty() && !facts.custom_config {
        return refuse(texts::config_map_not_found(&request.custom_config));
    }
    let service_type = request.service_type.as_str();
    if !matches!(service_type, "" | "ClusterIP" | "NodePort" | "LoadBalancer") {
        return refuse(texts::SERVICE_TYPE);
    }
    let backrest = match request.backrest_flag.as_str() {
        "" => config.cluster.backrest,
        // What Go reads as a boolean.
        "true" | "True" | "TRUE" | "t" | "T" | "1" => true,
        "false" | "False" | "FALSE" | "f" | "F" | "0" => false,
        _ => return refuse(texts::BACKREST_FLAG),
    };
    check_backrest_storage(&request.backrest_storage_type, backrest, config)?;
    if !request.pgpool_secret.is_empty() && !facts.pgpool_secret {
        return refuse(texts::pgpool_secret_not_found(&request.pgpool_secret));
    }
    if request.pgpool_flag && request.replica_count < 1 {
        return refuse(texts::PGPOOL_REPLICAS);
    }
    Ok(backrest)
}

fn check_backrest_storage(types: &str, backrest: bool, config: &PgoConfig) -> Result<(), Refusal> {
    if types.is_empty() {
        return Ok(());
    }
    if !backrest {
        return refuse(texts::BACKREST_STORAGE_TYPE);
    }
    let places = places(types)?;
    if places.contains(&Place::S3)
        && let Err(key) = pgo_crd::bucket(&config.cluster)
    {
        return refuse(format!(
            "Storage type 's3' not allowed. Cluster.{key} is not set in pgo.yaml"
        ));
    }
    Ok(())
}

/// The elements of `--pgbackrest-storage-type`.
fn places(text: &str) -> Result<Vec<Place>, Refusal> {
    pgo_crd::storage_types(text).map_err(|problem| {
        Refusal(format!(
            "Invalid value provided for pgBackRest storage type. {problem}"
        ))
    })
}

/// Where backups by pgBackRest can be.
pub(crate) fn check_storage_types(text: &str) -> Result<(), Refusal> {
    places(text).map(|_| ())
}

/// The places where the backups of a cluster with these user labels are.
pub(crate) fn places_of(labels: &BTreeMap<String, String>) -> Vec<Place> {
    let said = labels.get(pgo_crd::STORAGE_TYPE);
    let places = pgo_crd::storage_types(said.map(String::as_str).unwrap_or_default());
    // What is none is told by the reconciler.
    let places = places.unwrap_or_default();
    match places.is_empty() {
        true => vec![Place::Local],
        false => places,
    }
}

/// Whether something can be done there, where a cluster has its backups.
pub(crate) fn check_place(text: &str, labels: &BTreeMap<String, String>) -> Result<(), Refusal> {
    let there = places_of(labels);
    match places(text)?.iter().find(|place| !there.contains(place)) {
        None => Ok(()),
        Some(place) => {
            let there: Vec<&str> = there.iter().map(|place| place.as_str()).collect();
            refuse(format!(
                "Storage type '{place}' not allowed. The backups of this cluster are in {}",
                there.join(",")
            ))
        }
    }
}

/// Storage, node and resources. The node label of the cluster.
fn check_resources(
    request: &CreateClusterRequest,
    config: &PgoConfig,
    facts: &Facts,
) -> Result<Option<(String, String)>, Refusal> {
    let has_storage = |name: &String| name.is_empty() || config.storage.contains_key(name);
    if !has_storage(&request.storage_config) {
        return refuse(texts::storage_not_found(&request.storage_config));
    }
    let node_label = check_node_label(&request.node_label, config, facts)?;
    if !has_storage(&request.replica_storage_config) {
        return refuse(texts::storage_not_found(&request.replica_storage_config));
    }
    let resources = &request.container_resources;
    if !resources.is_empty() && !config.container_resources.contains_key(resources) {
        return refuse(texts::resources_not_found(resources));
    }
    Ok(node_label)
}

fn check_node_label(
    text: &str,
    config: &PgoConfig,
    facts: &Facts,
) -> Result<Option<(String, String)>, Refusal> {
    if text.is_empty() {
        return Ok(pair(&config.cluster.primary_node_label));
    }
    node_label(text, &facts.nodes)
}

fn pair(text: &str) -> Option<(String, String)> {
    let (key, value) = text.split_once('=')?;
    let fits = !key.is_empty() && !value.contains('=');
    fits.then(|| (key.to_owned(), value.to_owned()))
}

/// A node label that is asked for, which some node must have; none where none is.
pub(super) fn node_label(
    text: &str,
    nodes: &[BTreeMap<String, String>],
) -> Result<Option<(String, String)>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    let Some((key, value)) = pair(text) else {
        return refuse(texts::node_label_format(text));
    };
    let mut values = nodes
        .iter()
        .filter_map(|labels| labels.get(&key))
        .peekable();
    if values.peek().is_none() {
        return refuse(texts::node_label_key(text));
    }
    if !values.any(|of_node| *of_node == value) {
        return refuse(texts::node_label_value(text));
    }
    Ok(Some((key, value)))
}

/// The passwords that are given: those of another cluster go before one for all.
fn check_passwords(request: &CreateClusterRequest, facts: &Facts) -> Result<Passwords, Refusal> {
    if !request.secret_from.is_empty() {
        return match &facts.source {
            Some(passwords) => Ok(passwords.clone()),
            None => refuse(texts::secret_not_found(&request.secret_from)),
        };
    }
    let password = request.password.expose();
    if password.is_empty() {
        return Ok(Passwords::new());
    }
    if password.len() > LONGEST_PASSWORD {
        return refuse(format!(
            "the password is longer than {LONGEST_PASSWORD} bytes"
        ));
    }
    if password.trim().is_empty() || password.chars().any(char::is_control) {
        return refuse("the password is blank or has control characters; give another one");
    }
    Ok(UserSecret::ALL
        .into_iter()
        .map(|which| (which, password.to_owned()))
        .collect())
}

/// A user Secret that is there is used, so it must be the cluster's.
fn check_secrets(desired: &Desired, facts: &Facts) -> Result<(), Refusal> {
    for which in UserSecret::ALL {
        let name = desired.secret_name(which);
        if let Some(found) = facts.secrets.get(&name) {
            check_secret(&name, found, &desired.name)?;
        }
    }
    Ok(())
}

/// Refuses a Secret that has the name of one of the cluster's and is somebody else's.
pub(super) fn check_secret(
    name: &str,
    found: &ObjectMeta,
    cluster: &ClusterName,
) -> Result<(), Refusal> {
    match pgo_objects::stranger(found, cluster) {
        None => Ok(()),
        Some(whose) => refuse(format!(
            "Secret {name} is there and {whose}; remove it, or name the cluster differently"
        )),
    }
}

/// What 4.1 does and this version does not yet: none of it is silently left out.
fn refuse_later_work(request: &CreateClusterRequest) -> Result<(), Refusal> {
    let asked = [
        ("--metrics", request.metrics_flag),
        ("--pgbadger", request.badger_flag),
        ("ArchiveFlag", request.archive_flag),
        ("--pgpool", request.pgpool_flag),
        ("--pgpool-secret", !request.pgpool_secret.is_empty()),
        ("--pgbouncer", request.pgbouncer_flag),
        ("--pgbouncer-pass", !request.pgbouncer_pass.is_empty()),
        ("PgbouncerSecret", !request.pgbouncer_secret.is_empty()),
    ];
    match asked.into_iter().find(|(_, is)| *is) {
        Some((what, _)) => refuse(texts::not_available(what)),
        None => Ok(()),
    }
}

/// The labels of a Pgcluster's metadata.
pub(super) fn metadata_labels(
    name: &ClusterName,
    caller: &str,
    checked: &Checked,
) -> BTreeMap<String, String> {
    // Those of the user are there for selectors.
    let mut labels = checked.user_labels.clone();
    labels.extend([
        (label::NAME.to_owned(), name.to_string()),
        ("crunchy-pgbadger".to_owned(), false.to_string()),
        (label::PGO_BACKREST.to_owned(), checked.backrest.to_string()),
        (label::PGOUSER.to_owned(), caller.to_owned()),
    ]);
    if checked.autofail {
        labels.insert(label::AUTOFAIL.to_owned(), true.to_string());
    }
    labels
}

#[cfg(test)]
mod tests;
