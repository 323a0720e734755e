//! From a Pgcluster and `pgo.yaml` to what the core decides on.

use std::{borrow::Cow, collections::BTreeMap};

use kube::ResourceExt as _;
use pgo_core::{
    Cluster, DeleteOptions, DeleteRequest, Desired, Image, Resources, ServiceType, Storage,
    StorageKind,
};
use pgo_ids::{ClusterName, Namespace, OperationId};

use crate::{
    ContainerResources, Pgcluster, PgclusterSpec, PgoConfig, Pgtask, StorageSpec, TaskType,
    demands,
    image::{self, ImageError},
    label,
};

/// A Pgcluster that the schema lets through and PGO cannot make.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct InvalidSpec {
    /// The field, with the path to it.
    pub field: String,
    /// What is wrong, and what would be right.
    pub problem: String,
}

fn invalid<T>(field: &str, problem: impl Into<String>) -> Result<T, InvalidSpec> {
    Err(InvalidSpec {
        field: format!("spec.{field}"),
        problem: problem.into(),
    })
}

/// What the core must know of a Pgcluster; none where the object has no uid, so was never stored.
#[must_use]
pub fn cluster(
    object: &Pgcluster,
    config: &PgoConfig,
    delete_requests: Vec<DeleteRequest>,
) -> Option<Cluster> {
    let name: ClusterName = object.name_any().parse().ok()?;
    let namespace: Namespace = object.namespace()?.parse().ok()?;
    let stream = object.uid()?.parse().ok()?;
    let workflow = object
        .spec
        .userlabels
        .get(label::WORKFLOW_ID)
        .and_then(|id| id.parse::<OperationId>().ok());
    Some(Cluster {
        desired: desired(object, config).map_err(|invalid| invalid.to_string()),
        stream,
        generation: object.metadata.generation.unwrap_or(0),
        deleting: object.metadata.deletion_timestamp.is_some(),
        actor: actor(object),
        workflow,
        delete_requests,
        name,
        namespace,
    })
}

/// Who made it: the pgouser, or the first word of the program's name that Kubernetes noted (`kubectl-create` is `kubectl`).
fn actor(object: &Pgcluster) -> String {
    if let Some(user) = object.labels().get(label::PGOUSER) {
        return user.clone();
    }
    object
        .managed_fields()
        .iter()
        .filter(|fields| fields.subresource.as_deref().unwrap_or_default().is_empty())
        .min_by_key(|fields| fields.time.as_ref().map(|time| time.0))
        .and_then(|fields| fields.manager.as_deref()?.split(['-', '/']).next())
        .unwrap_or_default()
        .to_owned()
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
        actor: task
            .labels()
            .get(label::PGOUSER)
            .cloned()
            .unwrap_or_default(),
        options: DeleteOptions {
            data: is_true("delete-data"),
            backups: is_true("delete-backups"),
        },
    })
}

/// Whether a task was made for this very cluster: it says so by its owner, or else it is not older.
fn is_later(task: &Pgtask, cluster: &Pgcluster) -> bool {
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
/// A value that the schema could not refuse: the field, and what would be right.
pub fn desired(object: &Pgcluster, config: &PgoConfig) -> Result<Desired, InvalidSpec> {
    let spec = &object.spec;
    later(object, config)?;
    let name: ClusterName = object
        .name_any()
        .parse()
        .map_err(|error: pgo_ids::NameError| InvalidSpec {
            field: "spec.name".to_owned(),
            problem: error.to_string(),
        })?;
    let namespace = object.namespace().unwrap_or_default();
    let Ok(namespace) = namespace.parse() else {
        return invalid("namespace", format!("{namespace:?} is no namespace"));
    };
    let user = or(&spec.user, &config.cluster.user);
    demands::role(&user).or_else(|problem| invalid("user", problem))?;
    demands::names(object, &user)?;
    let user = user.parse().or_else(|error: pgo_ids::NameError| {
        invalid("user", format!("{user:?} is no role name: {error}"))
    })?;
    let port = or(&spec.port, &config.cluster.port);
    let Ok(port) = port.parse::<u16>() else {
        return invalid("port", format!("{port:?} is not a port"));
    };
    let service_type = service_type(spec, config)?;
    let node_label = node_label(spec, config)?;
    let custom_config = setting(spec, "custom-config")
        .map(str::to_owned)
        .or_else(|| (!spec.customconfig.is_empty()).then(|| spec.customconfig.clone()));
    Ok(Desired {
        image: image(spec, config)?,
        agent_image: Image(format!(
            "{}/pgo-agent:{}",
            config.pgo.image_prefix, config.pgo.image_tag
        )),
        port,
        database: or(&spec.database, &config.cluster.database),
        user,
        secret_from: secret_from(spec, &name)?,
        storage: storage(&spec.primary_storage, config)?,
        resources: resources(&spec.container_resources, config)?,
        service_type,
        node_label,
        custom_config,
        labels: labels(&spec.userlabels)?,
        log_statement: config.cluster.log_statement.clone(),
        log_min_duration_statement: config
            .cluster
            .log_min_duration_statement
            .parse()
            .unwrap_or(60_000),
        name,
        namespace,
    })
}

/// A value, or the default where it is empty.
fn or(value: &str, default: &str) -> String {
    if value.is_empty() { default } else { value }.to_owned()
}

/// A setting that 4.1 keeps among the user labels.
fn setting<'a>(spec: &'a PgclusterSpec, key: &str) -> Option<&'a str> {
    let value = spec.userlabels.get(key)?;
    (!value.is_empty()).then_some(value.as_str())
}

fn service_type(spec: &PgclusterSpec, config: &PgoConfig) -> Result<ServiceType, InvalidSpec> {
    match setting(spec, "service-type").unwrap_or(&config.cluster.service_type) {
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
    spec: &PgclusterSpec,
    config: &PgoConfig,
) -> Result<Option<(String, String)>, InvalidSpec> {
    let label = match (
        setting(spec, "NodeLabelKey"),
        setting(spec, "NodeLabelValue"),
    ) {
        (Some(key), Some(value)) => Some((key, value)),
        (None, None) => config.cluster.primary_node_label.split_once('='),
        _ => {
            return invalid(
                "userlabels",
                "NodeLabelKey and NodeLabelValue belong together; set both",
            );
        }
    };
    Ok(label.map(|(key, value)| (key.to_owned(), value.to_owned())))
}

/// What asks for work of later versions where its value is `true`: 4.1 keeps some of it among the labels of a Pgcluster
/// itself, some among its user labels.
const LATER: [&str; 7] = [
    "archive",
    "autofail",
    "crunchy-pgbadger",
    "crunchy-pgbouncer",
    "crunchy-pgpool",
    "crunchy_collect",
    "pgo-backrest",
];

/// Refuses what PGO will do one day and does not do yet, rather than ignoring it.
///
/// Where `pgo.yaml` wants pgBackRest for every cluster, `pgo create cluster` tells that it is left out, and sets 4.1's label
/// all the same: nobody asked for it with this cluster.
fn later(object: &Pgcluster, config: &PgoConfig) -> Result<(), InvalidSpec> {
    let not_yet = "is not available in this version yet; leave it out";
    let spec = &object.spec;
    if !matches!(spec.replicas.as_str(), "" | "0") {
        return invalid("replicas", format!("a cluster with replicas {not_yet}"));
    }
    if !spec.policies.is_empty() {
        return invalid("policies", format!("applying policies {not_yet}"));
    }
    let is_asked_for = |labels: &BTreeMap<String, String>, key: &str| {
        labels.get(key).is_some_and(|value| value == "true")
    };
    for key in LATER {
        if is_asked_for(&spec.userlabels, key) {
            return invalid(&format!("userlabels.{key}"), format!("this {not_yet}"));
        }
        let of_every_cluster = key == "pgo-backrest" && config.cluster.backrest;
        if is_asked_for(object.labels(), key) && !of_every_cluster {
            return Err(InvalidSpec {
                field: format!("metadata.labels.{key}"),
                problem: format!("this {not_yet}, or say false"),
            });
        }
    }
    Ok(())
}

/// The cluster that the users' passwords come from.
fn secret_from(
    spec: &PgclusterSpec,
    name: &ClusterName,
) -> Result<Option<ClusterName>, InvalidSpec> {
    let from = &spec.secretfrom;
    if from.is_empty() {
        return Ok(None);
    }
    match from.parse::<ClusterName>() {
        Ok(from) if from == *name => invalid(
            "secretfrom",
            "it names the cluster itself; name another one, or leave it out",
        ),
        Ok(from) => Ok(Some(from)),
        Err(error) => invalid("secretfrom", format!("{from:?} is no cluster: {error}")),
    }
}

/// The image with PostgreSQL.
fn image(spec: &PgclusterSpec, config: &PgoConfig) -> Result<Image, InvalidSpec> {
    let name = or(&spec.ccpimage, "crunchy-postgres");
    let tag = or(&spec.ccpimagetag, &config.cluster.ccp_image_tag);
    image::image(&config.cluster.ccp_image_prefix, &name, &tag).or_else(|error| {
        let field = match error {
            ImageError::Name(_) => "ccpimage",
            ImageError::Tag(_) => "ccpimagetag",
        };
        invalid(field, error.to_string())
    })
}

fn storage(spec: &StorageSpec, config: &PgoConfig) -> Result<Storage, InvalidSpec> {
    let spec = said_or_default(spec, config)?;
    let kind = match spec.storagetype.as_str() {
        "create" => StorageKind::Create,
        "dynamic" | "" => StorageKind::Dynamic,
        "emptydir" => StorageKind::EmptyDir,
        other => {
            return invalid(
                "PrimaryStorage.storagetype",
                format!("{other:?} cannot be used; give create, dynamic or emptydir"),
            );
        }
    };
    if kind != StorageKind::EmptyDir && spec.size.is_empty() {
        return invalid(
            "PrimaryStorage.size",
            "it is empty; give a quantity such as 1Gi",
        );
    }
    if !spec.size.is_empty() {
        demands::size(&spec.size)?;
    }
    if !spec.fsgroup.is_empty() && !spec.supplementalgroups.is_empty() {
        return invalid(
            "PrimaryStorage",
            "fsgroup and supplementalgroups cannot both be set; leave one of them out",
        );
    }
    let supplemental_groups = spec
        .supplementalgroups
        .split(',')
        .filter(|group| !group.trim().is_empty())
        .map(|group| number("supplementalgroups", group))
        .collect::<Result<_, _>>()?;
    Ok(Storage {
        kind,
        class: (kind == StorageKind::Dynamic && !spec.storageclass.is_empty())
            .then(|| spec.storageclass.clone()),
        access_mode: if spec.accessmode.is_empty() {
            "ReadWriteOnce".to_owned()
        } else {
            spec.accessmode.clone()
        },
        size: spec.size.clone(),
        fs_group: if spec.fsgroup.is_empty() {
            None
        } else {
            Some(number("fsgroup", &spec.fsgroup)?)
        },
        supplemental_groups,
        match_labels: match_labels(&spec.match_labels)?,
    })
}

fn match_labels(text: &str) -> Result<BTreeMap<String, String>, InvalidSpec> {
    match text.split_once('=') {
        Some((key, value)) => Ok(BTreeMap::from([(key.to_owned(), value.to_owned())])),
        None if text.is_empty() => Ok(BTreeMap::new()),
        None => invalid(
            "PrimaryStorage.matchLabels",
            format!("{text:?} is not key=value"),
        ),
    }
}

/// The storage that a spec describes, or that of `pgo.yaml` where it says nothing.
fn said_or_default<'a>(
    spec: &'a StorageSpec,
    config: &PgoConfig,
) -> Result<Cow<'a, StorageSpec>, InvalidSpec> {
    let nothing = StorageSpec {
        name: spec.name.clone(),
        ..StorageSpec::default()
    };
    if *spec != nothing {
        return Ok(Cow::Borrowed(spec));
    }
    match config.storage.get(&config.primary_storage) {
        Some(named) => Ok(Cow::Owned(StorageSpec::from(named))),
        None => invalid(
            "PrimaryStorage",
            "pgo.yaml names no storage to take by default",
        ),
    }
}

fn number(field: &str, text: &str) -> Result<i64, InvalidSpec> {
    text.trim().parse().or_else(|_| {
        invalid(
            &format!("PrimaryStorage.{field}"),
            format!("{text:?} is not a number"),
        )
    })
}

fn resources(spec: &ContainerResources, config: &PgoConfig) -> Result<Resources, InvalidSpec> {
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
    let fits = |text: &str| {
        text.len() <= 63
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
            && !text.starts_with(['-', '_', '.'])
            && !text.ends_with(['-', '_', '.'])
    };
    let key_fits = |key: &str| {
        let (prefix, name) = key.split_once('/').unwrap_or(("", key));
        prefix.len() <= 253 && !name.is_empty() && fits(name)
    };
    userlabels
        .iter()
        .filter(|(key, _)| label::is_passed_on(key))
        .map(|(key, value)| match key_fits(key) && fits(value) {
            true => Ok((key.clone(), value.clone())),
            false => invalid(
                "userlabels",
                format!(
                    "{key}={value} cannot be a label: at most 63 of a-z, A-Z, 0-9, '-', '_' and '.', a letter or digit at both ends"
                ),
            ),
        })
        .collect()
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
