//! The definitions under `deploy/crds` are what the types say. `UPDATE=1 cargo test -p pgo-crd` writes them anew.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{env, fs, path::Path};

#[test]
fn the_definitions_that_are_installed_are_generated_from_the_types() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/crds");
    for definition in pgo_crd::definitions() {
        let name = format!("{}.yaml", definition.spec.names.plural);
        let generated = serde_saphyr::to_string(&definition).expect("YAML");
        let path = folder.join(&name);
        if env::var_os("UPDATE").is_some() {
            fs::write(&path, &generated).expect("deploy/crds can be written");
        }
        let installed = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            installed == generated,
            "deploy/crds/{name} is not what the types say; run UPDATE=1 cargo test -p pgo-crd"
        );
    }
}
