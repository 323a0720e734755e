//! `pgo show cluster`.

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use pgo_api::{Endpoint, PGO_VERSION, ShowClusterDetail, ShowClusterRequest, ShowClusterResponse};
use serde_json::Value;

use super::{
    Failure, Output, Report,
    select::{Selected, Selection, each, shows},
    wait::STARTED,
};
use crate::{
    client::{Answer, Api, ClientError},
    output::plain,
};

/// Show clusters and what belongs to them
///
/// Exit status 2 where a cluster that was named is not there.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    pub selection: Selection,
    /// Only clusters with this tag of the PostgreSQL image
    #[arg(
        long,
        value_name = "TAG",
        default_value = "",
        hide_default_value = true
    )]
    ccp_image_tag: String,
    #[command(flatten)]
    output: Output,
}

/// Asks for each name; what was not found is told when all were asked.
pub async fn run(arguments: &Arguments, api: &Api) -> Result<(), Failure> {
    let json = arguments.output.is_json();
    let (mut results, mut missing) = (Vec::new(), Vec::new());
    let mut report = Report::default();
    let namespace = &api.settings().namespace;
    let tag = &arguments.ccp_image_tag;
    let ask = async |selected: &Selected| ask(api, namespace, selected, tag).await;
    let take = |report: &mut Report, selected: &Selected, answer: ShowClusterResponse| {
        if !json && shows(&answer.outcome, &answer.results) {
            report.print(&render(&answer.results));
        }
        let found = !answer.results.is_empty() || answer.outcome.failure().is_some();
        if !found && !selected.name.is_empty() {
            missing.push(selected.name.clone());
        }
        results.extend(answer.results);
    };
    let requests = arguments.selection.requests()?;
    let outcome = each(requests, &mut report, ask, take).await;
    if json && shows(&outcome, &results) {
        report.print_json(&ShowClusterResponse { results, outcome });
    }
    if !missing.is_empty() {
        report.problem(format!(
            "not found in namespace {namespace}: {}",
            missing.join(", ")
        ));
    }
    report.end()
}

/// One request to `/showclusters`, about clusters of a namespace.
pub async fn ask(
    api: &Api,
    namespace: &str,
    selected: &Selected,
    image_tag: &str,
) -> Result<Answer<ShowClusterResponse>, ClientError> {
    let request = ShowClusterRequest {
        cluster_name: selected.name.clone(),
        selector: selected.selector.clone(),
        all_flag: selected.all,
        ccp_image_tag: image_tag.to_owned(),
        namespace: namespace.to_owned(),
        client_version: PGO_VERSION.to_owned(),
    };
    api.send(Endpoint::ShowCluster, &request).await
}

fn render(results: &[ShowClusterDetail]) -> String {
    match results {
        [] => "No clusters found.\n".to_owned(),
        some => some.iter().map(cluster).collect(),
    }
}

fn cluster(detail: &ShowClusterDetail) -> String {
    let spec = &detail.cluster["spec"];
    let name = detail.cluster.pointer("/metadata/name");
    let title = format!(
        "cluster : {} ({}:{})",
        name.and_then(Value::as_str).unwrap_or_default(),
        of(spec, "ccpimage"),
        of(spec, "ccpimagetag")
    );
    let details = details(detail).into_iter();
    let details: String = details
        .map(|text| format!("\t{}\n", plain(&text)))
        .collect();
    format!("\n{}\n{details}", plain(&title))
}

/// The lines about a cluster, as they are in 4.1.
fn details(detail: &ShowClusterDetail) -> Vec<String> {
    let spec = &detail.cluster["spec"];
    let mut lines = Vec::new();
    if let Some(why) = not_ready(&detail.cluster) {
        lines.push(format!("not ready : {why}"));
    }
    if let Some(why) = not_in_force(&detail.cluster) {
        lines.push(format!("not in force : {why}"));
    }
    for pod in &detail.pods {
        lines.push(format!(
            "pod : {} ({}) on {} ({}) ({})",
            pod.name, pod.phase, pod.node_name, pod.ready_status, pod.kind
        ));
        let claims = pod.pvc_name.values();
        lines.extend(claims.map(|claim| format!("pvc : {claim}")));
    }
    lines.extend(instances(&detail.cluster));
    lines.extend(commits(&detail.cluster));
    lines.extend(last_takeover(&detail.cluster, Timestamp::now()));
    let resources = &spec["ContainerResources"];
    lines.push(format!(
        "resources : CPU Limit={} Memory Limit={}, CPU Request={} Memory Request={}",
        of(resources, "limitscpu"),
        of(resources, "limitsmemory"),
        of(resources, "requestscpu"),
        of(resources, "requestsmemory")
    ));
    lines.push(format!(
        "storage : Primary={} Replica={}",
        of(&spec["PrimaryStorage"], "size"),
        of(&spec["ReplicaStorage"], "size")
    ));
    let deployments = detail.deployments.iter();
    lines.extend(deployments.map(|deployment| format!("deployment : {}", deployment.name)));
    let policies = detail.deployments.iter().take(1);
    let policies = policies.flat_map(|deployment| &deployment.policy_labels);
    lines.extend(policies.map(|policy| format!("policy: {policy}")));
    for service in &detail.services {
        let external = match service.external_ip.as_str() {
            "" => String::new(),
            ip => format!(" ExternalIP ({ip})"),
        };
        lines.push(format!(
            "service : {} - ClusterIP ({}){external}",
            service.name, service.cluster_ip
        ));
    }
    let replicas = detail.replicas.iter();
    lines.extend(replicas.map(|replica| format!("replica : {}", replica.name)));
    lines.push(labels(&detail.cluster["metadata"]["labels"]));
    lines
}

/// For whose answers commits wait, where they wait or are to.
fn commits(cluster: &Value) -> Option<String> {
    let mode = cluster.pointer("/status/synchronous")?;
    let number = |key: &str| mode[key].as_u64().unwrap_or_default();
    let (asked, rule, of, now) = (
        number("asked"),
        number("rule"),
        number("of"),
        number("waitFor"),
    );
    let replicas = |count: u64| match count {
        0 => "no replica".to_owned(),
        count => format!("{count} of {of} replicas"),
    };
    let wanted = match asked == rule {
        true => String::new(),
        false => format!("; {asked} asked for, not in force yet"),
    };
    let waits = match now < rule {
        true => format!(
            "fallen back, commits wait for {} instead of {} since {}",
            replicas(now),
            replicas(rule),
            of_text(mode, "fellBack")
        ),
        false if rule == 0 && asked == 0 => return None,
        false => format!("commits wait for {}", replicas(rule)),
    };
    Some(format!("synchronous : {waits}{wanted}"))
}

fn of_text<'a>(value: &'a Value, key: &str) -> &'a str {
    match of(value, key) {
        "" => "a moment ago",
        text => text,
    }
}

/// What there is to know of the instances where there are several, or one that waits for a restart: who leads, and how far
/// the others are behind.
fn instances(cluster: &Value) -> Vec<String> {
    let all = cluster
        .pointer("/status/instances")
        .and_then(Value::as_array);
    let all = all.map(Vec::as_slice).unwrap_or_default();
    let line = |instance: &Value| {
        let number = |key: &str| instance[key].as_u64().unwrap_or_default();
        let state = match (of(instance, "role"), instance["ready"] == true) {
            ("", _) => "starting".to_owned(),
            (role, false) => format!("{role}, not ready"),
            ("replica", true) if instance["streaming"] == false => {
                "replica, not streaming".to_owned()
            }
            ("replica", true) => format!(
                "replica, lag {}{}",
                lag(number("lagBytes"), number("lagSeconds")),
                sync(of(instance, "sync"))
            ),
            (role, true) => role.to_owned(),
        };
        format!(
            "instance : {} ({state}) timeline {}{}",
            of(instance, "name"),
            number("timeline"),
            pending(instance)
        )
    };
    match all {
        [] => Vec::new(),
        [one] if pending(one).is_empty() => Vec::new(),
        several => several.iter().map(line).collect(),
    }
}

/// Which settings wait for a restart, if any does.
fn pending(instance: &Value) -> String {
    let names = instance["pendingRestart"].as_array();
    let names: Vec<&str> = names
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    match names.as_slice() {
        [] => String::new(),
        names => format!(", pending restart: {}", names.join(", ")),
    }
}

/// A lag as a status tells it, which rounds it up.
fn lag(bytes: u64, seconds: u64) -> String {
    const MIB: u64 = 1 << 20;
    let bytes = match bytes / MIB {
        0 => "under 1 MiB".to_owned(),
        megabytes => format!("up to {megabytes} MiB"),
    };
    match seconds {
        0 => bytes,
        seconds => format!("{bytes} and {seconds} s"),
    }
}

/// Whether commits wait for a replica; asynchronous ones say nothing of it.
fn sync(word: &str) -> String {
    match word {
        "" | "async" => String::new(),
        word => format!(", {word}"),
    }
}

/// Who took over from whom last, why, when, and how long that took.
fn last_takeover(cluster: &Value, now: Timestamp) -> Option<String> {
    let last = cluster.pointer("/status/lastTakeover")?;
    let kind = match last["planned"] == true {
        true => "switchover",
        false => "failover",
    };
    let at: Timestamp = of(last, "at").parse().ok()?;
    let took = last["durationMs"].as_u64().unwrap_or_default();
    let asked = match of(last, "actor") {
        "" => String::new(),
        actor => format!(", asked for by {actor}"),
    };
    Some(format!(
        "last {kind} : {} took over from {} {} ago, within {}.{} s, timeline {} at {}{asked}: {}",
        of(last, "to"),
        of(last, "from"),
        ago(now.duration_since(at)),
        took / 1000,
        took / 100 % 10,
        last["timeline"],
        of(last, "lsn"),
        of(last, "cause")
    ))
}

/// How long ago something was, in its largest unit.
fn ago(passed: SignedDuration) -> String {
    let seconds = passed.as_secs().max(0);
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86400),
    }
}

/// A text in an object; the empty one where there is none.
fn of<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// With a blank behind each, also the last one.
fn labels(labels: &Value) -> String {
    let pairs = labels.as_object().into_iter().flatten();
    let pairs: String = pairs
        .map(|(key, value)| format!("{key}={} ", value.as_str().unwrap_or_default()))
        .collect();
    format!("labels : {pairs}")
}

/// Whether a Pgcluster's status says that it is ready.
pub fn is_ready(cluster: &Value) -> bool {
    condition(cluster, "Ready").is_some_and(|ready| ready["status"] == "True")
}

/// Why it is not, if its status says that it is not.
pub fn not_ready(cluster: &Value) -> Option<String> {
    why_not(condition(cluster, "Ready")?)
}

/// What the status says while a cluster is made, before the last step that was reached.
const BEING_MADE: &str = "being made: ";

/// The last step of its creation that a cluster has reached, where its status says that it is being made: in the words of the
/// event of that step.
pub fn step(cluster: &Value) -> Option<String> {
    let ready = condition(cluster, "Ready").filter(|ready| ready["reason"] == "Creating")?;
    match of(ready, "message").strip_prefix(BEING_MADE)? {
        "accepted" => Some(STARTED.to_owned()),
        step => Some(plain(step)),
    }
}

/// What a ready cluster's spec asks for and does not have, if its status says so. While it is not ready, that goes first.
fn not_in_force(cluster: &Value) -> Option<String> {
    let up_to_date = condition(cluster, "UpToDate").filter(|_| is_ready(cluster))?;
    why_not(up_to_date)
}

/// Why a condition does not hold, if it does not.
fn why_not(condition: &Value) -> Option<String> {
    if condition["status"] == "True" {
        return None;
    }
    let why = match (of(condition, "reason"), of(condition, "message")) {
        ("", message) | (message, "") => message.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    };
    Some(plain(&why))
}

fn condition<'a>(cluster: &'a Value, name: &str) -> Option<&'a Value> {
    let conditions = cluster.pointer("/status/conditions")?.as_array()?;
    conditions.iter().find(|one| one["type"] == name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_change_of_the_primary_is_told_in_one_line() {
        let last = json!({"status": {"lastTakeover": {
            "planned": true, "from": "hippo", "to": "hippo-abcd", "cause": "hippo gave up in order",
            "actor": "ann", "timeline": 2, "lsn": "0/3000148", "at": "2026-10-15T10:11:12Z", "durationMs": 740,
        }}});
        let now: Timestamp = "2026-10-15T10:14:20Z".parse().expect("a time");
        assert_eq!(
            last_takeover(&last, now).as_deref(),
            Some(
                "last switchover : hippo-abcd took over from hippo 3 min ago, within 0.7 s, timeline 2 at 0/3000148, \
                 asked for by ann: hippo gave up in order"
            )
        );
        assert_eq!(last_takeover(&json!({"status": {}}), now), None);
    }

    #[test]
    fn an_instance_says_which_settings_wait_for_a_restart_also_where_it_is_alone() {
        let with = |pending: Value| {
            let instance = json!({"name": "hippo", "role": "primary", "ready": true, "timeline": 1, "pendingRestart": pending});
            instances(&json!({"status": {"instances": [instance]}}))
        };
        assert!(with(Value::Null).is_empty());
        assert_eq!(
            with(json!(["max_connections", "shared_buffers"])),
            [
                "instance : hippo (primary) timeline 1, pending restart: max_connections, shared_buffers"
            ]
        );
    }

    #[test]
    fn the_synchronous_mode_says_for_whom_commits_wait_now() {
        let mode = |asked, rule, now| {
            let mode = json!({"asked": asked, "rule": rule, "of": 2, "waitFor": now, "fellBack": "2026-10-15T10:11:12Z"});
            commits(&json!({"status": {"synchronous": mode}}))
        };
        let says = |asked, rule, now| mode(asked, rule, now).unwrap_or_default();
        assert_eq!(
            says(1, 1, 1),
            "synchronous : commits wait for 1 of 2 replicas"
        );
        assert_eq!(
            says(1, 0, 0),
            "synchronous : commits wait for no replica; 1 asked for, not in force yet"
        );
        assert_eq!(
            says(1, 1, 0),
            "synchronous : fallen back, commits wait for no replica instead of 1 of 2 replicas since 2026-10-15T10:11:12Z"
        );
        assert_eq!(mode(0, 0, 0), None);
        assert_eq!(commits(&json!({"status": {}})), None);
    }

    #[test]
    fn replicas_say_how_far_they_are_behind_and_whether_commits_wait_for_them() {
        let cluster = json!({"status": {"instances": [
            {"name": "hippo", "role": "primary", "ready": true, "timeline": 1},
            {"name": "hippo-abcd", "role": "replica", "ready": true, "streaming": true, "timeline": 1,
                "lagBytes": 4 << 20, "lagSeconds": 2, "sync": "quorum"},
            {"name": "hippo-efgh", "role": "replica", "ready": true, "streaming": true, "timeline": 1,
                "lagBytes": 0, "lagSeconds": 0, "sync": "async"},
        ]}});
        assert_eq!(
            instances(&cluster),
            [
                "instance : hippo (primary) timeline 1",
                "instance : hippo-abcd (replica, lag up to 4 MiB and 2 s, quorum) timeline 1",
                "instance : hippo-efgh (replica, lag under 1 MiB) timeline 1",
            ]
        );
    }
}
