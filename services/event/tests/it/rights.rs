//! `deploy/rbac/event.yaml` is what `src/rights.rs` says. `UPDATE=1 cargo test -p pgo-event` writes it anew. That the rights
//! are enough, the tests of the mirror show: their server refuses the rest.

use std::path::Path;

use pgo_event::RIGHTS;

#[test]
fn the_rights_that_are_installed_are_those_of_the_table() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/rbac");
    if let Err(differs) = RIGHTS.hold_against(&folder) {
        panic!("{differs}");
    }
}
