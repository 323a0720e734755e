//! Events that 4.1's apiserver published, as they came over NSQ: ours of the same types have the same keys in the same order,
//! each with a value of the same kind, before what is new.

use std::fmt;

use pgo_events::{Datum, Event, Field};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::Value;

/// Recorded from 4.1.0; the password is another one.
const RECORDED: &str = include_str!("recorded-4.1.json");

/// An object with its keys as they stand.
struct Ordered(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Ordered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Ordered;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Ordered(entries))
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

/// The same, with the keys of the header.
#[derive(Deserialize)]
struct Header {
    eventheader: Ordered,
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn shape(Ordered(entries): &Ordered) -> Vec<(String, &'static str)> {
    let entries = entries.iter();
    entries
        .map(|(key, value)| (key.clone(), kind(value)))
        .collect()
}

fn of_the_same_type(recorded: &Value) -> Event {
    let name = recorded["eventheader"]["EventType"]
        .as_str()
        .expect("a type");
    let given = |field: Field| match &recorded[field.as_str()] {
        Value::Bool(flag) => Datum::from(*flag),
        Value::String(text) => text.as_str().into(),
        _ => "".into(),
    };
    crate::secrecy::event(name.parse().expect("a type of ours"), given)
}

#[test]
fn a_recorded_event_and_ours_have_the_same_keys_in_the_same_order_and_kinds_of_values() {
    let recorded: Vec<Ordered> = serde_json::from_str(RECORDED).expect("events");
    let headers: Vec<Header> = serde_json::from_str(RECORDED).expect("events");
    let values: Vec<Value> = serde_json::from_str(RECORDED).expect("events");
    assert_eq!(values.len(), 6);
    for ((recorded, header), value) in recorded.iter().zip(&headers).zip(&values) {
        let wire = of_the_same_type(value).to_wire().expect("JSON");
        let ours: Ordered = serde_json::from_slice(&wire).expect("an object");
        let expected = shape(recorded);
        assert_eq!(shape(&ours)[..expected.len()], expected, "{value}");
        let ours: Header = serde_json::from_slice(&wire).expect("an object");
        assert_eq!(
            shape(&ours.eventheader),
            shape(&header.eventheader),
            "{value}"
        );
        let (ours, theirs) = (serde_json::from_slice::<Value>(&wire).expect("JSON"), value);
        for same in ["EventType", "topic"] {
            assert_eq!(ours["eventheader"][same], theirs["eventheader"][same]);
        }
    }
}
