//! A long outage of whoever stores events, and eventing that is switched off: work goes on, and what is told later is right.

use pgo_core::{ConditionStatus, Kind, Phase};
use pgo_events::{Event, EventType, Field, Outbox, Stage};
use pgo_ids::Seq;
use proptest::prelude::*;

use crate::world::{World, desired, types};

/// One more creation that fails, and then another cause of it.
fn fail(world: &mut World, round: usize) {
    let wrong = format!("spec.port: wrong in round {round}, {}", "\0".repeat(3000));
    world.cluster.desired = Err(wrong);
    world.cluster.generation += 1;
    world.reconcile();
    world.wait(1);
}

fn mend(world: &mut World) {
    world.storing = true;
    world.store();
    world.cluster.desired = Ok(desired());
    world.cluster.generation += 1;
    world.settle();
}

fn only(told: &[Event], event_type: EventType) -> &Event {
    let mut found = told.iter().filter(|e| e.event_type() == event_type);
    let first = found.next().expect("the event");
    assert_eq!(found.next(), None, "told twice: {event_type}");
    first
}

#[test]
fn operations_begin_and_end_through_an_outage_and_nothing_of_them_is_lost() {
    let mut world = World::new();
    world.storing = false;
    for round in 0..20 {
        fail(&mut world, round);
        let outbox = &world.status.journal.outbox;
        let entries = serde_json::to_vec(&outbox.entries).expect("JSON");
        assert!(entries.len() <= Outbox::MOST_BYTES && outbox.entries.len() <= Outbox::MOST);
    }
    assert!(!world.pages.is_empty());
    let backlog = world.condition("EventBacklog");
    assert_eq!(
        (backlog.status, backlog.reason.as_str()),
        (ConditionStatus::True, "NotConfirmed")
    );
    assert_eq!(world.count("CreateClusterFailure"), 20);
    mend(&mut world);
    let stored = world.condition("EventBacklog");
    assert_eq!(
        (stored.status, stored.reason.as_str()),
        (ConditionStatus::False, "Confirmed")
    );
    world.check_stream();
    let told = world.told();
    let begun = only(&told, EventType::EventBacklog);
    let cleared = only(&told, EventType::EventBacklogCleared);
    assert_eq!(begun.operationid, cleared.operationid);
    assert!(cleared.durationms.expect("how long") >= 10_000);
}

#[test]
fn steps_that_were_left_out_are_counted_by_the_next_event_and_by_the_end_of_the_backlog() {
    let mut world = World::new();
    world.storing = false;
    while world.status.journal.outbox.backlog.is_none() {
        fail(&mut world, 0);
        world.cluster.desired = Err("another".to_owned());
        world.cluster.generation += 1;
        world.reconcile();
    }
    world.cluster.desired = Ok(desired());
    world.cluster.generation += 1;
    world.settle();
    let told = world.told();
    let progress = |event: &&Event| event.stage == Stage::Progress;
    assert_eq!(told.iter().filter(progress).count(), 0);
    let completed = only(&told, EventType::CreateClusterCompleted);
    assert_eq!(completed.omitted, Some(4));
    world.storing = true;
    world.store();
    world.reconcile();
    let told = world.told();
    let cleared = only(&told, EventType::EventBacklogCleared);
    assert_eq!(cleared.payload.get(Field::Skipped), Some(&4_u64.into()));
}

#[test]
fn one_event_that_nobody_stores_is_a_backlog_after_a_minute() {
    let mut world = World::new();
    world.settle();
    world.storing = false;
    world.say(pgo_core::AgentPhase::Failed, Some("no space left"));
    world.cluster.delete_requests.clear();
    world.cluster.deleting = true;
    world.reconcile();
    world.wait(59);
    world.reconcile();
    assert_eq!(world.count("EventBacklog"), 0);
    world.wait(1);
    world.reconcile();
    assert_eq!(world.count("EventBacklog"), 1);
    assert_eq!(
        world.condition("EventBacklog").status,
        ConditionStatus::True
    );
}

#[test]
fn where_no_page_is_made_the_status_has_a_limit_and_recovery_tells_what_is_missing() {
    let mut world = World::new();
    world.storing = false;
    world.paging = false;
    let mut round = 0;
    while world.status.journal.outbox.dropped == 0 {
        fail(&mut world, round);
        round += 1;
        assert!(
            round < 10_000,
            "no limit: {} events",
            world.status.journal.outbox.entries.len()
        );
    }
    for further in 0..5 {
        fail(&mut world, round + further);
    }
    let outbox = world.status.journal.outbox.clone();
    let entries = serde_json::to_vec(&outbox.entries).expect("JSON");
    let limit = Outbox::MOST_WITHOUT_PAGES + Outbox::MOST_BYTES;
    assert!(entries.len() < limit, "{} bytes", entries.len());
    let condition = world.condition("EventBacklog");
    assert_eq!(
        (condition.status, condition.reason.as_str()),
        (ConditionStatus::True, "Dropped")
    );
    assert!(condition.message.contains("PgEventPage"), "{condition:?}");
    // Work went on.
    let creation = world.status.journal.newest(Kind::CreateCluster);
    let cause = creation.and_then(|failed| failed.cause.clone());
    let newest = format!("round {}", round + 4);
    assert!(cause.is_some_and(|cause| cause.contains(&newest)));
    world.paging = true;
    mend(&mut world);
    let stored = world.condition("EventBacklog");
    assert_eq!(stored.reason, "Confirmed");
    let told = world.told();
    let cut = only(&told, EventType::HistoryCut);
    let missing = cut.payload.get(Field::Unpublished).cloned();
    assert_eq!(missing, Some(outbox.dropped.into()));
    // What is missing is right before it.
    let before = told.iter().rev().find(|event| event.seq < cut.seq);
    let gap = before.map(|before| cut.seq.0 - before.seq.0 - 1);
    assert_eq!(gap, Some(outbox.dropped));
    only(&told, EventType::EventBacklogCleared);
}

#[test]
fn without_eventing_state_goes_on_and_the_first_event_after_it_says_what_is_missing() {
    let mut world = World::new();
    world.publishing = false;
    world.settle();
    assert_eq!(world.status.phase, Phase::Ready);
    let created = world.status.journal.newest(Kind::CreateCluster);
    assert!(created.is_some_and(|created| !created.is_running()));
    let outbox = world.status.journal.outbox.clone();
    assert!(outbox.is_empty() && world.told().is_empty());
    assert_eq!(outbox.unpublished, Some(outbox.last.0));
    let condition = world.condition("EventBacklog");
    assert_eq!(
        (condition.status, condition.reason.as_str()),
        (ConditionStatus::False, "EventingDisabled")
    );
    world.publishing = true;
    world.reconcile();
    let told = world.told();
    assert_eq!(types(&told), ["HistoryCut"]);
    assert_eq!(told[0].seq, outbox.last.next());
    let unpublished = told[0].payload.get(Field::Unpublished);
    assert_eq!(unpublished, Some(&outbox.last.0.into()));
    world.reconcile();
    assert_eq!(types(&world.told()), ["HistoryCut"]);
}

#[test]
fn what_waited_when_eventing_was_switched_off_is_published_when_it_is_on_again() {
    let mut world = World::new();
    world.storing = false;
    world.reconcile();
    let waited = world.status.journal.outbox.entries.clone();
    assert_eq!(types(&waited), ["CreateCluster"]);
    world.publishing = false;
    world.storing = true;
    world.settle();
    assert_eq!(world.status.journal.outbox.entries, waited);
    world.publishing = true;
    world.reconcile();
    assert_eq!(types(&world.told()), ["CreateCluster", "HistoryCut"]);
}

#[test]
fn a_pause_of_eventing_in_which_nothing_happened_cuts_nothing() {
    let mut world = World::new();
    world.settle();
    let told = world.told();
    world.publishing = false;
    world.reconcile();
    world.publishing = true;
    world.reconcile();
    assert_eq!(world.told(), told);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is stored late, and wherever the process ends between a page and its status.
    #[test]
    fn no_outage_loses_or_repeats_a_transition(
        rounds in prop::collection::vec((any::<bool>(), any::<bool>(), 0usize..6), 1..40),
    ) {
        let mut world = World::new();
        for (round, (storing, dies, reconciles)) in rounds.into_iter().enumerate() {
            world.storing = storing;
            world.ends_after_page = dies;
            fail(&mut world, round);
            for _ in 0..reconciles {
                world.reconcile();
            }
        }
        world.ends_after_page = false;
        mend(&mut world);
        world.check_stream();
        prop_assert_eq!(world.status.journal.outbox.paged, Seq(0));
        prop_assert_eq!(world.count("EventBacklog"), world.count("EventBacklogCleared"));
        let ids = world.told();
        let started = ids.iter().filter(|event| event.stage == Stage::Started).count();
        let ended = ids.iter().filter(|event| event.stage.is_terminal()).count();
        prop_assert_eq!(started, ended);
    }
}
