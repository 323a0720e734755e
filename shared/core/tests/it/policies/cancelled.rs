//! Policies that somebody cancels: one that waits is not applied, one that runs goes on.

use pgo_core::cancel;

use super::{ID, OTHER, answer, ask, asked, end, served};

#[test]
fn one_that_waits_is_not_applied_and_one_that_runs_is_gone_through_with() {
    let mut world = served();
    let first = ask(&mut world, ID, "gold");
    let second = ask(&mut world, OTHER, "silver");
    assert_eq!(asked(&mut world), Some((first, "gold".to_owned())));
    let refusal = cancel::refusal(&world.status, first).expect("it runs");
    assert!(refusal.contains("once it runs"), "{refusal}");
    assert_eq!(cancel::refusal(&world.status, second), None);
    for id in [first, second] {
        world.cluster.cancelled.insert(id, "bob".to_owned());
    }
    world.reconcile();
    assert_eq!(end(&world, second).1, "cancelled by bob before it began");
    answer(&mut world, first, Ok(0));
    assert_eq!(end(&world, first).0, "ApplyPolicy");
    assert_eq!(asked(&mut world), None);
    world.check_stream();
}
