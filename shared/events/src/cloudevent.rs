//! An event as a CloudEvent (specification 1.0.2), in both content modes: all in one JSON, or attributes beside the body.
//!
//! The data is the event itself, 4.1's envelope with the new fields: nothing is told in one form only. `docs/cloudevents.md`
//! says how each attribute is made.

use serde_json::{Map, Value, json};

use crate::{Event, Severity};

/// Before the name of a type: the group of the custom resources, turned round.
pub const TYPE_PREFIX: &str = "com.crunchydata.pgo.";

/// Media type of one event in structured mode.
pub const STRUCTURED_TYPE: &str = "application/cloudevents+json; charset=utf-8";

/// Media type of the data.
pub const DATA_TYPE: &str = "application/json";

/// The attributes that hold text; the only other is `severitynumber`.
pub(crate) const TEXTS: [&str; 15] = [
    "specversion",
    "id",
    "source",
    "type",
    "time",
    "datacontenttype",
    "subject",
    "sequence",
    "partitionkey",
    "correlationid",
    "stage",
    "step",
    "cause",
    "actor",
    "severitytext",
];

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
        Ok(Self::of_json(serde_json::to_value(event)?))
    }

    /// Translates an event as it is on the wire; one of another version too: what is not there gives no attribute.
    #[must_use]
    pub fn of_json(data: Value) -> Self {
        let text = |pointer: &str| {
            let text = data.pointer(pointer).and_then(Value::as_str);
            text.filter(|text| !text.is_empty()).map(allowed)
        };
        let severity = text("/severity");
        let number = severity
            .as_deref()
            .and_then(|text| text.parse::<Severity>().ok());
        let seq = data["seq"].as_u64();
        let id = text("/stream")
            .zip(seq)
            .map(|(stream, seq)| format!("{stream}/{seq}"));
        // In the order of TEXTS.
        let texts = [
            Some("1.0".to_owned()),
            id,
            text("/eventheader/namespace").map(|name| format!("/namespaces/{name}")),
            text("/eventheader/EventType").map(|name| format!("{TYPE_PREFIX}{name}")),
            text("/eventheader/timestamp"),
            Some(DATA_TYPE.to_owned()),
            text("/clustername").map(|name| format!("pgclusters/{name}")),
            // Fixed in width, because the sequence extension compares texts.
            seq.map(|seq| format!("{seq:020}")),
            text("/stream"),
            text("/operationid"),
            text("/stage"),
            text("/step"),
            text("/cause"),
            text("/eventheader/username"),
            severity,
        ];
        let texts = TEXTS
            .into_iter()
            .zip(texts)
            .filter_map(|(name, text)| Some((name, Attribute::Text(text?))));
        let number = number.map(|severity| Attribute::Number(severity.number().into()));
        Self {
            attributes: texts
                .chain(number.map(|number| ("severitynumber", number)))
                .collect(),
            data,
        }
    }

    /// The event itself.
    #[must_use]
    pub fn data(&self) -> &Value {
        &self.data
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

/// A text as an attribute may have it: a blank for each character that none may have (specification 1.0.2, section 3.2,
/// String). The data has it as it was.
fn allowed(text: &str) -> String {
    let blank = |character: char| {
        // Noncharacters of Unicode, section 23.7: the last two of each plane, and 32 in the first.
        let none = matches!(u32::from(character), 0xfdd0..=0xfdef)
            || u32::from(character) & 0xfffe == 0xfffe;
        character.is_control() || none
    };
    text.replace(blank, " ")
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
