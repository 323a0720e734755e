//! Where things are, as the design lays them out. Not all of it is there yet; what is there is in its place.

use std::fs;

use crate::workspace::{Workspace, files, root};

/// Folders with crates, each a folder of its own, and which.
const CRATES: [(&str, &[&str]); 3] = [
    (
        "services",
        &[
            "agent",
            "apiserver",
            "direct",
            "event",
            "reconciler",
            "scheduler",
        ],
    ),
    (
        "shared",
        &[
            "api",
            "bus",
            "cesql",
            "core",
            "crd",
            "events",
            "ha",
            "ids",
            "k8s",
            "nsq",
            "objects",
            "postgres",
            "proto",
            "telemetry",
            "tls",
        ],
    ),
    (
        "tests",
        &[
            "architecture",
            "bench",
            "conformance",
            "examples",
            "lifecycle",
            "model",
            "nsqd",
            "simulation",
        ],
    ),
];

/// Other folders that hold folders, and which.
const FOLDERS: [(&str, &[&str]); 3] = [
    (
        "",
        &[
            "compose", "deploy", "docs", "pgo", "proto", "services", "shared", "tests", "target",
        ],
    ),
    (
        "deploy",
        &[
            "ansible",
            "crds",
            "helm",
            "images",
            "install",
            "local",
            "monitoring",
            "rbac",
        ],
    ),
    ("docs", &["decisions", "examples", "man"]),
];

/// Lines of a `main.rs`: what a process does is in its library, where tests reach it.
const MAIN_LINES: usize = 12;

#[test]
fn every_crate_is_where_the_layout_has_it_and_called_after_its_folder() {
    for (name, folder) in Workspace::load().members() {
        if folder == "pgo" {
            continue;
        }
        let (place, own) = folder.split_once('/').unwrap_or((&folder, ""));
        let known = CRATES
            .iter()
            .any(|(at, crates)| *at == place && crates.contains(&own));
        assert!(known, "{name} is in {folder}, which is not in the layout");
        let called = name.strip_prefix("pgo-").unwrap_or(&name);
        let called = called.strip_suffix("-tests").unwrap_or(called);
        assert_eq!(called, own, "{name} is in {folder}");
    }
}

#[test]
fn every_folder_is_in_the_layout() {
    for (folder, known) in FOLDERS {
        for entry in fs::read_dir(root().join(folder)).expect("a folder of the workspace") {
            let entry = entry.expect("an entry");
            let name = entry.file_name().to_string_lossy().into_owned();
            let hidden = name.starts_with('.');
            assert!(
                hidden || !entry.path().is_dir() || known.contains(&name.as_str()),
                "{folder}/{name} is not in the layout"
            );
        }
    }
}

#[test]
fn every_service_is_a_library_to_run_and_a_short_main() {
    for (path, text) in files("main.rs") {
        let parts: Vec<&str> = path.split('/').collect();
        let ["services", service, "src", "main.rs"] = parts.as_slice() else {
            continue;
        };
        let lines = text.lines().count();
        assert!(
            lines <= MAIN_LINES,
            "{path} has {lines} lines, at most {MAIN_LINES} are good; the rest belongs to the library"
        );
        let library = root().join(format!("services/{service}/src/lib.rs"));
        let library = fs::read_to_string(library).expect("a service has a library");
        assert!(
            library.contains("pub async fn run(") || library.contains("pub fn run("),
            "services/{service}/src/lib.rs has no pub fn run"
        );
    }
}
