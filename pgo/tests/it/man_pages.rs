//! The manual pages in `docs/man` are those of this program.

use std::{collections::BTreeMap, fs, path::Path};

fn pages(folder: &Path) -> BTreeMap<String, String> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect()
}

#[test]
fn the_manual_pages_in_the_sources_are_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let ran = crate::fake::run(&mut crate::fake::pgo(&[
        "generate",
        "man",
        folder.path().to_str().unwrap(),
    ]));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/man");
    let (generated, kept) = (pages(folder.path()), pages(&ours));
    let names = |pages: &BTreeMap<String, String>| pages.keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        names(&generated),
        names(&kept),
        "run: cargo run -p pgo -- generate man docs/man"
    );
    for (name, page) in &generated {
        assert!(
            kept[name] == *page,
            "{name} differs; run: cargo run -p pgo -- generate man docs/man"
        );
    }
    assert!(
        generated.contains_key("pgo-create-cluster.1"),
        "{:?}",
        names(&generated)
    );
}
