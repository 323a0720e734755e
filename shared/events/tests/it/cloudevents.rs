//! Events as CloudEvents: the attributes that the specification asks for, and those of its extensions.

use pgo_events::{
    EventType, Field, FieldKind,
    cloudevent::{Attribute, CloudEvent},
    reference::filterable,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::secrecy::event;

fn cloud_event(event_type: EventType) -> CloudEvent {
    let event = event(event_type, |_| "x".into());
    CloudEvent::of(&event).expect("a CloudEvent")
}

#[test]
fn every_type_has_the_required_attributes_and_only_names_that_are_allowed() {
    for event_type in EventType::ALL {
        let structured = cloud_event(*event_type).to_structured();
        assert_eq!(structured["specversion"], "1.0");
        for required in ["id", "source", "type"] {
            assert!(
                structured[required]
                    .as_str()
                    .is_some_and(|text| !text.is_empty()),
                "{required}"
            );
        }
        for (name, value) in structured.as_object().expect("an object") {
            let allowed = name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
            assert!(
                allowed && name.len() <= 20,
                "{name} (section 3.1 of the specification)"
            );
            assert!(
                name == "data" || value.is_string() || value.is_i64(),
                "{name}"
            );
        }
    }
}

#[test]
fn a_filter_knows_every_attribute_and_every_field_of_every_type() {
    for event_type in EventType::ALL {
        let event = cloud_event(*event_type);
        for (name, attribute) in event.attributes() {
            let kind = match attribute {
                Attribute::Text(_) => FieldKind::Text,
                Attribute::Number(_) => FieldKind::Number,
            };
            assert_eq!(filterable(name), Some(kind), "{name}");
        }
        for (name, value) in event.data().as_object().expect("an object") {
            let kind = match value {
                Value::String(_) => FieldKind::Text,
                Value::Number(_) => FieldKind::Number,
                Value::Bool(_) => FieldKind::Flag,
                _ => continue,
            };
            assert_eq!(filterable(&name.to_ascii_lowercase()), Some(kind), "{name}");
        }
    }
    for (name, kind) in [
        ("eventtype", Some(FieldKind::Text)),
        ("durationms", Some(FieldKind::Number)),
        ("nosuch", None),
        ("eventheader", None),
    ] {
        assert_eq!(filterable(name), kind, "{name}");
    }
}

#[test]
fn the_data_is_the_event_itself() {
    let event = event(EventType::CreateClusterFailure, |_| "x".into());
    let structured = CloudEvent::of(&event)
        .expect("a CloudEvent")
        .to_structured();
    let wire: Value = serde_json::from_slice(&event.to_wire().expect("JSON")).expect("JSON");
    assert_eq!(structured["data"], wire);
    assert_eq!(structured["datacontenttype"], "application/json");
}

#[test]
fn the_attributes_are_those_of_the_event() {
    let structured = cloud_event(EventType::CreateClusterFailure).to_structured();
    let expected = json!({
        "id": "uid-1/7",
        "source": "/namespaces/pgouser1",
        "subject": "pgclusters/hippo",
        "type": "com.crunchydata.pgo.CreateClusterFailure",
        "time": "2026-10-15T10:11:12.5Z",
        "sequence": "00000000000000000007",
        "partitionkey": "uid-1",
        "correlationid": "25927091-b343-4017-be4b-71575f0b3eb5",
        "stage": "failed",
        "severitytext": "ERROR",
        "severitynumber": 17,
        "cause": "no disk",
        "actor": "pgoadmin",
    });
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(&structured[name], value, "{name}");
    }
}

#[test]
fn in_binary_mode_the_attributes_are_headers_and_the_body_is_the_data() {
    let cloud_event = cloud_event(EventType::CreateClusterFailure);
    let (headers, body) = cloud_event.to_binary();
    let header = |name: &str| {
        let found = headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.as_str())
    };
    assert_eq!(header("content-type"), Some("application/json"));
    assert_eq!(header("ce-specversion"), Some("1.0"));
    assert_eq!(header("ce-id"), Some("uid-1/7"));
    assert_eq!(header("ce-cause"), Some("no%20disk"));
    assert_eq!(header("ce-severitynumber"), Some("17"));
    let body: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(body, cloud_event.to_structured()["data"]);
}

proptest! {
    #[test]
    fn no_attribute_has_a_character_that_none_may_have(cause in any::<String>(), actor in any::<String>()) {
        let data = json!({
            "eventheader": {"EventType": "PGOStart", "namespace": "pgo", "username": actor},
            "stream": "u", "seq": 1, "cause": cause,
        });
        let cloud_event = CloudEvent::of_json(data.clone());
        for (name, attribute) in cloud_event.attributes() {
            if let Attribute::Text(text) = attribute {
                // Specification 1.0.2, section 3.2: type String.
                let forbidden = text.chars().any(|character| {
                    matches!(u32::from(character), 0..=0x1f | 0x7f..=0x9f | 0xfdd0..=0xfdef)
                        || u32::from(character) % 0x10000 >= 0xfffe
                });
                prop_assert!(!forbidden, "{name}: {text:?}");
            }
        }
        prop_assert_eq!(cloud_event.data(), &data);
    }
}

#[test]
fn the_lines_of_a_cause_become_one() {
    let data = json!({"eventheader": {}, "cause": "ended:\nno space"});
    let structured = CloudEvent::of_json(data).to_structured();
    assert_eq!(structured["cause"], "ended: no space");
    assert_eq!(structured["data"]["cause"], "ended:\nno space");
}

#[test]
fn what_belongs_to_no_cluster_has_no_subject() {
    assert!(
        !EventType::PgoStart
            .about()
            .fields
            .contains(&Field::ClusterName)
    );
    let structured = cloud_event(EventType::PgoStart).to_structured();
    assert!(structured.get("subject").is_none());
}
