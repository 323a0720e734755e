//! Backups by pgBackRest: the repository, its stanza, archiving, and each backup with exactly one end.

mod cancelled;
mod damaged;

use std::collections::BTreeSet;

use pgo_core::{
    AgentPhase, Archive, Backup, BackupRequest, ConditionStatus, Fill, Fixture, Plan, Step,
    backup::options::BackupOptions,
};
use pgo_events::{Datum, Event, EventType, Field};
use pgo_ids::OperationId;
use proptest::prelude::*;

use crate::{
    replicas::{self, names},
    world::{World, backups},
};

const IDS: [&str; 3] = [
    "25927091-b343-4017-be4b-71575f0b3eb5",
    "9c0f4c0e-6d29-4a86-9f9c-2b5f0c4d7a11",
    "0c9de7c2-0f0e-4b0c-8f55-4a2d3f6a7e10",
];

/// A cluster with backups, at rest.
fn with_backups() -> World {
    let mut world = World::new();
    world.wanted().backups = Some(backups());
    world.settle();
    world
}

fn ask(world: &mut World, at: usize, options: &str) -> OperationId {
    let operation: OperationId = IDS[at].parse().expect("an id");
    world.cluster.backups.push(BackupRequest {
        operation,
        actor: "alice".to_owned(),
        options: BackupOptions::parse(options).map_err(|error| error.to_string()),
    });
    operation
}

/// The backup that the repository is asked for now.
fn asked(plan: &Plan) -> Option<&Step> {
    let mut steps = plan.steps.iter();
    steps.find(|step| matches!(step, Step::Backup { .. }))
}

fn story(world: &World, id: OperationId) -> Vec<Event> {
    let told = world.told();
    told.into_iter()
        .filter(|event| event.operationid == id)
        .collect()
}

fn types(events: &[Event]) -> Vec<EventType> {
    events.iter().map(Event::event_type).collect()
}

fn failure(world: &World, id: OperationId) -> String {
    let story = story(world, id);
    assert_eq!(
        types(&story).last(),
        Some(&EventType::CreateBackupFailure),
        "{story:?}"
    );
    let last = story.last().expect("told");
    last.cause.clone().expect("a cause")
}

fn archives(world: &mut World, error: Option<&str>) {
    let since = error.map(|_| world.now);
    world.archive = Some(Archive {
        error: error.map(str::to_owned),
        failing_since: since,
        last_archived: Some("000000010000000000000001".to_owned()),
        waiting: if error.is_some() { 3 } else { 0 },
    });
    world.say(AgentPhase::Running, None);
}

#[test]
fn a_cluster_with_backups_gets_a_repository_and_a_stanza_and_then_rests() {
    let mut world = with_backups();
    let there = [Fixture::Repository, Fixture::RepositoryService];
    assert!(world.observed.has(&there));
    assert!(world.observed.repository.claim.is_some());
    let stanza = world.status.stanza.clone().expect("a stanza");
    assert!(stanza.made && stanza.attempt == 1, "{stanza:?}");
    assert_eq!(world.reconcile(), Plan::default());
    // Nobody asked for it: it is no operation.
    assert_eq!(world.count("CreateBackup"), 0);
    let mut without = World::new();
    without.settle();
    assert!(!without.observed.has(&there[..1]) && without.status.stanza.is_none());
}

#[test]
fn a_backup_is_told_from_its_begin_to_its_end() {
    let mut world = with_backups();
    let id = ask(&mut world, 0, "--type=full");
    let plan = world.reconcile();
    let Some(Step::Backup {
        primary, options, ..
    }) = asked(&plan)
    else {
        panic!("{plan:?}");
    };
    assert_eq!(primary.path, "/pgdata/hippo");
    assert_eq!(options, &["--type=full"]);
    let agent = world.observed.repository.agent.as_mut().expect("heard");
    agent.running.as_mut().expect("it runs").percent = 60;
    assert_eq!(asked(&world.reconcile()), None, "it is known");
    world.progress();
    world.reconcile();
    let story = story(&world, id);
    let progress = EventType::CreateBackupProgress;
    assert_eq!(
        types(&story),
        [
            EventType::CreateBackup,
            progress,
            progress,
            progress,
            EventType::CreateBackupCompleted
        ]
    );
    let steps: Vec<_> = story
        .iter()
        .filter_map(|event| event.step.clone())
        .collect();
    assert_eq!(
        steps,
        [
            "files are copied from the primary",
            "25 % copied",
            "50 % copied"
        ]
    );
    let end = story.last().expect("told");
    let text = |text: &str| Some(Datum::Text(text.to_owned()));
    let detail = |field: Field| end.payload.get(field).cloned();
    assert_eq!(detail(Field::BackupType), text("pgbackrest"));
    assert_eq!(detail(Field::Path), text("20261015-101112F"));
    assert_eq!(detail(Field::SizeBytes), Some(Datum::Number(23)));
    assert_eq!(detail(Field::StopWal), text("000000010000000000000003"));
    let last = world.status.last_backup.clone().expect("a backup");
    assert_eq!(
        (last.label.as_str(), last.size_bytes),
        ("20261015-101112F", 23)
    );
    world.cluster.backups.clear();
    assert_eq!(world.reconcile(), Plan::default());
    world.check_stream();
}

#[test]
fn what_cannot_be_backed_up_is_refused_with_the_reason() {
    let refused = |prepare: &dyn Fn(&mut World), options: &str| {
        let mut world = with_backups();
        prepare(&mut world);
        let id = ask(&mut world, 0, options);
        assert_eq!(asked(&world.reconcile()), None);
        assert_eq!(story(&world, id).len(), 2);
        failure(&world, id)
    };
    let without = |world: &mut World| world.wanted().backups = None;
    assert_eq!(
        refused(&without, ""),
        "hippo does not have pgbackrest enabled"
    );
    assert_eq!(
        refused(&|_| {}, "--type=nope"),
        "Invalid type provided for pgBackRest backup"
    );
    let no_primary = |world: &mut World| world.observed.pods.clear();
    assert_eq!(
        refused(&no_primary, ""),
        "primary pod is not in Ready state"
    );
    let no_repository = |world: &mut World| {
        world.observed.fixtures.remove(&Fixture::Repository);
    };
    assert_eq!(
        refused(&no_repository, ""),
        "backrestrepo pod not found for cluster hippo"
    );
    let another = |world: &mut World| {
        ask(world, 1, "");
        world.reconcile();
    };
    let told = refused(&another, "");
    assert!(told.starts_with("another backup is going on"), "{told}");
    let made_before = |world: &mut World| {
        let mut before = world.cluster.desired.clone().expect("a spec");
        before.backups = None;
        world.pod().form = Some(before.pod_form());
    };
    let told = refused(&made_before, "");
    assert!(
        told.contains("kubectl delete pod hippo -n pgouser1"),
        "{told}"
    );
}

#[test]
fn a_backup_that_fails_says_what_the_repository_says() {
    let mut world = with_backups();
    let id = ask(&mut world, 0, "");
    world.reconcile();
    // Another request, which is refused, is nothing to it.
    ask(&mut world, 1, "");
    world.reconcile();
    assert_eq!(types(&story(&world, id)).len(), 2, "its progress is told");
    world.fail_work("no space left on device");
    world.reconcile();
    assert_eq!(failure(&world, id), "no space left on device");
    assert_eq!(
        (&world.status.backup, &world.status.last_backup),
        (&None, &None)
    );
    world.check_stream();
}

#[test]
fn a_repository_that_ends_interrupts_a_backup_and_one_that_stays_away_fails_it() {
    let mut world = with_backups();
    let id = ask(&mut world, 0, "");
    world.reconcile();
    world.observed.repository.pod = None;
    for _ in 0..5 {
        world.reconcile();
        world.progress();
    }
    assert_eq!(failure(&world, id), "interrupted: gone");

    let id = ask(&mut world, 1, "");
    world.reconcile();
    world.reconcile();
    world.observed.repository.pod = None;
    world.reconcile();
    world.wait(9 * 60);
    world.reconcile();
    assert!(world.status.backup.is_some(), "a node may have gone");
    world.wait(60);
    world.reconcile();
    let told = failure(&world, id);
    assert_eq!(
        told,
        "after 10 min the repository of backups has no pod now"
    );
    world.check_stream();
}

#[test]
fn a_backup_that_nobody_can_begin_fails_in_time() {
    let mut world = with_backups();
    let id = ask(&mut world, 0, "");
    world.reconcile_cut_off(0);
    world.observed.pods.clear();
    world.reconcile_cut_off(0);
    world.wait(5 * 60);
    world.reconcile_cut_off(0);
    let told = failure(&world, id);
    assert!(told.contains("no instance serves as the primary"), "{told}");
}

#[test]
fn a_repository_that_is_full_begins_none_and_the_cause_is_told_soon() {
    let mut world = with_backups();
    let id = ask(&mut world, 0, "");
    world.reconcile_cut_off(0);
    fill_repository(&mut world);
    world.wait(29);
    world.reconcile_cut_off(0);
    assert!(world.status.backup.is_some());
    world.wait(1);
    world.reconcile_cut_off(0);
    assert_eq!(
        failure(&world, id),
        "it could not begin: volume hippo-pgbr-repo of the repository is full"
    );
}

#[test]
fn it_is_asked_for_until_the_repository_knows_it() {
    let mut world = with_backups();
    ask(&mut world, 0, "");
    for _ in 0..3 {
        assert!(asked(&world.reconcile_cut_off(0)).is_some());
        world.wait(1);
    }
    assert!(asked(&world.reconcile()).is_some());
    assert_eq!(asked(&world.reconcile()), None);
    // A repository that has forgotten it has lost its volume: it is not begun anew behind anybody's back.
    let agent = world.observed.repository.agent.as_mut().expect("heard");
    agent.running = None;
    assert_eq!(asked(&world.reconcile()), None);
    let told = failure(&world, IDS[0].parse().expect("an id"));
    assert!(told.contains("does not know of it any more"), "{told}");
}

#[test]
fn files_come_from_a_replica_that_is_near_and_else_from_the_primary() {
    let from = |lag: u64, options: &str| {
        let mut world = World::unseen();
        world.wanted().backups = Some(backups());
        world.cluster.replica_count = 1;
        replicas::settle(&mut world);
        let replica = names(&world)[0].clone();
        let agent = world.observed.agents.get_mut(&replica).expect("heard");
        agent.lag_bytes = lag;
        ask(&mut world, 0, options);
        let plan = world.reconcile();
        match asked(&plan) {
            Some(Step::Backup { replica, .. }) => replica.clone().map(|host| host.path),
            other => panic!("{other:?}"),
        }
    };
    let path = from(0, "").expect("a replica");
    assert!(path.starts_with("/pgdata/hippo-"), "{path}");
    assert_eq!(from(64 << 20, ""), None);
    assert_eq!(from(0, "--no-backup-standby"), None);
}

#[test]
fn a_stanza_that_cannot_be_made_is_tried_again_and_the_condition_says_why() {
    let mut world = World::new();
    world.wanted().backups = Some(backups());
    let asks = |plan: &Plan| {
        let mut steps = plan.steps.iter();
        steps.any(|step| matches!(step, Step::CreateStanza { .. }))
    };
    while !asks(&world.reconcile()) {
        world.progress();
    }
    world.fail_work("the stanza is of another database");
    assert!(!asks(&world.reconcile()), "a pause first");
    let condition = world.condition("Archiving");
    assert_eq!(
        (condition.status, condition.reason.as_str()),
        (ConditionStatus::False, "StanzaNotCreated")
    );
    assert!(
        condition.message.ends_with("another database"),
        "{condition:?}"
    );
    world.wait(5);
    assert!(asks(&world.reconcile()));
    world.progress();
    world.settle();
    assert!(
        world
            .status
            .stanza
            .as_ref()
            .is_some_and(|stanza| stanza.made)
    );
}

fn fill_repository(world: &mut World) {
    let agent = world.observed.repository.agent.as_mut();
    agent.expect("it is heard").volume = Some(Fill {
        bytes: 100 << 20,
        used: 100 << 20,
    });
}

#[test]
fn a_full_volume_of_the_repository_is_the_cause_whatever_pgbackrest_says() {
    let mut world = with_backups();
    archives(&mut world, Some("[039]: client state is 'data-get'"));
    fill_repository(&mut world);
    world.reconcile();
    world.wait(30);
    world.reconcile();
    world.reconcile();
    let why =
        "volume hippo-pgbr-repo of the repository is full ([039]: client state is 'data-get')";
    let condition = world.condition("Archiving");
    assert!(condition.message.ends_with(why), "{}", condition.message);
    let told = world.told();
    let event = told
        .iter()
        .find(|event| event.event_type() == EventType::ArchivingFailed);
    let cause = &event.expect("told").cause;
    assert!(
        cause.as_ref().is_some_and(|cause| cause.ends_with(why)),
        "{cause:?}"
    );
}

#[test]
fn while_wal_stays_on_a_volume_that_fills_the_condition_says_how_long_there_is_room() {
    let mut world = with_backups();
    archives(&mut world, Some("[039]: refused"));
    let fill = |world: &mut World, percent: u64| {
        let primary = world.primary.clone();
        let agent = world.observed.agents.get_mut(&primary).expect("heard");
        agent.volume = Some(Fill {
            bytes: 100 << 20,
            used: percent << 20,
        });
        world.reconcile();
        world.reconcile();
        world.condition("Archiving").message.clone()
    };
    let stays = "WAL stays on the volume of hippo, as it cannot be archived: [039]: refused";
    assert_eq!(fill(&mut world, 60), stays);
    world.wait(60);
    let filling =
        "; volume hippo is 72% used: 72 of 100 MiB; at the present rate it is full in 2 min";
    assert_eq!(fill(&mut world, 72), format!("{stays}{filling}"));
    assert_eq!(fill(&mut world, 50), stays);
}

#[test]
fn archiving_is_a_condition_and_told_when_it_fails_for_a_while() {
    let mut world = with_backups();
    assert_eq!(world.condition("Archiving").reason, "NothingArchived");
    archives(&mut world, None);
    world.reconcile();
    assert_eq!(world.condition("Archiving").status, ConditionStatus::True);
    archives(&mut world, Some("the repository does not answer"));
    world.reconcile();
    let condition = world.condition("Archiving");
    assert_eq!(condition.reason, "ArchivingFailed");
    assert_eq!(world.count("ArchivingFailed"), 0, "a moment is no news");
    world.wait(30);
    world.reconcile();
    world.reconcile();
    assert_eq!(world.count("ArchivingFailed"), 1);
    // What waited is archived before it counts as over.
    archives(&mut world, None);
    let agent = world.observed.agents.values_mut().next().expect("heard");
    agent.archive.as_mut().expect("it archives").waiting = 2;
    world.reconcile();
    assert_eq!(world.count("ArchivingRecovered"), 0);
    archives(&mut world, None);
    world.reconcile();
    assert_eq!(world.count("ArchivingRecovered"), 1);
    let told = world.told();
    let of_it = |event: &&Event| event.event_type() == EventType::ArchivingRecovered;
    assert_eq!(
        told.iter().find(of_it).and_then(|event| event.durationms),
        Some(30_000)
    );
    world.wanted().backups = None;
    world.reconcile();
    let mut conditions = world.status.conditions.iter();
    assert!(conditions.all(|condition| condition.name != "Archiving"));
}

#[test]
fn a_repository_goes_when_no_instance_archives_to_it_and_its_claim_stays() {
    let mut world = with_backups();
    world.wanted().backups = None;
    world.reconcile();
    assert!(world.observed.has(&[Fixture::Repository]));
    assert_eq!(world.condition("UpToDate").reason, "RestartNeeded");
    // Somebody makes the pod anew.
    world.pod().terminating = true;
    world.progress();
    world.settle();
    assert!(!world.observed.has(&[Fixture::Repository]));
    assert!(!world.observed.has(&[Fixture::RepositoryService]));
    assert!(world.observed.repository.claim.is_some());
}

#[test]
fn a_deletion_keeps_the_backups_or_removes_them_after_their_repository() {
    for removes in [false, true] {
        let mut world = with_backups();
        let id = ask(&mut world, 0, "");
        world.reconcile();
        world.cluster.delete_requests = vec![pgo_core::DeleteRequest {
            operation: IDS[2].parse().expect("an id"),
            actor: String::new(),
            options: pgo_core::DeleteOptions {
                data: false,
                backups: removes,
            },
        }];
        for _ in 0..40 {
            world.reconcile();
            world.progress();
            world.wait(1);
        }
        assert!(world.gone, "{:?}", world.status);
        assert_eq!(failure(&world, id), "the cluster was deleted before");
        assert_eq!(world.observed.backups.is_empty(), removes);
        assert!(world.observed.repository.pod.is_none());
        world.check_stream();
    }
}

#[test]
fn a_claim_that_waits_in_vain_makes_way() {
    let mut world = with_backups();
    let claim = world.observed.repository.claim.as_mut().expect("a claim");
    (claim.phase, claim.has_volume) = (pgo_core::ClaimPhase::Pending, false);
    let former = claim.uid.clone();
    let storage = |world: &mut World| {
        let backups = world.wanted().backups.as_mut().expect("backups");
        backups.storage.class = Some("fast".to_owned());
    };
    storage(&mut world);
    let steps = world.reconcile_cut_off(1).steps;
    assert!(matches!(steps[0], Step::RemoveFixture { .. }), "{steps:?}");
    world.progress();
    world.settle();
    let claim = world.observed.repository.claim.as_ref().expect("a claim");
    assert_ne!(claim.uid, former);
    let key = (Backup::Claim, "hippo-pgbr-repo".to_owned());
    assert_eq!(world.observed.backups.get(&key), Some(&claim.uid));
}

/// What is told of backups.
pub fn told() -> BTreeSet<EventType> {
    let mut world = with_backups();
    ask(&mut world, 0, "");
    world.reconcile();
    world.reconcile();
    world.progress();
    ask(&mut world, 1, "--type=nope");
    archives(&mut world, Some("no answer"));
    world.wait(30);
    world.reconcile();
    archives(&mut world, None);
    world.reconcile();
    world.told().iter().map(Event::event_type).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever happens: what is carried out leaves nothing to do, and each request has one end.
    #[test]
    fn each_request_has_exactly_one_end(
        happenings in prop::collection::vec((0..8u8, 0..4usize), 1..40),
    ) {
        let mut world = with_backups();
        let mut next = 0;
        for (what, steps) in happenings {
            match what {
                0 if next < IDS.len() => {
                    ask(&mut world, next, "");
                    next += 1;
                }
                1 => world.observed.repository.pod = None,
                2 => world.observed.repository.agent = None,
                3 => world.wait(120),
                4 => world.fall_silent(),
                5 if world.observed.repository.agent.as_ref().is_some_and(|a| a.running.is_some()) => {
                    world.fail_work("it failed");
                }
                6 => world.progress_repository(),
                _ => world.progress(),
            }
            world.reconcile_cut_off(steps);
            world.check_stream();
        }
        for _ in 0..20 {
            world.progress();
            world.reconcile();
            world.wait(60);
        }
        world.settle();
        let ended = |id: &str| {
            let id: OperationId = id.parse().expect("an id");
            let story = story(&world, id);
            let last = types(&story).last().copied();
            matches!(
                last,
                Some(EventType::CreateBackupFailure | EventType::CreateBackupCompleted)
            )
        };
        prop_assert!(IDS.iter().take(next).all(|id| ended(id)));
        prop_assert_eq!(world.reconcile(), Plan::default());
        world.check_stream();
    }
}
