//! Backups that could not be tried, and are tried again.

use pgo_core::DrillPolicy;

use crate::drills::{DAY, FIRST, SECOND, THIRD, away, ends, have, tried, until_given_up, with};

#[test]
fn one_that_could_not_be_tried_has_its_turn_a_day_later_also_where_later_ones_are_proven() {
    let mut world = with(DrillPolicy::Each);
    have(&mut world, &[FIRST]);
    world.reconcile();
    until_given_up(&mut world, away);
    have(&mut world, &["older", FIRST, SECOND]);
    world.reconcile();
    assert_eq!(tried(&world).as_deref(), Some(SECOND));
    ends(&mut world, None);
    world.reconcile();
    assert_eq!(tried(&world), None, "not on the same day");
    world.wait(DAY);
    have(&mut world, &["older", FIRST, SECOND, THIRD]);
    world.reconcile();
    assert_eq!(tried(&world).as_deref(), Some(FIRST));
    ends(&mut world, None);
    assert!(world.status.drills.untried.is_empty());
    world.reconcile();
    assert_eq!(tried(&world).as_deref(), Some(THIRD));
    ends(&mut world, None);
    world.reconcile();
    assert_eq!(tried(&world), None, "those from before the first stay");
    world.check_stream();
}
