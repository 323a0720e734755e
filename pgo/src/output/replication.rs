//! Words for how the instances of a cluster stand to each other: `pgo show cluster`, `pgo test` and `pgo status` say the same.

use jiff::{SignedDuration, Timestamp};
use pgo_api::{
    StatusCluster, StatusInstance, StatusLag, StatusProvenRestore, StatusSynchronous,
    StatusTakeover,
};

/// A line for each: who leads, how far the others are behind, for whom commits wait, and what was changed and proven last.
pub fn lines(cluster: &StatusCluster, now: Timestamp) -> Vec<String> {
    let mut lines = Vec::new();
    if !cluster.instances.is_empty() {
        lines.push(format!("instances : {} ready", ready(cluster)));
    }
    let instances = cluster.instances.iter().map(instance);
    lines.extend(instances.map(|instance| format!("instance : {instance}")));
    let mode = cluster.synchronous.as_ref().map(commits);
    lines.extend(mode.map(|mode| format!("synchronous : {mode}")));
    let last = cluster.last_takeover.as_ref();
    let last = last.and_then(|last| takeover(last, now));
    lines.extend(last.map(|last| format!("last {last}")));
    let proven = cluster.last_proven_restore.as_ref().map(proven);
    lines.extend(proven.map(|proven| format!("last proven restore : {proven}")));
    lines
}

/// How many instances answer, of how many there are to be.
pub fn ready(cluster: &StatusCluster) -> String {
    format!("{}/{}", cluster.instances_ready, cluster.instances_wanted)
}

/// An instance: whether it leads, or how far it is behind, and what waits for a restart.
pub fn instance(instance: &StatusInstance) -> String {
    let behind = || lag(instance.lag_bytes, instance.lag_seconds);
    let state = match (&*instance.role, instance.ready) {
        ("", _) => "starting".to_owned(),
        (role, false) => format!("{role}, not ready"),
        ("replica", true) if instance.streaming == Some(false) => {
            "replica, not streaming".to_owned()
        }
        ("replica", true) => format!("replica, lag {}{}", behind(), sync(&instance.sync)),
        (role, true) => role.to_owned(),
    };
    let pending = match instance.pending_restart.as_slice() {
        [] => String::new(),
        names => format!(", pending restart: {}", names.join(", ")),
    };
    format!(
        "{} ({state}) timeline {}{pending}",
        instance.name, instance.timeline
    )
}

/// The replica that is furthest behind.
pub fn furthest_behind(last: &StatusLag) -> String {
    match last.bytes {
        Some(bytes) => lag(Some(bytes), last.seconds),
        None => format!("not known ({})", last.instance),
    }
}

/// A lag as a status tells it, which rounds it up.
fn lag(bytes: Option<u64>, seconds: Option<u64>) -> String {
    const MIB: u64 = 1 << 20;
    let bytes = match bytes.unwrap_or_default() / MIB {
        0 => "under 1 MiB".to_owned(),
        megabytes => format!("up to {megabytes} MiB"),
    };
    match seconds.unwrap_or_default() {
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

/// For whose answers commits wait.
pub fn commits(mode: &StatusSynchronous) -> String {
    let replicas = |count: u32| match count {
        0 => "no replica".to_owned(),
        count => format!("{count} of {} replicas", mode.of),
    };
    let since = match &*mode.fell_back {
        "" => "a moment ago",
        time => time,
    };
    let waits = match mode.wait_for < mode.rule {
        true => format!(
            "fallen back, commits wait for {} instead of {} since {since}",
            replicas(mode.wait_for),
            replicas(mode.rule),
        ),
        false => format!("commits wait for {}", replicas(mode.rule)),
    };
    match mode.asked == mode.rule {
        true => waits,
        false => format!("{waits}; {} asked for, not in force yet", mode.asked),
    }
}

/// Who took over from whom, why, when, and how long that took; nothing where the time is none.
pub fn takeover(last: &StatusTakeover, now: Timestamp) -> Option<String> {
    let kind = match last.planned {
        true => "switchover",
        false => "failover",
    };
    let at: Timestamp = last.at.parse().ok()?;
    let asked = match &*last.actor {
        "" => String::new(),
        actor => format!(", asked for by {actor}"),
    };
    Some(format!(
        "{kind} : {} took over from {} {} ago, within {}, timeline {} at {}{asked}: {}",
        last.to,
        last.from,
        ago(now.duration_since(at)),
        within(last.duration_ms),
        last.timeline,
        last.lsn,
        last.cause
    ))
}

/// Which backup was restored to try it, when, how far it reaches, and how long that took.
pub fn proven(last: &StatusProvenRestore) -> String {
    let reaches = match (&*last.lsn, &*last.last_commit) {
        ("", _) => String::new(),
        (lsn, "") => format!(", up to {lsn}"),
        (lsn, commit) => format!(", up to {lsn} with the commits until {commit}"),
    };
    format!(
        "{} at {}, within {}{reaches}",
        last.backup,
        last.at,
        within(last.duration_ms)
    )
}

fn within(ms: u64) -> String {
    format!("{}.{} s", ms / 1000, ms / 100 % 10)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_change_of_the_primary_is_told_in_one_line() {
        let last = StatusTakeover {
            planned: true,
            from: "hippo".to_owned(),
            to: "hippo-abcd".to_owned(),
            cause: "hippo gave up in order".to_owned(),
            actor: "ann".to_owned(),
            timeline: 2,
            lsn: "0/3000148".to_owned(),
            at: "2026-10-15T10:11:12Z".to_owned(),
            duration_ms: 740,
        };
        let now: Timestamp = "2026-10-15T10:14:20Z".parse().expect("a time");
        assert_eq!(
            takeover(&last, now).as_deref(),
            Some(
                "switchover : hippo-abcd took over from hippo 3 min ago, within 0.7 s, timeline 2 at 0/3000148, \
                 asked for by ann: hippo gave up in order"
            )
        );
    }

    #[test]
    fn a_proven_restore_says_how_far_it_reaches() {
        let mut last = StatusProvenRestore {
            backup: "20261015-101112F".to_owned(),
            at: "2026-10-15T11:00:00Z".to_owned(),
            duration_ms: 12_340,
            lsn: "0/5000148".to_owned(),
            ..StatusProvenRestore::default()
        };
        assert_eq!(
            proven(&last),
            "20261015-101112F at 2026-10-15T11:00:00Z, within 12.3 s, up to 0/5000148"
        );
        last.last_commit = "2026-10-15T10:59:00Z".to_owned();
        assert!(proven(&last).ends_with("0/5000148 with the commits until 2026-10-15T10:59:00Z"));
    }

    #[test]
    fn the_synchronous_mode_says_for_whom_commits_wait_now() {
        let says = |asked, rule, wait_for| {
            commits(&StatusSynchronous {
                asked,
                rule,
                of: 2,
                wait_for,
                fell_back: "2026-10-15T10:11:12Z".to_owned(),
                ..StatusSynchronous::default()
            })
        };
        assert_eq!(says(1, 1, 1), "commits wait for 1 of 2 replicas");
        assert_eq!(
            says(1, 0, 0),
            "commits wait for no replica; 1 asked for, not in force yet"
        );
        assert_eq!(
            says(1, 1, 0),
            "fallen back, commits wait for no replica instead of 1 of 2 replicas since 2026-10-15T10:11:12Z"
        );
    }

    #[test]
    fn instances_say_how_far_they_are_behind_whether_commits_wait_for_them_and_what_waits_for_a_restart()
     {
        let primary = StatusInstance {
            name: "hippo".to_owned(),
            role: "primary".to_owned(),
            ready: true,
            timeline: 1,
            pending_restart: vec!["max_connections".to_owned(), "shared_buffers".to_owned()],
            ..StatusInstance::default()
        };
        let replica = StatusInstance {
            name: "hippo-abcd".to_owned(),
            role: "replica".to_owned(),
            streaming: Some(true),
            lag_bytes: Some(4 << 20),
            lag_seconds: Some(2),
            sync: "quorum".to_owned(),
            pending_restart: Vec::new(),
            ..primary.clone()
        };
        let near = StatusInstance {
            lag_bytes: Some(0),
            lag_seconds: Some(0),
            sync: "async".to_owned(),
            ..replica.clone()
        };
        let cut = StatusInstance {
            streaming: Some(false),
            ..near.clone()
        };
        let silent = StatusInstance {
            ready: false,
            ..near.clone()
        };
        assert_eq!(
            [primary, replica, near, cut, silent].map(|one| instance(&one)),
            [
                "hippo (primary) timeline 1, pending restart: max_connections, shared_buffers",
                "hippo-abcd (replica, lag up to 4 MiB and 2 s, quorum) timeline 1",
                "hippo-abcd (replica, lag under 1 MiB) timeline 1",
                "hippo-abcd (replica, not streaming) timeline 1",
                "hippo-abcd (replica, not ready) timeline 1",
            ]
        );
    }
}
