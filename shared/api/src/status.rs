//! A cluster in the answer of `/status`: who leads, who follows and how far behind, and what was proven and changed last.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::wire::wire;

wire! {
    /// How the instances of a cluster stand to each other, as its Pgcluster tells.
    pub struct StatusCluster {
        /// Its name.
        name: String = "Name",
        /// The primary that serves; empty where none does.
        primary: String = "Primary",
        /// Timeline of that primary; 0 where none serves.
        timeline: u32 = "Timeline",
        /// How many instances answer.
        instances_ready: u32 = "InstancesReady",
        /// How many there are to be, the primary among them.
        instances_wanted: u32 = "InstancesWanted",
        /// The replica that is furthest behind; left out where there is none.
        #[serde(skip_serializing_if = "Option::is_none")]
        lag: Option<StatusLag> = "Lag",
        /// For whose answers commits wait; left out where they wait for none and are not to.
        #[serde(skip_serializing_if = "Option::is_none")]
        synchronous: Option<StatusSynchronous> = "Synchronous",
        /// The last change of the primary; left out where there was none.
        #[serde(skip_serializing_if = "Option::is_none")]
        last_takeover: Option<StatusTakeover> = "LastTakeover",
        /// The last restore that was proven to work; left out where none was.
        #[serde(skip_serializing_if = "Option::is_none")]
        last_proven_restore: Option<StatusProvenRestore> = "LastProvenRestore",
        /// Its instances.
        instances: Vec<StatusInstance> = "Instances",
    }
}

wire! {
    /// An instance.
    pub struct StatusInstance {
        /// Its name.
        name: String = "Name",
        /// `primary`, `replica`, or empty where it is not known.
        role: String = "Role",
        /// Whether it answers.
        ready: bool = "Ready",
        /// Where it runs.
        node: String = "Node",
        /// Timeline of its data.
        timeline: u32 = "Timeline",
        /// Version of its PostgreSQL.
        postgres_version: String = "PostgresVersion",
        /// On a replica: whether WAL flows to it.
        #[serde(skip_serializing_if = "Option::is_none")]
        streaming: Option<bool> = "Streaming",
        /// How far a replica is behind, in bytes, rounded up: 0 is less than a MiB.
        #[serde(skip_serializing_if = "Option::is_none")]
        lag_bytes: Option<u64> = "LagBytes",
        /// How far a replica is behind, in seconds, rounded up: 0 is less than one.
        #[serde(skip_serializing_if = "Option::is_none")]
        lag_seconds: Option<u64> = "LagSeconds",
        /// Whether commits wait for a replica, in PostgreSQL's word: `async`, `sync`, `quorum` or `potential`.
        sync: String = "Sync",
        /// The settings that take over their values only with a restart.
        pending_restart: Vec<String> = "PendingRestart",
    }
}

wire! {
    /// The replica that is furthest behind: one to which no WAL flows goes before all others.
    pub struct StatusLag {
        /// Its name.
        instance: String = "Instance",
        /// How far, in bytes, rounded up: 0 is less than a MiB. Left out where no WAL flows to it: then nobody knows.
        #[serde(skip_serializing_if = "Option::is_none")]
        bytes: Option<u64> = "Bytes",
        /// How far, in seconds, rounded up: 0 is less than one. Left out likewise.
        #[serde(skip_serializing_if = "Option::is_none")]
        seconds: Option<u64> = "Seconds",
    }
}

wire! {
    /// The synchronous mode.
    pub struct StatusSynchronous {
        /// For how many replicas the user wants commits to wait.
        asked: u32 = "Asked",
        /// For how many by the rule that is in force.
        rule: u32 = "Rule",
        /// Of how many.
        of: u32 = "Of",
        /// For how many they wait now: fewer than the rule asks for while they go on without those that are missing.
        wait_for: u32 = "WaitFor",
        /// When that began last.
        fell_back: String = "FellBack",
        /// When it ended.
        came_back: String = "CameBack",
    }
}

wire! {
    /// A change of the primary.
    pub struct StatusTakeover {
        /// Whether the former primary handed over in order: a switchover, else a failover.
        planned: bool = "Planned",
        /// The former primary.
        from: String = "From",
        /// The new one.
        to: String = "To",
        /// Why.
        cause: String = "Cause",
        /// Who asked for it; empty where nobody did.
        actor: String = "Actor",
        /// Timeline that began.
        timeline: u32 = "Timeline",
        /// Place in the WAL where it began, as PostgreSQL writes it.
        lsn: String = "Lsn",
        /// When the new primary began to take writes.
        at: String = "At",
        /// How long it took until then, in milliseconds: since it was asked for, or since the former primary was heard last.
        duration_ms: u64 = "DurationMs",
    }
}

wire! {
    /// A restore that was proven to work.
    pub struct StatusProvenRestore {
        /// pgBackRest's name for the backup.
        backup: String = "Backup",
        /// When that was known.
        at: String = "At",
        /// How long it took, in milliseconds.
        duration_ms: u64 = "DurationMs",
        /// Size of what was restored, in bytes.
        size_bytes: u64 = "SizeBytes",
        /// Up to where WAL was replayed, as PostgreSQL writes it.
        lsn: String = "Lsn",
        /// When the last transaction was committed that is in it.
        last_commit: String = "LastCommit",
        /// Whether pages were held against their checksums.
        checksums: bool = "Checksums",
        /// Whether tables and indexes were held against each other.
        structure: bool = "Structure",
    }
}

impl StatusCluster {
    /// Of a Pgcluster's name, `spec` and `status`. Names of the status are the same but for the case, in which names are read
    /// here; what is not there, or does not fit, has the zero value.
    #[must_use]
    pub fn read(name: &str, spec: &Value, status: &Value) -> Self {
        let instances = status["instances"].as_array();
        let instances = instances.into_iter().flatten().map(part);
        let instances: Vec<StatusInstance> = instances.collect();
        let primary = part::<String>(&status["currentPrimary"]);
        let synchronous: Option<StatusSynchronous> = part(&status["synchronous"]);
        let ready = instances.iter().filter(|instance| instance.ready).count();
        let leads = |instance: &&StatusInstance| instance.name == primary;
        Self {
            name: name.to_owned(),
            timeline: instances.iter().find(leads).map_or(0, |one| one.timeline),
            instances_ready: u32::try_from(ready).unwrap_or(u32::MAX),
            instances_wanted: replicas_wanted(spec, status).saturating_add(1),
            lag: furthest_behind(&instances),
            synchronous: synchronous.filter(|mode| mode.asked > 0 || mode.rule > 0),
            last_takeover: part(&status["lastTakeover"]),
            last_proven_restore: part(&status["lastProvenRestore"]),
            primary,
            instances,
        }
    }
}

/// A part of a status; its zero value where it is not there or does not fit.
fn part<T: DeserializeOwned + Default>(value: &Value) -> T {
    T::deserialize(value).unwrap_or_default()
}

/// As it was accounted last; before that, as the spec says.
fn replicas_wanted(spec: &Value, status: &Value) -> u32 {
    let accounted = status["replicaCount"]["wanted"].as_u64();
    let asked = || spec["replicaCount"].as_u64();
    let of_4_1 = || spec["replicas"].as_str()?.parse().ok();
    let wanted = accounted.or_else(asked).or_else(of_4_1);
    wanted.map_or(0, |count| u32::try_from(count).unwrap_or(u32::MAX))
}

fn furthest_behind(instances: &[StatusInstance]) -> Option<StatusLag> {
    let replicas = instances.iter().filter(|one| one.role == "replica");
    let lags = replicas.map(|replica| {
        let known = replica.ready && replica.streaming == Some(true);
        StatusLag {
            instance: replica.name.clone(),
            bytes: replica.lag_bytes.filter(|_| known),
            seconds: replica.lag_seconds.filter(|_| known),
        }
    });
    lags.max_by_key(|lag| (lag.bytes.is_none(), lag.bytes, lag.seconds))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn replica(name: &str, streaming: bool, lag_bytes: u64) -> Value {
        json!({"name": name, "role": "replica", "ready": true, "timeline": 2, "streaming": streaming,
            "lagBytes": lag_bytes, "lagSeconds": 1})
    }

    #[test]
    fn a_replica_to_which_no_wal_flows_is_the_furthest_behind_and_nobody_knows_how_far() {
        let lag = |replicas: &[Value]| {
            StatusCluster::read("hippo", &Value::Null, &json!({"instances": replicas})).lag
        };
        let near = replica("near", true, 0);
        let far = replica("far", true, 4 << 20);
        let cut = replica("cut", false, 0);
        let behind = lag(&[near.clone(), far.clone()]).expect("there is one");
        assert_eq!(
            (&*behind.instance, behind.bytes, behind.seconds),
            ("far", Some(4 << 20), Some(1))
        );
        let behind = lag(&[cut, far, near]).expect("there is one");
        assert_eq!(
            (&*behind.instance, behind.bytes, behind.seconds),
            ("cut", None, None)
        );
        assert_eq!(lag(&[]), None);
    }

    #[test]
    fn how_many_instances_there_are_to_be_is_what_was_accounted_else_what_the_spec_says() {
        let wanted = |spec: Value, status: Value| {
            StatusCluster::read("hippo", &spec, &status).instances_wanted
        };
        let accounted = json!({"replicaCount": {"wanted": 2}});
        assert_eq!(wanted(json!({"replicaCount": 1}), accounted), 3);
        assert_eq!(
            wanted(json!({"replicaCount": 1, "replicas": "4"}), json!({})),
            2
        );
        assert_eq!(wanted(json!({"replicas": "4"}), Value::Null), 5);
        assert_eq!(wanted(json!({}), json!({})), 1);
    }

    #[test]
    fn what_does_not_fit_hides_nothing_else() {
        let status = json!({
            "currentPrimary": "hippo", "lastTakeover": "nonsense", "synchronous": {"asked": 0, "rule": 0, "waitFor": 0},
            "instances": ["nonsense", {"name": "hippo", "role": "primary", "ready": true, "timeline": 3}],
        });
        let read = StatusCluster::read("hippo", &Value::Null, &status);
        assert_eq!((&*read.primary, read.timeline), ("hippo", 3));
        assert_eq!((read.instances_ready, read.last_takeover), (1, None));
        assert_eq!(read.synchronous, None, "asynchronous");
    }
}
