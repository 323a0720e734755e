//! Data that is kept when a restored cluster goes.

use pgo_core::{DeleteOptions, DeleteRequest, Step};
use pgo_ids::{InstanceName, OperationId};

use super::{ask, name, reached, says, takes_over, until_heard, with_backups};
use crate::{
    deletion, replicas,
    world::{World, backups},
};

/// A cluster that was restored to this instance.
fn restored(new: &InstanceName) -> World {
    let mut world = with_backups(0);
    ask(&mut world, 0, new.as_str());
    until_heard(&mut world, new);
    says(&mut world, new, 0, reached());
    takes_over(&mut world, new);
    world.cluster.restores.clear();
    replicas::settle(&mut world);
    world
}

/// Deletes it, and begins another one with what is left of it.
fn deleted_and_made_again(mut world: World) -> World {
    let operation = OperationId::derived(&world.cluster.stream, "hippo-rmdata");
    let request = DeleteRequest {
        operation,
        actor: "pgoadmin".to_owned(),
        options: DeleteOptions::default(),
    };
    world.asked.push(("hippo-rmdata".to_owned(), request));
    world.see(1);
    deletion::finish(&mut world);
    let mut again = World::unseen();
    again.cluster.stream = "uid-2".parse().expect("a stream");
    again.wanted().backups = Some(backups());
    again.observed.claims = world.observed.claims;
    again.observed.user_secrets = world.observed.user_secrets;
    again
}

#[test]
fn a_new_cluster_of_the_name_goes_on_with_what_the_former_one_was_restored_to() {
    let new = name("hippo-abcd");
    let mut again = deleted_and_made_again(restored(&new));
    assert_eq!(again.observed.claims.len(), 2);
    again.primary = new.clone();
    replicas::settle(&mut again);
    assert!(again.status.is_ready(), "{:?}", again.status);
    assert_eq!(again.status.first(&again.cluster.name), new);
    assert_eq!(again.status.adopted, Some(new.clone()));
    let pods: Vec<&InstanceName> = again.observed.pods.keys().collect();
    assert_eq!(pods, [&new]);
    // Nothing runs on the other one, and it is none of an instance that could have been ahead.
    assert_eq!(again.status.retired, [name("hippo")]);

    // It is restored as any other, and then that counts.
    let newer = name("hippo-efgh");
    again.wait(3600);
    ask(&mut again, 1, "hippo-efgh");
    until_heard(&mut again, &newer);
    says(&mut again, &newer, 1, reached());
    takes_over(&mut again, &newer);
    again.cluster.restores.clear();
    replicas::settle(&mut again);
    let restored = again.status.restored.as_ref().expect("it was");
    assert_eq!(restored.former, new);
    let mut third = deleted_and_made_again(again);
    third.primary = newer.clone();
    replicas::settle(&mut third);
    assert_eq!(third.status.first(&third.cluster.name), newer);
}

#[test]
fn a_claim_is_marked_once_its_instance_has_served_and_by_a_deletion_at_the_latest() {
    let new = name("hippo-abcd");
    let mut world = restored(&new);
    let at = world.status.restored.as_ref().and_then(|one| one.at);
    let since = |world: &World, of: &str| world.observed.claims[&name(of)].first_since;
    assert!(at.is_some());
    assert_eq!(since(&world, "hippo-abcd"), at);
    assert_eq!(since(&world, "hippo"), None);
    // Whoever was to mark it ended before.
    let claim = world.observed.claims.get_mut(&new).expect("its claim");
    claim.first_since = None;
    world.cluster.deleting = true;
    let plan = world.reconcile();
    let plan = match plan.steps.is_empty() {
        true => world.reconcile(),
        false => plan,
    };
    let marks = |step: &Step| matches!(step, Step::MarkClaim { instance, .. } if *instance == new);
    assert!(plan.steps.iter().any(marks), "{plan:?}");
}

#[test]
fn without_a_restored_one_the_claim_of_the_cluster_is_taken() {
    let mut world = with_backups(0);
    world.settle();
    let mut again = deleted_and_made_again(world);
    replicas::settle(&mut again);
    assert_eq!(again.status.adopted, None);
    assert_eq!(again.status.first(&again.cluster.name), name("hippo"));
    assert!(again.status.retired.is_empty());
}
