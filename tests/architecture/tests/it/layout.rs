//! Where things are, as the design lays them out, and that each kind of test is there.

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
            "schedule",
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
            "control-plane",
            "examples",
            "lifecycle",
            "model",
            "nsqd",
            "s3",
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

/// The kinds of tests that are not beside the code that they are about, each a folder of `tests`.
const KINDS: [&str; 5] = [
    "architecture",
    "conformance",
    "lifecycle",
    "model",
    "simulation",
];

/// Where whoever looks for a comparison with peers finds the program that measures, and what runs it.
const BENCH: [&str; 2] = ["tests/bench/src/main.rs", "tests/bench/run.sh"];

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

/// Whether a source has a test. That it is run is looked at with all sources.
fn has_tests(text: &str) -> bool {
    let is_test = |line: &str| line.starts_with("#[test]") || line.starts_with("#[tokio::test");
    text.lines().map(str::trim_start).any(is_test)
}

#[test]
fn every_kind_of_test_is_there_and_holds_tests() {
    let sources = files(".rs");
    let tested = |among: &dyn Fn(&str, &str) -> bool| {
        let mut found = sources.iter().filter(|(path, text)| among(path, text));
        found.any(|(_, text)| has_tests(text))
    };
    for kind in KINDS {
        let folder = format!("tests/{kind}/tests/it/");
        let beside = |path: &str, _: &str| path.starts_with(&folder);
        assert!(tested(&beside), "there is no test in {folder}");
    }
    let of_code = |path: &str| {
        ["pgo/", "services/", "shared/"]
            .iter()
            .any(|at| path.starts_with(at))
    };
    assert!(
        tested(&|path, _| of_code(path) && path.contains("/src/")),
        "there is no unit test"
    );
    let property = |path: &str, text: &str| of_code(path) && text.contains("proptest!");
    assert!(tested(&property), "there is no property test");
    for file in BENCH {
        assert!(root().join(file).is_file(), "{file} is missing");
    }
}

/// What 4.1 said is held against where it is said (docs/decisions/2026-11-26-recorded-shapes-beside-the-code.md).
#[test]
fn the_recorded_shapes_of_4_1_are_held_against_beside_their_code() {
    let sources = files(".rs");
    for file in [
        "shared/api/tests/recorded_conversations.rs",
        "shared/crd/tests/it/recorded.rs",
        "shared/events/tests/it/recorded.rs",
        "services/apiserver/tests/it/recorded.rs",
        "pgo/tests/it/recorded.rs",
    ] {
        let text = sources.iter().find(|(path, _)| path == file);
        let text = text.map_or("", |(_, text)| text);
        assert!(has_tests(text), "{file} has no test");
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
