//! The repository of backups: a Deployment with one pod, whose agent runs pgBackRest, and the Service by which instances reach
//! it.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy},
        core::v1::{
            Container, EnvVar, HostAlias, PodSpec, PodTemplateSpec, Service, ServicePort,
            ServiceSpec,
        },
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use pgo_core::{Backups, Desired, Fixture, StorageKind};
use pgo_crd::label;
use pgo_ids::StreamId;

use crate::{
    ADMIN_PORT, AGENT_PORT, LogSettings,
    identity::{agent_identity, cluster_labels, fixture_name, made_for, owned},
    pod::{
        agents_mounts, agents_volumes, claimed, container_security, empty, field, installer, mount,
        pod_security, port, readiness, secret, value,
    },
};

/// Port of pgBackRest's own server, at the repository and at each instance.
pub const REPOSITORY_PORT: u16 = 8432;

/// Where the volume with the backups is mounted.
const VOLUME: &str = "/backrestrepo";

/// Where the Secret with the key of the bucket is mounted.
const KEY: &str = "/pgo/s3";

/// How long a backup that is under way may take to end when the pod is to go: what was copied can be used by the next one.
const GRACE_SECONDS: i64 = 30;

/// The folder of the repository on its volume (4.1).
pub(crate) fn repository_path(desired: &Desired) -> String {
    format!("{VOLUME}/{}", desired.repository_name())
}

/// Whether a pod is that of a repository of this very cluster.
#[must_use]
pub fn is_repository(pod: &ObjectMeta, uid: &StreamId) -> bool {
    let label = |key: &str| {
        let labels = pod.labels.as_ref()?;
        labels.get(key).map(String::as_str)
    };
    label(label::BACKREST_REPO) == Some("true") && label(label::PG_CLUSTER_ID) == Some(uid.as_str())
}

/// 4.1's labels by which the pod is found.
fn selector(desired: &Desired) -> BTreeMap<String, String> {
    let name = desired.repository_name();
    let labels = [
        (label::VENDOR, "crunchydata".to_owned()),
        (label::PG_CLUSTER, desired.name.to_string()),
        (label::NAME, name.clone()),
        (label::SERVICE_NAME, name),
        (label::BACKREST_REPO, "true".to_owned()),
    ];
    BTreeMap::from(labels.map(|(key, value)| (key.to_owned(), value)))
}

/// The Service of the repository.
#[must_use]
pub fn repository_service(desired: &Desired, uid: &StreamId) -> Service {
    let name = fixture_name(Fixture::RepositoryService, &desired.name);
    let mut metadata = owned(desired, uid, name.clone());
    let labels = metadata.labels.get_or_insert_default();
    labels.insert(label::NAME.to_owned(), name);
    labels.insert(label::BACKREST_REPO.to_owned(), "true".to_owned());
    made_for(&mut metadata, &desired.repository_service_form());
    let port = |name: &str, number: u16| ServicePort {
        name: Some(name.to_owned()),
        port: i32::from(number),
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::Int(i32::from(number))),
        ..ServicePort::default()
    };
    Service {
        metadata,
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            selector: Some(selector(desired)),
            ports: Some(vec![
                port("pgbackrest", REPOSITORY_PORT),
                port("agent", AGENT_PORT),
            ]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// The Deployment of the repository. Never two pods at a time: both would write to one volume.
#[must_use]
pub fn repository(
    desired: &Desired,
    backups: &Backups,
    uid: &StreamId,
    logs: &LogSettings,
) -> Deployment {
    let name = fixture_name(Fixture::Repository, &desired.name);
    let mut metadata = owned(desired, uid, name);
    let labels = metadata.labels.get_or_insert_default();
    labels.extend(selector(desired));
    made_for(&mut metadata, &desired.repository_form());
    let mut of_pod = cluster_labels(desired);
    of_pod.extend(selector(desired));
    of_pod.insert(label::PG_CLUSTER_ID.to_owned(), uid.to_string());
    Deployment {
        metadata,
        spec: Some(DeploymentSpec {
            replicas: Some(1),
            strategy: Some(DeploymentStrategy {
                type_: Some("Recreate".to_owned()),
                ..DeploymentStrategy::default()
            }),
            // With none of an earlier image left over.
            revision_history_limit: Some(0),
            selector: LabelSelector {
                match_labels: Some(selector(desired)),
                ..LabelSelector::default()
            },
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(of_pod),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod(desired, backups, logs)),
            },
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

fn pod(desired: &Desired, backups: &Backups, logs: &LogSettings) -> PodSpec {
    let mut volumes = agents_volumes(desired);
    volumes.push(if backups.storage.kind == StorageKind::EmptyDir {
        empty("backrestrepo")
    } else {
        claimed("backrestrepo", desired.repository_claim_name())
    });
    if backups.places.bucket().is_some() {
        volumes.push(secret("s3", desired.repository_secret_name()));
    }
    PodSpec {
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        security_context: Some(pod_security(&backups.storage)),
        // pgBackRest holds the certificate of an instance against the name that it calls. All instances have the identity of
        // the cluster, which no DNS knows; the agent passes on what is called here.
        host_aliases: Some(vec![HostAlias {
            ip: "127.0.0.1".to_owned(),
            hostnames: Some(vec![agent_identity(&desired.name, &desired.namespace)]),
        }]),
        init_containers: Some(vec![installer(&desired.agent_image)]),
        containers: vec![container(desired, backups, logs)],
        volumes: Some(volumes),
        ..PodSpec::default()
    }
}

fn container(desired: &Desired, backups: &Backups, logs: &LogSettings) -> Container {
    let mut mounts = agents_mounts();
    mounts.push(mount("backrestrepo", VOLUME, false));
    if backups.places.bucket().is_some() {
        mounts.push(mount("s3", KEY, true));
    }
    Container {
        name: "database".to_owned(),
        // The image of the instances: it holds the same pgBackRest as they run.
        image: Some(desired.image.0.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(vec!["/pgo/bin/agent".to_owned()]),
        env: Some(environment(desired, backups, logs)),
        ports: Some(vec![
            port("pgbackrest", REPOSITORY_PORT),
            port("agent", AGENT_PORT),
            port("admin", ADMIN_PORT),
        ]),
        readiness_probe: Some(readiness()),
        security_context: Some(container_security()),
        volume_mounts: Some(mounts),
        ..Container::default()
    }
}

fn environment(desired: &Desired, backups: &Backups, logs: &LogSettings) -> Vec<EnvVar> {
    let mut variables = vec![
        value("PGO_REPOSITORY", repository_path(desired)),
        value("PGO_CLUSTER", desired.name.to_string()),
        value("PGO_NAMESPACE", desired.namespace.to_string()),
        field("POD_NAME", "metadata.name"),
        field("POD_UID", "metadata.uid"),
        value("PGO_BACKREST_STORAGE", backups.places.as_str().to_owned()),
    ];
    if let Some(bucket) = backups.places.bucket() {
        let style = if bucket.in_path { "path" } else { "host" };
        variables.extend([
            value("PGO_BACKREST_S3_BUCKET", bucket.name.clone()),
            value("PGO_BACKREST_S3_ENDPOINT", bucket.endpoint.clone()),
            value("PGO_BACKREST_S3_REGION", bucket.region.clone()),
            value("PGO_BACKREST_S3_URI_STYLE", style.to_owned()),
            value("PGO_BACKREST_S3_DIR", KEY.to_owned()),
        ]);
    }
    variables.extend(logs.variables());
    variables
}
