//! The clock of a node: it runs as fast as it likes within what the protocol allows for, and its time of day jumps.

use std::time::Duration;

use pgo_ha::Moment;

use crate::chance::Chance;

/// True time, in nanoseconds since the world began.
pub type Time = u64;

/// A millisecond of true time.
pub const MS: Time = 1_000_000;

/// A second of true time.
pub const SECOND: Time = 1000 * MS;

/// By how many millionths a clock is fast or slow at most: two of them then differ by less than the protocol's 1 %.
const MOST: u64 = 4900;

const MILLION: u128 = 1_000_000;

/// A node's clocks.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// What `CLOCK_BOOTTIME` showed at time 0, in nanoseconds; below 0 where the node began later.
    offset: i64,
    /// By how many millionths it is fast.
    fast: i64,
    /// How much later the time of day is, in nanoseconds. Nothing may go by it.
    wall: i64,
    /// Something goes by it nevertheless.
    by_wall: bool,
}

impl Clock {
    /// A node's; half of them are as fast or as slow as may be.
    pub fn draw(chance: &mut Chance, by_wall: bool) -> Self {
        let most = i64::try_from(MOST).unwrap_or(0);
        let fast = match chance.below(4) {
            0 => most,
            1 => -most,
            _ => i64::try_from(chance.below(2 * MOST + 1)).unwrap_or(0) - most,
        };
        let offset = i64::try_from(chance.below(500 * SECOND) + 100 * SECOND).unwrap_or(0);
        Self {
            offset,
            fast,
            wall: 0,
            by_wall,
        }
    }

    /// What the clock shows at a true time, which goes on also while the machine sleeps, and never back.
    pub fn moment(&self, now: Time) -> Moment {
        let nanoseconds = self.nanoseconds(now);
        Moment::since_boot(Duration::from_nanos(
            u64::try_from(nanoseconds).unwrap_or(0),
        ))
    }

    fn nanoseconds(&self, now: Time) -> i64 {
        let elapsed = u128::from(now) * self.rate() / MILLION;
        let elapsed = i64::try_from(elapsed).unwrap_or(i64::MAX);
        elapsed.saturating_add(self.began())
    }

    /// What it showed at time 0.
    fn began(&self) -> i64 {
        self.offset + if self.by_wall { self.wall } else { 0 }
    }

    /// How far it goes in a million of true time.
    fn rate(&self) -> u128 {
        u128::try_from(1_000_000 + self.fast).unwrap_or(MILLION)
    }

    /// From which true time on the clock shows this moment, or a later one.
    pub fn when(&self, moment: Moment) -> Time {
        let shown = i64::try_from(moment.elapsed_since_boot().as_nanos()).unwrap_or(i64::MAX);
        let elapsed = shown.saturating_sub(self.began()).max(0).unsigned_abs();
        let time = (u128::from(elapsed) * MILLION).div_ceil(self.rate());
        Time::try_from(time).unwrap_or(Time::MAX)
    }

    /// A true time that is so much later by this clock.
    pub fn later(&self, now: Time, by: Time) -> Time {
        self.when(self.moment(now).plus(Duration::from_nanos(by)))
    }

    /// The node begins anew.
    pub fn restart(&mut self, now: Time) {
        self.offset = 0;
        self.offset = -self.nanoseconds(now);
    }

    /// Somebody sets the time of day.
    pub fn step_wall(&mut self, chance: &mut Chance) {
        let by = i64::try_from(chance.below(20 * SECOND)).unwrap_or(0);
        self.wall += by - 10_000_000_000;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_shown_from_its_time_on_and_not_before() {
        let mut chance = Chance::new(1);
        for _ in 0..1000 {
            let clock = Clock::draw(&mut chance, false);
            let moment = clock
                .moment(chance.below(100 * SECOND))
                .plus(Duration::from_nanos(chance.below(SECOND)));
            let time = clock.when(moment);
            assert!(clock.moment(time) >= moment);
            assert!(
                time == 0 || clock.moment(time - 1) < moment,
                "{clock:?} {moment:?}"
            );
        }
    }

    #[test]
    fn two_clocks_differ_by_less_than_the_protocol_allows_for() {
        let most = i64::try_from(MOST).expect("small");
        assert!((1_000_000 + most) * 1000 < (1_000_000 - most) * 1010);
    }
}
