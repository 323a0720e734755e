//! Claims that are to have larger volumes: asked for where the storage class allows it, told with the reason where not.

use std::slice;

use pgo_core::{Plan, Step};
use pgo_events::{Event, EventType, Stage};
use pgo_ids::InstanceName;
use proptest::prelude::*;

use crate::{
    replicas::{names, settle, with_replicas},
    world::World,
};

fn ready() -> World {
    let mut world = World::new();
    world.settle();
    world
}

fn up_to_date(world: &World) -> (String, String) {
    let mut conditions = world.status.conditions.iter();
    let found = conditions.find(|condition| condition.name == "UpToDate");
    let found = found.expect("judged");
    (found.reason.clone(), found.message.clone())
}

fn asked(plan: &Plan) -> Vec<(InstanceName, String)> {
    let steps = plan.steps.iter().filter_map(|step| match step {
        Step::GrowClaim { instance, size, .. } => Some((instance.clone(), size.clone())),
        _ => None,
    });
    steps.collect()
}

/// What was told of the change.
fn story(world: &World) -> Vec<(Stage, String)> {
    let types = [
        EventType::UpdateCluster,
        EventType::UpdateClusterCompleted,
        EventType::UpdateClusterFailure,
    ];
    let told = world.told().into_iter();
    let told = told.filter(|event| types.contains(&event.event_type()));
    told.map(|event: Event| (event.stage, event.cause.unwrap_or_default()))
        .collect()
}

#[test]
fn a_claim_asks_for_more_where_its_class_allows_it_and_it_ends_when_the_volume_has_grown() {
    let mut world = ready();
    world.wanted().storage.size = "2Gi".to_owned();
    let plan = world.reconcile();
    assert_eq!(asked(&plan), [], "nobody knows whether the class allows it");
    assert_eq!(up_to_date(&world).0, "VolumeGrows");
    let begun = (
        Stage::Started,
        "volumes are to have 2Gi, not 1Gi".to_owned(),
    );
    assert_eq!(story(&world), slice::from_ref(&begun));

    world.class_allows(true);
    let plan = world.reconcile();
    assert_eq!(asked(&plan), [(World::instance(), "2Gi".to_owned())]);
    for _ in 0..2 {
        assert_eq!(asked(&world.reconcile()), [], "once");
    }
    let (reason, message) = up_to_date(&world);
    let expected = "PersistentVolumeClaim hippo: its volume has 1Gi and gets 2Gi";
    assert_eq!(
        (reason.as_str(), message.as_str()),
        ("VolumeGrows", expected)
    );
    world.claim().size.said = Some("waiting for the pod".to_owned());
    world.reconcile();
    assert!(
        up_to_date(&world)
            .1
            .ends_with("gets 2Gi: waiting for the pod")
    );
    assert_eq!(story(&world), slice::from_ref(&begun));

    world.volumes_have_grown();
    world.reconcile();
    assert_eq!(up_to_date(&world).0, "AsWanted");
    assert_eq!(story(&world), [begun, (Stage::Completed, String::new())]);
    world.check_stream();
}

#[test]
fn what_cannot_be_is_told_once_with_the_reason_and_tried_again_when_that_has_gone() {
    let mut world = ready();
    world.class_allows(false);
    world.wanted().storage.size = "2Gi".to_owned();
    for _ in 0..3 {
        assert_eq!(asked(&world.reconcile()), []);
    }
    let (reason, message) = up_to_date(&world);
    assert_eq!(reason, "VolumeCannotGrow");
    assert!(
        message.contains("StorageClass fast does not allow"),
        "{message}"
    );
    assert_eq!(story(&world).len(), 2);
    assert_eq!(story(&world)[1], (Stage::Failed, message));

    // Another setting is none of that.
    world.wanted().autofail = true;
    for _ in 0..3 {
        world.reconcile();
        world.progress();
    }
    let told = story(&world);
    assert_eq!((told.len(), told[3].0), (4, Stage::Completed), "{told:?}");
    assert_eq!(up_to_date(&world).0, "VolumeCannotGrow");

    world.class_allows(true);
    world.reconcile();
    world.volumes_have_grown();
    world.settle();
    assert_eq!(up_to_date(&world).0, "AsWanted");
    let again = &story(&world)[4..];
    assert!(again[0].1.contains("tried again"), "{again:?}");
    assert_eq!(again[1].0, Stage::Completed);
}

#[test]
fn a_volume_is_not_made_smaller_and_the_former_size_ends_it() {
    let mut world = ready();
    world.class_allows(true);
    world.wanted().storage.size = "500Mi".to_owned();
    assert_eq!(asked(&world.reconcile()), []);
    let (reason, message) = up_to_date(&world);
    assert_eq!(reason, "VolumeCannotGrow");
    assert!(message.contains("cannot be made smaller"), "{message}");
    world.wanted().storage.size = "1Gi".to_owned();
    world.settle();
    assert_eq!(up_to_date(&world).0, "AsWanted");
    let ends: Vec<Stage> = story(&world).iter().map(|(stage, _)| *stage).collect();
    let [started, failed, completed] = [Stage::Started, Stage::Failed, Stage::Completed];
    assert_eq!(ends, [started, failed, started, completed]);
}

#[test]
fn a_volume_without_a_class_and_one_that_was_enlarged_by_hand() {
    let mut world = ready();
    world.claim().size.requested = "5Gi".to_owned();
    world.claim().size.capacity = "5Gi".to_owned();
    world.reconcile();
    assert_eq!(up_to_date(&world).0, "AsWanted");
    world.claim().size.class = None;
    world.wanted().storage.size = "6Gi".to_owned();
    assert_eq!(asked(&world.reconcile()), []);
    let (_, message) = up_to_date(&world);
    assert!(message.contains("no storage class"), "{message}");
}

#[test]
fn each_replica_has_the_size_that_is_wanted_of_it() {
    let mut world = with_replicas(2);
    let [first, second] = &names(&world)[..] else {
        panic!("two replicas");
    };
    world.class_allows(true);
    let replicas = &mut world.cluster.replicas;
    let replica = replicas.iter_mut().find(|one| one.name == *first);
    let wanted = replica.expect("there").wanted.as_mut();
    wanted.expect("understood").storage.size = "3Gi".to_owned();
    assert_eq!(
        asked(&world.reconcile()),
        [(first.clone(), "3Gi".to_owned())]
    );
    world.volumes_have_grown();
    settle(&mut world);
    assert_eq!(world.observed.claims[second].size.requested, "1Gi");
    assert_eq!(up_to_date(&world).0, "AsWanted");
}

proptest! {
    /// Whatever is wanted one after the other: no claim ever asks for less than before, and what is asked is what is wanted.
    #[test]
    fn claims_only_grow(sizes in prop::collection::vec((1_u64..6, any::<bool>()), 1..12)) {
        let mut world = ready();
        world.class_allows(true);
        let mut largest = 1;
        for (size, grown) in sizes {
            world.wanted().storage.size = format!("{size}Gi");
            let asked = asked(&world.reconcile());
            prop_assert_eq!(!asked.is_empty(), size > largest);
            largest = largest.max(size);
            prop_assert_eq!(&world.claim().size.requested, &format!("{largest}Gi"));
            if grown {
                world.volumes_have_grown();
            }
            world.reconcile();
            let is_so = up_to_date(&world).0 == "AsWanted";
            let claim = &world.claim().size;
            prop_assert_eq!(is_so, size == largest && claim.capacity == claim.requested);
        }
        world.check_stream();
    }
}
