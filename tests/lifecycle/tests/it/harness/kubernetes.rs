//! Objects in Kubernetes.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    Ran, kubectl, namespace,
    programs::{program, run},
};

/// An object, or nothing.
pub fn get(kind: &str, name: &str, namespace: &str) -> Option<Value> {
    let ran = kubectl(&[
        "get",
        kind,
        name,
        "-n",
        namespace,
        "-o",
        "json",
        "--ignore-not-found",
    ])
    .ok();
    (!ran.out.trim().is_empty()).then(|| ran.json())
}

/// All objects of a kind, or comma list of kinds, that a selector selects.
pub fn list(kinds: &str, selector: &str, namespace: &str) -> Vec<Value> {
    let ran = kubectl(&["get", kinds, "-n", namespace, "-l", selector, "-o", "json"]).ok();
    ran.json()["items"].as_array().cloned().unwrap_or_default()
}

/// Kind and name of each object.
pub fn names(objects: &[Value]) -> Vec<String> {
    objects
        .iter()
        .map(|object| {
            format!(
                "{}/{}",
                text(object, "/kind"),
                text(object, "/metadata/name")
            )
        })
        .collect()
}

/// A text in an object; empty where there is none.
pub fn text(object: &Value, pointer: &str) -> String {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// Applies a manifest.
pub fn apply(manifest: &Value) -> Ran {
    run(
        program("kubectl", &["apply", "-f", "-"]),
        &manifest.to_string(),
    )
}

/// A ConfigMap of the tests' namespace; gone with this value.
pub struct ConfigMap(pub String);

impl ConfigMap {
    /// It holds these files from now on.
    pub fn with(&self, data: Value) {
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": self.0, "namespace": namespace()}, "data": data,
        });
        apply(&map).ok();
    }
}

impl Drop for ConfigMap {
    fn drop(&mut self) {
        let namespace = std::env::var("PGO_NAMESPACE").unwrap_or_default();
        let of_namespace = ["-n", &namespace, "--ignore-not-found"];
        let mut command = program("kubectl", &["delete", "configmap", &self.0]);
        let _ = command.args(of_namespace).output();
    }
}

/// What a Secret of the tests' namespace holds.
pub fn secret(name: &str, key: &str) -> String {
    secret_in(&namespace(), name, key)
}

/// What a Secret holds.
///
/// # Panics
/// Where it is missing or has no such key.
pub fn secret_in(namespace: &str, name: &str, key: &str) -> String {
    let secret =
        get("secret", name, namespace).unwrap_or_else(|| panic!("there is no Secret {name}"));
    let value = text(&secret, &format!("/data/{}", key.replace('/', "~1")));
    let bytes = STANDARD.decode(value).expect("base64");
    String::from_utf8(bytes).expect("text")
}

/// The condition of this type.
pub fn condition(object: &Value, kind: &str) -> Option<Value> {
    object
        .pointer("/status/conditions")?
        .as_array()?
        .iter()
        .find(|condition| condition["type"] == kind)
        .cloned()
}
