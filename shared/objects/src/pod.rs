//! The pod of an instance: any image that holds PostgreSQL, with the agent put in as process 1.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Affinity, Capabilities, ConfigMapVolumeSource, Container, ContainerPort,
        EmptyDirVolumeSource, EnvVar, EnvVarSource, HTTPGetAction, NodeAffinity,
        NodeSelectorRequirement, NodeSelectorTerm, ObjectFieldSelector,
        PersistentVolumeClaimVolumeSource, Pod, PodAffinityTerm, PodAntiAffinity,
        PodSecurityContext, PodSpec, PreferredSchedulingTerm, Probe, ResourceRequirements,
        SeccompProfile, SecretVolumeSource, SecurityContext, Volume, VolumeMount,
        WeightedPodAffinityTerm,
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
        util::intstr::IntOrString,
    },
};
use pgo_core::{
    Desired, Fixture, Image, NodePreference, RestoreOrder, Role, Storage, StorageKind, UserSecret,
};
use pgo_crd::label;
use pgo_ids::{ClusterName, InstanceName, StreamId};
use serde_json::json;

use crate::{
    ADMIN_PORT, AGENT_PORT,
    identity::{fixture_name, made_for, owned},
    repository::repository_path,
};

/// User and group of PostgreSQL in 4.1's images, and so on existing volumes.
const POSTGRES: i64 = 26;

/// How long PostgreSQL may take to stop before the kubelet kills it: a fast shutdown writes a checkpoint.
const GRACE_SECONDS: i64 = 120;

/// ConfigMap with the configuration of clusters that name none: one of this name, where the namespace has it (4.1's).
const GLOBAL_CONFIG: &str = "pgo-custom-pg-config";

/// What an agent logs and how, as variables of its environment: as the process that makes the pod does. A pod is not made
/// anew because of a change of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogSettings(Vec<(&'static str, String)>);

impl LogSettings {
    /// Takes those that are set; `lookup` returns the value of a variable.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let names = ["LOG_FORMAT", "LOG_LEVEL", "CRUNCHY_DEBUG"].into_iter();
        let given = |name| Some((name, lookup(name).filter(|value| !value.is_empty())?));
        Self(names.filter_map(given).collect())
    }

    pub(crate) fn variables(&self) -> impl Iterator<Item = EnvVar> {
        let Self(logs) = self;
        logs.iter().map(|(name, text)| value(name, text.clone()))
    }
}

/// 4.1's labels of the pod of an instance that has this role. Those of its Deployments are among them: there are none here, and
/// selectors of users go by them.
#[must_use]
pub fn pod_labels(
    (cluster, uid): (&ClusterName, &StreamId),
    (instance, role): (&InstanceName, Role),
) -> BTreeMap<String, String> {
    let service = role.service(cluster);
    let is_first = instance.as_str() == cluster.as_str();
    let replica = (!is_first).then(|| (label::REPLICA_NAME, instance.to_string()));
    let restores = (role == Role::Restoring).then(|| (label::BACKREST_RESTORE, "true".to_owned()));
    let labels = [
        (label::NAME, service.clone()),
        (label::SERVICE_NAME, service),
        (label::DEPLOYMENT_NAME, instance.to_string()),
        (label::PG_CLUSTER_ID, uid.to_string()),
    ];
    let labels = labels.into_iter().chain(replica).chain(restores);
    labels.map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The pod of an instance that is to have this role.
#[must_use]
pub fn pod(
    desired: &Desired,
    uid: &StreamId,
    (instance, role): (&InstanceName, Role),
    logs: &LogSettings,
) -> Pod {
    let mut metadata = owned(desired, uid, instance.to_string());
    made_for(&mut metadata, &desired.pod_form());
    if let Some(labels) = &mut metadata.labels {
        labels.extend(pod_labels((&desired.name, uid), (instance, role)));
    }
    Pod {
        metadata,
        spec: Some(PodSpec {
            service_account_name: Some(fixture_name(Fixture::Account, &desired.name)),
            enable_service_links: Some(false),
            termination_grace_period_seconds: Some(GRACE_SECONDS),
            security_context: Some(pod_security(&desired.storage)),
            affinity: Some(affinity(desired)),
            init_containers: Some(vec![installer(&desired.agent_image)]),
            containers: vec![database(desired, instance, logs)],
            volumes: Some(volumes(desired, instance)),
            ..PodSpec::default()
        }),
        ..Pod::default()
    }
}

pub(crate) fn pod_security(storage: &Storage) -> PodSecurityContext {
    let groups = &storage.supplemental_groups;
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(POSTGRES),
        run_as_group: Some(POSTGRES),
        fs_group: Some(storage.fs_group.unwrap_or(POSTGRES)),
        // Else the kubelet walks through all of a large database at each start.
        fs_group_change_policy: Some("OnRootMismatch".to_owned()),
        supplemental_groups: (!groups.is_empty()).then(|| groups.clone()),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            ..SeccompProfile::default()
        }),
        ..PodSecurityContext::default()
    }
}

/// What Pod Security "restricted" asks of each container, and a read-only root.
pub(crate) fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".to_owned()]),
            ..Capabilities::default()
        }),
        ..SecurityContext::default()
    }
}

/// Weight of keeping a cluster's pods apart, against [`NODE_WEIGHT`] of the nodes that somebody asked for.
const SPREAD_WEIGHT: i32 = 50;

/// Weight of a preference for nodes.
const NODE_WEIGHT: i32 = 100;

/// Both are preferences: a pod on a node that is less fit is better than none.
pub(crate) fn affinity(desired: &Desired) -> Affinity {
    Affinity {
        node_affinity: desired.node.as_ref().map(prefers),
        pod_anti_affinity: Some(apart(desired)),
        ..Affinity::default()
    }
}

/// Instances of one cluster are to be on different nodes.
fn apart(desired: &Desired) -> PodAntiAffinity {
    let instances = LabelSelector {
        match_labels: Some(BTreeMap::from([
            (label::VENDOR.to_owned(), "crunchydata".to_owned()),
            (label::PG_CLUSTER.to_owned(), desired.name.to_string()),
        ])),
        match_expressions: Some(vec![LabelSelectorRequirement {
            key: label::DEPLOYMENT_NAME.to_owned(),
            operator: "Exists".to_owned(),
            values: None,
        }]),
    };
    PodAntiAffinity {
        preferred_during_scheduling_ignored_during_execution: Some(vec![WeightedPodAffinityTerm {
            weight: SPREAD_WEIGHT,
            pod_affinity_term: PodAffinityTerm {
                label_selector: Some(instances),
                topology_key: "kubernetes.io/hostname".to_owned(),
                ..PodAffinityTerm::default()
            },
        }]),
        ..PodAntiAffinity::default()
    }
}

pub(crate) fn prefers(node: &NodePreference) -> NodeAffinity {
    let (key, operator, value) = match node {
        NodePreference::With(key, value) => (key, "In", value),
        NodePreference::Without(key, value) => (key, "NotIn", value),
    };
    NodeAffinity {
        preferred_during_scheduling_ignored_during_execution: Some(vec![PreferredSchedulingTerm {
            weight: NODE_WEIGHT,
            preference: NodeSelectorTerm {
                match_expressions: Some(vec![NodeSelectorRequirement {
                    key: key.clone(),
                    operator: operator.to_owned(),
                    values: Some(vec![value.clone()]),
                }]),
                ..NodeSelectorTerm::default()
            },
        }]),
        ..NodeAffinity::default()
    }
}

pub(crate) fn installer(image: &Image) -> Container {
    Container {
        name: "agent".to_owned(),
        image: Some(image.0.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        args: Some(vec!["install".to_owned()]),
        security_context: Some(container_security()),
        volume_mounts: Some(vec![
            mount_part("agent", "/pgo/bin", "bin"),
            mount_part("agent", "/pgo/etc", "etc"),
        ]),
        ..Container::default()
    }
}

fn database(desired: &Desired, instance: &InstanceName, logs: &LogSettings) -> Container {
    Container {
        name: "database".to_owned(),
        image: Some(desired.image.0.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(vec!["/pgo/bin/agent".to_owned()]),
        env: Some(environment(desired, instance, logs)),
        ports: Some(vec![
            port("postgres", desired.port),
            port("agent", AGENT_PORT),
            port("admin", ADMIN_PORT),
        ]),
        readiness_probe: Some(readiness()),
        resources: resources(desired),
        security_context: Some(container_security()),
        volume_mounts: Some(mounts()),
        ..Container::default()
    }
}

/// The agent says whether its container can be used.
pub(crate) fn readiness() -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some("/readyz".to_owned()),
            port: IntOrString::Int(i32::from(ADMIN_PORT)),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(1),
        timeout_seconds: Some(2),
        failure_threshold: Some(3),
        ..Probe::default()
    }
}

pub(crate) fn port(name: &str, number: u16) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: i32::from(number),
        ..ContainerPort::default()
    }
}

fn environment(desired: &Desired, instance: &InstanceName, logs: &LogSettings) -> Vec<EnvVar> {
    let mut variables = vec![
        value("PGO_CLUSTER", desired.name.to_string()),
        value("PGO_NAMESPACE", desired.namespace.to_string()),
        value("PGO_INSTANCE", instance.to_string()),
        field("POD_NAME", "metadata.name"),
        field("POD_UID", "metadata.uid"),
        field("POD_IP", "status.podIP"),
        value("PGDATA", format!("/pgdata/{instance}")),
        value("PGO_DATABASE", desired.database.clone()),
        value("PGPORT", desired.port.to_string()),
        value("LOG_STATEMENT", desired.log_statement.clone()),
        value(
            "LOG_MIN_DURATION_STATEMENT",
            desired.log_min_duration_statement.to_string(),
        ),
        value("PGO_VOLUME_DEADLINE", desired.volume_deadline.to_string()),
    ];
    if let Some(backups) = &desired.backups {
        variables.extend([
            value("PGO_BACKREST_HOST", desired.repository_name()),
            value("PGO_BACKREST_PATH", repository_path(desired)),
            value("PGO_BACKREST_STORAGE", backups.places.as_str().to_owned()),
            value("PGO_ARCHIVE_TIMEOUT", backups.archive_timeout.to_string()),
        ]);
    }
    if let Some(order) = &desired.restore {
        let RestoreOrder { operation, options } = order;
        let order = json!({"operation": operation, "options": options});
        variables.push(value("PGO_RESTORE", order.to_string()));
    }
    variables.extend(logs.variables());
    variables
}

/// A variable of the environment.
pub(crate) fn value(name: &str, value: String) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: Some(value),
        ..EnvVar::default()
    }
}

/// One with what Kubernetes knows of the pod.
pub(crate) fn field(name: &str, path: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                field_path: path.to_owned(),
                ..ObjectFieldSelector::default()
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

pub(crate) fn resources(desired: &Desired) -> Option<ResourceRequirements> {
    let side = |cpu: &str, memory: &str| {
        let quantities: BTreeMap<String, Quantity> = [("cpu", cpu), ("memory", memory)]
            .into_iter()
            .filter(|(_, quantity)| !quantity.is_empty())
            .map(|(name, quantity)| (name.to_owned(), Quantity(quantity.to_owned())))
            .collect();
        (!quantities.is_empty()).then_some(quantities)
    };
    let wanted = &desired.resources;
    let requests = side(&wanted.requests_cpu, &wanted.requests_memory);
    let limits = side(&wanted.limits_cpu, &wanted.limits_memory);
    (requests.is_some() || limits.is_some()).then(|| ResourceRequirements {
        requests,
        limits,
        ..ResourceRequirements::default()
    })
}

/// Where each user Secret is mounted, below `/pgo/secrets`, and the name of its volume.
fn user_secret(secret: UserSecret) -> &'static str {
    match secret {
        UserSecret::Superuser => "postgres",
        UserSecret::Replication => "primaryuser",
        UserSecret::Application => "user",
    }
}

pub(crate) fn mount(volume: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: volume.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}

pub(crate) fn mount_part(volume: &str, path: &str, part: &str) -> VolumeMount {
    VolumeMount {
        sub_path: Some(part.to_owned()),
        ..mount(volume, path, false)
    }
}

/// What an agent's container has in any pod.
pub(crate) fn agents_mounts() -> Vec<VolumeMount> {
    let read_only = |volume: &str, path: &str, part: &str| VolumeMount {
        read_only: Some(true),
        ..mount_part(volume, path, part)
    };
    vec![
        read_only("agent", "/pgo/bin", "bin"),
        // The image need not know user 26; these do.
        read_only("agent", "/etc/passwd", "etc/passwd"),
        read_only("agent", "/etc/group", "etc/group"),
        mount("tls", "/pgo/tls", true),
        mount("tmp", "/tmp", false),
        mount("run", "/run/postgresql", false),
    ]
}

/// The volumes of those.
pub(crate) fn agents_volumes(desired: &Desired) -> Vec<Volume> {
    vec![
        empty("agent"),
        empty("tmp"),
        empty("run"),
        secret("tls", fixture_name(Fixture::Certificate, &desired.name)),
    ]
}

/// One that goes with the pod.
pub(crate) fn empty(name: &str) -> Volume {
    Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    }
}

/// The volume of a claim.
pub(crate) fn claimed(name: &str, claim: String) -> Volume {
    Volume {
        name: name.to_owned(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: claim,
            ..PersistentVolumeClaimVolumeSource::default()
        }),
        ..Volume::default()
    }
}

pub(crate) fn secret(name: &str, secret_name: String) -> Volume {
    Volume {
        name: name.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret_name),
            // PostgreSQL takes a key that root owns and its own group may read (documentation, "Secure TCP/IP
            // Connections with SSL"); fsGroup makes it that group.
            default_mode: Some(0o440),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}

fn mounts() -> Vec<VolumeMount> {
    let mut mounts = agents_mounts();
    mounts.push(mount("pgdata", "/pgdata", false));
    mounts.extend(UserSecret::ALL.map(|secret| {
        let name = user_secret(secret);
        mount(name, &format!("/pgo/secrets/{name}"), true)
    }));
    mounts.push(mount("pgconf", "/pgconf", true));
    mounts
}

fn volumes(desired: &Desired, instance: &InstanceName) -> Vec<Volume> {
    let mut volumes = agents_volumes(desired);
    volumes.push(if desired.storage.kind == StorageKind::EmptyDir {
        empty("pgdata")
    } else {
        claimed("pgdata", instance.to_string())
    });
    volumes.extend(
        UserSecret::ALL.map(|which| secret(user_secret(which), desired.secret_name(which))),
    );
    volumes.push(custom_config(desired));
    volumes
}

/// The user's configuration: the ConfigMap that is named, which must be there, else the namespace's own, which need not.
pub(crate) fn custom_config(desired: &Desired) -> Volume {
    let named = desired.custom_config.as_deref();
    let named = named.filter(|name| *name != GLOBAL_CONFIG);
    Volume {
        name: "pgconf".to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: named.unwrap_or(GLOBAL_CONFIG).to_owned(),
            optional: named.is_none().then_some(true),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    }
}
