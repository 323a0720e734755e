//! Dumps, and restores of some, that somebody cancels.

use pgo_core::{DumpKind, DumpState, cancel};

use super::{CLAIM, ID, OTHER, ask, cause, done, load, make, say, served, story};

#[test]
fn one_that_works_fails_and_its_pod_goes_and_the_next_one_can_be() {
    let mut world = served();
    let id = ask(&mut world, ID, DumpKind::Make, None, make(""));
    world.reconcile();
    say(&mut world, DumpState::Working);
    assert_eq!(cancel::refusal(&world.status, id), None);
    world.cluster.cancelled.insert(id, "bob".to_owned());
    world.reconcile();
    assert_eq!(cause(&world, id), "cancelled by bob");
    assert_eq!((&world.observed.dump, &world.status.dump), (&None, &None));
    assert_eq!(story(&world, id).len(), 2);

    let next = ask(&mut world, OTHER, DumpKind::Load, Some(CLAIM), load(None));
    world.reconcile();
    say(&mut world, DumpState::Working);
    world.cluster.cancelled.insert(next, String::new());
    world.reconcile();
    assert_eq!(cause(&world, next), "cancelled by somebody");
    assert_eq!(world.observed.dump, None);
    world.check_stream();
}

#[test]
fn one_that_is_done_is_told_as_done() {
    let mut world = served();
    let id = ask(&mut world, ID, DumpKind::Make, None, make(""));
    world.reconcile();
    world.cluster.cancelled.insert(id, "bob".to_owned());
    say(&mut world, done("2026-10-15-10-11-12"));
    assert_eq!(story(&world, id).last(), Some(&"CreateDumpCompleted"));
}
