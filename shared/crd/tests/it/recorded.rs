//! Objects of 4.1, out of its recorded answers, go through our types unchanged.

use std::{fs, path::Path};

use pgo_crd::{PgbackupSpec, PgpolicySpec, RequestStatus};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// The objects in the list of this name in the answer of a conversation.
fn objects(number: &str, list: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../api/tests/recorded");
    let file = fs::read_dir(folder)
        .expect("the recordings")
        .map(|entry| entry.expect("a recording").path())
        .find(|path| {
            let name = path.file_name().map(|name| name.to_string_lossy());
            name.is_some_and(|name| name.starts_with(number))
        })
        .unwrap_or_else(|| panic!("no recording {number}"));
    let text = fs::read(file).expect("a recording");
    let conversation: Value = serde_json::from_slice(&text).expect("JSON");
    let items = &conversation["http"][0]["response"]["body"][list]["items"];
    items.as_array().expect("a list").clone()
}

fn goes_through<T: Serialize + DeserializeOwned>(number: &str, value: &Value) {
    let typed: T = serde_json::from_value(value.clone())
        .unwrap_or_else(|error| panic!("{number}: {error}: {value}"));
    let again = serde_json::to_value(&typed).expect("JSON");
    assert_eq!(again, *value, "{number}");
}

#[test]
fn policies_and_backups_have_4_1s_fields() {
    let mut seen = Vec::new();
    for number in ["070", "071"] {
        for policy in objects(number, "PolicyList") {
            goes_through::<PgpolicySpec>(number, &policy["spec"]);
            goes_through::<RequestStatus>(number, &policy["status"]);
            seen.push(policy["metadata"]["name"].clone());
        }
    }
    for backup in objects("108", "BackupList") {
        goes_through::<PgbackupSpec>("108", &backup["spec"]);
        goes_through::<RequestStatus>("108", &backup["status"]);
        seen.push(backup["metadata"]["name"].clone());
    }
    assert_eq!(seen, ["pol1", "pol1", "pol2", "hippo"]);
}
