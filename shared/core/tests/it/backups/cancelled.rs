//! Backups that somebody cancels: before they begin, while they run, and whatever happens meanwhile.

use pgo_core::{Plan, Step, cancel};
use pgo_events::{Event, EventType};
use pgo_ids::OperationId;
use proptest::prelude::*;

use super::{ask, asked, failure, story, types, with_backups};
use crate::world::World;

fn cancel(world: &mut World, id: OperationId, who: &str) {
    world.cluster.cancelled.insert(id, who.to_owned());
}

fn stopped(plan: &Plan) -> Vec<OperationId> {
    let steps = plan.steps.iter().filter_map(|step| match step {
        Step::CancelWork { operation } => Some(*operation),
        _ => None,
    });
    steps.collect()
}

#[test]
fn one_that_runs_is_stopped_by_its_repository_and_fails_then() {
    let mut world = with_backups();
    let id = ask(&mut world, 0, "--type=full");
    world.reconcile();
    world.reconcile();
    assert_eq!(cancel::refusal(&world.status, id), None);
    cancel(&mut world, id, "bob");
    // Nobody carries out what is planned: it is told by nobody, and planned again.
    let plan = world.reconcile_cut_off(0);
    assert_eq!(stopped(&plan), [id]);
    assert_eq!(
        types(&story(&world, id)).last(),
        Some(&EventType::CreateBackupProgress)
    );
    let plan = world.reconcile();
    assert_eq!(stopped(&plan), [id]);
    assert_eq!(stopped(&world.reconcile()), []);
    assert_eq!(failure(&world, id), "cancelled by bob");
    assert_eq!(story(&world, id).len(), 3, "begun, a step, its end");
    // The next one is made.
    let next = ask(&mut world, 1, "");
    world.reconcile();
    world.progress();
    world.reconcile();
    assert_eq!(
        types(&story(&world, next)).last(),
        Some(&EventType::CreateBackupCompleted)
    );
    world.check_stream();
}

#[test]
fn one_that_waits_fails_at_once_and_nobody_is_asked_for_it() {
    // Nobody can say that it may begin.
    let mut world = with_backups();
    world.fall_silent();
    let id = ask(&mut world, 0, "");
    world.reconcile();
    assert_eq!(story(&world, id), []);
    cancel(&mut world, id, "");
    world.reconcile();
    assert_eq!(failure(&world, id), "cancelled by somebody before it began");
    assert_eq!(story(&world, id).len(), 2);

    // It is begun, and the repository is away.
    let mut world = with_backups();
    world.observed.repository.agent = None;
    let id = ask(&mut world, 0, "");
    world.reconcile();
    assert_eq!(story(&world, id).len(), 1);
    cancel(&mut world, id, "bob");
    assert_eq!(asked(&world.reconcile()), None);
    assert_eq!(failure(&world, id), "cancelled by bob before it began");
    assert_eq!(world.status.backup, None);
    world.settle();
    world.check_stream();
}

#[test]
fn what_the_repository_has_begun_unseen_is_stopped_though_it_is_over() {
    let mut world = with_backups();
    let id = ask(&mut world, 0, "");
    world.reconcile();
    let agent = world.observed.repository.agent.take().expect("heard");
    assert!(agent.running.is_some());
    cancel(&mut world, id, "bob");
    world.reconcile();
    assert_eq!(failure(&world, id), "cancelled by bob before it began");
    world.observed.repository.agent = Some(agent);
    assert_eq!(stopped(&world.reconcile()), [id]);
    let running = |world: &World| world.observed.repository.agent.clone()?.running;
    assert_eq!(running(&world), None);
    assert_eq!(stopped(&world.reconcile()), []);
    assert_eq!(story(&world, id).len(), 2, "one end");
}

#[test]
fn one_that_comes_to_its_end_first_is_told_as_it_was() {
    let mut world = with_backups();
    let id = ask(&mut world, 0, "");
    world.reconcile();
    world.reconcile();
    cancel(&mut world, id, "bob");
    world.progress();
    world.reconcile();
    let last = types(&story(&world, id)).last().copied();
    assert_eq!(last, Some(EventType::CreateBackupCompleted));

    let id = ask(&mut world, 1, "");
    world.reconcile();
    world.reconcile();
    cancel(&mut world, id, "bob");
    world.fail_work("no space left on device");
    world.reconcile();
    assert_eq!(failure(&world, id), "no space left on device");
    // With its agent it would have gone on by nobody's wish.
    let id = ask(&mut world, 2, "");
    world.reconcile();
    world.reconcile();
    cancel(&mut world, id, "bob");
    world.fail_work("interrupted: the pod ended");
    world.reconcile();
    assert_eq!(failure(&world, id), "cancelled by bob");
    world.check_stream();
}

#[test]
fn a_name_that_is_no_name_is_cut() {
    let mut world = with_backups();
    let id = ask(&mut world, 0, "");
    world.reconcile();
    cancel(&mut world, id, &"x".repeat(5000));
    world.reconcile();
    world.reconcile();
    assert_eq!(failure(&world, id).len(), "cancelled by ".len() + 64);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whenever it is cancelled, and whatever happens besides: it has one end, and the repository does nothing for it then.
    #[test]
    fn each_has_exactly_one_end(
        happenings in prop::collection::vec((0..8u8, 0..4usize), 1..30),
    ) {
        let mut world = with_backups();
        let id = ask(&mut world, 0, "");
        for (what, steps) in happenings {
            match what {
                0 | 1 => cancel(&mut world, id, "bob"),
                2 => world.observed.repository.agent = None,
                3 => world.wait(120),
                4 => world.fall_silent(),
                5 => world.progress_repository(),
                6 => world.observed.repository.pod = None,
                _ => world.progress(),
            }
            world.reconcile_cut_off(steps);
            world.check_stream();
        }
        for _ in 0..20 {
            world.reconcile();
            world.progress();
            world.wait(60);
        }
        world.settle();
        let story = story(&world, id);
        let ends = story.iter().map(Event::event_type).filter(|told| {
            matches!(told, EventType::CreateBackupFailure | EventType::CreateBackupCompleted)
        });
        prop_assert_eq!(ends.count(), 1, "{:?}", story);
        prop_assert_eq!(world.reconcile(), Plan::default());
    }
}
