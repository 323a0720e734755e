//! `docs/openapi.json` is what the route table and the types say. `UPDATE=1 cargo test -p pgo-apiserver` writes it anew.

use std::{env, fs, path::Path};

use pgo_api::{CreateClusterResponse, ROUTES, ShowClusterDetail, StatusDetail, VersionResponse};
use serde::Serialize;
use serde_json::{Value, json};

#[test]
fn the_description_is_generated_from_the_routes_and_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let generated = pgo_apiserver::openapi();
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, format!("{generated:#}\n")).expect("docs can be written");
    }
    let stored = fs::read(&path).unwrap_or_default();
    let stored: Value = serde_json::from_slice(&stored).unwrap_or_default();
    assert!(
        stored == generated,
        "docs/openapi.json is not what the code says; run UPDATE=1 cargo test -p pgo-apiserver"
    );
}

#[test]
fn every_route_is_described_and_every_reference_leads_somewhere() {
    let document = pgo_apiserver::openapi();
    for route in ROUTES {
        assert!(document["paths"][route.path].is_object(), "{}", route.path);
    }
    let text = document.to_string();
    let references = text.split("\"$ref\":\"#").skip(1);
    for reference in references.map(|rest| rest.split('"').next().unwrap()) {
        assert!(document.pointer(reference).is_some(), "{reference}");
    }
    let create = &document["components"]["schemas"]["CreateClusterRequest"];
    assert_eq!(create["properties"]["Name"]["type"], "string");
    assert!(
        create["required"].is_null(),
        "a missing field has the zero value"
    );
    assert!(create["properties"]["Series"]["description"].is_string());
}

/// What an empty answer has on the wire.
fn empty<T: Serialize + Default>() -> Value {
    json!(T::default())
}

#[test]
fn what_is_left_out_of_an_answer_where_it_is_empty_need_not_be_there() {
    let document = pgo_apiserver::openapi();
    for (name, empty) in [
        ("StatusDetail", empty::<StatusDetail>()),
        ("ShowClusterDetail", empty::<ShowClusterDetail>()),
        ("CreateClusterResponse", empty::<CreateClusterResponse>()),
        ("VersionResponse", empty::<VersionResponse>()),
    ] {
        let schema = &document["components"]["schemas"][name];
        let required = schema["required"]
            .as_array()
            .expect("some are always there");
        for field in required.iter().map(|field| field.as_str().unwrap()) {
            assert!(empty.get(field).is_some(), "{name}.{field} is left out");
        }
    }
    let status = &document["components"]["schemas"]["StatusDetail"]["properties"];
    for new in [
        "PendingRestart",
        "FallenBack",
        "ClustersNotReady",
        "SettingsNotAvailable",
    ] {
        assert!(status[new].is_object(), "{new}");
    }
}
