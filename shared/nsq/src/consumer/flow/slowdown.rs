//! Backoff: after a message failed, nothing is asked for during a delay, then one message to see whether it goes again.
//!
//! ```text
//!        failure               delay over             success, level 0
//! Open ─────────► Blocked ─────────────────► Probing ─────────────────► Open
//!                    ▲    (delay by level)      │
//!                    └──── failure: level + 1 ──┤
//!                    └──── success: level - 1 ──┘
//! ```
//!
//! As NSQ's guide for client libraries has it ("Backoff"): both directions go step by step, and of what happens during a
//! delay nothing counts, so that many results at once move it by one step only.

use tokio::time::Instant;

use crate::server::Backoff;

/// Where delays do not grow, because the first is nothing or the longest endless, levels end here.
const HIGHEST_LEVEL: u32 = 32;

/// See the module.
#[derive(Debug)]
pub(super) struct Slowdown {
    backoff: Backoff,
    level: u32,
    mode: Mode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Open,
    Blocked { until: Instant },
    Probing,
}

impl Slowdown {
    pub fn new(backoff: Backoff) -> Self {
        Self {
            backoff,
            level: 0,
            mode: Mode::Open,
        }
    }

    /// A message was requeued because it failed; `chance` from 0 to 1 varies the delay.
    pub fn failed(&mut self, now: Instant, chance: f64) {
        if matches!(self.mode, Mode::Blocked { .. }) {
            return;
        }
        // Further levels would have the same delay, and would have to be left one by one.
        let longer = self.backoff.full_delay(self.level) < self.backoff.max;
        if self.level == 0 || longer && self.level < HIGHEST_LEVEL {
            self.level += 1;
        }
        self.block(now, chance);
    }

    /// A message was finished.
    pub fn succeeded(&mut self, now: Instant, chance: f64) {
        if self.mode != Mode::Probing {
            return;
        }
        self.level = self.level.saturating_sub(1);
        if self.level == 0 {
            self.mode = Mode::Open;
        } else {
            self.block(now, chance);
        }
    }

    fn block(&mut self, now: Instant, chance: f64) {
        let until = now + self.backoff.delay(self.level, chance);
        self.mode = Mode::Blocked { until };
    }

    /// Ends a delay that is over.
    pub fn tick(&mut self, now: Instant) {
        if matches!(self.mode, Mode::Blocked { until } if until <= now) {
            self.mode = Mode::Probing;
        }
    }

    /// When the delay is over.
    pub fn next_change(&self) -> Option<Instant> {
        match self.mode {
            Mode::Blocked { until } => Some(until),
            Mode::Open | Mode::Probing => None,
        }
    }

    /// How many messages may be asked for.
    pub fn limit(&self) -> usize {
        match self.mode {
            Mode::Open => usize::MAX,
            Mode::Blocked { .. } => 0,
            Mode::Probing => 1,
        }
    }

    /// How many failures must be made good; 0 if all is well.
    pub fn level(&self) -> u32 {
        self.level
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn slowdown() -> Slowdown {
        Slowdown::new(Backoff {
            initial: Duration::from_secs(1),
            max: Duration::from_secs(120),
        })
    }

    /// Waits until the delay is over, and says how long that took.
    fn wait(slowdown: &mut Slowdown, now: &mut Instant) -> Duration {
        let until = slowdown.next_change().expect("a delay");
        let waited = until - *now;
        *now = until;
        slowdown.tick(*now);
        waited
    }

    #[test]
    fn delays_grow_with_failures_and_shrink_with_successes_until_all_is_open() {
        let mut slowdown = slowdown();
        let mut now = Instant::now();
        let mut waited = Vec::new();
        for _ in 0..3 {
            slowdown.failed(now, 1.0);
            assert_eq!(slowdown.limit(), 0);
            waited.push(wait(&mut slowdown, &mut now).as_secs());
            assert_eq!(slowdown.limit(), 1);
        }
        for _ in 0..2 {
            slowdown.succeeded(now, 1.0);
            assert_eq!(slowdown.limit(), 0);
            waited.push(wait(&mut slowdown, &mut now).as_secs());
            assert_eq!(slowdown.limit(), 1);
        }
        slowdown.succeeded(now, 1.0);
        assert_eq!(slowdown.limit(), usize::MAX);
        assert_eq!(waited, [1, 2, 4, 2, 1]);
    }

    #[test]
    fn of_many_failures_at_once_one_counts() {
        let mut slowdown = slowdown();
        let mut now = Instant::now();
        for _ in 0..100 {
            slowdown.failed(now, 1.0);
            slowdown.succeeded(now, 1.0);
        }
        assert_eq!(slowdown.level(), 1);
        assert_eq!(wait(&mut slowdown, &mut now), Duration::from_secs(1));
        slowdown.succeeded(now, 1.0);
        assert_eq!(slowdown.level(), 0);
    }

    proptest! {
        #[test]
        fn it_always_opens_again(results in prop::collection::vec((any::<bool>(), 0.0..=1.0), 0..60)) {
            let mut slowdown = slowdown();
            let mut now = Instant::now();
            for (good, chance) in results {
                if slowdown.next_change().is_some() {
                    let waited = wait(&mut slowdown, &mut now);
                    prop_assert!(waited <= Duration::from_secs(120));
                    prop_assert!(waited >= Duration::from_millis(500));
                }
                if good {
                    slowdown.succeeded(now, chance);
                } else {
                    slowdown.failed(now, chance);
                }
            }
            // 1, 2, 4, … 64, 120 s: eight levels.
            for _ in 0..8 {
                if slowdown.next_change().is_some() {
                    wait(&mut slowdown, &mut now);
                }
                slowdown.succeeded(now, 1.0);
            }
            prop_assert_eq!(slowdown.limit(), usize::MAX);
        }
    }
}
