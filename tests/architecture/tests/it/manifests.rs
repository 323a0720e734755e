//! What every Cargo.toml has in common.

use crate::workspace::{Workspace, files};

fn manifests() -> Vec<(String, String)> {
    let all = files("Cargo.toml");
    all.into_iter()
        .filter(|(path, _)| path != "Cargo.toml")
        .collect()
}

/// The lines of the tables whose name ends with `dependencies`.
fn dependency_lines(manifest: &str) -> Vec<&str> {
    let mut inside = false;
    let mut lines = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line.trim_matches(['[', ']']).ends_with("dependencies");
        } else if inside && !line.is_empty() && !line.starts_with('#') {
            lines.push(line);
        }
    }
    lines
}

#[test]
fn every_package_of_the_workspace_is_found_here() {
    assert_eq!(manifests().len(), Workspace::load().members().len());
}

#[test]
fn every_package_takes_the_lints_of_the_workspace() {
    for (path, text) in manifests() {
        assert!(
            text.contains("[lints]\nworkspace = true"),
            "{path} lacks [lints] workspace = true"
        );
    }
}

#[test]
fn every_package_takes_version_edition_and_license_of_the_workspace() {
    for (path, text) in manifests() {
        for key in ["version", "edition", "rust-version", "license"] {
            assert!(
                text.contains(&format!("\n{key}.workspace = true")),
                "{path}: {key} is not the workspace's"
            );
        }
    }
}

/// Packages that know nothing of PGO and are of use to others.
const PUBLISHED: [&str; 2] = ["shared/cesql/Cargo.toml", "shared/nsq/Cargo.toml"];

#[test]
fn what_is_of_use_to_others_can_be_published_and_nothing_else() {
    for (path, text) in manifests() {
        if !PUBLISHED.contains(&path.as_str()) {
            assert!(text.contains("\npublish.workspace = true"), "{path}");
            continue;
        }
        assert!(text.contains("\npublish = true"), "{path}");
        for key in ["description", "readme", "keywords", "categories"] {
            assert!(text.contains(&format!("\n{key} = ")), "{path} lacks {key}");
        }
        let beside = path.replace("Cargo.toml", "LICENSE");
        let texts = files("LICENSE");
        let text_of = |path: &str| texts.iter().find(|(found, _)| found == path);
        let (ours, its) = (text_of("LICENSE"), text_of(&beside));
        assert!(ours.is_some(), "LICENSE is gone");
        assert_eq!(ours.map(|it| &it.1), its.map(|it| &it.1), "{beside}");
        // A package of the workspace has no version that others could get.
        for line in dependency_lines(&text) {
            let ours =
                line.starts_with("pgo-") || line.starts_with("nsq") || line.starts_with("cesql");
            assert!(!ours, "{path}: {line}");
        }
    }
}

#[test]
fn every_dependency_is_declared_once_in_the_workspace() {
    for (path, text) in manifests() {
        for line in dependency_lines(&text) {
            assert!(
                line.contains("workspace = true"),
                "{path}: {line}; declare it in the workspace's Cargo.toml"
            );
        }
    }
}

#[test]
fn features_are_chosen_in_the_workspace_only() {
    // A feature that one package chooses is built into the others or not, as the command line has it.
    for (path, text) in manifests() {
        for line in dependency_lines(&text) {
            assert!(
                !line.contains("features"),
                "{path}: {line}; choose features in the workspace's Cargo.toml"
            );
        }
    }
}
