//! What pods have in common that do one operation: the agent in one of its roles, with the programs of the instances' image.

use k8s_openapi::api::core::v1::{Container, EnvVar, PodSpec, Volume, VolumeMount};
use pgo_core::Desired;
use serde::Serialize;

use crate::{
    LogSettings,
    pod::{container_security, empty, installer, mount, mount_part, pod_security, value},
};

/// How long what runs may take to end when the pod is to go.
const GRACE_SECONDS: i64 = 20;

/// A pod that runs once. It has no account.
pub(crate) fn spec(desired: &Desired, container: Container, further: Vec<Volume>) -> PodSpec {
    let mut volumes = vec![empty("agent"), empty("tmp")];
    volumes.extend(further);
    PodSpec {
        restart_policy: Some("Never".to_owned()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        security_context: Some(pod_security(&desired.storage)),
        init_containers: Some(vec![installer(&desired.agent_image)]),
        containers: vec![container],
        volumes: Some(volumes),
        ..PodSpec::default()
    }
}

/// Its container, called as the role of the agent in it.
pub(crate) fn container(
    desired: &Desired,
    role: &str,
    environment: Vec<EnvVar>,
    further: Vec<VolumeMount>,
) -> Container {
    let read_only = |volume: &str, path: &str, part: &str| VolumeMount {
        read_only: Some(true),
        ..mount_part(volume, path, part)
    };
    let mut mounts = vec![
        read_only("agent", "/pgo/bin", "bin"),
        // The image need not know user 26; these do.
        read_only("agent", "/etc/passwd", "etc/passwd"),
        read_only("agent", "/etc/group", "etc/group"),
        mount("tmp", "/tmp", false),
    ];
    mounts.extend(further);
    Container {
        name: role.to_owned(),
        // That of the instances: its programs are as new as the server.
        image: Some(desired.image.0.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(vec!["/pgo/bin/agent".to_owned()]),
        args: Some(vec![role.to_owned()]),
        env: Some(environment),
        security_context: Some(container_security()),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(mounts),
        ..Container::default()
    }
}

/// What it is told: the order in this variable, and where the server is.
pub(crate) fn environment(
    desired: &Desired,
    (variable, order): (&str, &impl Serialize),
    logs: &LogSettings,
) -> Vec<EnvVar> {
    // Texts, numbers and lists of texts are always JSON.
    let text = serde_json::to_string(order).unwrap_or_default();
    let mut variables = vec![
        value(variable, text),
        // The certificate of the server has this name.
        value(
            "PGO_DATABASE_HOST",
            format!("{}.{}.svc", desired.name, desired.namespace),
        ),
        value("PGPORT", desired.port.to_string()),
    ];
    variables.extend(logs.variables());
    variables
}
