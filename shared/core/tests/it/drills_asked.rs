//! Restore drills that somebody asks for.

use pgo_core::{DrillFound, DrillPlace, DrillPolicy, DrillRequest, DrillStage};

use crate::{
    drills::{FIRST, SECOND, THIRD, ends, failure, have, last, made, pod, removed, tried, with},
    world::World,
};

/// Somebody asks for a drill.
fn ask(world: &mut World, id: &str, backup: Option<&str>) {
    world.cluster.drills.push(DrillRequest {
        operation: id.parse().expect("an id"),
        actor: "alice".to_owned(),
        backup: backup.map(str::to_owned),
    });
}

const ASKED: &str = "25927091-b343-4017-be4b-71575f0b3eb5";
const LATER: &str = "25927091-b343-4017-be4b-71575f0b3eb6";

#[test]
fn somebody_can_have_a_backup_tried_now_whatever_the_policy_says() {
    let mut world = with(DrillPolicy::Never);
    have(&mut world, &[FIRST, SECOND]);
    ask(&mut world, ASKED, None);
    ask(&mut world, LATER, Some(FIRST));
    assert_eq!(made(&world.reconcile()), Some(SECOND));
    let begun = last(&world);
    assert_eq!(begun.operationid.to_string(), ASKED);
    // One after the other.
    ends(&mut world, None);
    assert_eq!(made(&world.reconcile()), Some(FIRST));
    ends(&mut world, Some((DrillStage::Read, "no")));
    let verdicts = &world.status.drills.verdicts;
    assert!(verdicts[SECOND].proven && !verdicts[FIRST].proven);
    // Once each.
    world.reconcile();
    assert_eq!(tried(&world), None);
    assert_eq!(world.status.drills.last, None, "the day's is another one");
    world.check_stream();
}

#[test]
fn one_that_is_asked_for_waits_for_what_has_to_end_before() {
    let mut world = with(DrillPolicy::Never);
    have(&mut world, &[FIRST]);
    ask(&mut world, ASKED, None);
    world.observed.drill_place = DrillPlace::Full;
    world.reconcile();
    assert_eq!(tried(&world), None);
    // Also for a repository that is away.
    world.observed.drill_place = DrillPlace::Taken;
    let agent = world.observed.repository.agent.take();
    world.reconcile();
    assert_eq!(tried(&world), None);
    world.observed.repository.agent = agent;
    world.reconcile();
    assert_eq!(tried(&world).as_deref(), Some(FIRST));
}

#[test]
fn what_cannot_be_tried_is_refused_and_says_why() {
    let refused = |world: &mut World, words: &str| {
        ask(world, ASKED, Some(THIRD));
        world.reconcile();
        let told = failure(world);
        assert!(told.contains(words), "{told}");
        assert_eq!(tried(world), None);
    };
    let mut world = with(DrillPolicy::Never);
    have(&mut world, &[FIRST, SECOND]);
    refused(
        &mut world,
        &format!("there is no backup {THIRD}; there are {FIRST}, {SECOND}"),
    );
    let mut world = with(DrillPolicy::Never);
    have(&mut world, &[]);
    refused(&mut world, "there is no backup of hippo to try");
}

#[test]
fn one_that_goes_on_can_be_cancelled_without_a_verdict() {
    let mut world = with(DrillPolicy::Never);
    have(&mut world, &[FIRST]);
    ask(&mut world, ASKED, None);
    world.reconcile();
    pod(&mut world, "pod", DrillFound::Running);
    let id = ASKED.parse().expect("an id");
    world.cluster.cancelled.insert(id, "bob".to_owned());
    assert_eq!(removed(&world.reconcile()), Some("pod"));
    assert_eq!(failure(&world), "cancelled by bob");
    assert!(world.status.drills.verdicts.is_empty());
}
