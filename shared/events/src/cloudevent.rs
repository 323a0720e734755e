//! An event as a CloudEvent (specification 1.0.2), in both content modes: all in one JSON, or attributes beside the body.
//!
//! The data is the event itself, 4.1's envelope with the new fields: nothing is told in one form only. `docs/cloudevents.md`
//! says how each attribute is made.

use serde_json::{Map, Value, json};

use crate::Event;

/// Before the name of a type: the group of the custom resources, turned round.
pub const TYPE_PREFIX: &str = "com.crunchydata.pgo.";

/// Media type of one event in structured mode.
pub const STRUCTURED_TYPE: &str = "application/cloudevents+json; charset=utf-8";

/// Media type of the data.
pub const DATA_TYPE: &str = "application/json";

/// An attribute's value; the specification has more types, but these are all that are needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// String, URI-reference or Timestamp.
    Text(String),
    /// Integer.
    Number(i32),
}

/// An event as a CloudEvent.
#[derive(Clone, Debug, PartialEq)]
pub struct CloudEvent {
    attributes: Vec<(&'static str, Attribute)>,
    data: Value,
}

impl CloudEvent {
    /// Translates an event.
    ///
    /// # Errors
    /// None that a value of this type can cause.
    pub fn of(event: &Event) -> Result<Self, serde_json::Error> {
        let header = &event.eventheader;
        let text = |text: String| Attribute::Text(text);
        let source = format!("/namespaces/{}", header.namespace);
        let subject = event
            .cluster()
            .map(|name| text(format!("pgclusters/{name}")));
        let optional = [
            ("subject", subject),
            ("step", event.step.clone().map(text)),
            ("cause", event.cause.clone().map(text)),
            (
                "actor",
                Some(text(header.username.clone())).filter(|_| !header.username.is_empty()),
            ),
        ];
        let required = [
            ("specversion", text("1.0".to_owned())),
            ("id", text(event.key().to_string())),
            ("source", text(source)),
            ("type", text(format!("{TYPE_PREFIX}{}", header.event_type))),
            ("time", text(header.timestamp.to_string())),
            ("datacontenttype", text(DATA_TYPE.to_owned())),
            // Fixed in width, because the sequence extension compares texts.
            ("sequence", text(format!("{:020}", event.seq.0))),
            ("partitionkey", text(event.stream.to_string())),
            ("correlationid", text(event.operationid.to_string())),
            ("stage", text(event.stage.as_str().to_owned())),
            ("severitytext", text(event.severity.as_str().to_owned())),
            (
                "severitynumber",
                Attribute::Number(event.severity.number().into()),
            ),
        ];
        let optional = optional
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        Ok(Self {
            attributes: required.into_iter().chain(optional).collect(),
            data: serde_json::to_value(event)?,
        })
    }

    /// The attributes, those of the context first.
    pub fn attributes(&self) -> impl Iterator<Item = (&'static str, &Attribute)> {
        self.attributes.iter().map(|(name, value)| (*name, value))
    }

    /// Structured mode, JSON format: attributes and data in one object.
    #[must_use]
    pub fn to_structured(&self) -> Value {
        let mut object: Map<String, Value> = self
            .attributes()
            .map(|(name, value)| {
                let value = match value {
                    Attribute::Text(text) => json!(text),
                    Attribute::Number(number) => json!(number),
                };
                (name.to_owned(), value)
            })
            .collect();
        object.insert("data".to_owned(), self.data.clone());
        Value::Object(object)
    }

    /// Binary mode over HTTP: headers and body (HTTP protocol binding, section 3.1).
    #[must_use]
    pub fn to_binary(&self) -> (Vec<(String, String)>, String) {
        let headers = self.attributes().map(|(name, value)| {
            let value = match value {
                Attribute::Text(text) => text.clone(),
                Attribute::Number(number) => number.to_string(),
            };
            match name {
                "datacontenttype" => ("content-type".to_owned(), value),
                name => (format!("ce-{name}"), percent_encoded(&value)),
            }
        });
        (headers.collect(), self.data.to_string())
    }
}

/// What a header cannot carry as it is, and the sign for it, by UTF-8 bytes (HTTP protocol binding, section 3.1.3.2).
fn percent_encoded(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    let mut buffer = [0; 4];
    for character in value.chars() {
        match character {
            '"' | '%' | ' ' => {}
            '!'..='~' => {
                encoded.push(character);
                continue;
            }
            _ => {}
        }
        for byte in character.encode_utf8(&mut buffer).bytes() {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
