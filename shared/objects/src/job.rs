//! The pod that measures by `pgbench`, or loads a file into a table: the programs of the instances' image.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, KeyToPath, Pod, PodSecurityContext, PodSpec, SecretVolumeSource, Volume,
    VolumeMount,
};
use pgo_core::{
    Desired, Fixture, JobKind, JobOrder, JobWork, UserSecret, job::TRANSACTIONS, job_name,
};
use pgo_crd::label;
use pgo_ids::StreamId;

use crate::{
    LogSettings,
    identity::{fixture_name, owned},
    pod::{claimed, mount, pod_security},
    worker,
};

/// Name of the container that does it.
pub const JOB_CONTAINER: &str = "job";

/// Longest life of the pod; the reconciler ends it after a day.
const DEADLINE_SECONDS: i64 = 25 * 3600;

/// The pod. It has no account, and of the agents' certificate only the authority that it knows the server by.
#[must_use]
pub fn job_pod(desired: &Desired, uid: &StreamId, order: &JobOrder, logs: &LogSettings) -> Pod {
    let kind = order.kind();
    let word = match kind {
        JobKind::Benchmark => label::BENCHMARK,
        JobKind::Load => label::LOAD,
    };
    let name = job_name(&desired.name, kind, order.operation);
    let mut metadata = owned(desired, uid, name);
    let labels = metadata.labels.get_or_insert_with(BTreeMap::new);
    labels.insert(word.to_owned(), "true".to_owned());
    labels.insert(label::JOB.to_owned(), order.operation.to_string());
    let mut volumes = vec![
        of_secret(
            "authority",
            fixture_name(Fixture::Certificate, &desired.name),
            &["ca.crt"],
        ),
        of_secret("postgres", desired.secret_name(UserSecret::Superuser), &[]),
    ];
    let mut mounts = vec![
        mount("authority", "/pgo/tls", true),
        mount("postgres", "/pgo/secrets/postgres", true),
    ];
    if let Some((volume, mount)) = input(&order.work) {
        volumes.push(volume);
        mounts.push(mount);
    }
    let environment = worker::environment(desired, ("PGO_JOB", order), logs);
    let container = worker::container(desired, JOB_CONTAINER, environment, mounts);
    Pod {
        metadata,
        spec: Some(PodSpec {
            active_deadline_seconds: Some(DEADLINE_SECONDS),
            security_context: Some(security(desired, &order.work)),
            ..worker::spec(desired, container, volumes)
        }),
        ..Pod::default()
    }
}

/// The files of a claim are a user's: no group becomes theirs that he has not named.
fn security(desired: &Desired, work: &JobWork) -> PodSecurityContext {
    let (fs_group, supplemental) = match work {
        JobWork::Benchmark(_) => (None, None),
        JobWork::Load(load) => (load.fs_group, load.supplemental_group),
    };
    PodSecurityContext {
        fs_group,
        fs_group_change_policy: fs_group.map(|_| "OnRootMismatch".to_owned()),
        supplemental_groups: supplemental.map(|group| vec![group]),
        ..pod_security(&desired.storage)
    }
}

/// What it reads that a user has made: a claim with files, or a transaction.
fn input(work: &JobWork) -> Option<(Volume, VolumeMount)> {
    match work {
        JobWork::Load(load) => Some((
            claimed("files", load.claim.clone()),
            mount("files", "/pgdata", true),
        )),
        JobWork::Benchmark(benchmark) => {
            let script = benchmark.script.clone()?;
            let map = Volume {
                name: "script".to_owned(),
                config_map: Some(ConfigMapVolumeSource {
                    name: script,
                    items: Some(vec![part(TRANSACTIONS)]),
                    ..ConfigMapVolumeSource::default()
                }),
                ..Volume::default()
            };
            Some((map, mount("script", "/pgconf", true)))
        }
    }
}

fn part(key: &str) -> KeyToPath {
    KeyToPath {
        key: key.to_owned(),
        path: key.to_owned(),
        mode: None,
    }
}

/// A Secret, or these keys of it. Without a group of its own the pod reads it as others do; there are none in it.
fn of_secret(name: &str, secret: String, keys: &[&str]) -> Volume {
    Volume {
        name: name.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret),
            default_mode: Some(0o444),
            items: (!keys.is_empty()).then(|| keys.iter().map(|key| part(key)).collect()),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}
