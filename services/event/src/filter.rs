//! Which records a reader wants.

use std::collections::BTreeSet;

use cesql::{Attributes, Expression, FilterFault, ParseError, Type, Value};
use pgo_events::{
    FieldKind, Severity, Topic, TypePattern, UnknownSeverity, UnknownTopic,
    cloudevent::{Attribute, CloudEvent},
    reference::filterable,
};
use pgo_proto::event::ReadRequest;
use serde_json::{Number, Value as Json};

use crate::log::Record;

/// What a reader chose; nothing chosen means everything.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    topics: BTreeSet<&'static str>,
    namespaces: BTreeSet<String>,
    clusters: BTreeSet<String>,
    streams: BTreeSet<String>,
    types: Vec<TypePattern>,
    severity: Option<Severity>,
    expression: Option<Expression>,
}

/// Why a request chooses nothing that can be found.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// A topic is none of ours.
    #[error(transparent)]
    Topic(#[from] UnknownTopic),
    /// The severity is none.
    #[error(transparent)]
    Severity(#[from] UnknownSeverity),
    /// The expression is not CESQL.
    // On one line: it goes through a status and a stream of lines, where the place cannot be pointed at from below.
    #[error("the filter is not a CloudEvents SQL expression: column {}: {}", .0.column(), .0.fault())]
    Expression(#[from] ParseError),
    /// No event can pass the expression.
    #[error("the filter can never be true: {0}")]
    Filter(#[from] FilterFault),
}

impl Filter {
    /// What a request chose.
    ///
    /// # Errors
    /// A topic, the severity or the expression is none, or no event can pass the expression.
    pub fn of(request: &ReadRequest) -> Result<Self, FilterError> {
        let topics: Vec<Topic> = request
            .topics
            .iter()
            .map(|topic| topic.parse())
            .collect::<Result<_, _>>()?;
        let all = topics.contains(&Topic::All);
        let chosen = topics.into_iter().filter(|_| !all);
        let severity = match request.severity.as_str() {
            "" => None,
            text => Some(text.parse()?),
        };
        let expression = match request.filter.trim() {
            "" => None,
            text => {
                let expression: Expression = text.parse()?;
                expression.check_filter(attribute_type)?;
                Some(expression)
            }
        };
        Ok(Self {
            topics: chosen.map(Topic::as_str).collect(),
            namespaces: request.namespaces.iter().cloned().collect(),
            clusters: request.clusters.iter().cloned().collect(),
            streams: request.streams.iter().cloned().collect(),
            types: request
                .types
                .iter()
                .map(|text| TypePattern::of(text))
                .collect(),
            severity,
            expression,
        })
    }

    /// Whether the reader wants a record.
    pub fn wants(&self, record: &Record) -> bool {
        self.reads_stream_of(record) && self.wants_topic(record) && self.wants_content(record)
    }

    /// Whether an event before this one in its stream might have been wanted: of a lost one nobody knows the topic, the type
    /// or what it said.
    pub fn reads_stream_of(&self, record: &Record) -> bool {
        if !self.streams.is_empty() && !self.streams.contains(record.key.stream.as_str()) {
            return false;
        }
        let facets = record.facets();
        (self.namespaces.is_empty() || self.namespaces.contains(&facets.namespace))
            && (self.clusters.is_empty()
                || facets
                    .cluster
                    .as_ref()
                    .is_some_and(|cluster| self.clusters.contains(cluster)))
    }

    fn wants_topic(&self, record: &Record) -> bool {
        let mut topics = record.facets().topics.iter();
        self.topics.is_empty() || topics.any(|topic| self.topics.contains(topic.as_str()))
    }

    /// By what the event says; what cannot be read has nothing that could be wanted.
    fn wants_content(&self, record: &Record) -> bool {
        if self.types.is_empty() && self.severity.is_none() && self.expression.is_none() {
            return true;
        }
        let Ok(event) = serde_json::from_slice::<Json>(&record.event) else {
            return false;
        };
        let name = event.pointer("/eventheader/EventType");
        let name = name.and_then(Json::as_str).unwrap_or_default();
        let severity = event["severity"].as_str().unwrap_or_default().parse();
        let grave = |least| severity.is_ok_and(|severity: Severity| severity >= least);
        (self.types.is_empty() || self.types.iter().any(|pattern| pattern.fits(name)))
            && self.severity.is_none_or(grave)
            && self
                .expression
                .as_ref()
                .is_none_or(|expression| expression.matches(&Read(CloudEvent::of_json(event))))
    }
}

/// The type of an attribute of our events; nothing where none has it.
fn attribute_type(name: &str) -> Option<Type> {
    Some(match filterable(name)? {
        FieldKind::Text => Type::String,
        FieldKind::Number => Type::Integer,
        FieldKind::Flag => Type::Boolean,
    })
}

/// An event as an expression sees it: its attributes as a CloudEvent, then the fields of its own.
struct Read(CloudEvent);

impl Attributes for Read {
    fn get(&self, name: &str) -> Option<Value> {
        let mut attributes = self.0.attributes();
        if let Some((_, attribute)) = attributes.find(|(known, _)| *known == name) {
            return Some(match attribute {
                Attribute::Text(text) => Value::String(text.clone()),
                Attribute::Number(number) => Value::Integer(*number),
            });
        }
        let event = self.0.data();
        let header = &event["eventheader"];
        let value = match name {
            "eventtype" => &header["EventType"],
            "namespace" => &header["namespace"],
            "username" => &header["username"],
            name => {
                event
                    .as_object()?
                    .iter()
                    .find(|(key, _)| key.eq_ignore_ascii_case(name))?
                    .1
            }
        };
        match value {
            Json::String(text) => Some(Value::String(text.clone())),
            Json::Bool(flag) => Some(Value::Boolean(*flag)),
            Json::Number(number) => Some(saturated(number)),
            _ => None,
        }
    }
}

/// A number as CESQL has them. Its integers have 32 bits (CESQL 1.0, section 3.1): one beyond is seen as the outermost on its
/// side, so that what is more than all others is still more than a limit. A fraction is seen as its digits.
fn saturated(number: &Number) -> Value {
    let integer = match number.as_i64() {
        Some(integer) => integer,
        None if number.is_u64() => i64::MAX,
        None => return Value::String(number.to_string()),
    };
    let outermost = if integer < 0 { i32::MIN } else { i32::MAX };
    Value::Integer(i32::try_from(integer).unwrap_or(outermost))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use jiff::Timestamp;

    use pgo_ids::{EventKey, Seq};

    use super::*;

    fn record(event: &Json) -> Record {
        let event = Bytes::from(event.to_string());
        let key = EventKey {
            stream: "uid-1".parse().expect("a stream"),
            seq: Seq(1),
        };
        Record::new((0, 0), Timestamp::UNIX_EPOCH, key, Seq(0), event)
    }

    fn failure() -> Record {
        record(&serde_json::json!({
            "eventheader": {
                "EventType": "CreateClusterFailure", "namespace": "pgouser1", "username": "alice",
                "timestamp": "2026-11-25T10:11:12Z", "topic": ["clustertopic"],
            },
            "clustername": "hippo", "stream": "uid-1", "seq": 3, "stage": "failed", "severity": "ERROR",
            "durationms": 4260, "cause": "no disk",
        }))
    }

    fn wants(request: ReadRequest) -> bool {
        Filter::of(&request).expect("a filter").wants(&failure())
    }

    fn list(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn by_place(topics: &[&str], namespaces: &[&str], clusters: &[&str]) -> bool {
        wants(ReadRequest {
            topics: list(topics),
            namespaces: list(namespaces),
            clusters: list(clusters),
            ..ReadRequest::default()
        })
    }

    #[test]
    fn each_choice_must_fit_and_no_choice_fits_all() {
        assert!(by_place(&[], &[], &[]));
        assert!(by_place(&["alltopic", "pgotopic"], &[], &[]));
        assert!(by_place(&["clustertopic"], &["pgouser1", "x"], &["hippo"]));
        assert!(!by_place(&["pgotopic"], &["pgouser1"], &["hippo"]));
        assert!(!by_place(&["clustertopic"], &["pgouser2"], &["hippo"]));
        assert!(!by_place(&[], &[], &["other"]));
    }

    #[test]
    fn a_stream_is_chosen_by_its_id() {
        let of_streams = |streams: &[&str]| {
            wants(ReadRequest {
                streams: list(streams),
                ..ReadRequest::default()
            })
        };
        assert!(of_streams(&["uid-0", "uid-1"]));
        assert!(!of_streams(&["uid-0", "uid"]));
    }

    #[test]
    fn what_belongs_to_no_cluster_is_not_a_clusters() {
        let request = ReadRequest {
            clusters: list(&["hippo"]),
            ..ReadRequest::default()
        };
        let filter = Filter::of(&request).expect("a filter");
        let start = serde_json::json!({ "eventheader": { "EventType": "PGOStart" } });
        assert!(!filter.wants(&record(&start)));
    }

    #[test]
    fn types_are_patterns_in_any_case() {
        let of_type = |types: &[&str]| {
            wants(ReadRequest {
                types: list(types),
                ..ReadRequest::default()
            })
        };
        for fits in [
            "CreateClusterFailure",
            "*failure",
            "create*",
            "*",
            "c*cluster*e",
            "**",
        ] {
            assert!(of_type(&[fits]), "{fits}");
        }
        for other in [
            "CreateCluster",
            "failure",
            "*create",
            "c*cluster*cluster*e",
            "",
            "x*",
        ] {
            assert!(!of_type(&[other]), "{other}");
        }
        assert!(of_type(&["nosuch", "*Failure"]));
    }

    #[test]
    fn severity_is_at_least_the_one_asked_for() {
        let of_severity = |severity: &str| {
            wants(ReadRequest {
                severity: severity.to_owned(),
                ..ReadRequest::default()
            })
        };
        assert!(of_severity("debug") && of_severity("WARN") && of_severity("error"));
        let request = ReadRequest {
            severity: "warn".to_owned(),
            ..ReadRequest::default()
        };
        let start = serde_json::json!({ "eventheader": {}, "severity": "INFO" });
        assert!(
            !Filter::of(&request)
                .expect("a filter")
                .wants(&record(&start))
        );
    }

    #[test]
    fn an_expression_sees_attributes_and_fields() {
        let by = |filter: &str| {
            wants(ReadRequest {
                filter: filter.to_owned(),
                ..ReadRequest::default()
            })
        };
        for true_one in [
            "clustername = 'hippo'",
            "type LIKE '%.CreateCluster%'",
            "durationms > 4000 AND severitynumber >= 13",
            "EXISTS cause AND actor = 'alice'",
            "eventtype IN ('CreateClusterFailure', 'DeleteClusterFailure')",
            "subject = 'pgclusters/hippo' AND namespace = 'pgouser1'",
        ] {
            assert!(by(true_one), "{true_one}");
        }
        for false_one in [
            "clustername = 'rhino'",
            "EXISTS step",
            "durationms / (seq - 3) = 1",
        ] {
            assert!(!by(false_one), "{false_one}");
        }
    }

    #[test]
    fn a_number_beyond_32_bits_is_seen_as_the_outermost() {
        let seen = |field: &Json, filter: &str| {
            let event = serde_json::json!({ "eventheader": {}, "lagbytes": field });
            let request = ReadRequest {
                filter: filter.to_owned(),
                ..ReadRequest::default()
            };
            Filter::of(&request)
                .expect("a filter")
                .wants(&record(&event))
        };
        for large in [Json::from(3_000_000_000_u64), Json::from(u64::MAX)] {
            assert!(seen(&large, "lagbytes > 1000000"), "{large}");
            assert!(seen(&large, "lagbytes = 2147483647"), "{large}");
            assert!(!seen(&large, "lagbytes < 1000000"), "{large}");
        }
        for small in [Json::from(-3_000_000_000_i64), Json::from(i64::MIN)] {
            assert!(
                seen(&small, "lagbytes < 0 AND lagbytes < -2147483647"),
                "{small}"
            );
        }
        assert!(seen(&Json::from(1_000_001), "lagbytes > 1000000"));
        assert!(seen(&Json::from(1.5), "lagbytes = '1.5'"));
    }

    #[test]
    fn what_names_nothing_is_an_error_that_says_so() {
        let why = |request: ReadRequest| Filter::of(&request).err().map(|e| e.to_string());
        let topic = why(ReadRequest {
            topics: list(&["nosuchtopic"]),
            ..ReadRequest::default()
        });
        assert!(topic.is_some_and(|why| why.contains("nosuchtopic")));
        let severity = why(ReadRequest {
            severity: "loud".to_owned(),
            ..ReadRequest::default()
        });
        assert!(severity.is_some_and(|why| why.contains("debug, info, warn")));
        let filter = why(ReadRequest {
            filter: "a = ".to_owned(),
            ..ReadRequest::default()
        });
        let filter = filter.expect("a refusal");
        assert!(
            filter.contains("CloudEvents SQL expression: column 4:"),
            "{filter}"
        );
        assert_eq!(filter.lines().count(), 1, "{filter}");
    }

    #[test]
    fn a_filter_that_no_event_can_pass_is_an_error_that_says_why() {
        for (filter, why) in [
            ("foo(1)", "no function FOO"),
            ("seq", "compare it, such as seq > 0"),
            ("clustername = hippo", "write 'hippo' in quotes"),
            ("nosuch = 3", "no event has an attribute nosuch"),
            ("1/0 = 1", "divides by zero"),
        ] {
            let refused = Filter::of(&ReadRequest {
                filter: filter.to_owned(),
                ..ReadRequest::default()
            });
            let told = refused.expect_err(filter).to_string();
            assert!(told.contains(why), "{filter}: {told}");
        }
    }
}
