//! Restores that somebody cancels: while the cluster serves they fail, later they are gone through with.

use pgo_core::{RestoreStage, cancel};
use pgo_events::EventType;
use pgo_ids::OperationId;

use super::{
    ask, copied, failure, last, name, reached, removed, says, story, takes_over, until_heard,
    with_backups,
};
use crate::world::World;

fn cancel(world: &mut World, id: OperationId) {
    world.cluster.cancelled.insert(id, "bob".to_owned());
}

/// The cluster is as it was, and nothing is left of the new instance.
fn assert_unchanged(world: &mut World) {
    world.settle();
    assert_eq!(world.status.restore, None);
    assert_eq!(world.status.restored, None);
    assert_eq!(world.observed.serving_primary(), Some(&name("hippo")));
    assert!(!world.observed.pods.contains_key(&name("hippo-abcd")));
    assert!(!world.observed.claims.contains_key(&name("hippo-abcd")));
    world.check_stream();
}

#[test]
fn while_the_backups_are_looked_at_it_fails_and_the_look_is_stopped() {
    let mut world = with_backups(0);
    let id = ask(&mut world, 0, "hippo-abcd");
    world.reconcile();
    world.reconcile();
    let stage = world.status.restore.as_ref().map(|run| run.stage);
    assert_eq!(stage, Some(RestoreStage::Checking));
    cancel(&mut world, id);
    world.reconcile();
    assert_eq!(failure(&world, id), "cancelled by bob");
    let agent = world.observed.repository.agent.as_ref().expect("heard");
    assert_eq!(agent.running, None, "it was stopped");
    assert_unchanged(&mut world);
    assert_eq!(story(&world, id).len(), 2);
}

#[test]
fn while_it_copies_it_fails_and_what_was_made_goes() {
    let mut world = with_backups(0);
    let id = ask(&mut world, 0, "hippo-abcd");
    let new = name("hippo-abcd");
    until_heard(&mut world, &new);
    says(&mut world, &new, 0, copied(30));
    world.reconcile();
    assert_eq!(cancel::refusal(&world.status, id), None);
    cancel(&mut world, id);
    // Also where it has just reached its target: nobody has stopped yet.
    says(&mut world, &new, 0, reached());
    let plan = world.reconcile();
    assert_eq!(failure(&world, id), "cancelled by bob");
    assert_eq!(removed(&plan), ["hippo-abcd"]);
    assert_unchanged(&mut world);
}

#[test]
fn once_the_others_stop_it_is_gone_through_with() {
    let mut world = with_backups(0);
    let id = ask(&mut world, 0, "hippo-abcd");
    let new = name("hippo-abcd");
    until_heard(&mut world, &new);
    says(&mut world, &new, 0, reached());
    world.reconcile();
    let stage = world.status.restore.as_ref().map(|run| run.stage);
    assert_eq!(stage, Some(RestoreStage::Stopping));
    let refusal = cancel::refusal(&world.status, id).expect("too late");
    assert!(refusal.contains("gone through with"), "{refusal}");
    cancel(&mut world, id);
    takes_over(&mut world, &new);
    assert_eq!(
        last(&world, id).event_type(),
        EventType::RestoreClusterCompleted
    );
}
