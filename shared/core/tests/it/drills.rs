//! Restore drills: which backup is tried when, and that each has one end that is true.

use std::collections::BTreeSet;

use pgo_core::{
    BackupSet, ConditionStatus, DrillFacts, DrillFound, DrillPlace, DrillPolicy, DrillReport,
    DrillStage, DrillUntried, Plan, RESULT_PROVEN, RestoreRequest, Step,
    restore::options::RestoreOptions,
};
use pgo_events::{Datum, Event, EventType, Field};

use crate::{
    replicas,
    world::{World, backups},
};

pub const FIRST: &str = "20261015-101112F";
pub const SECOND: &str = "20261015-101112F_20261015-111112I";
pub const THIRD: &str = "20261015-101112F_20261015-121112I";

pub const DAY: i64 = 24 * 3600;

/// A cluster at rest whose backups are tried by this policy; it has none.
pub fn with(policy: DrillPolicy) -> World {
    let mut world = World::unseen();
    world.wanted().backups = Some(pgo_core::Backups {
        drills: policy,
        ..backups()
    });
    replicas::settle(&mut world);
    world.observed.drill_place = DrillPlace::Taken;
    world
}

/// The repository has these backups from now on.
pub fn have(world: &mut World, labels: &[&str]) {
    let agent = world
        .observed
        .repository
        .agent
        .as_mut()
        .expect("it is heard");
    let set = |label: &&str| BackupSet {
        label: (*label).to_owned(),
        start_wal: "000000010000000000000002".to_owned(),
        stop_wal: "000000010000000000000003".to_owned(),
        ..BackupSet::default()
    };
    agent.backups = labels.iter().map(set).collect();
}

/// The backup that is tried now.
pub fn tried(world: &World) -> Option<String> {
    let run = world.status.drills.run.as_ref()?;
    Some(run.backup.clone())
}

pub fn made(plan: &Plan) -> Option<&str> {
    plan.steps.iter().find_map(|step| match step {
        Step::MakeDrill { backup, .. } => Some(backup.as_str()),
        _ => None,
    })
}

pub fn removed(plan: &Plan) -> Option<&str> {
    plan.steps.iter().find_map(|step| match step {
        Step::RemoveDrill { uid } => Some(uid.as_str()),
        _ => None,
    })
}

/// The pod of the drill that goes on.
pub fn pod(world: &mut World, uid: &str, found: DrillFound) {
    let run = world.status.drills.run.as_ref().expect("one goes on");
    world.observed.drill = Some(DrillFacts {
        uid: uid.to_owned(),
        operation: run.operation.to_string(),
        terminating: false,
        found,
    });
}

fn report(backup: &str, error: Option<(DrillStage, &str)>) -> DrillFound {
    DrillFound::Report(DrillReport {
        backup: backup.to_owned(),
        stage: error.map_or(DrillStage::Read, |(stage, _)| stage),
        error: error.map(|(_, error)| error.to_owned()),
        untried: None,
        size: 4096,
        timeline: 1,
        lsn: "0/5000148".to_owned(),
        last_commit: "2026-10-15T10:00:00Z".parse().ok(),
        checksums: true,
        structure: false,
    })
}

/// The drill that goes on ends so, and its pod goes.
pub fn ends(world: &mut World, error: Option<(DrillStage, &str)>) {
    let backup = tried(world).expect("one goes on");
    pod(world, "pod", report(&backup, error));
    let plan = world.reconcile();
    assert_ne!(tried(world), Some(backup), "it is over");
    assert_eq!(removed(&plan), Some("pod"));
    world.observed.drill = None;
}

pub fn last(world: &World) -> Event {
    let told = world.told();
    let mut drills = told.into_iter().rev();
    let is_one = |event: &Event| event.event_type().as_str().starts_with("VerifyRestore");
    drills.find(is_one).expect("told")
}

pub fn failure(world: &World) -> String {
    let last = last(world);
    assert_eq!(last.event_type(), EventType::VerifyRestoreFailure);
    last.cause.expect("a cause")
}

#[test]
fn a_backup_is_proven_once_its_report_says_so() {
    let mut world = with(DrillPolicy::Each);
    have(&mut world, &[FIRST]);
    let plan = world.reconcile();
    assert_eq!(made(&plan), Some(FIRST));
    let begun = last(&world);
    assert_eq!(begun.event_type(), EventType::VerifyRestore);
    let path = |event: &Event| event.payload.get(Field::Path).cloned();
    assert_eq!(path(&begun), Some(Datum::Text(FIRST.to_owned())));
    pod(&mut world, "pod", DrillFound::Running);
    assert_eq!(world.reconcile(), Plan::default());
    world.wait(90);
    ends(&mut world, None);
    let end = last(&world);
    assert_eq!(end.event_type(), EventType::VerifyRestoreCompleted);
    let detail = |field: Field| end.payload.get(field).cloned();
    assert_eq!(path(&end), Some(Datum::Text(FIRST.to_owned())));
    assert_eq!(detail(Field::SizeBytes), Some(Datum::Number(4096)));
    assert_eq!(
        detail(Field::Lsn),
        Some(Datum::Text("0/5000148".to_owned()))
    );
    for (field, file) in [(Field::StartWal, 2), (Field::StopWal, 3)] {
        let file = format!("00000001000000000000000{file}");
        assert_eq!(detail(field), Some(Datum::Text(file)));
    }
    let cause = end.cause.clone().expect("a cause");
    assert!(cause.contains("no pg_amcheck"), "{cause}");
    assert!(!cause.contains("no checksums"), "{cause}");
    let proven = world.status.last_proven_restore.clone().expect("proven");
    assert_eq!(
        (proven.backup.as_str(), proven.duration_ms),
        (FIRST, 90_000)
    );
    assert!(world.status.drills.verdicts[FIRST].proven);
    assert_eq!(world.condition(RESULT_PROVEN).status, ConditionStatus::True);
    // That is all, also a day later.
    world.wait(2 * DAY);
    assert_eq!(made(&world.reconcile()), None);
    world.check_stream();
}

#[test]
fn what_is_known_of_a_backup_goes_with_it_and_not_with_a_repository_that_is_made_anew() {
    let mut world = with(DrillPolicy::Each);
    have(&mut world, &[FIRST]);
    world.reconcile();
    ends(&mut world, None);
    let known = |world: &World| world.status.drills.verdicts.contains_key(FIRST);
    // Its pod is there, and has not looked yet.
    have(&mut world, &[]);
    world.reconcile();
    assert!(known(&world));
    have(&mut world, &[FIRST, SECOND]);
    world.reconcile();
    assert!(known(&world));
    have(&mut world, &["20261020-101112F"]);
    world.reconcile();
    assert!(!known(&world));
}

#[test]
fn one_that_fails_is_told_loudly_and_is_not_proven() {
    let mut world = with(DrillPolicy::Each);
    have(&mut world, &[FIRST]);
    world.reconcile();
    ends(&mut world, None);
    have(&mut world, &[FIRST, SECOND]);
    world.reconcile();
    let wrong = (DrillStage::Checksums, "file base/5/1259, block 3");
    ends(&mut world, Some(wrong));
    let told = failure(&world);
    assert_eq!(
        told,
        format!("backup {SECOND}: pages in it have wrong checksums: file base/5/1259, block 3")
    );
    let condition = world.condition(RESULT_PROVEN);
    assert_eq!(condition.status, ConditionStatus::False);
    assert_eq!(condition.message, told);
    let verdict = &world.status.drills.verdicts[SECOND];
    assert_eq!(
        (verdict.proven, verdict.cause.as_ref()),
        (false, Some(&told))
    );
    let proven = world.status.last_proven_restore.as_ref();
    assert_eq!(proven.map(|one| one.backup.as_str()), Some(FIRST));
    // The next one is tried, and the cluster goes on meanwhile.
    assert!(world.status.is_ready());
    have(&mut world, &[FIRST, SECOND, THIRD]);
    world.reconcile();
    ends(&mut world, None);
    assert_eq!(world.condition(RESULT_PROVEN).status, ConditionStatus::True);
    // What is not there any more is forgotten.
    have(&mut world, &[THIRD]);
    world.reconcile();
    let left: Vec<_> = world.status.drills.verdicts.keys().collect();
    assert_eq!(left, [THIRD]);
}

#[test]
fn the_policy_says_which_are_tried() {
    let mut never = with(DrillPolicy::Never);
    have(&mut never, &[FIRST]);
    never.reconcile();
    assert_eq!(tried(&never), None);

    // Each: those from before the first are not gone through, those after it all are, one after the other.
    let mut each = with(DrillPolicy::Each);
    have(&mut each, &["older", FIRST]);
    each.reconcile();
    assert_eq!(tried(&each).as_deref(), Some(FIRST));
    have(&mut each, &["older", FIRST, SECOND, THIRD]);
    ends(&mut each, None);
    for label in [SECOND, THIRD] {
        each.reconcile();
        assert_eq!(tried(&each).as_deref(), Some(label));
        ends(&mut each, None);
    }
    each.reconcile();
    assert_eq!(tried(&each), None);

    let mut daily = with(DrillPolicy::Daily);
    have(&mut daily, &[FIRST]);
    daily.reconcile();
    assert_eq!(tried(&daily).as_deref(), Some(FIRST));
    daily.wait(3600);
    ends(&mut daily, None);
    have(&mut daily, &[FIRST, SECOND]);
    daily.reconcile();
    assert_eq!(tried(&daily), None, "not on the same day");
    have(&mut daily, &[FIRST, SECOND, THIRD]);
    daily.wait(DAY - 3600);
    daily.reconcile();
    assert_eq!(tried(&daily).as_deref(), Some(THIRD), "the newest");
    ends(&mut daily, None);
    daily.wait(2 * DAY);
    daily.reconcile();
    assert_eq!(tried(&daily), None, "there is none that was not tried");
}

/// The last words of one whose repository is away.
pub fn away(backup: &str) -> DrillFound {
    let DrillFound::Report(report) = report(backup, Some((DrillStage::Copy, "refused"))) else {
        panic!("a report");
    };
    DrillFound::Report(DrillReport {
        untried: Some(DrillUntried::Unreachable),
        ..report
    })
}

/// The last words of one whose backup is of a former database, or of a timeline that was left.
fn superseded(backup: &str) -> DrillFound {
    let DrillFound::Report(report) = report(backup, Some((DrillStage::Copy, "timeline 2"))) else {
        panic!("a report");
    };
    DrillFound::Report(DrillReport {
        untried: Some(DrillUntried::Superseded),
        ..report
    })
}

#[test]
fn a_backup_of_a_former_database_or_timeline_is_given_up_at_once_and_not_told_to_be_bad() {
    let mut world = with(DrillPolicy::Each);
    have(&mut world, &[FIRST]);
    world.reconcile();
    let begun = world.now;
    pod(&mut world, "pod", superseded(FIRST));
    assert_eq!(removed(&world.reconcile()), Some("pod"));
    assert_untried(&world, FIRST, "timeline 2");
    assert_eq!(world.now, begun);
    // The first one of the present database has its turn, and the former one none before a day.
    world.observed.drill = None;
    have(&mut world, &[FIRST, SECOND]);
    world.reconcile();
    assert_eq!(tried(&world).as_deref(), Some(SECOND));
    // One that was removed meanwhile is not left to be tried.
    have(&mut world, &[FIRST]);
    pod(&mut world, "other", superseded(SECOND));
    world.reconcile();
    let told = failure(&world);
    assert!(told.contains("is not in the repository any more"), "{told}");
    assert!(!world.status.drills.untried.contains_key(SECOND));
    world.check_stream();
}

#[test]
fn a_superseded_backup_is_not_tried_again_until_the_primary_is_on_another_timeline() {
    for policy in [DrillPolicy::Each, DrillPolicy::Daily] {
        let mut world = with(policy);
        have(&mut world, &[FIRST]);
        world.reconcile();
        pod(&mut world, "pod", superseded(FIRST));
        world.reconcile();
        world.observed.drill = None;
        for _ in 0..3 {
            world.wait(2 * DAY);
            world.reconcile();
            assert_eq!(tried(&world), None, "{policy:?}: nothing has changed");
        }
        // While nobody is heard nothing is known to have changed.
        let primary = world.observed.serving_primary().expect("one").clone();
        let mut instance = world.observed.agents.remove(&primary).expect("heard");
        world.reconcile();
        assert_eq!(tried(&world), None, "{policy:?}");
        instance.timeline += 1;
        world.observed.agents.insert(primary, instance);
        world.reconcile();
        assert_eq!(tried(&world).as_deref(), Some(FIRST), "{policy:?}");
        world.check_stream();
    }
}

/// Nothing is known of a backup, though it was tried: no verdict, and what was proven before stays so.
fn assert_untried(world: &World, backup: &str, words: &str) {
    let told = failure(world);
    let begin = format!("backup {backup}: not proven, could not be tried: ");
    assert!(told.starts_with(&begin) && told.contains(words), "{told}");
    assert!(!world.status.drills.verdicts.contains_key(backup));
    let untried = &world.status.drills.untried[backup];
    assert!(untried.cause.contains(words), "{untried:?}");
    let conditions = &world.status.conditions;
    let condition = conditions.iter().find(|one| one.name == RESULT_PROVEN);
    assert!(condition.is_none_or(|one| one.status == ConditionStatus::True));
    assert_eq!(tried(world), None);
    let ends = world.told().into_iter();
    let ends = ends.filter(|event| event.event_type() == EventType::VerifyRestoreFailure);
    assert_eq!(ends.count(), 1);
}

/// Has pods end without a verdict, by `found`, until it is given up; after how many seconds each next one came.
pub fn until_given_up(world: &mut World, found: impl Fn(&str) -> DrillFound) -> Vec<i64> {
    let mut pauses = Vec::new();
    while let Some(backup) = tried(world) {
        let uid = format!("pod-{}", pauses.len());
        pod(world, &uid, found(&backup));
        assert_eq!(removed(&world.reconcile()), Some(uid.as_str()));
        // It is counted once, however long it takes to go.
        let again = world.reconcile();
        assert_eq!(removed(&again), Some(uid.as_str()));
        world.observed.drill = None;
        let mut waited = 0;
        while tried(world).is_some() {
            let plan = world.reconcile();
            if made(&plan).is_some() {
                break;
            }
            let at = plan.look_at.expect("it is known when");
            let left = at.duration_since(world.now).as_secs();
            assert!(left > 0, "{at}");
            world.wait(left);
            waited += left;
        }
        pauses.push(waited);
        assert!(pauses.len() < 100, "for ever");
    }
    pauses
}

#[test]
fn one_without_a_verdict_is_made_anew_with_pauses_and_given_up_in_the_end() {
    let lost = |_: &str| DrillFound::Ended("evicted".to_owned());
    for (found, words) in [
        (&lost as &dyn Fn(&str) -> DrillFound, "evicted"),
        (&away, "refused"),
    ] {
        let mut world = with(DrillPolicy::Each);
        have(&mut world, &[FIRST]);
        world.reconcile();
        ends(&mut world, None);
        have(&mut world, &[FIRST, SECOND]);
        world.reconcile();
        let begun = world.now;
        let pauses = until_given_up(&mut world, found);
        assert_untried(&world, SECOND, words);
        assert_eq!(pauses[..5], [0, 60, 120, 240, 480]);
        assert_eq!(pauses.iter().max(), Some(&1800));
        let hours = world.now.duration_since(begun).as_hours();
        assert_eq!(hours, 6, "{pauses:?}");
        let proven = world.status.last_proven_restore.as_ref();
        assert_eq!(proven.map(|one| one.backup.as_str()), Some(FIRST));

        // Others come first then, and a day later it is its turn again.
        world.reconcile();
        assert_eq!(tried(&world), None);
        world.wait(DAY);
        world.reconcile();
        assert_eq!(tried(&world).as_deref(), Some(SECOND));
        ends(&mut world, None);
        assert!(world.status.drills.verdicts[SECOND].proven);
        assert!(world.status.drills.untried.is_empty());
        world.check_stream();
    }
}

#[test]
fn what_speaks_against_a_backup_counts_at_once_also_after_trouble() {
    let mut world = with(DrillPolicy::Each);
    have(&mut world, &[FIRST]);
    world.reconcile();
    pod(&mut world, "one", away(FIRST));
    world.reconcile();
    world.observed.drill = None;
    assert_eq!(made(&world.reconcile()), Some(FIRST));
    ends(&mut world, Some((DrillStage::Copy, "checksum")));
    assert!(!world.status.drills.verdicts[FIRST].proven);
    assert_eq!(
        world.condition(RESULT_PROVEN).status,
        ConditionStatus::False
    );
}

#[test]
fn a_backup_that_could_not_be_tried_does_not_keep_others_from_it() {
    let mut world = with(DrillPolicy::Each);
    have(&mut world, &[FIRST]);
    world.reconcile();
    until_given_up(&mut world, away);
    have(&mut world, &[FIRST, SECOND]);
    world.reconcile();
    assert_eq!(tried(&world).as_deref(), Some(SECOND));
    ends(&mut world, None);
    // What is not there any more is forgotten.
    have(&mut world, &[SECOND]);
    world.reconcile();
    assert!(world.status.drills.untried.is_empty());

    let mut daily = with(DrillPolicy::Daily);
    have(&mut daily, &[FIRST]);
    daily.reconcile();
    let begun = daily.now;
    until_given_up(&mut daily, away);
    let left = DAY - daily.now.duration_since(begun).as_secs();
    daily.wait(left - 1);
    daily.reconcile();
    assert_eq!(tried(&daily), None);
    daily.wait(1);
    daily.reconcile();
    assert_eq!(tried(&daily).as_deref(), Some(FIRST));
}

#[test]
fn one_that_cannot_begin_is_tried_again_and_one_that_does_not_end_is_given_up() {
    let why = DrillFound::Nothing(Some("no node has room".to_owned()));
    for (found, words) in [
        (Some(why), "no node has room"),
        (None, "its pod is not made"),
    ] {
        let mut world = with(DrillPolicy::Each);
        have(&mut world, &[FIRST]);
        world.reconcile();
        for _ in 0..100 {
            if let (Some(found), Some(run)) = (&found, &world.status.drills.run) {
                let uid = format!("pod-{}", run.lost);
                pod(&mut world, &uid, found.clone());
            }
            world.reconcile_cut_off(0);
            world.wait(30 * 60);
            world.reconcile_cut_off(0);
            if tried(&world).is_none() {
                break;
            }
        }
        assert_untried(&world, FIRST, words);
    }
    let mut world = with(DrillPolicy::Each);
    have(&mut world, &[FIRST]);
    world.reconcile();
    pod(&mut world, "pod", DrillFound::Running);
    world.wait(26 * 3600 - 1);
    world.reconcile_cut_off(0);
    assert!(tried(&world).is_some());
    world.wait(1);
    world.reconcile_cut_off(0);
    assert_untried(&world, FIRST, "did not end within 26 hours");
}

#[test]
fn a_backup_that_retention_took_meanwhile_is_no_bad_one() {
    let mut world = with(DrillPolicy::Each);
    have(&mut world, &[FIRST]);
    world.reconcile();
    have(&mut world, &[]);
    ends(&mut world, Some((DrillStage::Copy, "there is no backup")));
    let told = failure(&world);
    assert!(told.contains("is not in the repository any more"), "{told}");
    let conditions = &world.status.conditions;
    assert!(conditions.iter().all(|one| one.name != RESULT_PROVEN));
    assert!(world.status.drills.verdicts.is_empty());
}

#[test]
fn it_makes_way_for_a_restore_and_comes_again() {
    let mut world = with(DrillPolicy::Each);
    have(&mut world, &[FIRST]);
    world.reconcile();
    pod(&mut world, "pod", DrillFound::Running);
    world.reconcile();
    let id = "25927091-b343-4017-be4b-71575f0b3eb5";
    world.cluster.restores.push(RestoreRequest {
        operation: id.parse().expect("an id"),
        actor: "alice".to_owned(),
        to: Some("hippo-abcd".to_owned()),
        node_label: None,
        options: RestoreOptions::parse("", "").map_err(|error| error.to_string()),
    });
    let plan = world.reconcile();
    assert!(world.status.restore.is_some());
    assert_eq!(removed(&plan), Some("pod"));
    world.observed.drill = None;
    world.wait(60);
    assert_eq!(made(&world.reconcile_cut_off(0)), None, "not beside it");
    world.fail_work("the target is not there");
    world.cluster.restores.clear();
    world.reconcile();
    let again = world.reconcile();
    assert_eq!(world.status.restore, None);
    assert_eq!(made(&again), Some(FIRST), "{:?}", world.status.drills);
    ends(&mut world, None);
    assert_eq!(last(&world).event_type(), EventType::VerifyRestoreCompleted);
    world.check_stream();
}

#[test]
fn others_are_waited_for_and_a_cluster_that_goes_takes_it_along() {
    let mut world = with(DrillPolicy::Each);
    have(&mut world, &[FIRST]);
    world.observed.drill_place = DrillPlace::Full;
    assert_eq!(world.reconcile(), Plan::default());
    assert_eq!(tried(&world), None);
    // Nobody has asked for a place: it is looked at again at once.
    world.observed.drill_place = DrillPlace::Unknown;
    assert!(world.reconcile().waiting_for.is_some());
    assert_eq!(tried(&world), None);
    world.observed.drill_place = DrillPlace::Taken;
    world.reconcile();
    pod(&mut world, "pod", DrillFound::Running);
    world.cluster.deleting = true;
    world.reconcile();
    let plan = world.reconcile();
    assert_eq!(removed(&plan), Some("pod"));
    assert_eq!(failure(&world), "the cluster was deleted before");
}

#[test]
fn whoever_wants_no_drills_any_more_ends_the_one_that_goes_on() {
    let mut world = with(DrillPolicy::Each);
    have(&mut world, &[FIRST]);
    world.reconcile();
    pod(&mut world, "pod", DrillFound::Running);
    let wanted = world.wanted().backups.as_mut().expect("backups");
    wanted.drills = DrillPolicy::Never;
    let plan = world.reconcile();
    assert_eq!(removed(&plan), Some("pod"));
    assert_eq!(tried(&world), None);
    assert!(world.status.drills.verdicts.is_empty());
    let told = world.told();
    let changes = told
        .iter()
        .filter(|event| event.event_type() == EventType::UpdateCluster);
    let causes: Vec<_> = changes.filter_map(|event| event.cause.clone()).collect();
    assert_eq!(causes, ["backups are restored for trial never, not each"]);
}

/// The types of event that tell of drills.
pub fn told() -> BTreeSet<EventType> {
    let mut world = with(DrillPolicy::Each);
    have(&mut world, &[FIRST]);
    world.reconcile();
    ends(&mut world, None);
    have(&mut world, &[FIRST, SECOND]);
    world.reconcile();
    ends(&mut world, Some((DrillStage::Read, "no")));
    world.told().iter().map(Event::event_type).collect()
}
