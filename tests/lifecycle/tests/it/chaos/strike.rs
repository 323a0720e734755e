//! One fault at a time, or two of which the second begins before the first has ended; and what may follow from them.

use std::{fmt, thread, time::Duration};

use serde_json::Value;

use super::fault::{Change, Fault, Victim};
use crate::harness::{Cluster, chance::Chance, faults::last, kubernetes::text};

/// What happens at a time: a fault, or two, the second of which begins before the first has ended.
#[derive(Clone, Copy, Debug)]
pub struct Strike {
    fault: Fault,
    time: Duration,
    second: Option<Second>,
}

/// The second one.
#[derive(Clone, Copy, Debug)]
struct Second {
    fault: Fault,
    time: Duration,
    /// How long after the first one.
    after: Duration,
    /// Which of the instances that the first one does not strike.
    which: usize,
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} for {} ms", self.fault, self.time.as_millis())?;
        let Some(second) = &self.second else {
            return Ok(());
        };
        let (after, time) = (second.after.as_millis(), second.time.as_millis());
        write!(
            f,
            " and, {after} ms later, {:?} for {time} ms",
            second.fault
        )
    }
}

impl Strike {
    /// This fault, joined by another one in about one of three cases, where there is time for that.
    pub fn of(fault: Fault, longest: Duration, joins: bool, chance: &mut Chance) -> Self {
        let time = fault.time(longest, chance);
        let is_joined = joins && chance.below(3) == 0;
        let other = is_joined.then(|| fault.joined(chance)).flatten();
        let second = other.map(|other| {
            // What is over at once is healed by what comes after it.
            let heals = time.max(Duration::from_secs(1));
            let heals = u64::try_from(heals.as_millis()).expect("small");
            Second {
                fault: other,
                time: other.time(longest, chance),
                after: Duration::from_millis(chance.below(heals)),
                which: usize::from(chance.below(2) == 1),
            }
        });
        Self {
            fault,
            time,
            second,
        }
    }

    fn faults(&self) -> impl Iterator<Item = Fault> {
        [self.fault]
            .into_iter()
            .chain(self.second.map(|second| second.fault))
    }

    /// Whether Kubernetes' own programs have to find their API server again afterwards.
    pub fn takes_api_server(&self) -> bool {
        self.faults().any(Fault::takes_api_server)
    }

    /// Whether who was primary lives on where nobody can tell it to stop.
    pub fn leaves_primary_alone(&self) -> bool {
        self.fault.leaves_primary_alone()
    }

    /// Whom each strikes: the first one the primary, save one that is for a replica, and the second one somebody else.
    pub fn victims(&self, (primary, replicas): &(String, Vec<String>)) -> (String, Option<String>) {
        let first = match self.fault {
            Fault::ReplicaKilled => replicas[0].clone(),
            _ => primary.clone(),
        };
        let second = self.second.map(|second| {
            let is_free = |name: &&String| {
                let is_struck = self.fault.strikes() && **name == first;
                let is_meant = second.fault != Fault::ReplicaKilled || *name != primary;
                !is_struck && is_meant
            };
            let all: Vec<&String> = replicas.iter().chain([primary]).filter(is_free).collect();
            all[second.which % all.len()].clone()
        });
        (first, second)
    }

    /// Which changes of the primary it may cause, and how many. Of two that meet, one may strike who has just become the primary, or
    /// keep it from handing over; where none of them does anything to a primary, neither do both.
    fn may_cause(&self, primary: &str, victims: &(String, Option<String>)) -> (Vec<Change>, usize) {
        let struck = [Some(&victims.0), victims.1.as_ref()];
        let mut strikes = self.faults().zip(struck);
        let any = strikes.any(|(fault, struck)| {
            !fault.may_cause().is_empty() && struck.is_some_and(|name| name == primary)
        });
        if !any {
            return (Vec::new(), 0);
        }
        let mut all: Vec<Change> = self.faults().flat_map(Fault::may_cause).copied().collect();
        match self.second {
            None => (all, 1),
            Some(_) => {
                all.push(Change::Lost);
                (all, 2)
            }
        }
    }

    /// Whether the client may notice: the primary is struck, or both replicas are.
    pub fn may_interrupt_writes(&self, primary: &str, victims: &(String, Option<String>)) -> bool {
        match (&self.second, &victims.1) {
            (None, _) | (_, None) => self.fault.may_interrupt_writes(),
            (Some(second), Some(other)) => {
                let first = self.fault.strikes();
                let both = first && second.fault.strikes();
                both || first && victims.0 == primary || second.fault.strikes() && other == primary
            }
        }
    }

    /// Lets it happen, and end.
    pub fn happen(&self, cluster: &Cluster, first: &Victim, other: Option<&Victim>) {
        thread::scope(|scope| {
            if let (Some(second), Some(other)) = (self.second, other) {
                scope.spawn(move || {
                    last(second.after);
                    second.fault.happen(cluster, other, second.time);
                });
            }
            self.fault.happen(cluster, first, self.time);
        });
    }

    /// Holds the changes of the primary, as the Lease has them, against what may have caused them.
    pub fn explains(&self, before: &str, victims: &(String, Option<String>), changes: &[Value]) {
        let (may, most) = self.may_cause(before, victims);
        assert!(
            changes.len() <= most,
            "{self} may change the primary {most} times: {changes:?}"
        );
        for change in changes {
            assert!(
                may.contains(&Change::of(change)),
                "{self} may cause {may:?}: {change}"
            );
        }
        if let Some(first) = changes.first() {
            assert_eq!(text(first, "/from"), before, "{self}: {first}");
        }
        let must = self.second.is_none() && self.fault.changes_primary();
        assert!(
            !must || changes.len() == 1,
            "{self}: nobody took the place of {before}"
        );
    }
}

const LONGEST: Duration = Duration::from_secs(10);

/// All that comes by a seed in some rounds.
fn drawn(seed: u64) -> Vec<Strike> {
    let mut chance = Chance::new(seed);
    let mut all = Vec::new();
    for _ in 0..20 {
        for fault in chance.shuffled(&Fault::ALL) {
            all.push(Strike::of(fault, LONGEST, true, &mut chance));
        }
    }
    all
}

fn roles() -> (String, Vec<String>) {
    ("a".to_owned(), vec!["b".to_owned(), "c".to_owned()])
}

#[test]
fn a_seed_brings_the_same_faults_and_about_a_third_of_them_meet_another_one() {
    let (all, again) = (drawn(7), drawn(7));
    let shown = |all: &[Strike]| all.iter().map(Strike::to_string).collect::<Vec<_>>();
    assert_eq!(shown(&all), shown(&again));
    let met = all.iter().filter(|strike| strike.second.is_some()).count();
    assert!((60..=120).contains(&met), "{met} of {}", all.len());
    for strike in &all {
        if let Some(second) = strike.second {
            let least = strike.time.max(Duration::from_secs(1));
            assert!(second.after < least, "{strike}: it has ended before");
        }
    }
}

#[test]
fn two_that_meet_strike_two_instances_and_ask_nobody_who_is_away() {
    for strike in drawn(11) {
        let (first, other) = strike.victims(&roles());
        let Some(second) = strike.second else {
            assert_eq!(other, None);
            continue;
        };
        let other = other.expect("somebody");
        assert!(!strike.fault.strikes() || first != other, "{strike}");
        assert!(
            second.fault != Fault::ReplicaKilled || other != "a",
            "{strike}"
        );
        let both = [strike.fault, second.fault];
        let asks = [
            Fault::PodDeleted,
            Fault::PodDeletedByForce,
            Fault::ReconcilerKilled,
        ];
        let asks = both.iter().any(|fault| asks.contains(fault));
        assert!(!(strike.takes_api_server() && asks), "{strike}");
    }
}

/// A change as the Lease has it.
fn change(from: &str, cause: &str) -> Value {
    serde_json::json!({"from": from, "to": "b", "cause": cause})
}

fn alone(fault: Fault) -> Strike {
    Strike::of(fault, LONGEST, false, &mut Chance::new(1))
}

#[test]
fn what_a_fault_may_cause_is_explained() {
    let victims = ("a".to_owned(), None);
    alone(Fault::NodeCut).explains("a", &victims, &[change("a", "lost")]);
    alone(Fault::PodDeleted).explains("a", &victims, &[change("a", "released")]);
    alone(Fault::ApiserverStopped).explains("a", &victims, &[]);
}

#[test]
#[should_panic(expected = "may change the primary 0 times")]
fn a_change_by_an_api_server_that_stands_still_is_not_explained() {
    let victims = ("a".to_owned(), None);
    alone(Fault::ApiserverStopped).explains("a", &victims, &[change("a", "lost")]);
}

#[test]
#[should_panic(expected = "may cause [Lost]")]
fn a_node_that_is_cut_off_hands_nothing_over() {
    let victims = ("a".to_owned(), None);
    alone(Fault::NodeCut).explains("a", &victims, &[change("a", "released")]);
}

#[test]
#[should_panic(expected = "nobody took the place")]
fn a_primary_that_is_cut_off_is_followed() {
    let victims = ("a".to_owned(), None);
    alone(Fault::NodeCut).explains("a", &victims, &[]);
}

#[test]
#[should_panic(expected = "may change the primary 0 times")]
fn two_that_do_nothing_to_the_primary_change_nobody() {
    let strike = Strike {
        second: Some(Second {
            fault: Fault::NodeStopped,
            time: LONGEST,
            after: Duration::ZERO,
            which: 0,
        }),
        ..alone(Fault::ApiserverStopped)
    };
    let victims = ("a".to_owned(), Some("b".to_owned()));
    strike.explains("a", &victims, &[change("a", "lost")]);
}
