//! Replicas: how many there are, whoever asks for them, and what is told of each.

use std::collections::BTreeSet;

use pgo_core::{AgentPhase, Fixture, Plan, ScaleDownRequest, StorageKind, Waiting};
use pgo_events::{Datum, Event, EventType, Field};
use pgo_ids::InstanceName;
use proptest::prelude::*;

use crate::{following::replica, world::World};

/// What the reconciler notes in the spec after each write of the status.
pub fn project(world: &mut World) {
    if let Some(count) = world.status.replica_count {
        world.cluster.replica_count = count.wanted;
    }
}

/// Reconciles and progresses until nothing is left to do.
pub fn settle(world: &mut World) {
    for _ in 0..60 {
        let plan = world.reconcile();
        project(world);
        let waits = world.status.replicas.iter().any(|known| !known.ready);
        if world.status.is_ready() && plan == Plan::default() && !waits {
            return;
        }
        world.progress();
        world.wait(1);
    }
    panic!("nothing settles: {:?}", world.status.replicas);
}

/// A cluster with so many replicas.
pub fn with_replicas(count: u32) -> World {
    let mut world = World::unseen();
    world.cluster.replica_count = count;
    settle(&mut world);
    world
}

pub fn names(world: &World) -> Vec<InstanceName> {
    let replicas = world.status.replicas.iter();
    replicas.map(|known| known.name.clone()).collect()
}

pub fn objects(world: &World) -> Vec<InstanceName> {
    let mut names: Vec<_> = world
        .cluster
        .replicas
        .iter()
        .map(|replica| replica.name.clone())
        .collect();
    names.sort();
    names
}

pub fn remove(world: &mut World, name: &InstanceName) {
    let mut replicas = world.cluster.replicas.iter_mut();
    let replica = replicas.find(|replica| replica.name == *name);
    replica.expect("it is there").deleting = true;
    let replicas = &mut world.cluster.replicas;
    replicas.retain(|replica| !replica.deleting || replica.finalizer);
}

#[test]
fn a_cluster_made_with_replicas_gets_them_and_tells_of_each() {
    let world = with_replicas(2);
    assert_eq!(names(&world).len(), 2);
    assert_eq!(objects(&world), names(&world));
    assert_eq!(world.observed.pods.len(), 3);
    assert!(world.observed.has(&[Fixture::ReplicaService]));
    for event_type in ["ScaleCluster", "ScaleClusterCompleted", "ReplicaAdded"] {
        assert_eq!(world.count(event_type), 2, "{event_type}");
    }
    assert_eq!(world.count("ScaleClusterProgress"), 6);
    // Who made the cluster has asked for them.
    let told = world.told();
    let added = told
        .iter()
        .find(|e| e.event_type().as_str() == "ScaleCluster");
    let header = &added.expect("told").eventheader;
    assert_eq!(header.username, "pgoadmin");
    // Whom it follows, and how far it has come.
    for event_type in ["ScaleClusterCompleted", "ReplicaAdded"] {
        let mut of_type = told.iter();
        let added = of_type.find(|e| e.event_type().as_str() == event_type);
        let payload = &added.expect("told").payload;
        assert_eq!(payload.text(Field::Primary), Some("hippo"));
        assert_eq!(payload.get(Field::Timeline), Some(&Datum::Number(1)));
        assert_eq!(payload.text(Field::Lsn), Some("0/3000148"));
    }
    world.check_stream();
}

#[test]
fn a_replica_made_by_hand_raises_the_number_and_one_removed_by_hand_lowers_it() {
    let mut world = with_replicas(1);
    world
        .cluster
        .replicas
        .push(replica("hippo-mine", "r-9", false));
    settle(&mut world);
    assert_eq!((world.cluster.replica_count, names(&world).len()), (2, 2));

    let mine: InstanceName = "hippo-mine".parse().expect("a name");
    remove(&mut world, &mine);
    settle(&mut world);
    assert_eq!((world.cluster.replica_count, names(&world).len()), (1, 1));
    assert_eq!(world.count("ScaleDownClusterCompleted"), 1);
    assert_eq!(world.count("ReplicaRemoved"), 1);
    let told = world.told();
    let gone = |event: &&Event| {
        event.payload.text(Field::ReplicaName) == Some("hippo-mine")
            && event.event_type().as_str().contains("Down")
    };
    let gone: Vec<&Event> = told.iter().filter(gone).collect();
    assert_eq!(gone.len(), 2, "{gone:?}");
    let mut removed = told.iter();
    let removed = removed.find(|event| event.event_type() == EventType::ReplicaRemoved);
    let timeline = removed.expect("told").payload.get(Field::Timeline);
    assert_eq!(timeline, Some(&Datum::Number(1)));
    for event in gone {
        assert_eq!(event.payload.text(Field::Primary), Some("hippo"));
    }
    assert!(
        world.observed.claims.contains_key(&mine),
        "its data is kept"
    );
    assert!(!world.observed.pods.contains_key(&mine));
    let primary = &world.observed.agents[&World::instance()];
    assert_eq!(primary.followers.len(), 1, "no WAL is kept for it");
    world.check_stream();
}

#[test]
fn what_kubernetes_refuses_of_a_replica_ends_its_addition_until_it_does_not_any_more() {
    let mut world = with_replicas(1);
    let cause = "cannot make Service hippo-replica: it belongs to cluster hippo-replica";
    world.observed.refused = Some(cause.to_owned());
    world.cluster.replica_count = 2;
    for _ in 0..3 {
        world.reconcile_cut_off(0);
        world.wait(1);
    }
    let newest = |world: &World| {
        world
            .status
            .journal
            .newest(pgo_core::Kind::ScaleCluster)
            .cloned()
    };
    let failed = newest(&world).expect("told");
    assert_eq!(failed.outcome, Some(pgo_core::Outcome::Failed));
    assert_eq!(failed.cause.as_deref(), Some(cause));
    let of_it = world
        .status
        .replicas
        .iter()
        .filter(|one| one.reason == "Refused");
    assert_eq!(of_it.count(), 1, "{:?}", world.status.replicas);
    world.observed.refused = None;
    settle(&mut world);
    let done = newest(&world).expect("told");
    assert_eq!(done.outcome, Some(pgo_core::Outcome::Completed));
    world.check_stream();
}

#[test]
fn who_changes_the_number_is_told_for_what_comes_of_it() {
    let mut world = with_replicas(1);
    world.cluster.changed_by.replicas = "kubectl".to_owned();
    for (count, kind) in [
        (2, pgo_core::Kind::ScaleCluster),
        (1, pgo_core::Kind::ScaleDownCluster),
    ] {
        world.cluster.replica_count = count;
        settle(&mut world);
        let told = world.status.journal.newest(kind).expect("told");
        assert_eq!(told.actor, "kubectl", "{told:?}");
    }
}

#[test]
fn scaling_to_none_leaves_the_primary_alone() {
    let mut world = with_replicas(3);
    world.cluster.replica_count = 0;
    settle(&mut world);
    assert_eq!(names(&world), []);
    assert_eq!(objects(&world), []);
    let pods: Vec<_> = world.observed.pods.keys().cloned().collect();
    assert_eq!(pods, [World::instance()]);
    assert!(!world.observed.has(&[Fixture::ReplicaService]));
    // A name is never used again.
    world.cluster.replica_count = 1;
    settle(&mut world);
    let again = names(&world);
    assert_eq!(
        world.observed.claims.len(),
        5,
        "{again:?} has a claim of its own"
    );
}

#[test]
fn a_task_removes_the_replica_it_names_with_its_data() {
    let mut world = with_replicas(2);
    let goes = names(&world)[0].clone();
    world.cluster.scale_down.push(ScaleDownRequest {
        replica: goes.clone(),
        operation: "25927091-b343-4017-be4b-71575f0b3eb5"
            .parse()
            .expect("an id"),
        actor: "alice".to_owned(),
        data: true,
    });
    settle(&mut world);
    assert_eq!((world.cluster.replica_count, names(&world).len()), (1, 1));
    assert!(!world.observed.claims.contains_key(&goes));
    let told = world.told();
    let completed = told
        .iter()
        .find(|event| event.event_type().as_str() == "ScaleDownClusterCompleted")
        .expect("told");
    let id = completed.operationid.to_string();
    assert_eq!(id, "25927091-b343-4017-be4b-71575f0b3eb5");
    assert_eq!(completed.eventheader.username, "alice");
    // The task is still there, and asks for nothing more.
    settle(&mut world);
    assert_eq!(world.count("ScaleDownCluster"), 1);
}

/// A Pgtask with this id that asks for the removal of a replica.
fn asks_for_removal(world: &mut World, replica: &InstanceName, id: &str, data: bool) {
    world.cluster.scale_down.push(ScaleDownRequest {
        replica: replica.clone(),
        operation: id.parse().expect("an id"),
        actor: "alice".to_owned(),
        data,
    });
}

#[test]
fn each_who_asks_for_the_removal_of_one_replica_has_an_answer() {
    let mut world = with_replicas(2);
    let goes = names(&world)[0].clone();
    let ids = [
        "25927091-b343-4017-be4b-71575f0b3eb5",
        "9c0f4c0e-6d29-4a86-9f9c-2b5f0c4d7a11",
        "0e0f4c0e-6d29-4a86-9f9c-2b5f0c4d7a12",
    ];
    asks_for_removal(&mut world, &goes, ids[0], false);
    world.reconcile();
    project(&mut world);
    // It goes already, and now its data is to go, too.
    asks_for_removal(&mut world, &goes, ids[1], true);
    settle(&mut world);
    assert_eq!((world.cluster.replica_count, names(&world).len()), (1, 1));
    assert!(!world.observed.claims.contains_key(&goes));
    // It is gone.
    asks_for_removal(&mut world, &goes, ids[2], false);
    settle(&mut world);
    let of = |id: &str| {
        let mut operations = world.status.journal.operations.iter();
        let operation = operations.find(|one| one.id.to_string() == id);
        operation.expect("it is told").clone()
    };
    let completed = Some(pgo_core::Outcome::Completed);
    assert_eq!(
        (of(ids[0]).outcome, of(ids[1]).outcome),
        (completed, completed)
    );
    let refused = of(ids[2]);
    assert_eq!(refused.outcome, Some(pgo_core::Outcome::Failed));
    let cause = refused.cause.expect("a cause");
    assert!(cause.contains(&format!("has no replica {goes}")), "{cause}");
    assert_eq!(world.count("ReplicaRemoved"), 1);
    world.check_stream();
}

#[test]
fn what_is_wrong_with_a_replica_ends_its_adding_and_says_nothing_of_the_cluster() {
    let mut world = with_replicas(0);
    let mut wrong = replica("hippo-mine", "r-9", false);
    wrong.wanted = Err("spec.replicastorage.size: it is empty".to_owned());
    world.cluster.replicas.push(wrong);
    world.reconcile();
    assert_eq!(world.count("ScaleClusterFailure"), 1);
    assert!(world.status.is_ready());
    let known = &world.status.replicas[0];
    assert_eq!((known.reason.as_str(), known.ready), ("Invalid", false));

    // Once it is right it is added, as an operation of its own.
    world.cluster.replicas[0].wanted = replica("hippo-mine", "r-9", false).wanted;
    settle(&mut world);
    assert_eq!(world.count("ScaleClusterCompleted"), 1);
    world.check_stream();
}

#[test]
fn adding_a_replica_ends_where_the_spec_is_not_understood_and_nothing_of_it_is_there() {
    let mut world = with_replicas(0);
    let invalid = "spec.port: 70000 is no port".to_owned();
    let understood = std::mem::replace(&mut world.cluster.desired, Err(invalid.clone()));
    world.cluster.replica_count = 1;
    world.reconcile_cut_off(0);
    assert_eq!(world.count("ScaleClusterFailure"), 1);
    let known = &world.status.replicas[0];
    assert_eq!(
        (known.reason.as_str(), &known.message),
        ("Invalid", &invalid)
    );
    world.cluster.desired = understood;
    settle(&mut world);
    assert_eq!(world.count("ScaleClusterCompleted"), 1);
    world.check_stream();
}

#[test]
fn what_is_under_way_with_replicas_ends_also_while_the_spec_is_not_understood() {
    let mut world = with_replicas(1);
    let goes = names(&world)[0].clone();
    world
        .cluster
        .replicas
        .push(replica("hippo-mine", "r-9", false));
    let mine: InstanceName = "hippo-mine".parse().expect("a name");
    while !world.observed.pods.contains_key(&mine) {
        world.reconcile();
        project(&mut world);
    }
    world.cluster.desired = Err("spec.port: 70000 is no port".to_owned());
    let id = "25927091-b343-4017-be4b-71575f0b3eb5";
    asks_for_removal(&mut world, &goes, id, false);
    for _ in 0..30 {
        world.reconcile();
        project(&mut world);
        world.progress();
        world.wait(1);
    }
    let running = world.status.journal.operations.iter();
    let running: Vec<_> = running.filter(|one| one.is_running()).collect();
    assert!(running.is_empty(), "{running:?}");
    assert_eq!(world.count("ScaleClusterCompleted"), 2);
    assert_eq!(world.count("ScaleDownClusterCompleted"), 1);
    assert!(!world.observed.pods.contains_key(&goes));
    world.check_stream();
}

#[test]
fn a_replica_whose_pod_cannot_start_fails_with_the_cause() {
    let mut world = with_replicas(0);
    world.cluster.replica_count = 1;
    world.reconcile();
    project(&mut world);
    world.reconcile();
    let name = names(&world)[0].clone();
    let pod = world.observed.pods.get_mut(&name).expect("its pod");
    pod.waiting = Some(Waiting {
        container: "database".to_owned(),
        reason: "ErrImagePull".to_owned(),
        message: "not found".to_owned(),
    });
    world.reconcile();
    assert_eq!(world.count("ScaleClusterFailure"), 1);
    assert!(world.status.replicas[0].message.contains("not found"));
    world.observed.pods.get_mut(&name).expect("its pod").waiting = None;
    settle(&mut world);
    world.check_stream();
}

#[test]
fn an_agent_that_fails_for_a_moment_is_no_end() {
    let mut world = with_replicas(0);
    world.cluster.replica_count = 1;
    world.reconcile();
    project(&mut world);
    world.reconcile();
    let name = names(&world)[0].clone();
    for _ in 0..3 {
        world.progress();
    }
    world.say_of(
        &name,
        AgentPhase::Failed,
        Some("the primary cannot be asked"),
    );
    world.reconcile();
    assert_eq!(world.count("ScaleClusterFailure"), 0);
    assert!(world.status.replicas[0].message.contains("cannot be asked"));
    world.wait(61);
    world.reconcile();
    assert_eq!(world.count("ScaleClusterFailure"), 1);
    settle(&mut world);
}

#[test]
fn a_deleted_cluster_takes_its_replicas_along_and_they_go_first() {
    let mut world = with_replicas(2);
    world.cluster.deleting = true;
    world.reconcile();
    let pods = &world.observed.pods;
    for (name, pod) in pods {
        assert_eq!(pod.terminating, *name != World::instance(), "{name}");
    }
    for _ in 0..30 {
        world.reconcile();
        world.progress();
        world.wait(1);
    }
    assert!(world.gone);
    assert_eq!(objects(&world), []);
    world.check_stream();
}

#[test]
fn a_replica_on_a_volume_of_another_kind_has_its_own() {
    let mut world = with_replicas(0);
    let mut other = replica("hippo-mine", "r-9", false);
    if let Ok(wanted) = &mut other.wanted {
        wanted.storage.kind = StorageKind::EmptyDir;
    }
    world.cluster.replicas.push(other);
    settle(&mut world);
    assert_eq!(
        world.observed.claims.len(),
        1,
        "only the primary has a claim"
    );
    assert_eq!(world.observed.pods.len(), 2);
}

/// A replica is far behind, or near.
fn lags(world: &mut World, name: &InstanceName, bytes: u64) {
    let agent = world.observed.agents.get_mut(name).expect("it is heard");
    agent.lag_bytes = bytes;
    world.reconcile();
}

#[test]
fn a_replica_that_falls_behind_is_told_once_and_so_is_its_return() {
    let mut world = with_replicas(1);
    let name = names(&world)[0].clone();
    for bytes in [200 << 20, 300 << 20, 100 << 20, 1000, 50 << 20, 0] {
        lags(&mut world, &name, bytes);
    }
    assert_eq!(world.count("ReplicaLagging"), 1);
    assert_eq!(world.count("ReplicaCaughtUp"), 1);
    let told = world.told();
    for event_type in [EventType::ReplicaLagging, EventType::ReplicaCaughtUp] {
        let mut of_type = told.iter();
        let one = of_type.find(|event| event.event_type() == event_type);
        let payload = &one.expect("told").payload;
        assert_eq!(payload.get(Field::Timeline), Some(&Datum::Number(1)));
        assert_eq!(payload.text(Field::Lsn), Some("0/3000148"));
    }
}

#[test]
fn a_replica_that_is_rewound_or_copied_anew_is_an_operation_with_an_end() {
    let mut world = with_replicas(1);
    let name = names(&world)[0].clone();
    for phase in [
        AgentPhase::Rewinding,
        AgentPhase::Cloning,
        AgentPhase::Recovering,
    ] {
        world.say_of(&name, phase, None);
        world.reconcile();
        assert!(!world.status.replicas[0].ready);
        assert!(world.status.is_ready(), "the cluster serves");
    }
    settle(&mut world);
    assert_eq!(world.count("RewindReplica"), 1);
    assert_eq!(world.count("RewindReplicaCompleted"), 1);
    assert_eq!(world.count("ScaleCluster"), 1);

    world.say_of(&name, AgentPhase::Cloning, None);
    world.reconcile();
    world.wait(61);
    world.say_of(&name, AgentPhase::Failed, Some("no space left on device"));
    world.reconcile();
    assert_eq!(world.count("RewindReplicaFailure"), 1);
    world.check_stream();
}

/// All that is told of replicas.
pub fn told() -> BTreeSet<EventType> {
    let mut world = with_replicas(2);
    let name = names(&world)[0].clone();
    lags(&mut world, &name, 1 << 30);
    lags(&mut world, &name, 0);
    world.say_of(&name, AgentPhase::Rewinding, None);
    world.reconcile();
    settle(&mut world);
    world.say_of(&name, AgentPhase::Cloning, None);
    world.reconcile();
    world.wait(61);
    world.say_of(&name, AgentPhase::Failed, Some("no space left on device"));
    world.reconcile();
    settle(&mut world);
    world.cluster.replica_count = 1;
    settle(&mut world);
    let mut wrong = replica("hippo-mine", "r-9", false);
    wrong.wanted = Err("spec.replicastorage.size: it is empty".to_owned());
    world.cluster.replicas.push(wrong);
    world.reconcile();
    project(&mut world);
    world.cluster.replica_count = 0;
    world.reconcile();
    world.cluster.deleting = true;
    world.reconcile();
    world.told().iter().map(Event::event_type).collect()
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Scale(u32),
    Make(u8),
    Remove(usize),
    Reconcile(usize),
    Progress,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        (0u32..4).prop_map(Act::Scale),
        (0u8..6).prop_map(Act::Make),
        (0usize..6).prop_map(Act::Remove),
        (0usize..5).prop_map(Act::Reconcile),
        Just(Act::Progress),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_there_are_as_many_as_the_number_says(acts in prop::collection::vec(act(), 0..40)) {
        let mut world = with_replicas(1);
        for (at, act) in acts.into_iter().enumerate() {
            match act {
                Act::Scale(count) => world.cluster.replica_count = count,
                Act::Make(letter) => {
                    let name = format!("hippo-aaa{}", char::from(b'a' + letter));
                    if world.cluster.replicas.iter().all(|known| known.name.as_str() != name) {
                        world.cluster.replicas.push(replica(&name, &format!("hand-{at}"), false));
                    }
                }
                Act::Remove(nth) => {
                    if let Some(name) = objects(&world).get(nth).cloned() {
                        remove(&mut world, &name);
                    }
                }
                Act::Reconcile(steps) => {
                    world.reconcile_cut_off(steps);
                    // The process may end between the status and what it notes in the spec.
                    if steps > 2 {
                        project(&mut world);
                    }
                }
                Act::Progress => world.progress(),
            }
            world.wait(1);
        }
        settle(&mut world);
        settle(&mut world);
        let count = world.cluster.replica_count as usize;
        prop_assert_eq!(names(&world).len(), count);
        prop_assert_eq!(objects(&world), names(&world));
        prop_assert_eq!(world.observed.pods.len(), count + 1);
        prop_assert_eq!(world.observed.has(&[Fixture::ReplicaService]), count > 0);
        world.check_stream();
    }
}
