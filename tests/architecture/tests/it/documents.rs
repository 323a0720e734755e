//! What the documents point at is there.

use crate::workspace::{files, root};

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
