//! What is written about events follows from the catalogue. `UPDATE=1 cargo test -p pgo-events` writes it anew.

use std::{env, fs, path::Path};

use pgo_events::{EventType, reference};

/// The part of `docs/events.md` between these lines is generated.
const BEGIN: &str =
    "<!-- generated from shared/events/src/catalogue; UPDATE=1 cargo test -p pgo-events -->\n";
const END: &str = "<!-- end of what is generated -->";

fn docs() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

fn holds(name: &str, generated: impl Fn(&str) -> String) {
    let path = docs().join(name);
    let written = fs::read_to_string(&path).unwrap_or_default();
    let expected = generated(&written);
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, &expected).expect("docs can be written");
        return;
    }
    assert!(
        written == expected,
        "docs/{name} is not what the catalogue says; run UPDATE=1 cargo test -p pgo-events"
    );
}

#[test]
fn the_page_about_events_has_what_the_catalogue_has() {
    holds("events.md", |written| {
        let (before, rest) = written.split_once(BEGIN).expect("where it begins");
        let (_, after) = rest.split_once(END).expect("where it ends");
        format!("{before}{BEGIN}{}{END}{after}", reference::markdown())
    });
}

#[test]
fn the_schemas_are_those_of_the_catalogue() {
    holds("events.schema.json", |_| {
        // A line for each type, so that changes of one are seen as such.
        let mut schemas = reference::schemas();
        let definitions = schemas["$defs"].take();
        let definitions = definitions.as_object().expect("an object").iter();
        let lines = definitions.map(|(name, schema)| format!("    \"{name}\": {schema}"));
        let lines = format!("{{\n{}\n  }}", lines.collect::<Vec<_>>().join(",\n"));
        let other = schemas.as_object().expect("an object").iter();
        let other = other.map(|(name, value)| match value.is_null() {
            true => format!("  \"{name}\": {lines}"),
            false => format!("  \"{name}\": {value}"),
        });
        format!("{{\n{}\n}}\n", other.collect::<Vec<_>>().join(",\n"))
    });
}

#[test]
fn each_type_is_explained() {
    for event_type in EventType::ALL {
        let text = reference::explain(*event_type);
        assert!(text.starts_with(event_type.as_str()), "{text}");
        for field in event_type.about().fields {
            assert!(text.contains(field.as_str()), "{event_type}: {field}");
        }
        assert!(text.contains(event_type.about().advice), "{text}");
    }
}

#[test]
fn an_event_of_each_type_has_what_its_schema_asks_for() {
    let schemas = reference::schemas();
    let common = schemas.pointer("/$defs/event/required").expect("a list");
    for event_type in EventType::ALL {
        let event = crate::secrecy::event(*event_type, |_| "x".into());
        let event = serde_json::to_value(event).expect("JSON");
        let own = &schemas["$defs"][event_type.as_str()];
        let required = [common, &own["required"]].map(|list| list.as_array().expect("a list"));
        for name in required.into_iter().flatten() {
            let name = name.as_str().expect("a name");
            assert!(!event[name].is_null(), "{event_type} has no {name}");
        }
        let properties = own["properties"].as_object().expect("an object");
        for (name, shape) in properties
            .iter()
            .filter(|(_, shape)| shape["type"].is_string())
        {
            let fits = match (shape["type"].as_str(), &event[name]) {
                (_, value) if value.is_null() => true,
                (Some("string"), value) => value.is_string(),
                (Some("integer"), value) => value.is_u64(),
                (Some("boolean"), value) => value.is_boolean(),
                _ => false,
            };
            assert!(fits, "{event_type}: {name} is {}", event[name]);
        }
    }
}
