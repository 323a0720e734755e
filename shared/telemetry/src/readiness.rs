//! Readiness: conditions with names, each met or not met for a reason. Some of them are vital: a process that has one
//! no more hangs, and nothing but a new beginning helps.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// What a process must have before it can serve. Clones are handles of the same.
///
/// ```
/// let readiness = pgo_telemetry::Readiness::default();
/// let kubernetes = readiness.condition("kubernetes");
/// assert!(readiness.check().is_err());
/// kubernetes.met();
/// assert!(readiness.check().is_ok());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<&'static str, Known>>>);

/// What is known of a condition.
#[derive(Debug)]
struct Known {
    state: State,
    /// Of a vital one: when the process hangs if it was not met until then.
    last: Option<Instant>,
}

#[derive(Debug)]
enum State {
    Met,
    MetUntil(Instant),
    NotMet(String),
}

/// The conditions that are not met, each with its reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct NotReady(pub Vec<(&'static str, String)>);

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, reason)) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "\n" };
            write!(f, "{separator}{name}: {reason}")?;
        }
        Ok(())
    }
}

impl Readiness {
    /// Adds a condition, not met until somebody says so.
    pub fn condition(&self, name: &'static str) -> Condition {
        self.add(name, None)
    }

    /// Adds a condition that the process hangs without: it must be met within `time`, and then again before what is said
    /// with [`Condition::met_for`] is over.
    pub fn vital(&self, name: &'static str, time: Duration) -> Condition {
        self.add(name, Some(Instant::now() + time))
    }

    fn add(&self, name: &'static str, last: Option<Instant>) -> Condition {
        let state = State::NotMet("not yet".to_owned());
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(name, Known { state, last });
        Condition {
            readiness: self.clone(),
            name,
        }
    }

    /// Whether the process goes on: no vital condition is overdue.
    ///
    /// # Errors
    /// The conditions that are.
    pub fn alive(&self) -> Result<(), NotReady> {
        let now = Instant::now();
        self.all_but(|known| {
            let overdue = known.last.is_some_and(|last| now >= last);
            overdue.then(|| "overdue; the process hangs and must be started anew".to_owned())
        })
    }

    /// Whether all conditions are met; a process without any is ready.
    ///
    /// # Errors
    /// The conditions that are not.
    pub fn check(&self) -> Result<(), NotReady> {
        self.check_at(Instant::now())
    }

    fn check_at(&self, now: Instant) -> Result<(), NotReady> {
        self.all_but(|known| match &known.state {
            State::Met => None,
            State::MetUntil(until) if now < *until => None,
            State::MetUntil(_) => Some("not confirmed lately".to_owned()),
            State::NotMet(reason) => Some(reason.clone()),
        })
    }

    /// Nothing, or the conditions that something is wrong with, and what.
    fn all_but(&self, wrong: impl Fn(&Known) -> Option<String>) -> Result<(), NotReady> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let missing: Vec<_> = all
            .iter()
            .filter_map(|(name, known)| Some((*name, wrong(known)?)))
            .collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(NotReady(missing))
        }
    }
}

/// One condition of a [`Readiness`].
#[derive(Clone, Debug)]
pub struct Condition {
    readiness: Readiness,
    name: &'static str,
}

impl Condition {
    /// The condition is met until something else is said.
    pub fn met(&self) {
        self.set(State::Met);
    }

    /// The condition is met for `time`; whoever watches it must say so again before that is over.
    pub fn met_for(&self, time: Duration) {
        self.set(State::MetUntil(Instant::now() + time));
    }

    /// The condition is not met, because of `reason`.
    pub fn not_met(&self, reason: impl Into<String>) {
        self.set(State::NotMet(reason.into()));
    }

    fn set(&self, state: State) {
        let all = &self.readiness.0;
        let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
        // It is there since it was added.
        if let Some(known) = all.get_mut(self.name) {
            match (&state, &mut known.last) {
                (State::MetUntil(until), Some(last)) => *last = *until,
                (State::Met, last) => *last = None,
                _ => {}
            }
            known.state = state;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_missing_is_listed_with_its_reason() {
        let readiness = Readiness::default();
        assert_eq!(readiness.check(), Ok(()));
        let leader = readiness.condition("leader");
        let bus = readiness.condition("bus");
        bus.not_met("connection refused");
        let missing = readiness.check().expect_err("two are missing");
        assert_eq!(
            missing.to_string(),
            "bus: connection refused\nleader: not yet"
        );
        bus.met();
        leader.met();
        assert_eq!(readiness.check(), Ok(()));
    }

    #[test]
    fn a_condition_that_nobody_confirms_runs_out() {
        let readiness = Readiness::default();
        let query = readiness.condition("query");
        query.met_for(Duration::from_secs(5));
        assert_eq!(readiness.check(), Ok(()));
        let later = Instant::now() + Duration::from_secs(6);
        assert!(readiness.check_at(later).is_err());
        assert_eq!(readiness.alive(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_whose_vital_condition_is_overdue_hangs() {
        let readiness = Readiness::default();
        let rounds = readiness.vital("rounds", Duration::from_secs(5));
        readiness.condition("nsqd").not_met("connection refused");
        let after = async |seconds| {
            tokio::time::advance(Duration::from_secs(seconds)).await;
            readiness.alive().is_ok()
        };
        assert!(after(4).await);
        rounds.met_for(Duration::from_secs(9));
        assert!(after(8).await);
        rounds.not_met("for a while");
        assert!(!after(1).await);
        rounds.met_for(Duration::from_secs(9));
        assert!(after(0).await);
    }
}
