//! Backups in which pgBackRest found pages with wrong checksums: none of them is told as a good one.

use pgo_core::{
    BackupSet, Condition, ConditionStatus, Done, DrillVerdict, Plan, RESULT_PROVEN, RESULT_WHOLE,
};
use pgo_events::{Datum, EventType, Field};

use super::{ask, story, types, with_backups};
use crate::world::World;

const LABEL: &str = "20261015-101112F";

/// The backup that runs ends well, as pgBackRest takes it; those in these places are damaged.
fn ends(world: &mut World, damaged: &[&str]) {
    let agent = world.observed.repository.agent.as_mut();
    let agent = agent.expect("it is heard");
    let work = agent.running.take().expect("one runs");
    let places = ["local", "s3"];
    let sets = places.map(|place| BackupSet {
        label: format!("{LABEL}{}", if place == "s3" { "s" } else { "" }),
        kind: "full".to_owned(),
        size: 23,
        source: "hippo".to_owned(),
        place: place.to_owned(),
        damaged: damaged.contains(&place),
        damaged_pages: vec![format!("/pgdata/hippo/base/5/1 at page 3 in {place}")],
        ..BackupSet::default()
    });
    agent.backups.extend(sets.clone());
    let [first, second] = sets;
    agent.done.push(Done {
        operation: work.operation,
        error: None,
        finished: None,
        backup: Some(first),
        more: vec![second],
    });
}

fn whole(world: &World) -> Condition {
    world.condition(RESULT_WHOLE).clone()
}

/// The newest backup was tried.
fn tried(world: &mut World, label: &str, proven: bool) {
    let verdict = DrillVerdict {
        at: world.now,
        proven,
        cause: None,
    };
    world
        .status
        .drills
        .verdicts
        .insert(label.to_owned(), verdict);
    world.reconcile();
}

#[test]
fn one_with_wrong_checksums_fails_and_says_that_it_is_there() {
    for (damaged, label) in [(&["local"][..], LABEL), (&["s3"], "20261015-101112Fs")] {
        let mut world = with_backups();
        let id = ask(&mut world, 0, "--type=full");
        world.reconcile();
        ends(&mut world, damaged);
        world.reconcile();
        let story = story(&world, id);
        let end = story.last().expect("told");
        assert_eq!(
            types(&story).last(),
            Some(&EventType::CreateBackupFailure),
            "{story:?}"
        );
        let cause = end.cause.clone().expect("a cause");
        let begins =
            format!("full backup {LABEL} and {LABEL}s in s3, copied from hippo: it is not to be");
        assert!(cause.starts_with(&begins), "{cause}");
        assert!(
            cause.contains(&format!("pgo drill --backup={label};")),
            "{cause}"
        );
        let place = format!("base/5/1 at page 3 in {}.", damaged[0]);
        assert!(cause.contains(&place), "{cause}");
        let detail = |field: Field| end.payload.get(field).cloned();
        assert_eq!(detail(Field::Damaged), Some(Datum::Flag(true)));
        let path = format!("{LABEL},{LABEL}s");
        assert_eq!(detail(Field::Path), Some(Datum::Text(path)));
        assert_eq!(detail(Field::SizeBytes), Some(Datum::Number(23)));
        assert_eq!(world.status.backup, None);
        let condition = whole(&world);
        assert_eq!(condition.status, ConditionStatus::False);
        assert!(condition.message.contains(label), "{}", condition.message);
        world.cluster.backups.clear();
        assert_eq!(world.reconcile(), Plan::default());
        world.check_stream();
    }
}

#[test]
fn the_condition_is_about_the_newest_one_and_never_against_a_drill() {
    let mut world = with_backups();
    let conditions = world.status.conditions.iter();
    assert_eq!(conditions.filter(|one| one.name == RESULT_WHOLE).count(), 0);
    ask(&mut world, 0, "--type=full");
    world.reconcile();
    ends(&mut world, &["s3"]);
    world.reconcile();
    assert!(
        world
            .status
            .last_backup
            .as_ref()
            .is_some_and(|last| last.damaged)
    );
    assert_eq!(whole(&world).status, ConditionStatus::False);
    // The other place's copy says nothing of this one.
    tried(&mut world, LABEL, true);
    assert_eq!(whole(&world).status, ConditionStatus::False);
    tried(&mut world, "20261015-101112Fs", false);
    assert_eq!(whole(&world).status, ConditionStatus::False);
    tried(&mut world, "20261015-101112Fs", true);
    assert_eq!(whole(&world).status, ConditionStatus::True);
    assert!(
        whole(&world)
            .message
            .contains("a restore drill has proven it since")
    );
    world.status.drills.verdicts.clear();
    world.reconcile();
    assert_eq!(whole(&world).status, ConditionStatus::False);
    // A repository that is not heard tells nothing new.
    let agent = world.observed.repository.agent.take();
    world.reconcile();
    assert_eq!(whole(&world).status, ConditionStatus::False);
    world.observed.repository.agent = agent;
    // The next one is whole.
    ask(&mut world, 1, "--type=full");
    world.reconcile();
    ends(&mut world, &[]);
    world.reconcile();
    assert_eq!(whole(&world).status, ConditionStatus::True);
    // It says nothing of restores.
    let conditions = world.status.conditions.iter();
    assert_eq!(
        conditions.filter(|one| one.name == RESULT_PROVEN).count(),
        0
    );
    world.wanted().backups = None;
    world.reconcile();
    let conditions = world.status.conditions.iter();
    assert_eq!(conditions.filter(|one| one.name == RESULT_WHOLE).count(), 0);
    world.check_stream();
}
