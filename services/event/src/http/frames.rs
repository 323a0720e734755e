//! Answers of a reader as bytes: JSON lines, or server-sent events (HTML, section 9.2).

use bytes::Bytes;
use pgo_events::cloudevent::CloudEvent;
use pgo_proto::event::read_response::What;
use serde_json::{Value, json};

use super::query::{Form, Framing};

/// How what is told gets onto the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frames {
    /// How it is cut.
    pub framing: Framing,
    /// How an event is written.
    pub form: Form,
}

impl Frames {
    /// Media type of the answer.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self.framing {
            Framing::Lines => "application/x-ndjson",
            Framing::ServerSent => "text/event-stream",
        }
    }

    /// What stands before all others: a browser that loses the connection comes back this soon (in ms).
    #[must_use]
    pub fn head(self) -> Option<Bytes> {
        match self.framing {
            Framing::Lines => None,
            Framing::ServerSent => Some(Bytes::from_static(b"retry: 1000\n\n")),
        }
    }

    /// An answer.
    #[must_use]
    pub fn answer(self, what: &What) -> Bytes {
        match what {
            What::Record(record) => match serde_json::from_slice(&record.event) {
                Ok(event) => self.event(&record.cursor, event),
                Err(error) => self.cut(&format!(
                    "the record at {} is damaged: {error}",
                    record.cursor
                )),
            },
            What::Cut(text) => self.cut(text),
            What::CaughtUp(there) => self.named(
                "live",
                Some(&there.cursor),
                &json!({ "cursor": there.cursor }),
            ),
        }
    }

    /// The end, where it is not the one that was asked for.
    #[must_use]
    pub fn failure(self, why: &str) -> Bytes {
        self.named("failure", None, &json!({ "error": why }))
    }

    /// Nothing to say, still here.
    #[must_use]
    pub fn keep_alive(self) -> Bytes {
        match self.framing {
            Framing::Lines => Bytes::from_static(b"\n"),
            Framing::ServerSent => Bytes::from_static(b": still here\n\n"),
        }
    }

    fn event(self, cursor: &str, event: Value) -> Bytes {
        let event = match self.form {
            Form::Envelope => event,
            Form::CloudEvents => CloudEvent::of_json(event).to_structured(),
        };
        match self.framing {
            Framing::Lines => line(&json!({ "cursor": cursor, "event": event })),
            // Without a name of its own: that is what a browser's `onmessage` hears.
            Framing::ServerSent => Bytes::from(format!("id: {cursor}\ndata: {event}\n\n")),
        }
    }

    fn cut(self, text: &str) -> Bytes {
        self.named("cut", None, &json!({ "cut": text }))
    }

    fn named(self, name: &str, cursor: Option<&str>, data: &Value) -> Bytes {
        match self.framing {
            Framing::Lines => line(data),
            Framing::ServerSent => {
                let id = cursor
                    .map(|cursor| format!("id: {cursor}\n"))
                    .unwrap_or_default();
                Bytes::from(format!("{id}event: {name}\ndata: {data}\n\n"))
            }
        }
    }
}

/// JSON has no line ends of its own: in texts they are escaped.
fn line(value: &Value) -> Bytes {
    Bytes::from(format!("{value}\n"))
}

#[cfg(test)]
mod tests {
    use pgo_proto::event::{CaughtUp, Record};

    use super::*;

    const EVENT: &str = "{\n  \"eventheader\": {\"EventType\": \"PGOStart\", \"namespace\": \"pgo\"},\n  \"stream\": \"u\",\n  \"seq\": 7,\n  \"cause\": \"a\\nb\"\n}";

    fn record() -> What {
        What::Record(Record {
            cursor: "ab:1".to_owned(),
            event: EVENT.as_bytes().to_vec(),
            appended: None,
        })
    }

    fn text(framing: Framing, form: Form, what: &What) -> String {
        let frames = Frames { framing, form };
        String::from_utf8(frames.answer(what).to_vec()).expect("text")
    }

    #[test]
    fn a_line_is_one_line_with_cursor_and_event() {
        let line = text(Framing::Lines, Form::Envelope, &record());
        assert_eq!(line.matches('\n').count(), 1);
        let line: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(line["cursor"], "ab:1");
        assert_eq!(
            line["event"],
            serde_json::from_str::<Value>(EVENT).expect("JSON")
        );
    }

    #[test]
    fn a_server_sent_event_has_the_cursor_as_its_id() {
        let sent = text(Framing::ServerSent, Form::Envelope, &record());
        let data = sent
            .strip_prefix("id: ab:1\ndata: ")
            .and_then(|rest| rest.strip_suffix("\n\n"));
        let data: Value = serde_json::from_str(data.expect("the form")).expect("JSON");
        assert_eq!(data["cause"], "a\nb");
        let live = text(
            Framing::ServerSent,
            Form::Envelope,
            &What::CaughtUp(CaughtUp {
                cursor: "ab:1".to_owned(),
            }),
        );
        assert_eq!(
            live,
            "id: ab:1\nevent: live\ndata: {\"cursor\":\"ab:1\"}\n\n"
        );
        let cut = text(
            Framing::ServerSent,
            Form::Envelope,
            &What::Cut("3 are gone".to_owned()),
        );
        assert_eq!(cut, "event: cut\ndata: {\"cut\":\"3 are gone\"}\n\n");
    }

    #[test]
    fn a_cloud_event_has_its_attributes_outside() {
        let line = text(Framing::Lines, Form::CloudEvents, &record());
        let line: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(line["event"]["specversion"], "1.0");
        assert_eq!(line["event"]["id"], "u/7");
        assert_eq!(line["event"]["data"]["cause"], "a\nb");
    }

    #[test]
    fn a_damaged_record_is_told_and_not_passed_over() {
        let what = What::Record(Record {
            cursor: "ab:2".to_owned(),
            event: b"{".to_vec(),
            appended: None,
        });
        let line = text(Framing::Lines, Form::Envelope, &what);
        assert!(
            line.starts_with("{\"cut\":\"the record at ab:2 is damaged"),
            "{line}"
        );
    }
}
