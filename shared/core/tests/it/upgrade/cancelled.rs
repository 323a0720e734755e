//! Upgrades that somebody cancels: the instance whose turn it is comes up, and no other one is touched.

use pgo_core::{Outcome, cancel};
use pgo_ids::OperationId;

use super::{NEW, taken, with_replicas};
use crate::world::World;

fn cancel(world: &mut World, id: OperationId) {
    world.cluster.cancelled.insert(id, "bob".to_owned());
}

fn by_bob() -> (Outcome, String) {
    (Outcome::Failed, "cancelled by bob".to_owned())
}

#[test]
fn before_the_first_instance_nothing_is_changed() {
    let mut world = with_replicas(1);
    let id = world.ask(NEW);
    world.reconcile();
    assert!(world.status.upgrading().is_some());
    assert_eq!(cancel::refusal(&world.status, id), None);
    cancel(&mut world, id);
    assert_eq!(world.go_on(), []);
    assert_eq!(world.ended(), by_bob());
}

#[test]
fn the_instance_whose_turn_it_is_comes_up_and_the_next_one_is_not_touched() {
    let mut world = with_replicas(1);
    let id = world.ask(NEW);
    let mut removed = Vec::new();
    while removed.is_empty() {
        removed = taken(&world.turn());
    }
    let replica = removed[0].clone();
    assert_ne!(replica, World::instance());
    cancel(&mut world, id);
    assert_eq!(world.go_on(), []);
    assert_eq!(world.ended(), by_bob());
    assert!(world.observed.agent(&replica).expect("heard").follows());
    assert_eq!(world.image_of(replica.as_str()), NEW, "it stays on it");
    assert_ne!(world.image_of("hippo"), NEW);
    assert_eq!(world.primary, World::instance());
    world.check_stream();
}

#[test]
fn one_that_waits_for_a_place_fails_before_it_began() {
    let mut world = with_replicas(0);
    world.observed.upgrades_full = true;
    let id = world.ask(NEW);
    world.reconcile();
    assert_eq!(world.status.upgrading(), None);
    cancel(&mut world, id);
    world.reconcile();
    let cause = "cancelled by bob before it began".to_owned();
    assert_eq!(world.ended(), (Outcome::Failed, cause));
    world.observed.upgrades_full = false;
    assert_eq!(world.go_on(), []);
}
