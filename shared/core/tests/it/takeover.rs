//! Changes of the primary are told from what its agent wrote down, each once, whenever it is seen, and are over when the new
//! one takes writes.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use pgo_core::{AgentPhase, Lost, Step, TakeoverCause, plan};
use pgo_events::{Datum, Event, EventType, Field};
use pgo_ids::{InstanceName, Term};
use proptest::prelude::*;

use crate::{
    replicas::{names, with_replicas},
    world::{World, desired, types},
};

/// A cluster with a replica that is elected; the former primary was heard 4 s before.
fn elected(cause: TakeoverCause) -> (World, InstanceName) {
    let mut world = with_replicas(1);
    let to = names(&world)[0].clone();
    elect(&mut world, &to, cause);
    (world, to)
}

fn elect(world: &mut World, to: &InstanceName, cause: TakeoverCause) {
    world.is_elected(to, cause);
    let takeover = world.observed.takeovers.last_mut().expect("written");
    takeover.heard = Some(takeover.at - SignedDuration::from_secs(4));
}

/// What two reconciles tell of changes of the primary.
fn told_now(world: &mut World) -> Vec<Event> {
    let before = world.told().len();
    world.reconcile();
    world.reconcile();
    let told = world.told().split_off(before);
    let kinds = ["FailoverCluster", "SwitchoverCluster"];
    let is_change = |event: &Event| {
        let name = event.event_type().as_str();
        kinds.iter().any(|kind| name.starts_with(kind))
    };
    told.into_iter().filter(is_change).collect()
}

/// Types that tell of changes of the primary.
pub fn told() -> BTreeSet<EventType> {
    let mut told = Vec::new();
    for cause in [TakeoverCause::Lost, TakeoverCause::Released] {
        let (mut world, _) = elected(cause);
        told.extend(told_now(&mut world));
        world.serves();
        told.extend(told_now(&mut world));
        for (term, commits) in [(2, 3), (3, 0)] {
            told.extend(told_of_lost(&mut world, lost(term, Some(commits), false)));
        }
    }
    told.iter().map(Event::event_type).collect()
}

fn lost(term: u64, commits: Option<u64>, synchronous: bool) -> Lost {
    Lost {
        term: Term(term),
        timeline: 1,
        fork: 0x300_0148,
        end: 0x300_01F8,
        commits,
        synchronous,
        unknown: false,
    }
}

/// What is told when the agent of the former primary says this.
fn told_of_lost(world: &mut World, lost: Lost) -> Vec<Event> {
    let before = world.told().len();
    let mut agents = world.observed.agents.values_mut();
    agents.next().expect("an agent").lost.push(lost);
    world.reconcile();
    world.reconcile();
    world.told().split_off(before)
}

#[test]
fn what_a_former_primary_had_more_is_told_once_and_so_is_that_it_had_nothing() {
    let mut world = World::new();
    world.settle();
    let told = told_of_lost(&mut world, lost(2, Some(3), false));
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].event_type(), EventType::CommitsLost);
    let wire = String::from_utf8(told[0].to_wire().expect("JSON")).expect("text");
    for words in [
        "\"lostbytes\": 176",
        "\"timeline\": 1",
        "3 commits more",
        "0/30001F8",
        "0/3000148",
    ] {
        assert!(wire.contains(words), "{words} is not in {wire}");
    }
    let nothing = Lost {
        end: 0x300_0148,
        ..lost(5, Some(0), false)
    };
    let unknown = |term, synchronous| Lost {
        end: 0,
        fork: 0,
        unknown: true,
        ..lost(term, None, synchronous)
    };
    for (says, expected) in [
        (lost(3, Some(3), true), EventType::NoCommitsLost),
        (lost(4, None, false), EventType::CommitsLost),
        (nothing, EventType::NoCommitsLost),
        (unknown(6, false), EventType::CommitsLost),
        (unknown(7, true), EventType::NoCommitsLost),
    ] {
        let told = told_of_lost(&mut world, says);
        let types: Vec<_> = told.iter().map(Event::event_type).collect();
        assert_eq!(types, [expected]);
    }
}

#[test]
fn what_an_instance_lost_twice_before_anybody_heard_of_it_is_told_twice_and_once_each() {
    let mut world = World::new();
    world.settle();
    let mut agents = world.observed.agents.values_mut();
    let all = &mut agents.next().expect("an agent").lost;
    all.push(lost(2, Some(3), false));
    let told = told_of_lost(&mut world, lost(4, Some(0), false));
    let types: Vec<_> = told.iter().map(Event::event_type).collect();
    assert_eq!(types, [EventType::CommitsLost, EventType::NoCommitsLost]);
    let told = told_of_lost(&mut world, lost(5, Some(1), false));
    let types: Vec<_> = told.iter().map(Event::event_type).collect();
    assert_eq!(types, [EventType::CommitsLost]);
}

#[test]
fn each_of_two_former_primaries_that_are_back_is_told_though_both_follow_the_same() {
    let mut world = with_replicas(1);
    let before = world.told().len();
    let all: Vec<_> = world.observed.agents.keys().cloned().collect();
    for name in &all {
        let agent = world.observed.agents.get_mut(name).expect("an agent");
        agent.lost = vec![lost(3, Some(3), false)];
        world.reconcile();
        world.reconcile();
    }
    assert_eq!(all.len(), 2);
    let told = world.told().split_off(before);
    let formers: Vec<_> = told
        .iter()
        .filter(|event| event.event_type() == EventType::CommitsLost)
        .map(|event| event.payload.text(Field::FormerPrimary).map(str::to_owned))
        .collect();
    let all: Vec<_> = all.iter().map(|name| Some(name.to_string())).collect();
    assert_eq!(formers, all);
}

#[test]
fn a_primary_that_is_lost_with_a_volume_that_hangs_is_told_so() {
    let mut world = with_replicas(1);
    let to = names(&world)[0].clone();
    let agent = world.observed.agents.get_mut(&World::instance());
    agent.expect("it is heard").volume_hangs = true;
    elect(&mut world, &to, TakeoverCause::Lost);
    let begun = told_now(&mut world);
    let cause = "hippo was not heard any more: its data volume hangs";
    assert_eq!(begun[0].cause.as_deref(), Some(cause));
    assert_eq!(begun[0].event_type(), EventType::FailoverCluster);
}

#[test]
fn a_failover_is_told_with_who_why_and_from_where_on_and_is_over_when_the_new_primary_writes() {
    let (mut world, to) = elected(TakeoverCause::Lost);
    let at = world.now;
    let begun = told_now(&mut world);
    assert_eq!(
        types(&begun),
        ["FailoverCluster", "FailoverClusterProgress"]
    );
    let (first, step) = (&begun[0], begun[1].step.clone().unwrap_or_default());
    let began = at - SignedDuration::from_secs(4);
    assert_eq!(first.eventheader.timestamp, began);
    assert_eq!(first.cause.as_deref(), Some("hippo was not heard any more"));
    for (event, timeline) in [(first, 1), (&begun[1], 2)] {
        assert_eq!(event.payload.text(Field::Target), Some(to.as_str()));
        assert_eq!(event.payload.text(Field::FormerPrimary), Some("hippo"));
        let known = event.payload.get(Field::Timeline);
        assert_eq!(known, Some(&Datum::Number(timeline)));
        assert_eq!(event.payload.text(Field::Lsn), Some("0/3000148"));
    }
    assert_eq!(step, format!("{to} was elected in term 2"));
    assert!(world.status.last_takeover.is_none(), "it serves nobody yet");

    world.wait(3);
    world.serves();
    // However late it is heard, it is over when it was.
    world.wait(60);
    let told = told_now(&mut world);
    let last = told
        .iter()
        .find(|event| event.operationid == first.operationid);
    let last = last.expect("its end");
    assert_eq!(last.event_type(), EventType::FailoverClusterCompleted);
    let served = at + SignedDuration::from_secs(3);
    let ended = (last.eventheader.timestamp, last.durationms);
    assert_eq!(ended, (served, Some(7000)));
    let cause =
        "hippo was not heard any more; whether it had more is not known until hippo is back";
    assert_eq!(last.cause.as_deref(), Some(cause));
    let payload = &last.payload;
    assert_eq!(payload.text(Field::Target), Some(to.as_str()));
    assert_eq!(payload.text(Field::FormerPrimary), Some("hippo"));
    let wire = String::from_utf8(last.to_wire().expect("JSON")).expect("text");
    assert!(wire.contains("\"timeline\": 2"), "{wire}");
    // Nobody knows before the former primary is back.
    assert!(!wire.contains("lostbytes"), "{wire}");
    assert_eq!(world.status.term, Term(2));
    let shown = world.status.last_takeover.clone().expect("shown");
    assert_eq!((shown.at, shown.duration_ms), (served, 7000));
    assert!(told_now(&mut world).is_empty());
    world.check_stream();
}

#[test]
fn where_the_service_leads_there_later_it_is_over_later() {
    let (mut world, _) = elected(TakeoverCause::Lost);
    world.serves();
    let endpoints = world.observed.endpoints.as_mut().expect("an EndpointSlice");
    let addresses = std::mem::take(&mut endpoints.addresses);
    assert_eq!(told_now(&mut world).len(), 2);
    world.wait(8);
    let endpoints = world.observed.endpoints.as_mut().expect("an EndpointSlice");
    endpoints.addresses = addresses;
    let told = told_now(&mut world);
    let last = told.iter().find(|event| event.stage.is_terminal());
    assert_eq!(last.and_then(|event| event.durationms), Some(12_000));
}

#[test]
fn what_it_has_said_under_an_earlier_term_is_no_end() {
    let (mut world, to) = elected(TakeoverCause::Lost);
    world.serves();
    let agent = world.observed.agents.get_mut(&to).expect("heard");
    agent.term = Term(1);
    assert_eq!(told_now(&mut world).len(), 2);
    let agent = world.observed.agents.get_mut(&to).expect("heard");
    agent.term = Term(2);
    let told = told_now(&mut world);
    assert!(types(&told).contains(&"FailoverClusterCompleted"));
}

#[test]
fn who_is_elected_and_does_not_come_to_write_before_another_one_is_has_failed() {
    let mut world = with_replicas(2);
    let [one, other] = [names(&world)[0].clone(), names(&world)[1].clone()];
    elect(&mut world, &one, TakeoverCause::Lost);
    world.reconcile();
    world.wait(5);
    elect(&mut world, &other, TakeoverCause::Lost);
    world.reconcile();
    world.serves();
    world.reconcile();
    let told: Vec<Event> = world.told();
    let ends: Vec<&Event> = told
        .iter()
        .filter(|event| event.event_type().as_str().starts_with("FailoverCluster"))
        .filter(|event| event.stage.is_terminal())
        .collect();
    let kinds: Vec<EventType> = ends.iter().map(|event| event.event_type()).collect();
    let expected = [
        EventType::FailoverClusterFailure,
        EventType::FailoverClusterCompleted,
    ];
    assert_eq!(kinds, expected);
    let failed = &ends[0].payload;
    assert_eq!(failed.text(Field::FormerPrimary), Some("hippo"));
    assert_eq!(failed.get(Field::Timeline), Some(&Datum::Number(2)));
    assert_eq!(failed.text(Field::Lsn), Some("0/3000148"));
    let cause = ends[0].cause.clone().unwrap_or_default();
    let says = format!("{one} was not seen to take writes; {other} became the primary in term 3");
    assert_eq!(cause, says);
    let shown = world.status.last_takeover.clone().expect("shown");
    assert_eq!(shown.to, other.as_str());
    world.check_stream();
}

#[test]
fn who_is_elected_and_says_nothing_has_failed_in_time_and_may_replay_for_longer() {
    let (mut world, to) = elected(TakeoverCause::Lost);
    world.observed.agents.remove(&to);
    world.reconcile();
    world.wait(59);
    assert_eq!(world.count("FailoverClusterFailure"), 0);
    world.reconcile();
    world.wait(1);
    world.reconcile();
    assert_eq!(world.count("FailoverClusterFailure"), 1);
    let last = world
        .told()
        .into_iter()
        .rfind(|event| event.stage.is_terminal());
    let cause = last.and_then(|event| event.cause).unwrap_or_default();
    let says = "does not take writes after 60 s: its agent does not answer";
    assert!(cause.ends_with(says), "{cause}");
    // It comes to write after all: that is no second end.
    world.serves();
    world.reconcile();
    assert_eq!(world.count("FailoverClusterCompleted"), 0);
    world.check_stream();

    let (mut world, _) = elected(TakeoverCause::Lost);
    world.reconcile();
    world.wait(599);
    world.reconcile();
    assert_eq!(world.count("FailoverClusterFailure"), 0);
    world.serves();
    world.reconcile();
    assert_eq!(world.count("FailoverClusterCompleted"), 1);
}

#[test]
fn a_reconciler_that_was_away_tells_it_as_it_was() {
    let (mut world, _) = elected(TakeoverCause::Lost);
    world.wait(1);
    world.serves();
    // Nobody was there for an hour, and has heard nobody yet.
    world.wait(3600);
    let agents = std::mem::take(&mut world.observed.agents);
    for name in agents.keys() {
        world.observed.silent.insert(name.clone(), world.now);
    }
    assert_eq!(told_now(&mut world).len(), 2);
    world.wait(2);
    world.observed.silent.clear();
    world.observed.agents = agents;
    let told = told_now(&mut world);
    let last = told.iter().find(|event| event.stage.is_terminal());
    let last = last.expect("its end");
    assert_eq!(last.event_type(), EventType::FailoverClusterCompleted);
    assert_eq!(last.durationms, Some(5000));
}

#[test]
fn a_switchover_has_lost_nothing_and_an_older_term_is_not_told_again() {
    let (mut world, _) = elected(TakeoverCause::Released);
    world.serves();
    let mut older = world.observed.takeovers.clone();
    let told = told_now(&mut world);
    let last = told.iter().find(|event| event.stage.is_terminal());
    let last = last.expect("told");
    assert_eq!(last.event_type(), EventType::SwitchoverClusterCompleted);
    let wire = String::from_utf8(last.to_wire().expect("JSON")).expect("text");
    assert!(wire.contains("\"lostbytes\": 0"), "{wire}");
    older[0].term = Term(1);
    world.observed.takeovers = older;
    assert!(told_now(&mut world).is_empty());
}

#[test]
fn what_a_hand_over_has_lost_is_told_at_its_end() {
    let (mut world, _) = elected(TakeoverCause::Released);
    world.observed.takeovers[0].lost = Some(176);
    world.serves();
    let told = told_now(&mut world);
    let last = told.iter().find(|event| event.stage.is_terminal());
    let last = last.expect("told");
    assert_eq!(last.event_type(), EventType::SwitchoverClusterCompleted);
    let wire = String::from_utf8(last.to_wire().expect("JSON")).expect("text");
    assert!(wire.contains("\"lostbytes\": 176"), "{wire}");
}

#[test]
fn a_primary_that_gives_up_because_it_must_is_no_planned_change() {
    let (mut world, _) = elected(TakeoverCause::Released);
    world.observed.takeovers[0].unfit = Some("its data volume hangs".to_owned());
    world.serves();
    let told = told_now(&mut world);
    let types: Vec<_> = told.iter().map(Event::event_type).collect();
    assert_eq!(
        types,
        [
            EventType::FailoverCluster,
            EventType::FailoverClusterProgress,
            EventType::FailoverClusterCompleted
        ]
    );
    let last = world.status.last_takeover.clone().expect("kept");
    assert!(!last.planned);
    assert_eq!(last.cause, "hippo gave up: its data volume hangs");
}

#[test]
fn each_of_several_changes_that_nobody_was_there_to_tell_is_told() {
    let (mut world, to) = elected(TakeoverCause::Lost);
    let first = InstanceName::from(&world.cluster.name);
    elect(&mut world, &first, TakeoverCause::Lost);
    elect(&mut world, &to, TakeoverCause::Released);
    world.serves();
    let told = told_now(&mut world);
    let types: Vec<_> = told.iter().map(Event::event_type).collect();
    assert_eq!(
        types,
        [
            EventType::FailoverCluster,
            EventType::FailoverClusterProgress,
            EventType::FailoverClusterFailure,
            EventType::FailoverCluster,
            EventType::FailoverClusterProgress,
            EventType::FailoverClusterFailure,
            EventType::SwitchoverCluster,
            EventType::SwitchoverClusterProgress,
            EventType::SwitchoverClusterCompleted,
        ]
    );
}

#[test]
fn a_cluster_that_goes_before_the_new_primary_writes_ends_the_change() {
    let (mut world, _) = elected(TakeoverCause::Lost);
    world.reconcile();
    world.cluster.deleting = true;
    world.reconcile();
    assert_eq!(world.count("FailoverClusterFailure"), 1);
    assert_eq!(world.status.promotion, None);
    world.check_stream();
}

proptest! {
    /// Whoever is elected, whether it comes to write, and whoever watches: each change ends once.
    #[test]
    fn each_change_that_is_told_ends_once(
        happens in prop::collection::vec((0_u8..6, 0_usize..3, any::<bool>()), 1..40),
    ) {
        let mut world = with_replicas(2);
        let mut all = names(&world);
        all.push(World::instance());
        for (what, of, looks) in happens {
            let instance = all[of].clone();
            match what {
                0 if instance != world.primary => world.is_elected(&instance, TakeoverCause::Lost),
                1 if instance != world.primary => world.is_elected(&instance, TakeoverCause::Released),
                2 => world.serves(),
                3 => { world.observed.agents.remove(&instance); }
                4 => world.say_of(&instance, AgentPhase::Failed, Some("no disk")),
                _ => world.wait(25),
            }
            if looks {
                world.reconcile();
            }
        }
        world.observed.agents.clear();
        for _ in 0..3 {
            world.reconcile();
            world.wait(61);
        }
        prop_assert_eq!(&world.status.promotion, &None);
        prop_assert_eq!(world.status.journal.running_change(), None);
        for kind in ["FailoverCluster", "SwitchoverCluster"] {
            let ends = ["Completed", "Failure"].map(|end| world.count(&format!("{kind}{end}")));
            prop_assert_eq!(world.count(kind), ends.iter().sum::<usize>());
        }
        world.check_stream();
    }
}

#[test]
fn the_lease_says_what_is_wanted_of_the_agents() {
    let mut world = World::new();
    world.settle();
    let mut wanted = desired();
    wanted.autofail = true;
    wanted.synchronous = 2;
    world.cluster.desired = Ok(wanted);
    let says = |world: &World, step: Step| {
        plan(&world.status, &world.cluster, &world.observed, world.now)
            .steps
            .contains(&step)
    };
    assert!(says(&world, Step::SetAutofail(true)) && says(&world, Step::SetSynchronous(2)));
    world.observed.autofail = Some(true);
    assert!(!says(&world, Step::SetAutofail(true)) && says(&world, Step::SetSynchronous(2)));
    world.observed.synchronous = Some(2);
    assert!(!says(&world, Step::SetSynchronous(2)));
}
