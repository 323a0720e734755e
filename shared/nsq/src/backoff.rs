//! How long to wait after something failed: before the next try to connect, before the next message is asked for.

use std::time::Duration;

use crate::{deadline::countable, server::Backoff};

/// A connection that lived this long was a good one: the next failure starts the delays from the beginning. One that
/// breaks sooner (a server that accepts and closes) must not turn the delays into a busy loop.
const GOOD_CONNECTION: Duration = Duration::from_secs(1);

impl Backoff {
    /// The longest delay after so many failures in a row.
    pub(crate) fn full_delay(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        countable(self.initial.saturating_mul(1 << doublings).min(self.max))
    }

    /// The delay after so many failures; `chance` from 0 to 1 spreads those who wait for the same.
    pub(crate) fn delay(&self, failures: u32, chance: f64) -> Duration {
        self.full_delay(failures)
            .mul_f64(0.5 + 0.5 * chance.clamp(0.0, 1.0))
    }
}

/// The delays between a client's tries to connect.
#[derive(Debug)]
pub(crate) struct Delays {
    backoff: Backoff,
    failures: u32,
}

impl Delays {
    pub(crate) fn new(backoff: Backoff) -> Self {
        Self {
            backoff,
            failures: 0,
        }
    }

    /// Takes note of a connection that lasted `lived`; zero for one that never came about.
    pub(crate) fn connection_ended(&mut self, lived: Duration) {
        self.failures = if lived >= GOOD_CONNECTION {
            1
        } else {
            self.failures.saturating_add(1)
        };
    }

    /// Takes note of a connection that ended because the server refused what it was given: that says nothing about the
    /// server, and the rest shall not wait longer and longer for it.
    pub(crate) fn refused(&mut self) {
        self.failures = 1;
    }

    /// The delay now due; `chance` from 0 to 1 spreads clients that lost the same server.
    pub(crate) fn delay(&self, chance: f64) -> Duration {
        self.backoff.delay(self.failures, chance)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn delays() -> Delays {
        Delays::new(Backoff {
            initial: Duration::from_millis(50),
            max: Duration::from_secs(5),
        })
    }

    proptest! {
        #[test]
        fn a_delay_is_never_longer_than_the_longest_and_never_nothing(failures in 1usize..200, chance in 0.0..=1.0) {
            let mut delays = delays();
            for _ in 0..failures {
                delays.connection_ended(Duration::ZERO);
            }
            prop_assert!(delays.delay(chance) <= Duration::from_secs(5));
            prop_assert!(delays.delay(chance) >= Duration::from_millis(25));
        }
    }

    #[test]
    fn delays_double_and_a_good_connection_starts_them_anew() {
        let mut delays = delays();
        let mut seen = Vec::new();
        for lived in [0, 0, 0, 60, 0] {
            delays.connection_ended(Duration::from_secs(lived));
            seen.push(delays.delay(1.0).as_millis());
        }
        assert_eq!(seen, [50, 100, 200, 50, 100]);
        delays.refused();
        assert_eq!(delays.delay(1.0).as_millis(), 50);
    }
}
