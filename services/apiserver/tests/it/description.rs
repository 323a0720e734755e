//! `docs/openapi.json` is what the route table and the types say. `UPDATE=1 cargo test -p pgo-apiserver` writes it anew.

use std::{env, fs, path::Path};

use pgo_api::ROUTES;
use serde_json::Value;

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
