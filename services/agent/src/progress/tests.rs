//! Both ways from the first stage to the last, with all that can go wrong.

use proptest::prelude::*;

use super::*;

fn failed(reason: &str) -> Event {
    Event::Failed(reason.to_owned())
}

fn exited(served: Duration) -> Event {
    Event::Exited {
        reason: "gone".to_owned(),
        served,
    }
}

/// What can happen in a stage.
fn possible(stage: Stage) -> Vec<Event> {
    let missing = Event::Missing("the primary".to_owned());
    let exits = [1, 20].map(|seconds| exited(Duration::from_secs(seconds)));
    let mut events = match stage {
        Stage::Decide => [Way::Lead, Way::Follow, Way::Restore]
            .map(Event::Decided)
            .to_vec(),
        Stage::Inspect => vec![Event::Done, Event::Empty],
        Stage::Clone | Stage::Rewind => vec![Event::Done, Event::Unusable, missing],
        Stage::Replay => [vec![Event::Stopped, Event::Elected], exits.to_vec()].concat(),
        Stage::Await | Stage::SetUp => [vec![Event::Done], exits.to_vec()].concat(),
        Stage::Serve => [vec![Event::Turned, Event::Stopped], exits.to_vec()].concat(),
        Stage::Stream => {
            let turns = vec![
                Event::Turned,
                Event::Stopped,
                Event::Elected,
                Event::Diverged,
                Event::Unusable,
            ];
            [turns, exits.to_vec()].concat()
        }
        _ => vec![Event::Done],
    };
    events.push(failed("cause"));
    events
}

/// Progress after progress, each with what happens next.
fn walk() -> impl Strategy<Value = Vec<(Progress, Event)>> {
    prop::collection::vec(any::<prop::sample::Index>(), 1..40).prop_map(|choices| {
        let mut progress = Progress::default();
        let step = |choice: prop::sample::Index| {
            let event = match progress.next() {
                Next::Rest(_) => Event::Rested,
                Next::Run(Stage::Inspect) if progress.way() == Way::Follow => {
                    let diverged = [possible(Stage::Inspect), vec![Event::Diverged]].concat();
                    choice.get(&diverged).clone()
                }
                Next::Run(stage) => choice.get(&possible(stage)).clone(),
            };
            let before = progress.clone();
            progress = before.clone().after(event.clone());
            (before, event)
        };
        choices.into_iter().map(step).collect()
    })
}

/// All goes well from here on.
fn well(mut progress: Progress, way: Way) -> Progress {
    for _ in 0..40 {
        let event = match progress.next() {
            Next::Rest(_) => Event::Rested,
            Next::Run(Stage::Decide) => Event::Decided(way),
            Next::Run(Stage::Serve) if way == Way::Follow => Event::Turned,
            Next::Run(Stage::Stream) if way == Way::Lead => Event::Elected,
            Next::Run(Stage::Replay) => Event::Turned,
            Next::Run(Stage::Serve | Stage::Stream) => break,
            Next::Run(_) => Event::Done,
        };
        progress = progress.after(event);
    }
    progress
}

proptest! {
    #[test]
    fn from_everywhere_success_leads_to_serving_without_an_error(steps in walk(), leads: bool) {
        let (last, _) = steps.last().expect("a step");
        let (way, stage) = match leads {
            true => (Way::Lead, Stage::Serve),
            false => (Way::Follow, Stage::Stream),
        };
        let progress = well(last.clone(), way);
        prop_assert_eq!(progress.next(), Next::Run(stage));
        prop_assert_eq!(progress.phase(), Phase::Running);
        prop_assert_eq!((progress.error(), progress.way()), (None, way));
    }

    #[test]
    fn a_failure_is_told_and_every_rest_is_bounded(steps in walk()) {
        for (progress, _) in steps {
            prop_assert!(progress.phase() != Phase::Failed || progress.error().is_some());
            if let Next::Rest(rest) = progress.next() {
                prop_assert!(rest >= FIRST_REST && rest <= LONGEST_REST);
                prop_assert!(progress.error().is_some());
            }
        }
    }

    #[test]
    fn only_who_was_decided_to_lead_initialises_promotes_or_takes_the_service(steps in walk()) {
        let mut decided = None;
        for (progress, event) in steps {
            if let Next::Run(stage) = progress.next() {
                let leads = [Stage::Initialise, Stage::Promote, Stage::SetUp, Stage::Publish, Stage::Serve];
                let follows = [Stage::Clone, Stage::Rewind, Stage::Stream];
                prop_assert!(!leads.contains(&stage) || decided == Some(Way::Lead), "{stage:?}");
                prop_assert!(!follows.contains(&stage) || decided == Some(Way::Follow), "{stage:?}");
                let restores = [Stage::Restore, Stage::Replay];
                prop_assert!(!restores.contains(&stage) || decided == Some(Way::Restore), "{stage:?}");
                prop_assert!(stage < Stage::Inspect || decided.is_some(), "{stage:?}");
            }
            match event {
                Event::Decided(way) => decided = Some(way),
                Event::Elected => decided = Some(Way::Lead),
                _ => {}
            }
        }
    }
}

/// Goes through `events`, resting whenever it is asked for.
fn after_all(events: impl IntoIterator<Item = Event>) -> Progress {
    events
        .into_iter()
        .fold(Progress::default(), |progress, event| {
            match progress.next() {
                Next::Rest(_) => progress.after(Event::Rested).after(event),
                Next::Run(_) => progress.after(event),
            }
        })
}

fn serving() -> Progress {
    well(Progress::default(), Way::Lead)
}

#[test]
fn rests_become_longer_and_the_failure_stays_until_its_stage_succeeds() {
    let mut progress = Progress::default().after(Event::Done);
    let mut rests = Vec::new();
    for _ in 0..8 {
        progress = progress.after(failed("no Lease"));
        if let Next::Rest(rest) = progress.next() {
            rests.push(rest.as_millis());
        }
        progress = progress.after(Event::Rested);
        assert_eq!(progress.phase(), Phase::Failed);
    }
    assert_eq!(rests, [250, 500, 1000, 2000, 4000, 8000, 10000, 10000]);
    let progress = progress.after(Event::Decided(Way::Lead));
    assert_eq!(
        (progress.phase(), progress.error()),
        (Phase::Starting, None)
    );
}

#[test]
fn an_initdb_that_fails_is_tried_from_the_inspection_on() {
    let inspecting = after_all([Event::Done, Event::Decided(Way::Lead)]);
    let progress = inspecting.after(Event::Empty);
    assert_eq!(progress.phase(), Phase::Initializing);
    let progress = progress.after(failed("disk full")).after(Event::Rested);
    assert_eq!(progress.next(), Next::Run(Stage::Inspect));
    // It is still the failure of initdb that is told, until initdb succeeds.
    let progress = progress.after(Event::Empty);
    assert_eq!(progress.error(), Some("disk full"));
    assert_eq!(progress.after(Event::Done).error(), None);
}

#[test]
fn a_replica_clones_and_asks_again_who_is_primary_while_none_is_there() {
    let cloning = after_all([Event::Done, Event::Decided(Way::Follow), Event::Empty]);
    assert_eq!(cloning.next(), Next::Run(Stage::Clone));
    let waiting = cloning.after(Event::Missing("hippo is not there yet".to_owned()));
    assert_eq!(waiting.next(), Next::Rest(MISSING_REST));
    // Waiting is no failure, and what is being waited for is told all the time.
    assert_eq!(waiting.phase(), Phase::Starting);
    let again = waiting.after(Event::Rested);
    assert_eq!(again.next(), Next::Run(Stage::Decide));
    let again = again.after(Event::Decided(Way::Follow));
    assert_eq!(again.error(), Some("hippo is not there yet"));
    let cloned = again.after(Event::Empty).after(Event::Done);
    assert_eq!(cloned.next(), Next::Run(Stage::Configure));
    assert_eq!(cloned.error(), None);
}

#[test]
fn what_is_made_from_a_backup_waits_at_its_target_until_it_leads() {
    let copying = after_all([Event::Done, Event::Decided(Way::Restore), Event::Empty]);
    assert_eq!(copying.next(), Next::Run(Stage::Restore));
    assert_eq!(copying.phase(), Phase::Cloning);
    let again = copying.clone().after(failed("away")).after(Event::Rested);
    assert_eq!(again.next(), Next::Run(Stage::Decide));
    let steps = [Event::Done, Event::Done, Event::Done, Event::Done];
    let replaying = steps.into_iter().fold(copying, Progress::after);
    assert_eq!(replaying.next(), Next::Run(Stage::Replay));
    assert_eq!(replaying.phase(), Phase::Recovering);
    let ended = replaying.clone().after(exited(Duration::ZERO));
    assert_eq!(
        ended.after(Event::Rested).next(),
        Next::Run(Stage::Configure)
    );
    let leads = replaying.after(Event::Elected);
    assert_eq!(leads.next(), Next::Run(Stage::Promote));
    assert_eq!(leads.way(), Way::Lead);
}

#[test]
fn data_that_cannot_be_rewound_is_cloned_and_a_clone_that_fails_is_decided_anew() {
    let streaming = well(Progress::default(), Way::Follow);
    let rewinding = streaming.after(Event::Diverged);
    assert_eq!(rewinding.phase(), Phase::Rewinding);
    let cloning = rewinding.after(Event::Unusable);
    assert_eq!(cloning.phase(), Phase::Cloning);
    let failed = cloning.after(failed("no space")).after(Event::Rested);
    assert_eq!(failed.next(), Next::Run(Stage::Decide));
}

#[test]
fn a_server_is_down_when_it_did_not_come_up_twice_and_not_when_it_crashes_while_it_serves() {
    let crashed = serving().after(exited(Duration::from_secs(60)));
    assert!(!crashed.is_down());
    let started = crashed.after(Event::Done).after(Event::Done);
    let once = started.after(exited(Duration::ZERO));
    assert!(!once.is_down());
    let twice = once.after(Event::Rested).after(failed("a wrong setting"));
    assert!(twice.is_down());
    assert!(!well(twice, Way::Lead).is_down());
    let mut crashing = serving();
    for _ in 0..5 {
        crashing = well(crashing.after(exited(Duration::from_secs(1))), Way::Lead);
        assert!(!crashing.is_down());
    }
}

#[test]
fn the_first_crash_is_answered_at_once_and_the_next_ones_slower() {
    let again = serving().after(exited(Duration::from_secs(1)));
    assert_eq!(again.next(), Next::Run(Stage::Configure));
    assert_eq!((again.error(), again.restarts()), (None, 1));

    let slower = well(again, Way::Lead).after(exited(Duration::from_secs(1)));
    assert!(matches!(slower.next(), Next::Rest(_)));
    assert_eq!((slower.phase(), slower.restarts()), (Phase::Failed, 2));

    let once = serving().after(exited(Duration::from_secs(1)));
    let steady = well(once, Way::Lead).after(exited(Duration::from_secs(60)));
    assert_eq!(steady.next(), Next::Run(Stage::Configure));
}
