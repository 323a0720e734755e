//! The definitions under `deploy/crds` are what the types say. `UPDATE=1 cargo test -p pgo-crd` writes them anew.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

/// The files of a folder by name, with their text.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).expect("deploy/crds can be read");
    entries
        .map(|entry| {
            let entry = entry.expect("an entry of deploy/crds");
            let name = entry.file_name().to_string_lossy().into_owned();
            let text = fs::read_to_string(entry.path()).expect("a definition is text");
            (name, text)
        })
        .collect()
}

fn generated() -> BTreeMap<String, String> {
    pgo_crd::definitions()
        .into_iter()
        .map(|definition| {
            let name = format!("{}.yaml", definition.spec.names.plural);
            (name, serde_saphyr::to_string(&definition).expect("YAML"))
        })
        .collect()
}

fn update(folder: &Path, generated: &BTreeMap<String, String>) {
    for name in files(folder).keys() {
        if !generated.contains_key(name) {
            fs::remove_file(folder.join(name)).expect("deploy/crds can be written");
        }
    }
    for (name, text) in generated {
        fs::write(folder.join(name), text).expect("deploy/crds can be written");
    }
}

#[test]
fn the_definitions_that_are_installed_are_generated_from_the_types() {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/crds");
    let generated = generated();
    if env::var_os("UPDATE").is_some() {
        update(&folder, &generated);
    }
    let mut installed = files(&folder);
    let again = "run UPDATE=1 cargo test -p pgo-crd";
    for (name, text) in &generated {
        assert!(
            installed.remove(name).as_ref() == Some(text),
            "deploy/crds/{name} is not what the types say; {again}"
        );
    }
    let left: Vec<_> = installed.keys().collect();
    assert!(
        left.is_empty(),
        "deploy/crds has {left:?} of no type; {again}"
    );
}
