//! A primary whose pod is replaced while it serves, where autofail is off; and one that cannot hand over where it is on.

use pgo_core::{Outcome, Plan, Step, Unwilling};
use pgo_ids::InstanceName;

use super::{NEW, taken, with_replicas_and_autofail};
use crate::world::World;

impl World {
    /// The agent of the primary refuses the change that is planned.
    pub(super) fn refuse(&mut self, plan: &Plan) {
        for step in &plan.steps {
            if let Step::Switchover { operation, .. } = step {
                let known = self.observed.unwilling.take();
                let known = known.filter(|known| known.operation == *operation);
                self.observed.unwilling = known.or_else(|| {
                    Some(Unwilling {
                        operation: *operation,
                        since: self.now,
                        reason: "too few would vote".to_owned(),
                    })
                });
            }
        }
    }
}

/// An upgrade in which the primary refuses to hand over, and no replica takes over from one that is down.
fn with_a_primary_that_does_not_hand_over(autofail: bool) -> World {
    let mut world = with_replicas_and_autofail(2, autofail);
    world.ask(NEW);
    for _ in 0..200 {
        let plan = world.reconcile();
        world.project_count();
        world.refuse(&plan);
        world.progress();
        world.wait(1);
        if plan == Plan::default() && world.status.upgrading().is_none() {
            world.check_stream();
            return world;
        }
    }
    panic!("the upgrade does not end: {:?}", world.status.upgrade);
}

/// What the primary's pod is told before it is removed.
fn is_told_to_stay(plan: &Plan, primary: &InstanceName) -> bool {
    let place = |wanted: &dyn Fn(&Step) -> bool| plan.steps.iter().position(wanted);
    let told = place(&|step| *step == Step::Stay(primary.clone()));
    let removed =
        place(&|step| matches!(step, Step::RemovePod { instance, .. } if instance == primary));
    told.is_some_and(|told| removed.is_some_and(|removed| told < removed))
}

#[test]
fn a_primary_is_replaced_in_place_and_last_of_all_where_autofail_is_off() {
    let mut world = with_replicas_and_autofail(2, false);
    world.ask(NEW);
    let (mut removed, mut told) = (Vec::new(), 0);
    for _ in 0..200 {
        let plan = world.turn();
        removed.extend(taken(&plan));
        told += usize::from(is_told_to_stay(&plan, &World::instance()));
        let stays = plan
            .steps
            .iter()
            .filter(|step| matches!(step, Step::Stay(_)));
        assert!(stays.count() == 0 || removed.len() == 3, "{plan:?}");
        if plan == Plan::default() && world.status.upgrading().is_none() {
            break;
        }
    }
    assert_eq!(world.ended(), (Outcome::Completed, String::new()));
    assert_eq!(
        (removed.len(), removed.last()),
        (3, Some(&World::instance()))
    );
    assert_eq!(told, 1);
    assert_eq!(world.primary, World::instance());
    for instance in world.observed.pods.keys() {
        assert_eq!(world.image_of(instance.as_str()), NEW);
    }
    assert!(world.status.is_ready());
    assert_eq!(world.count("SwitchoverCluster"), 0);
    assert_eq!(world.count("FailoverCluster"), 0);
    assert_eq!(world.count("UpgradeInstanceCompleted"), 3);
    world.check_stream();
}

#[test]
fn a_primary_that_cannot_hand_over_is_replaced_in_place_where_autofail_was_switched_off_meanwhile()
{
    let mut world = with_replicas_and_autofail(2, true);
    world.ask(NEW);
    for _ in 0..200 {
        let plan = world.reconcile();
        world.project_count();
        world.refuse(&plan);
        let asks = plan
            .steps
            .iter()
            .any(|step| matches!(step, Step::Switchover { .. }));
        if asks {
            world.wanted().autofail = false;
        }
        world.progress();
        world.wait(1);
        if plan == Plan::default() && world.status.upgrading().is_none() {
            break;
        }
    }
    assert_eq!(world.ended(), (Outcome::Completed, String::new()));
    assert_eq!(world.primary, World::instance());
    assert_eq!(world.count("SwitchoverClusterFailure"), 1);
    let told = world.told();
    let steps: Vec<String> = told.into_iter().filter_map(|event| event.step).collect();
    let step =
        "could not hand over: too few would vote; autofail is off, so it is replaced where it is";
    assert!(steps.iter().any(|one| one.contains(step)), "{steps:?}");
}

#[test]
fn a_primary_that_cannot_hand_over_ends_the_upgrade_where_autofail_is_on() {
    let world = with_a_primary_that_does_not_hand_over(true);
    let (outcome, cause) = world.ended();
    assert_eq!(outcome, Outcome::Failed);
    assert!(
        cause.contains("could not hand over: too few would vote"),
        "{cause}"
    );
    assert_eq!(world.primary, World::instance());
    assert!(world.status.is_ready());
    for instance in world.observed.pods.keys() {
        let is_new = world.image_of(instance.as_str()) == NEW;
        assert_eq!(is_new, *instance != World::instance(), "{instance}");
    }
}
