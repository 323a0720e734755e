//! What the documents point at is there, and what can be set is in them.

use std::{collections::BTreeSet, fs};

use crate::{
    sources::words,
    workspace::{files, root},
};

/// Where every setting is described.
const CONFIGURATION: &str = "docs/configuration.md";

/// Variables of other programs, which mean here what they mean there.
const OF_OTHERS: [&str; 3] = ["CARGO_TERM_COLOR", "CI", "HOME"];

/// Folders whose paths documents name.
const FOLDERS: [&str; 10] = [
    "pgo/",
    "services/",
    "shared/",
    "deploy/",
    "tests/",
    "docs/",
    "proto/",
    "compose/",
    "compose",
    "proto",
];

/// The documents that people write.
fn documents() -> Vec<(String, String)> {
    files(".md")
        .into_iter()
        .filter(|(path, _)| path == "README.md" || path.starts_with("docs/"))
        .collect()
}

#[test]
fn every_path_in_a_document_is_there() {
    for (document, text) in documents() {
        for named in text.split('`').skip(1).step_by(2) {
            let is_path = FOLDERS.iter().any(|folder| named.starts_with(folder))
                && named
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
            assert!(
                !is_path || root().join(named).exists(),
                "{document} names {named}, which is not there"
            );
        }
    }
}

#[test]
fn every_link_of_a_document_leads_somewhere() {
    for (document, text) in documents() {
        let folder = root().join(&document);
        let folder = folder.parent().expect("a document is in a folder");
        for rest in text.split("](").skip(1) {
            let link = rest.split([')', '#']).next().unwrap_or_default();
            if !link.is_empty() && !link.contains("://") {
                assert!(folder.join(link).exists(), "{document} links to {link}");
            }
        }
    }
}

fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase())
        && name
            .chars()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

/// Variables that the document of settings names.
fn documented() -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(CONFIGURATION)).expect("the document is there");
    let named = text.split('`').skip(1).step_by(2);
    named
        .filter(|name| is_variable(name))
        .map(str::to_owned)
        .collect()
}

/// Variables that stand for a flag of a program, with the sources that say so.
fn of_programs() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (path, text) in files(".rs") {
        if !path.starts_with("tests/") {
            for rest in text.split("env = \"").skip(1) {
                let name = rest.split('"').next().unwrap_or_default();
                found.push((name.to_owned(), path.clone()));
            }
        }
    }
    found
}

/// Variables that a script takes from its environment, `${NAME:-default}`, with the scripts.
fn of_scripts() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (path, text) in files(".sh") {
        for rest in text.split("${").skip(1) {
            let name = words(rest).next().unwrap_or_default();
            let taken = rest.strip_prefix(name).is_some_and(|rest| {
                [":-", ":+", "-", "+"]
                    .iter()
                    .any(|operator| rest.starts_with(operator))
            });
            if taken && is_variable(name) && !OF_OTHERS.contains(&name) {
                found.push((name.to_owned(), path.clone()));
            }
        }
    }
    found
}

#[test]
fn every_variable_that_programs_and_scripts_take_is_documented() {
    let documented = documented();
    let (programs, scripts) = (of_programs(), of_scripts());
    assert!(
        programs.len() > 40 && scripts.len() > 20,
        "too few are found"
    );
    let missing: Vec<_> = programs
        .into_iter()
        .chain(scripts)
        .filter(|(name, _)| !documented.contains(name))
        .collect();
    assert!(missing.is_empty(), "{CONFIGURATION} lacks {missing:?}");
}

#[test]
fn every_documented_variable_is_read_by_something() {
    let sources: Vec<(String, String)> =
        [".rs", ".sh", ".awk"].into_iter().flat_map(files).collect();
    let read: BTreeSet<&str> = sources
        .iter()
        .filter(|(path, _)| !path.starts_with("tests/architecture/"))
        .flat_map(|(_, text)| words(text))
        .collect();
    for name in documented() {
        assert!(
            read.contains(name.as_str()),
            "{CONFIGURATION} describes {name}, which nothing reads"
        );
    }
}

/// docker compose refuses a list with a repeat, podman takes it.
#[test]
fn no_list_of_the_compose_file_names_a_thing_twice() {
    let path = "compose/compose.yaml";
    let text = fs::read_to_string(root().join(path)).expect("the compose file");
    let mut list: BTreeSet<&str> = BTreeSet::new();
    for line in text.lines() {
        match line.trim_start().strip_prefix("- ") {
            Some(item) => assert!(list.insert(item), "{path} has a list with {item} twice"),
            None => list.clear(),
        }
    }
}

/// What follows a text at the beginning of a line.
fn after(text: &str, begin: &str) -> Option<String> {
    let mut lines = text.lines();
    lines.find_map(|line| Some(line.strip_prefix(begin)?.trim_matches('"').to_owned()))
}

/// The first two numbers of a version.
fn minor(version: &str) -> (u32, u32) {
    let mut numbers = version
        .split('.')
        .map(|part| part.parse().expect("a number"));
    let mut next = || numbers.next().expect("two numbers");
    (next(), next())
}

/// `deploy/local/packages.sh` reads them where this test does, and refuses older ones.
#[test]
fn the_readme_names_the_toolchains_that_the_sources_ask_for() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the workspace's");
    let rust = after(&manifest, "rust-version = ").expect("a version of Rust");
    let modules = files("go.mod");
    assert!(modules.len() > 5, "too few are found");
    let versions = modules.iter().map(|(path, text)| {
        let version = after(text, "go ").unwrap_or_else(|| panic!("{path} has no version of Go"));
        (minor(&version), path.starts_with("deploy/local/build/"))
    });
    let versions: Vec<_> = versions.collect();
    let newest = versions.iter().map(|(version, _)| *version).max();
    let go = newest.expect("a version of Go");
    let looked_at = versions.iter().filter(|(_, is_built)| *is_built);
    assert_eq!(looked_at.map(|(version, _)| *version).max(), Some(go));
    let readme = fs::read_to_string(root().join("README.md")).expect("the README");
    for named in [format!("Rust {rust}"), format!("Go {}.{}", go.0, go.1)] {
        assert!(readme.contains(&named), "README.md does not name {named}");
    }
}

/// A manifest of the installer gives a process what it reads, and nothing else.
#[test]
fn every_variable_of_a_manifest_is_read_by_its_process() {
    for process in ["apiserver", "reconciler", "scheduler", "event", "direct"] {
        let path = format!("deploy/install/manifests/{process}.yaml");
        let text = fs::read_to_string(root().join(&path)).expect("a manifest");
        let own = format!("services/{process}/");
        let sources = files(".rs").into_iter();
        let sources =
            sources.filter(|(path, _)| path.starts_with(&own) || path.starts_with("shared/"));
        let sources: String = sources.map(|(_, text)| text).collect();
        let names = text.split("- name: ").chain(text.split("- {name: "));
        let names = names.filter_map(|rest| words(rest).next());
        let variables: Vec<&str> = names.filter(|name| is_variable(name)).collect();
        assert!(variables.len() > 2, "{path}: too few are found");
        for name in variables {
            assert!(
                sources.contains(&format!("\"{name}\"")),
                "{path} sets {name}, which {process} does not read"
            );
        }
    }
}

/// Deployments of which more than one pod runs.
fn with_replicas() -> Vec<String> {
    let manifests = files(".yaml").into_iter();
    let manifests = manifests.filter(|(path, _)| path.starts_with("deploy/install/manifests/"));
    manifests
        .flat_map(|(_, text)| {
            let objects = text.split("\n---\n").map(str::to_owned);
            objects.collect::<Vec<_>>()
        })
        .filter(|object| object.contains("kind: Deployment\n"))
        .filter(|object| {
            let replicas = after(object, "  replicas: ");
            replicas.is_some_and(|replicas| !replicas.starts_with('1'))
        })
        .filter_map(|object| after(&object, "  name: "))
        .collect()
}

#[test]
fn no_advice_looks_at_any_one_of_several_pods() {
    let deployments = with_replicas();
    assert!(
        deployments.contains(&"reconciler".to_owned()),
        "{deployments:?}"
    );
    let scripts = files(".sh").into_iter();
    let scripts = scripts.filter(|(path, _)| path.starts_with("deploy/"));
    for (path, text) in documents().into_iter().chain(scripts) {
        for line in text.lines() {
            let asks = line.contains("kubectl logs") || line.contains("port-forward");
            let any = |name: &String| line.contains(&format!("deployment/{name}"));
            assert!(!(asks && deployments.iter().any(any)), "{path}: {line}");
        }
    }
}
