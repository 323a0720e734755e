//! An event as a line.
//!
//! Events are read leniently: a newer server may send types and fields this client does not know, and 4.1's have
//! none of the new fields.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::{Colours, ago, pad, plain};

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
        let detail = self.detail.clone();
        self.columns(colours, &[detail])
    }

    /// The line with severity, operation and key before the detail.
    pub fn render_wide(&self, colours: Colours) -> String {
        let more = [
            pad(or_dash(&self.severity), 5),
            pad(or_dash(&self.operation), 36),
            pad(or_dash(&self.key), 38),
            self.detail.clone(),
        ];
        self.columns(colours, &more)
    }

    fn columns(&self, colours: Colours, more: &[String]) -> String {
        let about = match self.cluster.as_str() {
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
            pad(&about, 20),
            pad(&self.what, 14),
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
            "2026-11-22T14:24:57.237Z  pgouser1/hippo        CreateCluster   failed     4.2s    pgoadmin    no disk\n"
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
            "odd                       pgo                   PGOStart        started    -       -\n"
        );
    }

    #[test]
    fn anything_at_all_makes_a_line() {
        for odd in [json!(null), json!(7), json!({ "eventheader": [] })] {
            assert_eq!(Line::of(&odd).render(PLAIN).matches('\n').count(), 1);
        }
    }
}
