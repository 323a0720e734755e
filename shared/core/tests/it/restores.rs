//! Restores by pgBackRest: the cluster serves until the new instance has reached its target, and each has exactly one end.

mod beside;
mod cancelled;
mod damaged;
mod fates;
mod kept;

use std::collections::BTreeSet;

use pgo_core::{
    AgentPhase, Fixture, Plan, RestoreFacts, RestoreRequest, RestoreStage, Role, Step, StorageKind,
    restore::options::RestoreOptions,
};
use pgo_events::{Datum, Event, EventType, Field};
use pgo_ids::{InstanceName, OperationId, Term};

use crate::{
    replicas::{self, names},
    world::{World, backups},
};

const IDS: [&str; 4] = [
    "25927091-b343-4017-be4b-71575f0b3eb5",
    "9c0f4c0e-6d29-4a86-9f9c-2b5f0c4d7a11",
    "0c9de7c2-0f0e-4b0c-8f55-4a2d3f6a7e10",
    "7d5e3f0a-1b2c-4d3e-8f4a-5b6c7d8e9f0a",
];

const TARGET: &str = "2026-10-15 10:00:00+00";

/// A cluster with backups and so many replicas, at rest.
fn with_backups(replicas: u32) -> World {
    let mut world = World::unseen();
    world.wanted().backups = Some(backups());
    world.cluster.replica_count = replicas;
    replicas::settle(&mut world);
    world
}

fn id(at: usize) -> OperationId {
    IDS[at].parse().expect("an id")
}

fn name(text: &str) -> InstanceName {
    text.parse().expect("a name")
}

fn ask(world: &mut World, at: usize, to: &str) -> OperationId {
    world.cluster.restores.push(RestoreRequest {
        operation: id(at),
        actor: "alice".to_owned(),
        to: Some(to.to_owned()),
        node_label: None,
        options: RestoreOptions::parse("", TARGET).map_err(|error| error.to_string()),
    });
    id(at)
}

/// What the agent of the new instance says of its restore.
fn says(world: &mut World, instance: &InstanceName, at: usize, facts: RestoreFacts) {
    if let Some(agent) = world.observed.agents.get_mut(instance) {
        agent.restore = Some(RestoreFacts {
            operation: Some(id(at)),
            ..facts
        });
    }
}

fn reached() -> RestoreFacts {
    RestoreFacts {
        reached: true,
        percent: 100,
        last_commit: Some("2026-10-15T09:59:58Z".parse().expect("a time")),
        lsn: "0/5000148".to_owned(),
        backup: "20261015-093000F".to_owned(),
        ..RestoreFacts::default()
    }
}

fn copied(percent: u32) -> RestoreFacts {
    RestoreFacts {
        percent,
        ..RestoreFacts::default()
    }
}

/// Goes on until the agent of the new instance is heard; the backups reach the target.
fn until_heard(world: &mut World, instance: &InstanceName) {
    for _ in 0..20 {
        world.reconcile();
        if world.observed.agent(instance).is_some() {
            return;
        }
        world.progress();
        world.wait(1);
    }
    panic!("{instance} is not made: {:?}", world.status.restore);
}

fn removed(plan: &Plan) -> Vec<&str> {
    let steps = plan.steps.iter().filter_map(|step| match step {
        Step::RemovePod { instance, .. } => Some(instance.as_str()),
        _ => None,
    });
    steps.collect()
}

fn story(world: &World, id: OperationId) -> Vec<Event> {
    let told = world.told();
    told.into_iter()
        .filter(|event| event.operationid == id)
        .collect()
}

fn last(world: &World, id: OperationId) -> Event {
    story(world, id).last().expect("told").clone()
}

fn failure(world: &World, id: OperationId) -> String {
    let last = last(world, id);
    assert_eq!(last.event_type(), EventType::RestoreClusterFailure);
    last.cause.expect("a cause")
}

/// The new instance takes writes once the Lease is made for it.
fn takes_over(world: &mut World, instance: &InstanceName) {
    for _ in 0..20 {
        world.reconcile();
        replicas::project(world);
        if world.observed.lease_restore.is_some() {
            world.primary = instance.clone();
        }
        world.progress();
        world.wait(1);
        if world.status.restore.is_none() {
            return;
        }
    }
    panic!("it does not take over: {:?}", world.status.restore);
}

/// The end of a restore says from what, up to where, and where the data is as it was.
fn tells_what_was_restored(end: &Event) {
    assert_eq!(end.event_type(), EventType::RestoreClusterCompleted);
    let text = |text: &str| Some(Datum::Text(text.to_owned()));
    let detail = |field: Field| end.payload.get(field).cloned();
    assert_eq!(detail(Field::Volume), text("hippo"));
    assert_eq!(detail(Field::Lsn), text("0/5000148"));
    assert_eq!(detail(Field::Timeline), Some(Datum::Number(1)));
    assert_eq!(detail(Field::SizeBytes), Some(Datum::Number(4096)));
    assert_eq!(detail(Field::StartWal), text("000000010000000000000002"));
    assert_eq!(detail(Field::StopWal), text("000000010000000000000003"));
    let cause = end.cause.clone().expect("a cause");
    assert!(cause.contains("backup 20261015-093000F"), "{cause}");
    assert!(cause.contains("PersistentVolumeClaim hippo"), "{cause}");
}

#[test]
fn a_cluster_serves_until_the_new_instance_has_reached_the_target() {
    let (mut world, new) = (with_backups(0), name("hippo-abcd"));
    let id = ask(&mut world, 0, "hippo-abcd");
    let plan = world.reconcile();
    let check = plan.steps.iter().find_map(|step| match step {
        Step::CheckRestore {
            primary, options, ..
        } => Some((primary.clone().expect("it serves").path, options.clone())),
        _ => None,
    });
    let options = vec!["--type=time".to_owned(), format!("--target={TARGET}")];
    assert_eq!(check, Some(("/pgdata/hippo".to_owned(), options)));
    assert!(!world.observed.claims.contains_key(&new), "checked first");
    until_heard(&mut world, &new);
    let desired = world.cluster.desired_of(&world.status, &new).expect("it");
    assert_eq!(
        desired.restore.expect("an order").options,
        ["--type=time", &format!("--target={TARGET}")]
    );
    let pod = world.observed.pods.get(&new).expect("a pod");
    let service = Role::Restoring.service(&world.cluster.name);
    assert_eq!(pod.service.as_ref(), Some(&service));
    for percent in [10, 60, 100] {
        says(&mut world, &new, 0, copied(percent));
        assert_eq!(removed(&world.reconcile()), Vec::<&str>::new());
        assert!(world.status.is_ready());
    }
    says(&mut world, &new, 0, reached());
    assert_eq!(removed(&world.reconcile()), ["hippo"]);
    let lease = world.observed.fixtures[&Fixture::Lease].clone();
    // While it ends, the Lease is its own.
    world.reconcile();
    assert_eq!(world.observed.fixtures[&Fixture::Lease], lease);
    assert_eq!(world.condition("Ready").reason, "Restoring");
    world.progress();
    assert!(!world.observed.pods.contains_key(&name("hippo")));
    takes_over(&mut world, &new);
    assert_ne!(world.observed.fixtures[&Fixture::Lease], lease);
    world.settle();
    tells_what_was_restored(&last(&world, id));
    assert_eq!(world.status.first(&world.cluster.name), new);
    assert_eq!(world.status.current_primary, Some(new.clone()));
    assert_eq!(world.status.retired, [name("hippo")]);
    assert!(world.observed.claims.contains_key(&name("hippo")));
    // It is made for its restore ever after, and that is what is wanted.
    assert_eq!(world.condition("UpToDate").reason, "AsWanted");
    let steps: Vec<String> = story(&world, id)
        .into_iter()
        .filter_map(|one| one.step)
        .collect();
    assert_eq!(steps.len(), 7, "{steps:?}");
    assert_eq!(steps[1..4], ["25 % copied", "50 % copied", "75 % copied"]);
    assert!(
        steps[5].contains("is reached: the last commit was at"),
        "{steps:?}"
    );
    world.check_stream();
}

#[test]
fn its_lease_is_above_each_term_that_was_seen() {
    let (mut world, new) = (with_backups(0), name("hippo-abcd"));
    ask(&mut world, 0, "hippo-abcd");
    until_heard(&mut world, &new);
    let agent = world
        .observed
        .agents
        .get_mut(&name("hippo"))
        .expect("heard");
    agent.term = Term(41);
    world.reconcile();
    says(&mut world, &new, 0, reached());
    let mut made = None;
    for _ in 0..6 {
        let plan = world.reconcile();
        let lease = plan.steps.iter().find_map(|step| match step {
            Step::MakeLease(first) => Some(first.clone()),
            _ => None,
        });
        made = made.or(lease);
        world.progress();
    }
    let made = made.expect("a Lease");
    assert_eq!((made.holder, made.take_up), (new, true));
    assert!(made.term > Term(41), "{:?}", made.term);
}

#[test]
fn a_target_that_is_not_in_the_backups_changes_nothing() {
    let mut world = with_backups(1);
    let before = world.observed.pods.clone();
    let id = ask(&mut world, 0, "hippo-abcd");
    world.reconcile();
    world.fail_work("hippo can be restored to any point between 1 and 2");
    world.reconcile();
    assert_eq!(
        failure(&world, id),
        "hippo can be restored to any point between 1 and 2; nothing was changed"
    );
    world.cluster.restores.clear();
    replicas::settle(&mut world);
    assert_eq!(world.observed.pods, before);
    assert!(!world.observed.claims.contains_key(&name("hippo-abcd")));
    assert_eq!(world.status.restore, None);
}

#[test]
fn what_a_failed_restore_has_made_goes_and_the_cluster_stays() {
    let (mut world, new) = (with_backups(0), name("hippo-abcd"));
    let uid = world.pod().uid.clone();
    let id = ask(&mut world, 0, "hippo-abcd");
    until_heard(&mut world, &new);
    let hopeless = RestoreFacts {
        error: Some("the target is not in the archive".to_owned()),
        hopeless: true,
        ..copied(100)
    };
    says(&mut world, &new, 0, hopeless);
    assert_eq!(removed(&world.reconcile()), ["hippo-abcd"]);
    assert_eq!(
        failure(&world, id),
        "instance hippo-abcd: the target is not in the archive; nothing was changed"
    );
    // Another one waits until that is gone.
    let again = ask(&mut world, 1, "hippo-efgh");
    world.reconcile();
    assert!(story(&world, again).is_empty());
    for _ in 0..6 {
        world.progress();
        world.reconcile();
    }
    assert!(!world.observed.claims.contains_key(&new));
    assert!(!world.observed.pods.contains_key(&new));
    assert_eq!(world.pod().uid, uid);
    assert!(!story(&world, again).is_empty());
    world.check_stream();
}

#[test]
fn an_instance_that_gets_no_further_or_is_not_heard_fails_in_time() {
    let end = |facts: Option<RestoreFacts>, minutes: i64| {
        let (mut world, new) = (with_backups(0), name("hippo-abcd"));
        let id = ask(&mut world, 0, "hippo-abcd");
        until_heard(&mut world, &new);
        says(&mut world, &new, 0, copied(0));
        world.reconcile();
        world.wait(60);
        let agent = world.observed.agents.get_mut(&new).expect("heard");
        agent.restore = None;
        if let Some(facts) = facts {
            says(&mut world, &new, 0, facts);
        }
        world.reconcile();
        world.wait(minutes * 60 - 1);
        world.reconcile();
        let run = world.status.restore.as_ref();
        assert_eq!(run.map(|run| run.stage), Some(RestoreStage::Replaying));
        world.wait(1);
        world.reconcile();
        failure(&world, id)
    };
    let stalled = end(Some(copied(40)), 30);
    assert!(
        stalled.contains("no further for 30 min, at 40 %"),
        "{stalled}"
    );
    let failing = RestoreFacts {
        error: Some("no route to host".to_owned()),
        ..copied(40)
    };
    let failing = end(Some(failing), 10);
    assert!(failing.contains("no route to host"), "{failing}");
    let silent = end(None, 10);
    assert!(silent.contains("does not restore"), "{silent}");
}

#[test]
fn one_that_gets_further_takes_its_time() {
    let (mut world, new) = (with_backups(0), name("hippo-abcd"));
    let id = ask(&mut world, 0, "hippo-abcd");
    until_heard(&mut world, &new);
    for percent in 0..90 {
        says(&mut world, &new, 0, copied(percent));
        world.reconcile();
        world.wait(29 * 60);
    }
    assert_eq!(
        last(&world, id).event_type(),
        EventType::RestoreClusterProgress
    );
}

#[test]
fn the_repository_has_so_much_time_for_its_check() {
    for (seen, minutes, part) in [
        (false, 5, "could not begin the check"),
        (true, 10, "does not come to an end"),
    ] {
        let mut world = with_backups(0);
        let id = ask(&mut world, 0, "hippo-abcd");
        world.reconcile_cut_off(if seen { 9 } else { 0 });
        world.reconcile_cut_off(0);
        world.wait(minutes * 60);
        world.reconcile_cut_off(0);
        let told = failure(&world, id);
        assert!(told.contains(part), "{told}");
        assert_eq!(world.status.restore, None);
    }
    let mut world = with_backups(0);
    let id = ask(&mut world, 0, "hippo-abcd");
    world.reconcile();
    world.observed.repository.pod = None;
    world.reconcile_cut_off(0);
    world.wait(600);
    world.reconcile_cut_off(0);
    let told = failure(&world, id);
    assert!(
        told.contains("has no pod now; nothing was changed"),
        "{told}"
    );
}

#[test]
fn a_check_that_the_repository_forgot_is_ordered_again() {
    let mut world = with_backups(0);
    let id = ask(&mut world, 0, "hippo-abcd");
    world.reconcile_cut_off(9);
    world.reconcile_cut_off(0);
    assert!(world.status.restore.as_ref().is_some_and(|run| run.begun));
    world.forget_work();
    let orders = |plan: &Plan| {
        let is_ours =
            |step: &&Step| matches!(step, Step::CheckRestore { operation, .. } if *operation == id);
        plan.steps.iter().filter(is_ours).count()
    };
    // First it is noted that it is not begun.
    let first = world.reconcile_cut_off(0);
    assert_eq!(orders(&first), 1, "{:?}", first.steps);
}

#[test]
fn instances_that_do_not_stop_come_up_again_as_they_were() {
    let (mut world, new) = (with_backups(1), name("hippo-abcd"));
    let replica = names(&world)[0].clone();
    let id = ask(&mut world, 0, "hippo-abcd");
    until_heard(&mut world, &new);
    says(&mut world, &new, 0, reached());
    assert_eq!(removed(&world.reconcile()), [replica.as_str()], "it first");
    world.progress_of(&replica);
    assert_eq!(removed(&world.reconcile()), ["hippo"]);
    assert!(!world.observed.pods.contains_key(&replica), "none is made");
    world.wait(299);
    assert_eq!(removed(&world.reconcile()), Vec::<&str>::new());
    world.wait(1);
    assert_eq!(removed(&world.reconcile()), ["hippo-abcd"]);
    let told = failure(&world, id);
    assert!(
        told.starts_with("pod hippo has not ended within 5 min"),
        "{told}"
    );
    world.cluster.restores.clear();
    replicas::settle(&mut world);
    assert!(!world.observed.claims.contains_key(&new));
    assert_eq!(world.observed.pods.len(), 2);
    assert_eq!(world.status.first(&world.cluster.name), name("hippo"));
}

#[test]
fn replicas_stop_first_and_come_again_afterwards() {
    let (mut world, new) = (with_backups(2), name("hippo-abcd"));
    let id = ask(&mut world, 0, "hippo-abcd");
    until_heard(&mut world, &new);
    says(&mut world, &new, 0, reached());
    takes_over(&mut world, &new);
    replicas::settle(&mut world);
    assert_eq!(
        last(&world, id).event_type(),
        EventType::RestoreClusterCompleted
    );
    assert_eq!(world.observed.pods.len(), 3);
    assert!(!world.observed.pods.contains_key(&name("hippo")));
    // Another restore finds the cluster as any other, and its first instance is the new one.
    world.cluster.restores.clear();
    let (newer, again) = (name("hippo-efgh"), ask(&mut world, 1, "hippo-efgh"));
    until_heard(&mut world, &newer);
    says(&mut world, &newer, 1, reached());
    world.observed.lease_restore = None;
    takes_over(&mut world, &newer);
    replicas::settle(&mut world);
    let end = last(&world, again);
    assert_eq!(end.event_type(), EventType::RestoreClusterCompleted);
    assert_eq!(world.status.retired, [name("hippo"), new.clone()]);
    assert!(world.observed.claims.contains_key(&new));
    world.check_stream();
}

#[test]
fn one_that_does_not_take_writes_is_told_and_goes_on() {
    let (mut world, new) = (with_backups(1), name("hippo-abcd"));
    let id = ask(&mut world, 0, "hippo-abcd");
    until_heard(&mut world, &new);
    says(&mut world, &new, 0, reached());
    for _ in 0..8 {
        world.reconcile();
        world.progress();
    }
    world.say_of(&new, AgentPhase::Failed, Some("no space left"));
    world.wait(600);
    world.reconcile();
    let told = failure(&world, id);
    assert!(told.contains("no space left"), "{told}");
    assert!(told.contains("is in PersistentVolumeClaim hippo"), "{told}");
    assert_eq!(world.observed.pods.len(), 1, "nobody comes with other data");
    // Mended, it goes on without another word of the restore.
    takes_over(&mut world, &new);
    replicas::settle(&mut world);
    assert_eq!(world.observed.pods.len(), 2);
    world.check_stream();
}

#[test]
fn what_cannot_be_restored_is_refused_with_the_reason() {
    let refused = |prepare: &dyn Fn(&mut World), to: &str| {
        let mut world = with_backups(1);
        prepare(&mut world);
        let id = ask(&mut world, 0, to);
        world.reconcile();
        assert_eq!(story(&world, id).len(), 2);
        failure(&world, id)
    };
    let none = |_: &mut World| {};
    let without = |world: &mut World| world.wanted().backups = None;
    assert_eq!(
        refused(&without, "hippo-abcd"),
        "can't restore, cluster restoring from does not have backrest enabled"
    );
    let in_pods = |world: &mut World| world.wanted().storage.kind = StorageKind::EmptyDir;
    assert!(refused(&in_pods, "hippo-abcd").contains("emptydir"));
    assert!(refused(&none, "hippo").contains("four lower-case letters"));
    assert!(refused(&none, "rhino-abcd").contains("four lower-case letters"));
    let taken = |world: &mut World| {
        let claim = world.claim().clone();
        world.observed.claims.insert(name("hippo-abcd"), claim);
    };
    assert!(refused(&taken, "hippo-abcd").contains("already"));
    let no_repository = |world: &mut World| {
        world.observed.fixtures.remove(&Fixture::Repository);
    };
    assert_eq!(
        refused(&no_repository, "hippo-abcd"),
        "backrestrepo pod not found for cluster hippo"
    );
    let another = |world: &mut World| {
        ask(world, 1, "hippo-efgh");
        world.reconcile();
    };
    let told = refused(&another, "hippo-abcd");
    assert!(told.starts_with("a restore is going on"), "{told}");
    // Who does not serve can be restored.
    let mut world = with_backups(0);
    world.say(AgentPhase::Failed, Some("a damaged file"));
    world.wait(60);
    let id = ask(&mut world, 0, "hippo-abcd");
    world.reconcile();
    assert_eq!(last(&world, id).event_type(), EventType::RestoreCluster);
}

#[test]
fn nothing_else_is_begun_meanwhile() {
    let mut world = with_backups(1);
    let replica = names(&world)[0].clone();
    ask(&mut world, 0, "hippo-abcd");
    world.reconcile();
    world.cluster.failover.push(pgo_core::FailoverRequest {
        operation: id(1),
        actor: "alice".to_owned(),
        target: Some(replica.to_string()),
        planned: false,
    });
    world.cluster.backups.push(pgo_core::BackupRequest {
        operation: id(2),
        actor: "alice".to_owned(),
        options: Ok(pgo_core::backup::options::BackupOptions::default()),
    });
    world.cluster.policies.push(pgo_core::PolicyRequest {
        operation: id(3),
        actor: "alice".to_owned(),
        policy: Ok("gold".to_owned()),
        place: pgo_core::PolicyPlace::default(),
    });
    world.reconcile();
    for id in [id(1), id(2), id(3)] {
        let cause = last(&world, id).cause.expect("a cause");
        assert!(cause.starts_with("a restore is going on"), "{cause}");
    }
}

#[test]
fn a_deletion_ends_it_and_keeps_or_removes_all_data() {
    for data in [false, true] {
        let (mut world, new) = (with_backups(0), name("hippo-abcd"));
        let id = ask(&mut world, 0, "hippo-abcd");
        until_heard(&mut world, &new);
        world.cluster.delete_requests = vec![pgo_core::DeleteRequest {
            operation: self::id(2),
            actor: String::new(),
            options: pgo_core::DeleteOptions {
                data,
                backups: false,
            },
        }];
        for _ in 0..40 {
            world.reconcile();
            world.progress();
            world.wait(1);
        }
        assert!(world.gone, "{:?}", world.status);
        assert_eq!(failure(&world, id), "the cluster was deleted before");
        assert_eq!(world.observed.claims.is_empty(), data);
        world.check_stream();
    }
}

/// All that is told of restores.
pub fn told() -> BTreeSet<EventType> {
    let (mut world, new) = (with_backups(0), name("hippo-abcd"));
    ask(&mut world, 0, "hippo-abcd");
    ask(&mut world, 1, "hippo");
    until_heard(&mut world, &new);
    says(&mut world, &new, 0, reached());
    takes_over(&mut world, &new);
    world.told().iter().map(Event::event_type).collect()
}
