//! Changes of a spec: taken over at once where that harms nobody, else told by name; never passed over.

use pgo_core::{ClaimPhase, ConditionStatus, Phase, ServiceType, Step, StorageKind};
use proptest::prelude::*;

use crate::world::World;

/// The condition that says whether everything asked for is in force: its reason and message.
fn up_to_date(world: &World) -> (String, String) {
    let condition = world.condition("UpToDate");
    let holds = condition.status == ConditionStatus::True;
    assert_eq!(holds, condition.reason == "AsWanted", "{condition:?}");
    (condition.reason.clone(), condition.message.clone())
}

#[test]
fn a_storage_class_that_is_named_rightly_after_all_gets_another_claim() {
    let mut world = World::new();
    world.wanted().storage.class = Some("nope".to_owned());
    world.reconcile();
    let now = world.now;
    world.claim().complaint = Some("storageclass \"nope\" not found".to_owned());
    world.pod().unschedulable = Some((now, "unbound immediate claims".to_owned()));
    world.wait(10);
    world.reconcile();
    assert_eq!(world.status.phase, Phase::Failed);
    let former = world.claim().uid.clone();
    world.wanted().storage.class = Some("local".to_owned());
    world.settle();
    assert_ne!(world.claim().uid, former);
    assert_eq!(world.count("CreateClusterFailure"), 1);
    assert_eq!(world.count("CreateCluster"), 2);
    world.check_stream();
}

#[test]
fn a_claim_is_replaced_also_where_no_claim_is_wanted_any_more() {
    let mut world = World::new();
    world.reconcile();
    world.claim().complaint = Some("no such class".to_owned());
    world.reconcile();
    world.wanted().storage.kind = StorageKind::EmptyDir;
    world.settle();
    assert!(world.observed.claims.is_empty());
    world.check_stream();
}

#[test]
fn a_claim_that_somebody_made_or_that_has_a_volume_is_never_replaced() {
    for (phase, has_volume, foreign) in [
        (ClaimPhase::Bound, true, false),
        // A volume was chosen, and may hold data.
        (ClaimPhase::Pending, true, false),
        (ClaimPhase::Pending, false, true),
    ] {
        let mut world = World::new();
        world.reconcile();
        let claim = world.claim();
        (claim.phase, claim.has_volume) = (phase, has_volume);
        if foreign {
            claim.form = None;
        }
        world.wanted().storage.size = "2Gi".to_owned();
        for _ in 0..3 {
            let plan = world.reconcile();
            let removes = |step: &Step| matches!(step, Step::RemoveClaim { .. });
            assert!(!plan.steps.iter().any(removes), "{plan:?}");
        }
    }
}

#[test]
fn a_service_follows_its_spec() {
    let mut world = World::new();
    world.settle();
    world.wanted().service_type = ServiceType::NodePort;
    let plan = world.reconcile();
    assert_eq!(plan.steps, [Step::MakeService]);
    world.settle();
    assert_eq!(up_to_date(&world).0, "AsWanted");
}

#[test]
fn a_change_that_needs_a_restart_is_told_by_name_and_waits_for_one() {
    let mut world = World::new();
    world.settle();
    assert_eq!(up_to_date(&world).0, "AsWanted");
    let pod = world.pod().uid.clone();
    let wanted = world.wanted();
    wanted.resources.limits_memory = "2Gi".to_owned();
    wanted.labels.insert("team".to_owned(), "night".to_owned());
    world.settle();
    assert_eq!(
        world.pod().uid,
        pod,
        "a database that serves is interrupted"
    );
    let (reason, message) = up_to_date(&world);
    assert_eq!(reason, "RestartNeeded");
    assert!(
        message.contains("ContainerResources; userlabels;") && message.contains("delete pod hippo"),
        "{message}"
    );
    assert!(world.status.is_ready());

    world.pod().terminating = true;
    world.progress();
    world.settle();
    assert_eq!(up_to_date(&world).0, "AsWanted");
}

#[test]
fn a_change_of_a_volume_that_is_there_is_told_as_not_available() {
    let mut world = World::new();
    world.settle();
    world.wanted().storage.access_mode = "ReadWriteMany".to_owned();
    world.settle();
    let (reason, message) = up_to_date(&world);
    assert_eq!(reason, "NotAvailable");
    assert!(message.contains("PrimaryStorage.accessmode"), "{message}");
}

#[test]
fn what_is_refused_of_a_change_of_a_cluster_that_serves_is_told() {
    let mut world = World::new();
    world.settle();
    world.observed.refused = Some("cannot apply Service hippo: no such port".to_owned());
    world.reconcile();
    assert_eq!(
        up_to_date(&world),
        (
            "Refused".to_owned(),
            "cannot apply Service hippo: no such port".to_owned()
        )
    );
    assert!(world.status.is_ready());
}

/// A cluster that was ready and whose spec is not understood any more.
fn misunderstood() -> World {
    let mut world = World::new();
    world.settle();
    world.cluster.generation += 1;
    world.cluster.desired = Err("spec.port: \"http\" is not a port".to_owned());
    world
}

#[test]
fn a_spec_that_is_not_understood_is_no_word_about_the_database_that_serves() {
    let mut world = misunderstood();
    let before = world.status.clone();
    world.wait(5);
    world.reconcile();
    assert!(world.status.is_ready());
    assert_eq!(world.status.phase, Phase::Ready);
    assert_eq!(world.status.reason, before.reason);
    assert_eq!(world.status.state, before.state);
    let ready = before.conditions.iter().find(|c| c.name == "Ready");
    let since = ready.map(|ready| ready.last_transition_time);
    assert_eq!(Some(world.condition("Ready").last_transition_time), since);
    let invalid = "spec.port: \"http\" is not a port".to_owned();
    assert_eq!(up_to_date(&world), ("Invalid".to_owned(), invalid));

    // A moment of silence changes nothing either.
    world.fall_silent();
    world.reconcile();
    assert!(world.status.is_ready());

    world.cluster.desired = Ok(crate::world::desired());
    world.settle();
    assert_eq!(up_to_date(&world).0, "AsWanted");
    assert_eq!(world.count("CreateCluster"), 1);
    world.check_stream();
}

#[test]
fn a_database_that_is_gone_while_its_spec_is_not_understood_is_not_ready_for_that() {
    let mut world = misunderstood();
    world.pod().terminating = true;
    world.progress();
    world.reconcile();
    assert_eq!(world.status.phase, Phase::NotReady);
    let ready = world.condition("Ready");
    assert_eq!(ready.reason, "Invalid");
    for part in ["does not answer", "nothing is made", "spec.port"] {
        assert!(ready.message.contains(part), "{}", ready.message);
    }
    world.cluster.desired = Ok(crate::world::desired());
    world.settle();
}

#[test]
fn a_new_generation_alone_takes_no_pod_away() {
    let mut world = World::new();
    world.reconcile();
    let pod = world.pod().uid.clone();
    world.cluster.generation += 1;
    world.settle();
    assert_eq!(world.pod().uid, pod);
}

/// One of the changes a user can make.
fn change(world: &mut World, which: u8) {
    let wanted = world.wanted();
    match which {
        0 => wanted.storage.class = Some("other".to_owned()),
        1 => wanted.storage.class = None,
        2 => wanted.storage.kind = StorageKind::EmptyDir,
        3 => wanted.storage.kind = StorageKind::Dynamic,
        4 => wanted.image.0.push('x'),
        5 => wanted.service_type = ServiceType::NodePort,
        6 => wanted.port = 6543,
        _ => wanted.custom_config = Some("config".to_owned()),
    }
}

proptest! {
    #[test]
    fn whatever_is_changed_while_a_cluster_is_made_it_is_made_in_the_end(
        turns in prop::collection::vec((prop::option::of(0u8..8), 0usize..14, any::<bool>()), 0..20),
    ) {
        let mut world = World::unseen();
        for (changed, steps, progress) in turns {
            if let Some(which) = changed {
                change(&mut world, which);
            }
            world.reconcile_cut_off(steps);
            if progress {
                world.progress();
            }
            world.wait(1);
        }
        world.settle();
        world.check_stream();
        let desired = world.cluster.desired.clone().expect("a spec");
        prop_assert_eq!(&world.observed.service_form, &Some(desired.service_form()));
        // What was ready is not interrupted; then the condition tells.
        let is_outdated = world.pod().is_outdated(&desired.pod_form());
        prop_assert_eq!(up_to_date(&world).0 == "AsWanted", !is_outdated
            && world.observed.claims.values().all(|claim| {
                let claimed = claim.form.as_ref().expect("what it was made for");
                !claimed.differs(&desired.claim_form())
            }));
    }
}
