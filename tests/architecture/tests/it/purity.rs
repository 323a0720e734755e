//! Decisions are pure: the crates that decide take time, chance and the world as arguments.

use crate::{
    sources::{code, words},
    workspace::files,
};

/// Where they are.
const PURE: [&str; 4] = [
    "shared/ids/src/",
    "shared/events/src/",
    "shared/core/src/",
    "shared/ha/src/",
];

/// Modules of std by which code reaches the world.
const OUTWARD: [&str; 8] = ["env", "fs", "io", "net", "os", "process", "thread", "sync"];

/// What answers differently each time, or is heard outside.
const UNSTEADY: [&str; 12] = [
    "::now(",
    "SystemTime",
    "Instant",
    "new_v4(",
    "now_v7(",
    "HashMap",
    "HashSet",
    "print!",
    "println!",
    "eprint!",
    "eprintln!",
    "dbg!",
];

/// What is compiled into the crate: its text up to its tests.
fn shipped(text: &str) -> String {
    code(text.split("#[cfg(test)]").next().unwrap_or_default())
}

/// Names that follow `std::`, also those of a group in braces.
fn of_std(code: &str) -> Vec<&str> {
    let mut names = Vec::new();
    for rest in code.split("std::").skip(1) {
        let end = if rest.starts_with('{') {
            rest.find(';')
        } else {
            rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':')
        };
        names.extend(words(&rest[..end.unwrap_or(rest.len())]));
    }
    names
}

#[test]
fn the_pure_crates_know_no_clock_no_chance_and_no_world() {
    let mut seen = 0;
    for (path, text) in files(".rs") {
        if !PURE.iter().any(|folder| path.starts_with(folder)) || path.ends_with("/tests.rs") {
            continue;
        }
        seen += 1;
        let code = shipped(&text);
        for unsteady in UNSTEADY {
            assert!(
                !code.contains(unsteady),
                "{path} has {unsteady}; what it gives must be an argument"
            );
        }
        for name in of_std(&code) {
            assert!(
                !OUTWARD.contains(&name),
                "{path} uses std::{name}; what it gives must be an argument"
            );
        }
    }
    assert!(seen > PURE.len(), "only {seen} sources found");
}

#[test]
fn names_of_std_are_found_alone_and_in_groups() {
    let code = "use std::{collections::BTreeMap, fs};\nlet a = std::net::lookup(b); use x::fs;";
    assert_eq!(
        of_std(code),
        ["collections", "BTreeMap", "fs", "net", "lookup"]
    );
}

#[test]
fn production_goes_by_all_rules_of_failover() {
    for (path, text) in files(".rs") {
        let leaves_some_out = path.starts_with("tests/model/")
            || path.starts_with("tests/simulation/src/failover/")
            || path.starts_with("tests/architecture/");
        if !leaves_some_out && code(&text).contains("pgo_ha") {
            for made in ["Rules {", ": false, ..Rules", "Protocol {"] {
                assert!(
                    !text.contains(made),
                    "{path} makes rules of its own; production has Protocol::PRODUCTION"
                );
            }
        }
    }
}
