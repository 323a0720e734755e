//! From a Pgcluster and `pgo.yaml` to what the core decides on.

use std::{borrow::Cow, collections::BTreeMap};

use kube::ResourceExt as _;
use pgo_core::{
    Cluster, DeleteOptions, DeleteRequest, Desired, Image, NodePreference, Resources, ServiceType,
};
use pgo_ids::{ClusterName, Namespace, OperationId, RoleName};

use crate::{
    ContainerResources, Pgcluster, PgclusterSpec, PgoConfig, Pgtask, StorageSpec, TaskType,
    backing_up::backups,
    demands,
    image::{self, ImageError},
    invalid::{Faults, InvalidSpec},
    label, notes, policying,
    requests::Requests,
    upgrading,
    volume::{self, storage},
};

pub(crate) fn invalid<T>(field: &str, problem: impl Into<String>) -> Result<T, InvalidSpec> {
    Err(InvalidSpec::of(format!("spec.{field}"), problem))
}

/// What the core must know of a Pgcluster; none where the object has no uid, so was never stored.
#[must_use]
pub fn cluster(object: &Pgcluster, config: &PgoConfig, requests: Requests) -> Option<Cluster> {
    let name: ClusterName = object.name_any().parse().ok()?;
    let namespace: Namespace = object.namespace()?.parse().ok()?;
    let stream = object.uid()?.parse().ok()?;
    let workflow = object
        .spec
        .userlabels
        .get(label::WORKFLOW_ID)
        .and_then(|id| id.parse::<OperationId>().ok());
    let mut desired = desired(object, config).map_err(|invalid| invalid.to_string());
    let mut wanted = requests
        .replicas
        .iter()
        .filter_map(|one| one.wanted.as_ref().ok());
    if let (Ok(desired), Some(kind)) = (&mut desired, wanted.find_map(|one| one.service_type)) {
        desired.replica_service_type = kind;
    }
    Some(Cluster {
        desired,
        stream,
        generation: object.metadata.generation.unwrap_or(0),
        deleting: object.metadata.deletion_timestamp.is_some(),
        actor: actor(object),
        workflow,
        delete_requests: requests.delete,
        replicas: requests.replicas,
        replica_count: replica_count(object, config),
        scale_down: requests.scale_down,
        failover: requests.failover,
        reloads: requests.reloads,
        restarts: requests.restarts,
        upgrades: requests.upgrades,
        backups: requests.backups,
        restores: requests.restores,
        drills: requests.drills,
        dumps: requests.dumps,
        removals: requests.removals,
        jobs: requests.jobs,
        policies: requests.policies,
        policies_at_creation: policying::at_creation(&object.spec, config).unwrap_or_default(),
        tasks: requests.tasks,
        cancelled: requests.cancelled,
        notes: notes::notes(object),
        changed_by: notes::changed_by(object),
        image_said: upgrading::said(object),
        name,
        namespace,
    })
}

/// How many replicas there are to be: `replicaCount`, else what 4.1's `replicas` says; where both are silent, as many as there
/// were to be before, and at the creation those of `pgo.yaml`: a change of it is for clusters that are made later.
fn replica_count(object: &Pgcluster, config: &PgoConfig) -> u32 {
    let spec = &object.spec;
    let before = object.status.as_ref().and_then(|s| s.0.replica_count);
    let default = || match before {
        Some(count) => count.asked,
        None => config.cluster.replicas.parse().unwrap_or_default(),
    };
    spec.replica_count
        .or_else(|| spec.replicas.parse().ok())
        .unwrap_or_else(default)
}

/// Who made it: the pgouser, or the first word of the program's name that Kubernetes noted (`kubectl-create` is `kubectl`).
#[must_use]
pub fn actor(object: &impl kube::ResourceExt) -> String {
    if let Some(user) = object.labels().get(label::PGOUSER) {
        return user.clone();
    }
    object
        .managed_fields()
        .iter()
        .filter(|fields| fields.subresource.as_deref().unwrap_or_default().is_empty())
        .min_by_key(|fields| fields.time.as_ref().map(|time| time.0))
        .and_then(|fields| program(fields.manager.as_deref()?))
        .unwrap_or_default()
        .to_owned()
}

/// The first word of the name under which Kubernetes noted a program (`kubectl-label` is `kubectl`); none where it knew none.
pub(crate) fn program(manager: &str) -> Option<&str> {
    let word = manager.split(['-', '/']).next()?;
    Some(word).filter(|word| *word != "unknown")
}

/// The deletions that Pgtasks ask for, the first to ask first.
#[must_use]
pub fn delete_requests<'a>(
    tasks: impl Iterator<Item = &'a Pgtask>,
    cluster: &Pgcluster,
) -> Vec<DeleteRequest> {
    let mut requests: Vec<_> = tasks
        .filter_map(|task| {
            let request = delete_request(task, cluster)?;
            let made = task.creation_timestamp().map(|time| time.0);
            Some(((made, task.name_any()), request))
        })
        .collect();
    requests.sort_by(|(one, _), (other, _)| one.cmp(other));
    requests.into_iter().map(|(_, request)| request).collect()
}

/// The deletion that a Pgtask asks for, where it asks for that of this whole cluster, and not of a former one of the same
/// name whose task is still there.
#[must_use]
pub fn delete_request(task: &Pgtask, cluster: &Pgcluster) -> Option<DeleteRequest> {
    let parameter = |key: &str| task.spec.parameters.get(key).map(String::as_str);
    let is_true = |key: &str| parameter(key) == Some("true");
    if task.spec.tasktype != TaskType::DeleteData.as_str()
        || is_true("is-replica")
        || is_true("is-backup")
        || parameter("pg-cluster") != Some(&cluster.name_any())
        || task.namespace() != cluster.namespace()
        || !is_later(task, cluster)
    {
        return None;
    }
    let operation = task
        .labels()
        .get(label::WORKFLOWID)
        .and_then(|id| id.parse().ok())
        .or_else(|| Some(OperationId::derived(&task.uid()?.parse().ok()?, "delete")))?;
    Some(DeleteRequest {
        operation,
        actor: actor(task),
        options: DeleteOptions {
            data: is_true("delete-data"),
            backups: is_true("delete-backups"),
        },
    })
}

/// Whether a task says itself that it came to its end: it asks for nothing any more, however long ago that was.
#[must_use]
pub fn is_over(task: &Pgtask) -> bool {
    let status = task.status.as_ref();
    status.is_some_and(|status| status.verdict().is_some())
}

/// The id of what a task asks for: its own, or one that follows from its uid.
pub(crate) fn operation(task: &Pgtask, what: &str) -> Option<OperationId> {
    let own = task.labels().get(label::WORKFLOWID);
    own.and_then(|id| id.parse().ok())
        .or_else(|| Some(OperationId::derived(&task.uid()?.parse().ok()?, what)))
}

/// Whether a task was made for this very cluster: it says so by its owner, or else it is not older.
pub(crate) fn is_later(task: &Pgtask, cluster: &Pgcluster) -> bool {
    let owner = task
        .owner_references()
        .iter()
        .find(|owner| owner.kind == "Pgcluster");
    match owner {
        Some(owner) => Some(&owner.uid) == cluster.metadata.uid.as_ref(),
        None => task.creation_timestamp() >= cluster.creation_timestamp(),
    }
}

/// What a user wants, with every default of `pgo.yaml` filled in.
///
/// # Errors
/// Values that the schema could not refuse: each field, and what would be right.
pub fn desired(object: &Pgcluster, config: &PgoConfig) -> Result<Desired, InvalidSpec> {
    let spec = &object.spec;
    let mut faults = Faults::default();
    faults.note(policying::at_creation(spec, config));
    faults.note(later(object));
    let identity = faults.note(identity(object));
    let user = faults.note(user(object, config));
    faults.note(demands::notes(spec));
    let port = faults.note(port(spec, config));
    let default = &config.cluster.service_type;
    let service_type = setting(&spec.userlabels, "service-type").unwrap_or(default);
    let service_type = faults.note(self::service_type(service_type));
    let node = faults.note(node_label(&spec.userlabels, config));
    faults.note(stored_for_later(spec));
    let image = faults.note(image(spec, config));
    let secret_from = faults.note(secret_from(spec, &object.name_any()));
    let storage = faults.note(storage("PrimaryStorage", &spec.primary_storage, config));
    let resources = faults.note(resources(&spec.container_resources, config));
    let autofail = faults.note(autofail(object, config));
    let backups = faults.note(backups(object, config, &object.name_any()));
    let synchronous = faults.note(synchronous(object, config));
    let labels = faults.note(labels(&spec.userlabels));
    faults.none()?;
    let made = || {
        let (name, namespace) = identity?;
        let service_type = service_type?;
        Some(Desired {
            image: image?,
            agent_image: agent_image(config),
            port: port?,
            database: or(&spec.database, &config.cluster.database),
            user: user?,
            secret_from: secret_from?,
            storage: storage?,
            resources: resources?,
            service_type,
            replica_service_type: service_type,
            node: node?.map(|(key, value)| NodePreference::With(key, value)),
            autofail: autofail?,
            synchronous: synchronous?,
            sync_fallback: spec.sync_fallback.unwrap_or(config.cluster.sync_fallback),
            volume_deadline: spec
                .volume_deadline
                .unwrap_or_else(|| config.cluster.volume_deadline()),
            custom_config: custom_config(spec),
            labels: labels?,
            backups: backups?,
            restore: None,
            log_statement: config.cluster.log_statement.clone(),
            log_min_duration_statement: log_min_duration_statement(config),
            name,
            namespace,
        })
    };
    // Each is there: nothing was wrong.
    made().map_or_else(|| invalid("name", "it cannot be understood"), Ok)
}

fn agent_image(config: &PgoConfig) -> Image {
    let (prefix, tag) = (&config.pgo.image_prefix, &config.pgo.image_tag);
    Image(format!("{prefix}/pgo-agent:{tag}"))
}

fn log_min_duration_statement(config: &PgoConfig) -> i64 {
    let said = config.cluster.log_min_duration_statement.parse();
    said.unwrap_or(60_000)
}

/// Name and namespace.
fn identity(object: &Pgcluster) -> Result<(ClusterName, Namespace), InvalidSpec> {
    let name = object.name_any().parse();
    let name = name.or_else(|error: pgo_ids::NameError| invalid("name", error.to_string()));
    let namespace = object.namespace().unwrap_or_default();
    let parsed = namespace.parse();
    let namespace =
        parsed.or_else(|_| invalid("namespace", format!("{namespace:?} is no namespace")));
    Ok((name?, namespace?))
}

/// The role of the application. Names that only PGO gives are held against it.
fn user(object: &Pgcluster, config: &PgoConfig) -> Result<RoleName, InvalidSpec> {
    let user = or(&object.spec.user, &config.cluster.user);
    let mut faults = Faults::default();
    faults.note(demands::role(&user).or_else(|problem| invalid("user", problem)));
    faults.note(demands::names(object, &user));
    faults.none()?;
    user.parse().or_else(|error: pgo_ids::NameError| {
        invalid("user", format!("{user:?} is no role name: {error}"))
    })
}

fn port(spec: &PgclusterSpec, config: &PgoConfig) -> Result<u16, InvalidSpec> {
    let port = or(&spec.port, &config.cluster.port);
    demands::port(&port).or_else(|problem| invalid("port", problem))
}

/// A value, or the default where it is empty.
pub(crate) fn or(value: &str, default: &str) -> String {
    if value.is_empty() { default } else { value }.to_owned()
}

/// The ConfigMap that the spec names. 4.1 notes one among the user labels, too, and there the namespace's own where it has
/// one: that is for clusters that name none.
fn custom_config(spec: &PgclusterSpec) -> Option<String> {
    let named = Some(spec.customconfig.as_str()).filter(|name| !name.is_empty());
    named
        .or_else(|| setting(&spec.userlabels, "custom-config"))
        .map(str::to_owned)
}

/// Storages that nothing is made of before there are replicas, or never: what makes no sense is told at once.
fn stored_for_later(spec: &PgclusterSpec) -> Result<(), InvalidSpec> {
    let mut faults = Faults::default();
    faults.note(volume::check("ArchiveStorage", &spec.archive_storage));
    faults.note(volume::check("ReplicaStorage", &spec.replica_storage));
    faults.none()
}

/// Whether another instance becomes the primary by itself: 4.1 has it as a label of the Pgcluster; else as its user labels and
/// `Cluster.Autofail` of `pgo.yaml` say.
///
/// # Errors
/// It is said, and is neither `true` nor `false`.
pub fn autofail(object: &Pgcluster, config: &PgoConfig) -> Result<bool, InvalidSpec> {
    let said = switch(label::AUTOFAIL, object.labels(), &object.spec.userlabels)?;
    Ok(said.unwrap_or(config.cluster.autofail))
}

/// Whether a label of a Pgcluster, else a user label of that key, is `true` or `false`; none where neither is set.
pub(crate) fn switch(
    key: &str,
    labels: &BTreeMap<String, String>,
    userlabels: &BTreeMap<String, String>,
) -> Result<Option<bool>, InvalidSpec> {
    let of_object = setting(labels, key).map(|value| (value, "metadata.labels"));
    let of_user = || setting(userlabels, key).map(|value| (value, "spec.userlabels"));
    match of_object.or_else(of_user) {
        None => Ok(None),
        Some(("true", _)) => Ok(Some(true)),
        Some(("false", _)) => Ok(Some(false)),
        Some((other, place)) => Err(InvalidSpec::of(
            format!("{place}.{key}"),
            format!("{other:?} is not true or false"),
        )),
    }
}

/// For how many replicas' answers commits wait. Only what the cluster itself asks for is refused where that is too many:
/// `SyncReplication` of `pgo.yaml` is for the clusters that have replicas.
///
/// # Errors
/// There are to be fewer replicas.
pub fn synchronous(object: &Pgcluster, config: &PgoConfig) -> Result<u32, InvalidSpec> {
    let spec = &object.spec;
    let replicas = replica_count(object, config);
    let (field, asked) = match (spec.synchronous_standbys, spec.sync_replication) {
        (Some(k), _) => ("synchronousStandbys", k),
        (None, Some(on)) => ("syncReplication", u32::from(on)),
        (None, None) => return Ok(u32::from(config.cluster.sync_replication).min(replicas)),
    };
    if asked > replicas {
        return invalid(
            field,
            format!(
                "commits are to wait for {asked} of {replicas} replicas, so none would ever end; ask for more replicas or for \
                 fewer answers"
            ),
        );
    }
    Ok(asked)
}

/// A setting that 4.1 keeps among the user labels.
pub(crate) fn setting<'a>(userlabels: &'a BTreeMap<String, String>, key: &str) -> Option<&'a str> {
    let value = userlabels.get(key)?;
    (!value.is_empty()).then_some(value.as_str())
}

/// A type of Service by Kubernetes' word.
pub(crate) fn service_type(word: &str) -> Result<ServiceType, InvalidSpec> {
    match word {
        "ClusterIP" => Ok(ServiceType::ClusterIp),
        "NodePort" => Ok(ServiceType::NodePort),
        "LoadBalancer" => Ok(ServiceType::LoadBalancer),
        other => invalid(
            "userlabels.service-type",
            format!("{other:?} is not ClusterIP, NodePort or LoadBalancer"),
        ),
    }
}

/// The label of the nodes that are preferred: key and value.
fn node_label(
    userlabels: &BTreeMap<String, String>,
    config: &PgoConfig,
) -> Result<Option<(String, String)>, InvalidSpec> {
    let said = said_node_label(userlabels)?;
    let default = config.cluster.primary_node_label.split_once('=');
    let default = default.map(|(key, value)| (key.to_owned(), value.to_owned()));
    Ok(said.or(default))
}

/// The node label among user labels.
pub(crate) fn said_node_label(
    userlabels: &BTreeMap<String, String>,
) -> Result<Option<(String, String)>, InvalidSpec> {
    let said = |key: &str| userlabels.get(key).filter(|value| !value.is_empty());
    let label = match (said("NodeLabelKey"), said("NodeLabelValue")) {
        (Some(key), Some(value)) => Some((key.clone(), value.clone())),
        (None, None) => None,
        _ => {
            return invalid(
                "userlabels",
                "NodeLabelKey and NodeLabelValue belong together; set both",
            );
        }
    };
    Ok(label)
}

/// What asks for work of later versions where its value is `true`: 4.1 keeps some of it among the labels of a Pgcluster
/// itself, some among its user labels.
const LATER: [&str; 5] = [
    "archive",
    "crunchy-pgbadger",
    "crunchy-pgbouncer",
    "crunchy-pgpool",
    "crunchy_collect",
];

/// Refuses what PGO will do one day and does not do yet, rather than ignoring it.
fn later(object: &Pgcluster) -> Result<(), InvalidSpec> {
    let not_yet = "is not available in this version yet; leave it out";
    let spec = &object.spec;
    let mut faults = Faults::default();
    let is_asked_for = |labels: &BTreeMap<String, String>, key: &str| {
        labels.get(key).is_some_and(|value| value == "true")
    };
    for key in LATER {
        if is_asked_for(&spec.userlabels, key) {
            let field = format!("userlabels.{key}");
            faults.note(invalid::<()>(&field, format!("this {not_yet}")));
        }
        if is_asked_for(object.labels(), key) {
            let field = format!("metadata.labels.{key}");
            let problem = format!("this {not_yet}, or say false");
            faults.note::<()>(Err(InvalidSpec::of(field, problem)));
        }
    }
    faults.none()
}

/// The cluster that the users' passwords come from.
fn secret_from(spec: &PgclusterSpec, name: &str) -> Result<Option<ClusterName>, InvalidSpec> {
    let from = &spec.secretfrom;
    if from.is_empty() {
        return Ok(None);
    }
    match from.parse::<ClusterName>() {
        Ok(from) if from.as_str() == name => invalid(
            "secretfrom",
            "it names the cluster itself; name another one, or leave it out",
        ),
        Ok(from) => Ok(Some(from)),
        Err(error) => invalid("secretfrom", format!("{from:?} is no cluster: {error}")),
    }
}

/// The image with PostgreSQL.
fn image(spec: &PgclusterSpec, config: &PgoConfig) -> Result<Image, InvalidSpec> {
    image_with(spec, &spec.ccpimagetag, config)
}

/// The same with a tag of its own.
pub(crate) fn image_with(
    spec: &PgclusterSpec,
    tag: &str,
    config: &PgoConfig,
) -> Result<Image, InvalidSpec> {
    let name = or(&spec.ccpimage, "crunchy-postgres");
    let tag = or(tag, &config.cluster.ccp_image_tag);
    image::image(&config.cluster.ccp_image_prefix, &name, &tag).or_else(|error| {
        let field = match error {
            ImageError::Name(_) => "ccpimage",
            ImageError::Tag(_) => "ccpimagetag",
        };
        invalid(field, error.to_string())
    })
}

pub(crate) fn resources(
    spec: &ContainerResources,
    config: &PgoConfig,
) -> Result<Resources, InvalidSpec> {
    let default = &config.default_container_resources;
    let named = config
        .container_resources
        .get(default)
        .filter(|_| *spec == ContainerResources::default());
    let (spec, origin) = match named {
        Some(named) => (
            Cow::Owned(ContainerResources::from(named)),
            format!(" (it is of {default} in ContainerResources of pgo.yaml)"),
        ),
        None => (Cow::Borrowed(spec), String::new()),
    };
    let resources = Resources {
        requests_cpu: spec.requestscpu.clone(),
        requests_memory: spec.requestsmemory.clone(),
        limits_cpu: spec.limitscpu.clone(),
        limits_memory: spec.limitsmemory.clone(),
    };
    demands::resources(&resources, &origin)?;
    Ok(resources)
}

/// The user labels, within Kubernetes' rules for keys and values; what PGO sets itself is left out.
fn labels(userlabels: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, InvalidSpec> {
    let fits = label::is_value;
    let key_fits = |key: &str| {
        let (prefix, name) = key.split_once('/').unwrap_or(("", key));
        prefix.len() <= 253 && !name.is_empty() && fits(name)
    };
    let mut faults = Faults::default();
    let passed_on = userlabels
        .iter()
        .filter(|(key, _)| label::is_passed_on(key));
    let labels = passed_on.map(|(key, value)| match key_fits(key) && fits(value) {
            true => Ok((key.clone(), value.clone())),
            false => invalid(
                "userlabels",
                format!(
                    "{key}={value} cannot be a label: at most 63 of a-z, A-Z, 0-9, '-', '_' and '.', a letter or digit at both ends"
                ),
            ),
        });
    let labels = labels.filter_map(|label| faults.note(label)).collect();
    faults.none().map(|()| labels)
}

impl From<&crate::StorageConfig> for StorageSpec {
    fn from(config: &crate::StorageConfig) -> Self {
        Self {
            name: String::new(),
            storageclass: config.storage_class.clone(),
            accessmode: config.access_mode.clone(),
            size: config.size.clone(),
            storagetype: config.storage_type.clone(),
            fsgroup: config.fsgroup.clone(),
            supplementalgroups: config.supplemental_groups.clone(),
            match_labels: config.match_labels.clone(),
        }
    }
}

impl From<&crate::ResourcesConfig> for ContainerResources {
    fn from(config: &crate::ResourcesConfig) -> Self {
        Self {
            requestsmemory: config.requests_memory.clone(),
            requestscpu: config.requests_cpu.clone(),
            limitsmemory: config.limits_memory.clone(),
            limitscpu: config.limits_cpu.clone(),
        }
    }
}
