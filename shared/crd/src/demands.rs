//! What a schema cannot demand of a spec: quantities that fit each other, a role that a Secret can be named after, and names
//! that PGO gives itself.

use std::cmp::Ordering;

use kube::ResourceExt as _;
use pgo_core::{Resources, UserSecret};

use crate::{
    Pgcluster, PgclusterSpec,
    invalid::{Faults, InvalidSpec},
    quantity,
};

fn invalid(field: &str, problem: impl Into<String>) -> InvalidSpec {
    InvalidSpec::of(format!("spec.{field}"), problem)
}

/// Why a role cannot be the application's: its Secret is named after it, and Secrets have names of DNS (RFC 1123, section
/// 2.1). 4.1 demands the same of `User` in `pgo.yaml`.
pub(crate) fn role(name: &str) -> Result<(), String> {
    let is_label = |label: &str| {
        let ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        label.starts_with(ends)
            && label.ends_with(ends)
            && label.chars().all(|c| ends(c) || c == '-')
    };
    if name.split('.').all(is_label) {
        return Ok(());
    }
    Err(format!(
        "{name:?} cannot be in the name of a Secret; use a-z, 0-9, '-' and '.', with a letter or a digit at both ends"
    ))
}

/// The first port that PostgreSQL can listen on: it is not root's process and has no capability (ip(7),
/// ip_unprivileged_port_start).
const FIRST_PORT: u16 = 1024;

/// A port that PostgreSQL can listen on.
pub(crate) fn port(text: &str) -> Result<u16, String> {
    match text.parse::<u16>() {
        Ok(port) if port >= FIRST_PORT => Ok(port),
        Ok(_) => Err(format!(
            "PostgreSQL does not run as root and cannot listen on port {text}; give one from {FIRST_PORT} to {}",
            u16::MAX
        )),
        Err(_) => Err(format!(
            "{text:?} is not a port; give one from {FIRST_PORT} to {}",
            u16::MAX
        )),
    }
}

/// What 4.1 notes in a spec: a time, and a field that it has no use for either.
pub(crate) fn notes(spec: &PgclusterSpec) -> Result<(), InvalidSpec> {
    let mut faults = Faults::default();
    if !spec.pswlastupdate.is_empty() && spec.pswlastupdate.parse::<jiff::Timestamp>().is_err() {
        faults.note::<()>(Err(invalid(
            "pswlastupdate",
            format!(
                "{:?} is not a time such as 2026-01-31T12:00:00Z; leave it out, it is a note of 4.1's",
                spec.pswlastupdate
            ),
        )));
    }
    if !spec.nodename.is_empty() {
        faults.note::<()>(Err(invalid(
            "nodename",
            "it has no effect, in 4.1 neither; leave it out. Nodes that are preferred have the label of NodeLabelKey and \
             NodeLabelValue among userlabels",
        )));
    }
    faults.none()
}

/// The access modes of Kubernetes. By `ReadWriteOncePod` it lets one pod alone have a volume, where the storage is that of a CSI
/// driver that knows it; no object of Kubernetes says which do, so only who installs can choose it.
const ACCESS_MODES: [&str; 4] = [
    "ReadWriteOnce",
    "ReadWriteOncePod",
    "ReadWriteMany",
    "ReadOnlyMany",
];

/// An access mode is one of Kubernetes, or not said.
pub(crate) fn access_mode(text: &str) -> Result<(), String> {
    if text.is_empty() || ACCESS_MODES.contains(&text) {
        return Ok(());
    }
    let modes = ACCESS_MODES.join(", ");
    Err(format!("{text:?} is no access mode; give one of {modes}"))
}

/// The size of a volume is more than nothing.
pub(crate) fn size(field: &str, text: &str) -> Result<(), InvalidSpec> {
    match quantity::whole(text) {
        Ok(0) => Err(invalid(
            field,
            format!("{text:?} is nothing; give a quantity such as 1Gi"),
        )),
        Ok(_) => Ok(()),
        Err(error) => Err(invalid(field, error.to_string())),
    }
}

/// Resources are quantities, and what is guaranteed is within what is allowed. `origin` is said where they are not the
/// spec's own.
pub(crate) fn resources(resources: &Resources, origin: &str) -> Result<(), InvalidSpec> {
    let field = |name: &str| format!("ContainerResources.{name}");
    let mut faults = Faults::default();
    for (name, text) in [
        ("requestsmemory", &resources.requests_memory),
        ("limitsmemory", &resources.limits_memory),
        ("requestscpu", &resources.requests_cpu),
        ("limitscpu", &resources.limits_cpu),
    ] {
        if !text.is_empty() {
            let whole = quantity::whole(text);
            faults.note(whole.map_err(|error| invalid(&field(name), format!("{error}{origin}"))));
        }
    }
    for (name, request, limit) in [
        (
            "memory",
            &resources.requests_memory,
            &resources.limits_memory,
        ),
        ("cpu", &resources.requests_cpu, &resources.limits_cpu),
    ] {
        let both = !request.is_empty() && !limit.is_empty();
        if both && quantity::compare(request, limit) == Ok(Ordering::Greater) {
            faults.note::<()>(Err(invalid(
                &field(&format!("requests{name}")),
                format!(
                    "{request} is more than limits{name}, which is {limit}; ask for no more than that{origin}"
                ),
            )));
        }
    }
    faults.none()
}

/// Names in a spec are those that PGO gives. It makes nothing of another name, so one that is asked for is refused.
pub(crate) fn names(object: &Pgcluster, user: &str) -> Result<(), InvalidSpec> {
    let spec = &object.spec;
    let name = object.name_any();
    let secret = |which: UserSecret| which.name(&name, user);
    let mut faults = Faults::default();
    for (field, said, given) in [
        (
            "namespace",
            &spec.namespace,
            object.namespace().unwrap_or_default(),
        ),
        ("primaryhost", &spec.primaryhost, name.clone()),
        (
            "PrimaryStorage.name",
            &spec.primary_storage.name,
            name.clone(),
        ),
        (
            "usersecretname",
            &spec.usersecretname,
            secret(UserSecret::Application),
        ),
        (
            "rootsecretname",
            &spec.rootsecretname,
            secret(UserSecret::Superuser),
        ),
        (
            "primarysecretname",
            &spec.primarysecretname,
            secret(UserSecret::Replication),
        ),
        (
            "collectSecretName",
            &spec.collect_secret_name,
            format!("{name}-collect-secret"),
        ),
    ] {
        if !said.is_empty() && *said != given {
            faults.note::<()>(Err(invalid(
                field,
                format!("{said:?} cannot be had, it is always {given:?}; leave it out"),
            )));
        }
    }
    faults.none()
}
