//! Examples in comments are run where there are any: rustdoc takes ten seconds to look for them in a package that has none.

use crate::workspace::{files, root};

/// Whether a comment of this source has an example that rustdoc runs.
fn has_example(source: &str) -> bool {
    if source.contains("#![doc = include_str!") {
        return true;
    }
    let comments = source.lines().map(str::trim_start);
    let fences = comments
        .filter_map(|line| line.strip_prefix("//!").or(line.strip_prefix("///")))
        .filter_map(|text| text.trim_start().strip_prefix("```"));
    // Every second fence ends what one began.
    let mut begins = fences.step_by(2);
    begins.any(|language| !["text", "sh", "json", "sql", "yaml"].contains(&language.trim()))
}

#[test]
fn rustdoc_looks_for_examples_where_there_are_some_and_nowhere_else() {
    let sources = files(".rs");
    let mut libraries = 0;
    for (manifest, text) in files("Cargo.toml") {
        let folder = manifest.trim_end_matches("Cargo.toml");
        if folder.is_empty() || !root().join(folder).join("src/lib.rs").exists() {
            continue;
        }
        libraries += 1;
        let own = format!("{folder}src/");
        let mut own = sources.iter().filter(|(path, _)| path.starts_with(&own));
        let examples = own.any(|(_, source)| has_example(source));
        let looks = !text.contains("[lib]\ndoctest = false");
        assert_eq!(
            looks, examples,
            "{manifest}: doctest = false stands under [lib] where no comment has an example, and only there"
        );
    }
    assert!(libraries > 20, "{libraries} libraries");
}
