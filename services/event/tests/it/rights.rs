//! `deploy/rbac/event.yaml` is what `src/rights.rs` says. `UPDATE=1 cargo test -p pgo-event` writes it anew. That the rights
//! are enough, the tests of the mirror show: their server refuses the rest.

use std::{env, fs, path::Path};

use pgo_event::RIGHTS;

#[test]
fn the_rights_that_are_installed_are_those_of_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/rbac/event.yaml");
    let generated = RIGHTS.manifest();
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, &generated).expect("deploy/rbac can be written");
    }
    let installed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        installed == generated,
        "deploy/rbac/event.yaml is not what src/rights.rs says; run UPDATE=1 cargo test -p pgo-event"
    );
}
