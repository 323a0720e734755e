//! From Pgreplicas, and Pgtasks that ask for the removal of one, to what the core decides on.

use kube::ResourceExt as _;
use pgo_core::{NodePreference, Replica, ScaleDownRequest, WantedReplica};

use crate::{
    Pgcluster, PgoConfig, Pgreplica, Pgtask, REPLICA_FINALIZER, StorageSpec, TaskType,
    convert::{
        actor, image_with, is_over, operation, or, resources, said_node_label, service_type,
        setting,
    },
    invalid::InvalidSpec,
    label,
    volume::{says_nothing, storage},
};

/// A Pgreplica of a cluster; none where it is another's, or was never stored.
#[must_use]
pub fn replica(object: &Pgreplica, cluster: &Pgcluster, config: &PgoConfig) -> Option<Replica> {
    let is_of =
        object.spec.clustername == cluster.name_any() && object.namespace() == cluster.namespace();
    let name = object.name_any().parse().ok().filter(|_| is_of)?;
    Some(Replica {
        uid: object.uid()?,
        deleting: object.metadata.deletion_timestamp.is_some(),
        finalizer: object.finalizers().iter().any(|f| f == REPLICA_FINALIZER),
        derived: object.labels().contains_key(label::DERIVED),
        actor: actor(object),
        wanted: wanted(object, cluster, config).map_err(|invalid| invalid.to_string()),
        name,
    })
}

fn wanted(
    object: &Pgreplica,
    cluster: &Pgcluster,
    config: &PgoConfig,
) -> Result<WantedReplica, InvalidSpec> {
    let spec = &object.spec;
    if object.name_any() == cluster.name_any() {
        return Err(InvalidSpec::of(
            "metadata.name",
            "it is the name of the cluster's first instance; name the replica differently",
        ));
    }
    let by_default = config.storage.get(&config.replica_storage);
    let by_default = by_default.map(StorageSpec::from).unwrap_or_default();
    let said = [
        &spec.replicastorage,
        &cluster.spec.replica_storage,
        &by_default,
    ];
    let said = said.into_iter().find(|storage| !says_nothing(storage));
    let (nothing, of_cluster) = (StorageSpec::default(), &cluster.spec.container_resources);
    let resources_said = if spec.containerresources == crate::ContainerResources::default() {
        of_cluster
    } else {
        &spec.containerresources
    };
    let kind = setting(&spec.userlabels, "service-type").map(service_type);
    let tag = spec.userlabels.get("ccp-image-tag").map(String::as_str);
    Ok(WantedReplica {
        storage: storage("replicastorage", said.unwrap_or(&nothing), config)?,
        resources: resources(resources_said, config)?,
        node: node(object, cluster, config)?,
        image: image_with(
            &cluster.spec,
            &or(tag.unwrap_or_default(), &cluster.spec.ccpimagetag),
            config,
        )?,
        service_type: kind.transpose()?,
    })
}

/// As in 4.1: nodes with the replica's own label, else those without the cluster's.
fn node(
    object: &Pgreplica,
    cluster: &Pgcluster,
    config: &PgoConfig,
) -> Result<Option<NodePreference>, InvalidSpec> {
    let with = |(key, value)| NodePreference::With(key, value);
    if let Some(own) = said_node_label(&object.spec.userlabels)? {
        return Ok(Some(with(own)));
    }
    if let Some((key, value)) = config.cluster.replica_node_label.split_once('=') {
        return Ok(Some(with((key.to_owned(), value.to_owned()))));
    }
    let of_cluster = said_node_label(&cluster.spec.userlabels)?;
    Ok(of_cluster.map(|(key, value)| NodePreference::Without(key, value)))
}

/// The removals of replicas that Pgtasks ask for.
#[must_use]
pub fn scale_down_requests<'a>(
    tasks: impl Iterator<Item = &'a Pgtask>,
    cluster: &Pgcluster,
) -> Vec<ScaleDownRequest> {
    tasks
        .filter(|task| !is_over(task))
        .filter_map(|task| scale_down_request(task, cluster))
        .collect()
}

/// The removal of a replica that a Pgtask asks for, where it does.
#[must_use]
pub fn scale_down_request(task: &Pgtask, cluster: &Pgcluster) -> Option<ScaleDownRequest> {
    let parameter = |key: &str| task.spec.parameters.get(key).map(String::as_str);
    let is_true = |key: &str| parameter(key) == Some("true");
    if task.spec.tasktype != TaskType::DeleteData.as_str()
        || !is_true("is-replica")
        || parameter(label::PG_CLUSTER) != Some(&cluster.name_any())
        || task.namespace() != cluster.namespace()
        || !crate::convert::is_later(task, cluster)
    {
        return None;
    }
    Some(ScaleDownRequest {
        replica: parameter("replica-name")?.parse().ok()?,
        operation: operation(task, "remove")?,
        actor: actor(task),
        data: is_true("delete-data"),
    })
}
