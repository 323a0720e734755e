//! Readiness: conditions with names, each met or not met for a reason.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

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
pub struct Readiness(Arc<Mutex<BTreeMap<&'static str, State>>>);

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
        let condition = Condition {
            readiness: self.clone(),
            name,
        };
        condition.not_met("not yet");
        condition
    }

    /// Whether all conditions are met; a process without any is ready.
    ///
    /// # Errors
    /// The conditions that are not.
    pub fn check(&self) -> Result<(), NotReady> {
        self.check_at(Instant::now())
    }

    fn check_at(&self, now: Instant) -> Result<(), NotReady> {
        let states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let missing: Vec<_> = states
            .iter()
            .filter_map(|(name, state)| match state {
                State::Met => None,
                State::MetUntil(until) if now < *until => None,
                State::MetUntil(_) => Some((*name, "not confirmed lately".to_owned())),
                State::NotMet(reason) => Some((*name, reason.clone())),
            })
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
        let mut states = self
            .readiness
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        states.insert(self.name, state);
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
    }
}
