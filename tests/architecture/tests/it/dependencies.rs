//! Who may depend on whom.

use std::collections::BTreeSet;

use crate::workspace::{Reach, Workspace};

/// Crates that decide: no I/O, no clock, no Kubernetes.
const PURE: [&str; 4] = ["pgo-ids", "pgo-events", "pgo-core", "pgo-ha"];

/// Runtime, Kubernetes, logs and chance, which pure crates do without.
const IMPURE: [&str; 7] = [
    "tokio",
    "kube",
    "kube-client",
    "kube-core",
    "k8s-openapi",
    "tracing",
    "rand",
];

/// What each shared crate may depend on of ours. Those that may on nothing could be published by themselves.
const SHARED: [(&str, &[&str]); 16] = [
    ("pgo-ids", &[]),
    ("pgo-events", &["pgo-ids"]),
    ("pgo-core", &["pgo-ids", "pgo-events"]),
    ("pgo-ha", &["pgo-ids"]),
    ("pgo-crd", &["pgo-ids", "pgo-events", "pgo-core"]),
    (
        "pgo-objects",
        &["pgo-ids", "pgo-events", "pgo-core", "pgo-crd"],
    ),
    ("pgo-k8s", &["pgo-ids"]),
    ("pgo-schedule", &[]),
    ("pgo-api", &["pgo-ids", "pgo-events"]),
    ("pgo-proto", &["pgo-ids", "pgo-events"]),
    ("pgo-bus", &["pgo-ids", "pgo-events", "pgo-proto", "nsq"]),
    ("pgo-postgres", &["pgo-ids"]),
    ("nsq", &[]),
    ("cesql", &[]),
    ("pgo-tls", &[]),
    ("pgo-telemetry", &[]),
];

/// Packages that touch Kubernetes; k8s-openapi costs the others more build time than all of theirs.
const ON_KUBERNETES: [&str; 10] = [
    "pgo-crd",
    "pgo-objects",
    "pgo-k8s",
    "pgo-apiserver",
    "pgo-reconciler",
    "pgo-scheduler",
    "pgo-event",
    "pgo-agent",
    // By the intake of the event service, which tells Kubernetes what it took.
    "pgo-simulation",
    "pgo-control-plane",
];

/// What the tests of others may use of tests/, and nothing that is shipped: programs that tests start.
const FOR_TESTS: [&str; 4] = ["pgo-nsqd", "pgo-s3", "pgo-examples", "pgo-control-plane"];

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn in_folder(workspace: &Workspace, folder: &str) -> Vec<String> {
    let members = workspace.members();
    members
        .into_iter()
        .filter(|(_, path)| path.starts_with(folder))
        .map(|(name, _)| name)
        .collect()
}

#[test]
fn every_shared_crate_depends_on_those_of_ours_that_it_may() {
    let workspace = Workspace::load();
    for name in in_folder(&workspace, "shared") {
        let rule = SHARED.iter().find(|(of, _)| *of == name);
        let (_, allowed) = rule.unwrap_or_else(|| panic!("say here what {name} may depend on"));
        let found = workspace.ours(&name, Reach::Any);
        let others: Vec<_> = found.difference(&set(allowed)).cloned().collect();
        assert!(
            others.is_empty(),
            "{name} depends on {others:?}; it may on {allowed:?}"
        );
    }
}

#[test]
fn the_pure_crates_reach_no_runtime_no_kubernetes_no_log_and_no_chance() {
    let workspace = Workspace::load();
    for name in PURE {
        let reached = workspace.reached(name);
        for impure in IMPURE {
            assert!(
                !reached.contains_key(impure),
                "{name} reaches {impure} by {}",
                reached[impure]
            );
        }
    }
}

#[test]
fn services_and_the_client_are_used_by_tests_only_and_tests_by_nobody() {
    let workspace = Workspace::load();
    let tests = in_folder(&workspace, "tests");
    let mut ends = in_folder(&workspace, "services");
    ends.extend(in_folder(&workspace, "pgo"));
    for name in workspace.members().keys() {
        for used in workspace.ours(name, Reach::Any) {
            let is_tested = ends.contains(&used) && tests.contains(name);
            let is_for_tests = FOR_TESTS.contains(&used.as_str())
                && !workspace.ours(name, Reach::Shipped).contains(&used);
            assert!(
                is_tested || is_for_tests || !(ends.contains(&used) || tests.contains(&used)),
                "{name} depends on {used}; what two share goes to shared/"
            );
        }
    }
}

#[test]
fn the_client_reaches_no_kubernetes() {
    let reached = Workspace::load().reached("pgo");
    for kubernetes in ["kube", "kube-client", "kube-core", "k8s-openapi"] {
        assert!(
            !reached.contains_key(kubernetes),
            "pgo reaches {kubernetes} by {}",
            reached[kubernetes]
        );
    }
}

#[test]
fn only_what_touches_kubernetes_is_built_with_its_types() {
    let workspace = Workspace::load();
    for name in workspace.members().keys() {
        if !ON_KUBERNETES.contains(&name.as_str()) {
            let reached = workspace.reached(name);
            assert!(
                !reached.contains_key("k8s-openapi"),
                "{name} reaches k8s-openapi by {}",
                reached["k8s-openapi"]
            );
        }
    }
}

#[test]
fn only_one_provider_of_cryptography_is_built() {
    let workspace = Workspace::load();
    for name in workspace.members().keys() {
        let reached = workspace.reached(name);
        for other in ["aws-lc-rs", "aws-lc-sys", "openssl-sys"] {
            assert!(
                !reached.contains_key(other),
                "{name} reaches {other} by {}; ring is the one provider",
                reached[other]
            );
        }
    }
}
