//! Changes of the primary that somebody asks for: planned or forced, refused, overdue, and across a restart.

use std::collections::BTreeSet;

use pgo_core::{AgentPhase, FailoverRequest, Kind, Outcome, Step, TakeoverCause, Unwilling};
use pgo_events::{Datum, Event, EventType, Field};
use pgo_ids::{InstanceName, OperationId};
use proptest::prelude::*;

use crate::{
    replicas::{names, settle, with_replicas},
    world::World,
};

const ID: &str = "25927091-b343-4017-be4b-71575f0b3eb5";
const OTHER: &str = "9c0f4c0e-6d29-4a86-9f9c-2b5f0c4d7a11";

fn ask(world: &mut World, target: Option<&str>, id: &str) -> OperationId {
    let operation: OperationId = id.parse().expect("an id");
    world.cluster.failover.push(FailoverRequest {
        operation,
        actor: "alice".to_owned(),
        target: target.map(str::to_owned),
        planned: false,
    });
    operation
}

/// What was told of an operation.
fn story(world: &World, id: OperationId) -> Vec<Event> {
    let told = world.told();
    let of_it = told.into_iter().filter(|event| event.operationid == id);
    of_it.collect()
}

fn types(events: &[Event]) -> Vec<EventType> {
    events.iter().map(Event::event_type).collect()
}

/// Why an operation failed.
fn refusal(world: &World, id: OperationId) -> String {
    let story = story(world, id);
    assert_eq!(story.len(), 2, "{story:?}");
    let last = story.last().expect("told");
    assert_eq!(last.stage, pgo_events::Stage::Failed);
    let former = last.payload.text(Field::FormerPrimary);
    assert!(former.is_some(), "{last:?}");
    last.cause.clone().expect("a cause")
}

fn asks_an_agent(steps: &[Step]) -> bool {
    let mut steps = steps.iter();
    steps.any(|step| matches!(step, Step::Switchover { .. } | Step::Failover { .. }))
}

#[test]
fn a_planned_change_asks_the_primary_until_the_lease_has_it() {
    let mut world = with_replicas(2);
    let to = names(&world)[1].clone();
    let id = ask(&mut world, Some(to.as_str()), ID);
    for _ in 0..2 {
        // Also a reconciler that has just begun asks; twice is harmless.
        let plan = world.reconcile();
        let step = Step::Switchover {
            operation: id,
            primary: World::instance(),
            to: to.clone(),
        };
        assert!(plan.steps.contains(&step), "{plan:?}");
        assert!(plan.waiting_for.is_some());
    }
    world.wait(1);
    world.takes_over(&to, TakeoverCause::Released);
    settle(&mut world);
    let story = story(&world, id);
    let expected = [
        EventType::SwitchoverCluster,
        EventType::SwitchoverClusterProgress,
        EventType::SwitchoverClusterCompleted,
    ];
    assert_eq!(types(&story), expected);
    assert!(
        story
            .iter()
            .all(|event| event.eventheader.username == "alice")
    );
    for (event, timeline) in story.iter().zip([1, 2, 2]) {
        assert_eq!(event.payload.text(Field::FormerPrimary), Some("hippo"));
        let known = event.payload.get(Field::Timeline);
        assert_eq!(known, Some(&Datum::Number(timeline)));
        assert_eq!(event.payload.text(Field::Lsn), Some("0/3000148"));
    }
    let last = &story[2];
    assert_eq!(last.durationms, Some(1000));
    assert_eq!(last.cause.as_deref(), Some("hippo gave up in order"));
    assert_eq!(last.payload.text(Field::Target), Some(to.as_str()));
    assert_eq!(last.payload.text(Field::FormerPrimary), Some("hippo"));
    let wire = String::from_utf8(last.to_wire().expect("JSON")).expect("text");
    assert!(wire.contains("\"lostbytes\": 0"), "{wire}");
    // It is not told a second time as one that nobody asked for, and the request asks for nothing more.
    assert_eq!(world.count("SwitchoverCluster"), 1);
    assert!(!asks_an_agent(&world.reconcile().steps));
    world.check_stream();
}

#[test]
fn without_a_primary_the_change_is_forced() {
    let mut world = with_replicas(2);
    let to = names(&world)[0].clone();
    world.primary_is_lost();
    let id = ask(&mut world, Some(to.as_str()), ID);
    let steps = world.reconcile().steps;
    let step = Step::Failover {
        operation: id,
        to: to.clone(),
    };
    assert!(steps.contains(&step), "{steps:?}");
    world.takes_over(&to, TakeoverCause::Lost);
    settle(&mut world);
    let expected = [
        EventType::FailoverCluster,
        EventType::FailoverClusterProgress,
        EventType::FailoverClusterCompleted,
    ];
    assert_eq!(types(&story(&world, id)), expected);
}

/// Whom a change asks that names nobody, or nobody.
fn asked(steps: &[Step]) -> Option<InstanceName> {
    steps.iter().find_map(|step| match step {
        Step::Switchover { to, .. } | Step::Failover { to, .. } => Some(to.clone()),
        _ => None,
    })
}

/// This instance is on a node of its own, and that node is preferred.
fn prefer(world: &mut World, instance: &InstanceName) {
    let node = format!("node-of-{instance}");
    world
        .observed
        .pods
        .get_mut(instance)
        .expect("a pod")
        .node
        .replace(node.clone());
    world.observed.preferred_nodes = Some(BTreeSet::from([node]));
}

#[test]
fn of_those_that_are_as_far_the_one_on_a_preferred_node_is_asked() {
    for forced in [false, true] {
        for preferred in 0..2 {
            let mut world = with_replicas(2);
            let to = names(&world)[preferred].clone();
            prefer(&mut world, &to);
            settle(&mut world);
            assert_eq!(world.observed.preferred, BTreeSet::from([to.clone()]));
            if forced {
                world.primary_is_lost();
            }
            ask(&mut world, None, ID);
            assert_eq!(asked(&world.reconcile().steps), Some(to.clone()));
        }
    }
}

#[test]
fn one_that_is_nearer_is_asked_whoever_is_preferred() {
    let mut world = with_replicas(2);
    let [preferred, nearer] = [0, 1].map(|n| names(&world)[n].clone());
    prefer(&mut world, &preferred);
    settle(&mut world);
    let agent = world.observed.agents.get_mut(&preferred);
    agent.expect("an agent").lag_bytes = 8;
    ask(&mut world, None, ID);
    assert_eq!(asked(&world.reconcile().steps), Some(nearer));
}

#[test]
fn who_is_preferred_is_said_while_a_primary_serves_and_stays_while_a_pod_is_away() {
    let mut world = with_replicas(2);
    let [one, other] = [0, 1].map(|n| names(&world)[n].clone());
    let said = |world: &mut World| {
        let steps = world.reconcile().steps;
        steps.into_iter().find_map(|step| match step {
            Step::SetPreferred(said) => Some(said),
            _ => None,
        })
    };
    assert_eq!(said(&mut world), None, "nothing is known");
    prefer(&mut world, &one);
    assert_eq!(said(&mut world), Some(BTreeSet::from([one.clone()])));
    // Its pod is made anew, on no node yet; and nobody knows which nodes are preferred.
    for _ in 0..2 {
        world.observed.pods.get_mut(&one).expect("a pod").node = None;
        assert_eq!(said(&mut world), None);
        world.observed.preferred_nodes = None;
    }
    // An election waits anew after each write of the Lease.
    world.primary_is_lost();
    prefer(&mut world, &other);
    assert_eq!(said(&mut world), None);
    world.takes_over(&one, TakeoverCause::Lost);
    settle(&mut world);
    assert!(world.observed.preferred.contains(&other));
    world.observed.preferred_nodes = Some(BTreeSet::new());
    assert_eq!(said(&mut world), Some(BTreeSet::new()));
}

#[test]
fn whom_an_agent_prefers_is_shown_beside_its_instance() {
    let mut world = with_replicas(2);
    let [one, other] = [0, 1].map(|n| names(&world)[n].clone());
    let agent = world.observed.agents.get_mut(&one).expect("an agent");
    agent.preferred.insert(other.clone());
    settle(&mut world);
    let instances = &world.status.instances;
    let prefer = instances.iter().filter(|one| !one.preferred.is_empty());
    let prefer: Vec<_> = prefer.map(|one| (&one.name, &one.preferred)).collect();
    assert_eq!(prefer, [(&one, &BTreeSet::from([other]))]);
}

#[test]
fn what_is_to_be_planned_is_not_forced() {
    let mut world = with_replicas(1);
    let to = names(&world)[0].clone();
    world.primary_is_lost();
    let id = ask(&mut world, Some(to.as_str()), ID);
    world.cluster.failover[0].planned = true;
    assert!(!asks_an_agent(&world.reconcile().steps));
    assert!(refusal(&world, id).contains("does not serve"));
}

#[test]
fn while_it_is_not_clear_whether_the_primary_serves_nothing_begins() {
    let mut world = with_replicas(1);
    let to = names(&world)[0].clone();
    world.fall_silent();
    let id = ask(&mut world, Some(to.as_str()), ID);
    let plan = world.reconcile();
    assert!(plan.waiting_for.is_some());
    assert!(story(&world, id).is_empty());
    world.wait(11);
    world.reconcile();
    let begun = world.status.journal.running_change().expect("begun");
    assert_eq!(begun.kind, Kind::FailoverCluster);
}

#[test]
fn wrong_targets_are_refused_with_the_reason_and_nothing_is_asked() {
    let mut world = with_replicas(2);
    let [one, other] = [names(&world)[0].clone(), names(&world)[1].clone()];
    let agents = &mut world.observed.agents;
    agents.get_mut(&one).expect("heard").lag_bytes = 1 << 30;
    agents.get_mut(&other).expect("heard").streaming = false;
    for (at, (target, said)) in [
        (Some("nosuch"), "no replica nosuch"),
        (Some("No Such!"), "no replica No Such!"),
        (Some("hippo"), "hippo is the primary already"),
        (Some(one.as_str()), "lags 1073741824 bytes"),
        (Some(other.as_str()), "does not stream"),
        (None, "no replica can take over now"),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("00000000-0000-4000-8000-00000000000{at}");
        let id = ask(&mut world, target, &id);
        let steps = world.reconcile().steps;
        assert!(!asks_an_agent(&steps), "{steps:?}");
        let reason = refusal(&world, id);
        assert!(reason.contains(said), "{target:?}: {reason}");
        let told = story(&world, id);
        let payload = &told.last().expect("its end").payload;
        assert_eq!(payload.text(Field::FormerPrimary), Some("hippo"));
        let lost = payload.get(Field::LostBytes);
        assert_eq!(lost, Some(&Datum::Number(0)), "the same one serves");
    }
    world.check_stream();
}

#[test]
fn a_forced_change_is_only_to_who_has_received_most() {
    let mut world = with_replicas(2);
    let [one, other] = [names(&world)[0].clone(), names(&world)[1].clone()];
    world.primary_is_lost();
    let agents = &mut world.observed.agents;
    agents.get_mut(&one).expect("heard").received = 1000;
    agents.get_mut(&other).expect("heard").received = 2000;
    let id = ask(&mut world, Some(one.as_str()), ID);
    world.reconcile();
    let reason = refusal(&world, id);
    assert!(reason.contains(&format!("take {other}")), "{reason}");
    ask(&mut world, None, OTHER);
    world.reconcile();
    let begun = world.status.journal.running_change().expect("begun");
    assert_eq!(begun.instance.as_ref(), Some(&other));
}

#[test]
fn during_a_change_no_other_one_begins() {
    let mut world = with_replicas(2);
    let [one, other] = [names(&world)[0].clone(), names(&world)[1].clone()];
    let first = ask(&mut world, Some(one.as_str()), ID);
    world.reconcile();
    for target in [&one, &other] {
        world.cluster.failover.truncate(1);
        let id = if *target == one {
            OTHER
        } else {
            "9c0f4c0e-6d29-4a86-9f9c-2b5f0c4d7a12"
        };
        let second = ask(&mut world, Some(target.as_str()), id);
        world.reconcile();
        assert!(refusal(&world, second).contains("already"));
    }
    let running = world.status.journal.running_change().expect("it goes on");
    assert_eq!(running.id, first);
}

#[test]
fn what_the_agent_refuses_for_long_is_the_end_of_it() {
    let mut world = with_replicas(1);
    let to = names(&world)[0].clone();
    let id = ask(&mut world, Some(to.as_str()), ID);
    world.reconcile();
    world.observed.unwilling = Some(Unwilling {
        operation: id,
        since: world.now,
        reason: format!("{to} is not ready to take over"),
    });
    world.reconcile();
    assert!(world.status.journal.running_change().is_some());
    world.wait(4);
    world.reconcile();
    assert!(refusal(&world, id).contains("not ready to take over"));
}

#[test]
fn a_change_that_does_not_come_fails_and_says_what_serves() {
    let mut world = with_replicas(1);
    let to = names(&world)[0].clone();
    let id = ask(&mut world, Some(to.as_str()), ID);
    world.reconcile();
    world.wait(121);
    assert!(!asks_an_agent(&world.reconcile().steps));
    let reason = refusal(&world, id);
    assert!(reason.contains("hippo serves"), "{reason}");
}

#[test]
fn another_one_that_takes_over_is_told_by_itself_and_ends_the_change() {
    let mut world = with_replicas(2);
    let [one, other] = [names(&world)[0].clone(), names(&world)[1].clone()];
    let id = ask(&mut world, Some(one.as_str()), ID);
    world.reconcile();
    world.takes_over(&other, TakeoverCause::Lost);
    world.reconcile();
    let reason = refusal(&world, id);
    assert!(
        reason.contains(&format!("{other} became the primary")),
        "{reason}"
    );
    assert_eq!(world.count("FailoverClusterCompleted"), 1);
    world.check_stream();
}

#[test]
fn a_planned_change_whose_primary_died_is_no_change_without_loss() {
    let mut world = with_replicas(1);
    let to = names(&world)[0].clone();
    let id = ask(&mut world, Some(to.as_str()), ID);
    world.reconcile();
    world.takes_over(&to, TakeoverCause::Lost);
    world.reconcile();
    assert!(refusal(&world, id).contains("not heard any more"));
    assert_eq!(world.count("FailoverClusterCompleted"), 1);
}

#[test]
fn who_serves_before_the_lease_shows_it_is_no_reason_to_fail() {
    let mut world = with_replicas(2);
    let to = names(&world)[0].clone();
    world.primary_is_lost();
    let id = ask(&mut world, Some(to.as_str()), ID);
    world.reconcile();
    world.takes_over(&to, TakeoverCause::Lost);
    let shown = std::mem::take(&mut world.observed.takeovers);
    assert!(!asks_an_agent(&world.reconcile().steps));
    assert!(world.status.journal.running_change().is_some());
    world.observed.takeovers = shown;
    world.reconcile();
    let last = story(&world, id).pop().expect("told");
    assert_eq!(last.event_type(), EventType::FailoverClusterCompleted);
}

#[test]
fn a_primary_that_comes_back_ends_a_forced_change() {
    let mut world = with_replicas(1);
    let to = names(&world)[0].clone();
    world.primary_is_lost();
    let id = ask(&mut world, Some(to.as_str()), ID);
    world.reconcile();
    let ip = world.observed.endpoints.as_ref().expect("there").addresses[0].clone();
    world.pod().ip = Some(ip);
    world.say(AgentPhase::Running, None);
    world.reconcile();
    assert!(refusal(&world, id).contains("hippo serves again"));
}

/// All that is told of changes that fail.
pub fn told() -> BTreeSet<EventType> {
    let mut told = BTreeSet::new();
    for lost in [false, true] {
        let mut world = with_replicas(1);
        if lost {
            world.primary_is_lost();
        }
        ask(&mut world, Some("nosuch"), ID);
        world.reconcile();
        told.extend(world.told().iter().map(Event::event_type));
    }
    told
}

proptest! {
    /// Whatever happens in between, a request has exactly one end, and the same one for whoever reconciles.
    #[test]
    fn a_request_has_exactly_one_end(
        happenings in prop::collection::vec(0..6_u8, 1..12), at in 0..2_usize,
    ) {
        let mut world = with_replicas(2);
        let target = names(&world)[at].clone();
        let id = ask(&mut world, Some(target.as_str()), ID);
        for happening in happenings {
            match happening {
                0 => world.takes_over(&target, TakeoverCause::Released),
                1 => {
                    let other: InstanceName = names(&world)[1 - at].clone();
                    world.takes_over(&other, TakeoverCause::Lost);
                }
                2 => world.wait(40),
                3 => world.takes_over(&World::instance(), TakeoverCause::Released),
                4 => world.observed.unwilling = Some(Unwilling {
                    operation: id, since: world.now, reason: "no".to_owned(),
                }),
                _ => {}
            }
            world.reconcile();
        }
        world.wait(130);
        world.reconcile();
        world.check_stream();
        let mut operations = world.status.journal.operations.iter();
        let ended = operations.find(|operation| operation.id == id).expect("remembered");
        prop_assert!(matches!(ended.outcome, Some(Outcome::Completed | Outcome::Failed)));
        prop_assert_eq!(story(&world, id).iter().filter(|e| e.stage.is_terminal()).count(), 1);
    }
}
