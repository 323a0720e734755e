//! An event as a line.
//!
//! Events are read leniently: a newer server may send types and fields this client does not know, and 4.1's have
//! none of the new fields.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::{Colours, ago, pad, plain};

/// Width of the type: the longest operation on clusters is `SwitchoverCluster`.
const WHAT: usize = 17;

/// How an operation stands with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Started,
    Progress,
    Completed,
    Failed,
    Notice,
}

impl Stage {
    fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Progress => "progress",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Notice => "notice",
        }
    }
}

/// What of an event is shown.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// When.
    pub time: String,
    /// The same, where it is a time.
    pub at: Option<Timestamp>,
    /// Namespace, of the cluster or PGO's.
    pub namespace: String,
    /// The cluster; empty where it is about none.
    pub cluster: String,
    /// The type without the stage at its end.
    pub what: String,
    /// Where in its operation.
    pub stage: Stage,
    /// Since the operation began.
    pub duration: Option<Duration>,
    /// Who asked.
    pub who: String,
    /// Whom or what of the cluster, or of PGO, it is about; empty where its type says all.
    pub about: String,
    /// The step done, or the cause.
    pub detail: String,
    /// Equal in all events of an operation.
    pub operation: String,
    /// How grave.
    pub severity: String,
    /// Stream and place in it.
    pub key: String,
}

impl Line {
    /// Reads an event; what is missing stays empty.
    pub fn of(event: &Value) -> Self {
        let header = &event["eventheader"];
        let text = |value: &Value| plain(value.as_str().unwrap_or_default());
        let first = |names: &[&str]| {
            let mut texts = names.iter().map(|name| text(&event[*name]));
            texts.find(|text| !text.is_empty()).unwrap_or_default()
        };
        let event_type = text(&header["EventType"]);
        let (what, of_name) = split(&event_type);
        let stage = match event["stage"].as_str() {
            Some("started") => Stage::Started,
            Some("progress") => Stage::Progress,
            Some("completed") => Stage::Completed,
            Some("failed") => Stage::Failed,
            Some("notice") => Stage::Notice,
            _ => of_name,
        };
        // A fact such as ServiceStarted is told by its whole name.
        let what = match stage {
            Stage::Notice => event_type.as_str(),
            _ => what,
        };
        Self {
            at: header["timestamp"]
                .as_str()
                .and_then(|text| text.parse().ok()),
            time: time(&text(&header["timestamp"])),
            namespace: text(&header["namespace"]),
            cluster: first(&["clustername"]),
            what: what.to_owned(),
            stage,
            duration: event["durationms"].as_u64().map(Duration::from_millis),
            who: text(&header["username"]),
            about: plain(&pgo_events::about(event)),
            detail: first(&["step", "cause", "errormessage"]),
            operation: first(&["operationid", "workflowid"]),
            severity: first(&["severity"]),
            key: event["seq"]
                .as_u64()
                .map_or_else(String::new, |seq| format!("{}/{seq}", first(&["stream"]))),
        }
    }

    /// The line, with its end.
    pub fn render(&self, colours: Colours) -> String {
        self.columns(colours, &[self.story()])
    }

    /// The line with severity, operation and key before the detail.
    pub fn render_wide(&self, colours: Colours) -> String {
        let more = [
            pad(or_dash(&self.severity), 5),
            pad(or_dash(&self.operation), 36),
            pad(or_dash(&self.key), 38),
            self.story(),
        ];
        self.columns(colours, &more)
    }

    /// Whom or what, and how or why.
    fn story(&self) -> String {
        match (self.about.as_str(), self.detail.as_str()) {
            ("", detail) => detail.to_owned(),
            (about, "") => about.to_owned(),
            (about, detail) => format!("{about}: {detail}"),
        }
    }

    fn columns(&self, colours: Colours, more: &[String]) -> String {
        let whose = match self.cluster.as_str() {
            "" => self.namespace.clone(),
            cluster => format!("{}/{cluster}", self.namespace),
        };
        let stage = pad(self.stage.as_str(), 9);
        let stage = match self.stage {
            Stage::Completed => colours.good(&stage),
            Stage::Failed => colours.bad(&stage),
            Stage::Started | Stage::Progress | Stage::Notice => stage,
        };
        let columns = [
            colours.faint(&pad(&self.time, 24)),
            pad(&whose, 20),
            pad(&self.what, WHAT),
            stage,
            pad(&self.duration.map_or("-".to_owned(), ago), 6),
            pad(or_dash(&self.who), 10),
        ];
        let columns: Vec<&str> = columns.iter().chain(more).map(String::as_str).collect();
        format!("{}\n", columns.join("  ").trim_end())
    }
}

fn or_dash(text: &str) -> &str {
    match text {
        "" => "-",
        text => text,
    }
}

/// Parts a type such as `CreateClusterCompleted`.
fn split(event_type: &str) -> (&str, Stage) {
    [
        ("Completed", Stage::Completed),
        ("Failure", Stage::Failed),
        ("Progress", Stage::Progress),
        ("Started", Stage::Started),
    ]
    .into_iter()
    .find_map(|(end, stage)| Some((event_type.strip_suffix(end)?, stage)))
    .unwrap_or((event_type, Stage::Started))
}

/// A time in UTC to the millisecond, so that columns stand below each other.
fn time(text: &str) -> String {
    text.parse::<Timestamp>()
        .map_or_else(|_| text.to_owned(), |time| format!("{time:.3}"))
}

#[cfg(test)]
mod tests {
    use pgo_events::Field;
    use serde_json::json;

    use super::*;

    const PLAIN: Colours = Colours(false);

    fn event(event_type: &str, more: Value) -> Value {
        let mut event = json!({
            "eventheader": {
                "EventType": event_type,
                "namespace": "pgouser1",
                "username": "pgoadmin",
                "timestamp": "2026-11-22T14:24:57.237761287Z",
                "topic": ["clustertopic"],
            },
            "clustername": "hippo",
        });
        for (name, value) in more.as_object().unwrap() {
            event[name] = value.clone();
        }
        event
    }

    #[test]
    fn a_line_says_when_which_what_how_long_who_and_why() {
        let failed = event(
            "CreateClusterFailure",
            json!({ "stage": "failed", "durationms": 4260, "cause": "no\ndisk", "errormessage": "no\ndisk" }),
        );
        assert_eq!(
            Line::of(&failed).render(PLAIN),
            "2026-11-22T14:24:57.237Z  pgouser1/hippo        CreateCluster      failed     4.2s    pgoadmin    no disk\n"
        );
    }

    #[test]
    fn progress_shows_its_step() {
        let step = event(
            "CreateClusterProgress",
            json!({ "stage": "progress", "step": "volume bound" }),
        );
        let line = Line::of(&step);
        assert_eq!(
            (line.stage, line.detail.as_str()),
            (Stage::Progress, "volume bound")
        );
        assert_eq!(line.what, "CreateCluster");
    }

    #[test]
    fn beginning_and_end_of_an_operation_have_one_name() {
        let line = |name, stage| Line::of(&event(name, json!({ "stage": stage })));
        assert_eq!(line("TestClusterStarted", "started").what, "TestCluster");
        assert_eq!(line("TestCluster", "completed").what, "TestCluster");
        assert_eq!(line("ServiceStarted", "notice").what, "ServiceStarted");
    }

    #[test]
    fn an_event_of_4_1_has_its_stage_from_its_name() {
        for (name, stage) in [
            ("CreateCluster", Stage::Started),
            ("CreateClusterCompleted", Stage::Completed),
            ("CreateClusterFailure", Stage::Failed),
        ] {
            assert_eq!(Line::of(&event(name, json!({}))).stage, stage);
        }
    }

    #[test]
    fn an_event_of_no_cluster_shows_the_namespace() {
        let start = json!({ "eventheader": { "EventType": "PGOStart", "namespace": "pgo", "timestamp": "odd" } });
        assert_eq!(
            Line::of(&start).render(PLAIN),
            "odd                       pgo                   PGOStart           started    -       -\n"
        );
    }

    /// What a watch shows of events, without time, cluster and who.
    fn told(events: &[Value]) -> Vec<String> {
        let lines = events.iter().map(|event| Line::of(event).render(PLAIN));
        let told = |line: String| {
            let told = line[48..].replace("pgoadmin    ", "");
            told.replace("pgoadmin", "").trim_end().to_owned()
        };
        lines.map(told).collect()
    }

    #[test]
    fn a_failover_reads_as_a_story() {
        let to = |more: Value| {
            let mut fields = json!({ "target": "hippo-b" });
            for (name, value) in more.as_object().unwrap() {
                fields[name] = value.clone();
            }
            fields
        };
        let story = [
            event(
                "FailoverCluster",
                to(json!({ "stage": "started", "cause": "hippo was not heard for 10 s" })),
            ),
            event(
                "FailoverClusterProgress",
                to(json!({ "stage": "progress", "step": "hippo-b was elected in term 2" })),
            ),
            event(
                "FailoverClusterCompleted",
                to(
                    json!({ "stage": "completed", "durationms": 11_200, "formerprimary": "hippo", "timeline": 2, "lsn": "0/5000060" }),
                ),
            ),
            event(
                "CommitsLost",
                json!({ "stage": "notice", "formerprimary": "hippo", "lostbytes": 312, "lsn": "0/5000060", "cause": "it had 2 commits more" }),
            ),
            event(
                "RewindReplicaCompleted",
                json!({ "stage": "completed", "durationms": 4_000, "replicaname": "hippo" }),
            ),
        ];
        assert_eq!(
            told(&story),
            [
                "FailoverCluster    started    -       to hippo-b: hippo was not heard for 10 s",
                "FailoverCluster    progress   -       to hippo-b: hippo-b was elected in term 2",
                "FailoverCluster    completed  11.2s   to hippo-b, from hippo, timeline 2, at 0/5000060",
                "CommitsLost        notice     -       from hippo, at 0/5000060, 312 bytes of WAL lost: it had 2 commits more",
                "RewindReplica      completed  4.0s    hippo",
            ]
        );
    }

    #[test]
    fn what_the_core_tells_of_a_failover_and_a_switchover_reads_as_a_story() {
        // Kept by the core's tests, which make them.
        let events = include_str!("../../../shared/core/tests/it/story.json");
        let events: Vec<Value> = serde_json::from_str(events).unwrap();
        assert_eq!(
            told(&events),
            [
                "PrimaryNotReady    notice     -       -           primary hippo: the primary does not answer on its service",
                "FailoverCluster    started    -       -           to hippo-zpvy, from hippo, timeline 1, at 0/3000148: hippo was not heard any more",
                "FailoverCluster    progress   -       -           to hippo-zpvy, from hippo, timeline 2, at 0/3000148: hippo-zpvy was elected in term 2",
                "PrimaryReady       notice     5.0s    -           primary hippo-zpvy, timeline 2: answers on its service",
                "FailoverCluster    completed  5.3s    -           to hippo-zpvy, from hippo, timeline 2, at 0/3000148: hippo was not heard any more; whether it had more is not known until hippo is back",
                "ClusterDegraded    notice     -       -           hippo: instance hippo does not answer",
                "CommitsLost        notice     -       -           from hippo, timeline 1, at 0/3000148, 176 bytes of WAL lost: the former primary had 1 commit more; its WAL on timeline 1 ends at 0/30001F8, and the history of the primary in term 2 leaves it at 0/3000148",
                "RewindReplica      started    -       -           hippo, primary hippo-zpvy, timeline 1, at 0/3000148, 176 bytes of WAL lost: its data may hold what the primary's has not",
                "RewindReplica      completed  4.0s    -           hippo, primary hippo-zpvy, timeline 2, at 0/3000148",
                "ClusterRecovered   notice     26.0s   -           nothing is missing any more of what was asked for",
                "SwitchoverCluster  started    -       alice       to hippo, from hippo-zpvy, timeline 2, at 0/3000148: it was asked for",
                "PrimaryNotReady    notice     -       -           primary hippo-zpvy: the primary does not answer on its service",
                "SwitchoverCluster  progress   -       alice       to hippo, from hippo-zpvy, timeline 3, at 0/3000148: hippo was elected in term 3",
                "PrimaryReady       notice     1.0s    -           primary hippo, timeline 3: answers on its service",
                "SwitchoverCluster  completed  1.0s    alice       to hippo, from hippo-zpvy, timeline 3, at 0/3000148, 0 bytes of WAL lost: hippo-zpvy gave up in order",
            ]
        );
    }

    #[test]
    fn what_an_operation_is_about_is_in_each_of_its_lines() {
        let lines = [
            event(
                "ScaleCluster",
                json!({ "stage": "started", "replicaname": "hippo-b" }),
            ),
            event(
                "ScaleCluster",
                json!({ "stage": "started", "replicaname": "hippo-c" }),
            ),
            event(
                "ScaleDownClusterCompleted",
                json!({ "stage": "completed", "durationms": 900, "replicaname": "hippo-c" }),
            ),
            event(
                "UpgradeInstanceCompleted",
                json!({ "stage": "completed", "durationms": 9_000, "instance": "hippo-b", "formerversion": "16.3", "version": "16.4" }),
            ),
            event(
                "ReplicaLagging",
                json!({ "stage": "notice", "replicaname": "hippo-b", "lagbytes": 4096 }),
            ),
            // 4.1 leaves what it does not know empty.
            event("FailoverCluster", json!({ "target": "" })),
        ];
        assert_eq!(
            told(&lines),
            [
                "ScaleCluster       started    -       hippo-b",
                "ScaleCluster       started    -       hippo-c",
                "ScaleDownCluster   completed  900ms   hippo-c",
                "UpgradeInstance    completed  9.0s    hippo-b, from 16.3, to 16.4",
                "ReplicaLagging     notice     -       hippo-b, 4096 bytes behind",
                "FailoverCluster    started    -",
            ]
        );
    }

    #[test]
    fn every_type_that_is_about_part_of_a_cluster_says_which() {
        for event_type in pgo_events::EventType::ALL {
            let named = |field: &&Field| !field.in_line().is_empty();
            let fields = event_type.about().fields;
            let mut more = json!({});
            for field in fields {
                more[field.as_str()] = format!("the {field}").into();
            }
            let line = Line::of(&event(event_type.as_str(), more)).render(PLAIN);
            for field in fields.iter().filter(named) {
                assert!(
                    line.contains(&format!("the {field}")),
                    "{event_type}: {line}"
                );
            }
            assert!(!line.contains("the postgrespassword"), "{line}");
            let of_all = [Field::ClusterName, Field::WorkflowId, Field::ErrorMessage];
            let mut own = fields.iter().filter(|field| !of_all.contains(field));
            assert!(
                own.clone().next().is_none() || own.any(|field| named(&field)),
                "{event_type} has fields of its own and none in its line"
            );
        }
    }

    #[test]
    fn anything_at_all_makes_a_line() {
        for odd in [json!(null), json!(7), json!({ "eventheader": [] })] {
            assert_eq!(Line::of(&odd).render(PLAIN).matches('\n').count(), 1);
        }
    }
}
