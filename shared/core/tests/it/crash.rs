//! Pods whose container ends again and again are made anew on their volume, with pauses that grow, and never while their
//! agent is heard.

use std::collections::BTreeSet;

use pgo_core::{Step, StorageKind, Waiting};
use pgo_events::{Event, EventType, Field};
use pgo_ids::InstanceName;
use proptest::prelude::*;

use crate::{
    replicas::{names, remove, settle, with_replicas},
    world::World,
};

/// Kubernetes starts the container of an instance no more for now.
fn loops(world: &mut World, instance: &InstanceName) {
    world.observed.agents.remove(instance);
    if let Some(pod) = world.observed.pods.get_mut(instance) {
        pod.waiting = Some(Waiting {
            container: "database".to_owned(),
            reason: "CrashLoopBackOff".to_owned(),
            message: "ended with 137; back-off 10s restarting failed container".to_owned(),
        });
    }
}

/// The instances whose pods make way with this reconcile.
fn removed(world: &mut World) -> Vec<InstanceName> {
    let steps = world.reconcile().steps;
    let mut removed: Vec<InstanceName> = steps
        .into_iter()
        .filter_map(|step| match step {
            Step::RemovePod { instance, .. } => Some(instance),
            _ => None,
        })
        .collect();
    let all = removed.len();
    removed.dedup();
    assert_eq!(removed.len(), all, "each once");
    removed
}

fn story(world: &World) -> Vec<Event> {
    let told = world.told().into_iter();
    told.filter(|event| event.event_type() == EventType::InstanceReplaced)
        .collect()
}

/// Until the instance has a new pod whose container has started.
fn made_anew(world: &mut World, instance: &InstanceName) {
    let runs = |world: &World| {
        let pod = world.observed.pods.get(instance);
        pod.is_some_and(|pod| !pod.terminating && pod.ip.is_some() && pod.waiting.is_none())
    };
    for _ in 0..10 {
        if runs(world) {
            return;
        }
        world.progress_of(instance);
        world.reconcile();
    }
    panic!("{instance} has no new pod: {:?}", world.observed.pods);
}

#[test]
fn a_pod_that_ends_again_and_again_is_made_anew_at_once_and_its_volume_stays() {
    for primary in [false, true] {
        let mut world = with_replicas(1);
        let instance = match primary {
            true => World::instance(),
            false => names(&world)[0].clone(),
        };
        let claim = world.observed.claims[&instance].uid.clone();
        let pod = world.observed.pods[&instance].uid.clone();
        loops(&mut world, &instance);
        assert_eq!(removed(&mut world), std::slice::from_ref(&instance));
        assert!(removed(&mut world).is_empty(), "it goes");
        let told = story(&world);
        assert_eq!(told.len(), 1);
        assert_eq!(
            told[0].payload.text(Field::Instance),
            Some(instance.as_str())
        );
        let cause = told[0].cause.clone().unwrap_or_default();
        assert!(cause.contains("ended with 137"), "{cause}");
        for _ in 0..70 {
            world.reconcile();
            world.progress();
            world.wait(1);
        }
        settle(&mut world);
        assert_ne!(world.observed.pods[&instance].uid, pod);
        assert_eq!(world.observed.claims[&instance].uid, claim);
        assert!(world.status.crashes.is_empty(), "it has run for a minute");
        assert_eq!(story(&world).len(), 1);
        world.check_stream();
    }
}

#[test]
fn one_that_cannot_start_is_made_anew_with_pauses_that_grow_to_five_minutes() {
    let mut world = with_replicas(1);
    let instance = names(&world)[0].clone();
    let (begin, mut at) = (world.now, Vec::new());
    while world.now.duration_since(begin).as_secs() < 1500 {
        loops(&mut world, &instance);
        if !removed(&mut world).is_empty() {
            at.push(world.now.duration_since(begin).as_secs());
            world.progress_of(&instance);
            world.reconcile();
        }
        world.wait(1);
    }
    assert_eq!(at, [0, 10, 30, 70, 150, 310, 610, 910, 1210]);
    let told = story(&world);
    assert_eq!(told.len(), at.len());
    let cause = told[2].cause.clone().unwrap_or_default();
    assert!(cause.contains("; 3 times since"), "{cause}");
    world.check_stream();
}

#[test]
fn one_that_was_well_meanwhile_is_made_anew_at_once_again() {
    let mut world = with_replicas(1);
    let instance = names(&world)[0].clone();
    for _ in 0..4 {
        loops(&mut world, &instance);
        assert_eq!(removed(&mut world), std::slice::from_ref(&instance));
        made_anew(&mut world, &instance);
        for _ in 0..70 {
            world.reconcile();
            world.progress();
            world.wait(1);
        }
    }
    // It served for a moment: that is not yet well.
    loops(&mut world, &instance);
    assert_eq!(removed(&mut world).len(), 1);
    made_anew(&mut world, &instance);
    for _ in 0..5 {
        world.progress();
        world.reconcile();
    }
    loops(&mut world, &instance);
    assert!(removed(&mut world).is_empty());
    world.wait(10);
    assert_eq!(removed(&mut world).len(), 1);
}

#[test]
fn while_its_agent_is_heard_nothing_is_done() {
    let mut world = with_replicas(1);
    let instance = names(&world)[0].clone();
    let agent = world.observed.agents[&instance].clone();
    loops(&mut world, &instance);
    world.observed.agents.insert(instance.clone(), agent);
    assert!(removed(&mut world).is_empty());
    assert!(story(&world).is_empty());
}

#[test]
fn data_that_would_go_with_the_pod_is_left_and_so_is_a_cluster_that_was_never_ready() {
    let mut world = with_replicas(0);
    world.wanted().storage.kind = StorageKind::EmptyDir;
    loops(&mut world, &World::instance());
    assert!(removed(&mut world).is_empty());

    let mut world = World::new();
    world.reconcile();
    world.progress();
    loops(&mut world, &World::instance());
    assert!(removed(&mut world).is_empty());
    assert_eq!(world.condition("Ready").reason, "ContainerNotStarted");
}

#[test]
fn of_an_instance_that_is_removed_nothing_is_remembered() {
    let mut world = with_replicas(1);
    let instance = names(&world)[0].clone();
    loops(&mut world, &instance);
    removed(&mut world);
    remove(&mut world, &instance);
    settle(&mut world);
    assert!(world.status.crashes.is_empty());
}

proptest! {
    /// Whatever happens, no pod makes way whose agent is heard, and there are no more new pods than the pauses allow.
    #[test]
    fn pods_make_way_no_faster_than_the_pauses_allow(
        happens in prop::collection::vec((0_usize..3, 0_u8..4, 0_i64..40), 0..60),
    ) {
        let mut world = with_replicas(2);
        let mut all = names(&world);
        all.push(World::instance());
        let begin = world.now;
        let mut last = std::collections::BTreeMap::new();
        for (of, what, seconds) in happens {
            let instance = &all[of];
            world.wait(1);
            match what {
                0 => loops(&mut world, instance),
                1 => world.progress(),
                2 => world.progress_of(instance),
                _ => world.wait(seconds),
            }
            let heard: Vec<InstanceName> = world.observed.agents.keys().cloned().collect();
            for gone in removed(&mut world) {
                prop_assert!(!heard.contains(&gone), "{} was heard", gone);
                if let Some(before) = last.insert(gone, world.now) {
                    prop_assert!(world.now.duration_since(before).as_secs() >= 10);
                }
            }
        }
        let spent = world.now.duration_since(begin).as_secs();
        let most = 3 * (1 + usize::try_from(spent).unwrap_or_default() / 10);
        prop_assert!(story(&world).len() <= most);
        world.check_stream();
    }
}

/// What is told of a pod that ends again and again.
pub fn told() -> BTreeSet<EventType> {
    let mut world = with_replicas(1);
    let instance = names(&world)[0].clone();
    loops(&mut world, &instance);
    world.reconcile();
    world.told().iter().map(Event::event_type).collect()
}
