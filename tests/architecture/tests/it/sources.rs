//! What every source has in common.

use crate::workspace::files;

/// No file is much longer than a person keeps in mind; the aim is 500.
const LINES: usize = 600;

/// Endings of what people write here. Generated files have others, or are left out below.
const SOURCES: [&str; 5] = [".rs", ".sh", ".proto", ".awk", ".go"];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 8] = [
    "util", "utils", "common", "manager", "managers", "helper", "helpers", "misc",
];

fn sources() -> Vec<(String, String)> {
    SOURCES.into_iter().flat_map(files).collect()
}

fn rust() -> Vec<(String, String)> {
    let all = files(".rs");
    all.into_iter()
        // These rules name what they forbid.
        .filter(|(path, _)| !path.starts_with("tests/architecture/"))
        .collect()
}

/// Code without comments and without what stands in quotes, roughly: enough to find words of the language.
pub fn code(text: &str) -> String {
    text.lines()
        .map(|line| {
            let line = line.split("//").next().unwrap_or_default();
            line.split('"').step_by(2).collect::<String>() + "\n"
        })
        .collect()
}

/// The words of code.
pub fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
}

#[test]
fn no_file_is_too_long_to_be_read() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        assert!(
            lines <= LINES,
            "{path} has {lines} lines, at most {LINES} are good; split it by meaning"
        );
    }
}

/// With `pipefail` the one that writes into it fails now and then, killed by SIGPIPE because nobody reads any more (pipe(7)).
#[test]
fn no_script_pipes_into_what_ends_before_it_has_read_all() {
    for (path, text) in files(".sh") {
        for early in ["| grep -q", "| grep -m", "| head", "| sed -n 1"] {
            let line = text.lines().find(|line| line.contains(early));
            assert_eq!(
                line, None,
                "{path}: keep what is written, and look into that"
            );
        }
    }
}

#[test]
fn nothing_is_unsafe() {
    for (path, text) in rust() {
        assert!(
            words(&code(&text)).all(|word| word != "unsafe"),
            "{path} has unsafe code"
        );
    }
}

#[test]
fn no_test_is_ignored_and_nothing_is_left_to_do() {
    for (path, text) in rust() {
        let code = code(&text);
        for mark in ["#[ignore", "todo!", "unimplemented!"] {
            assert!(!code.contains(mark), "{path} has {mark}");
        }
    }
    for (path, text) in sources() {
        if !path.starts_with("tests/architecture/") {
            for mark in ["TODO", "FIXME", "XXX:"] {
                assert!(!text.contains(mark), "{path} has {mark}");
            }
        }
    }
}

#[test]
fn names_say_what_is_inside() {
    for (path, _) in sources() {
        for part in path.split(['/', '.', '_', '-']) {
            assert!(
                !EMPTY_NAMES.contains(&part),
                "{path}: \"{part}\" says nothing about what is inside"
            );
        }
    }
    for (path, text) in rust() {
        for (at, word) in code(&text)
            .lines()
            .flat_map(|line| words(line).zip(words(line).skip(1)))
            .collect::<Vec<_>>()
        {
            let names_something = ["mod", "struct", "enum", "trait"].contains(&at);
            let empty = EMPTY_NAMES.contains(&word)
                || ["Manager", "Helper", "Util", "Utils"]
                    .iter()
                    .any(|end| word.ends_with(end));
            assert!(!(names_something && empty), "{path}: {at} {word}");
        }
    }
}

#[test]
fn every_crate_and_module_says_what_it_is_for() {
    for (path, text) in rust() {
        // Tests of the module that the folder is named after.
        if path.ends_with("/tests.rs") {
            continue;
        }
        assert!(
            text.starts_with("//!") || text.starts_with("#!["),
            "{path} does not begin with what it is for (//!)"
        );
    }
}
