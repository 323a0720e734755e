//! Time as the decisions see it: moments of one machine's clock that never goes back, and how long authority lasts.

use std::time::Duration;

/// A moment of this node's `CLOCK_BOOTTIME` (`clock_gettime(2)`: monotonic, and goes on while the machine sleeps).
/// Moments of two nodes cannot be compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(Duration);

impl Moment {
    /// The moment so long after the clock's zero.
    #[must_use]
    pub const fn since_boot(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// How long after the clock's zero.
    #[must_use]
    pub const fn elapsed_since_boot(self) -> Duration {
        self.0
    }

    /// The moment so much later; the last one there is where that is beyond it.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }

    /// The moment so much earlier; the clock's zero where that is before it.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration))
    }

    /// How much later this is than `earlier`; zero where it is not later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// How long authority lasts, and what it allows for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timing {
    /// T: how long a grant, or a write of the Lease, lasts for who received it.
    pub term: Duration,
    /// ρ, in thousandths: by how much the clocks of two nodes may differ in rate.
    pub drift_permille: u32,
    /// D: how long before its deadline a primary that lost its authority begins to kill its server; the longest pause
    /// between a check and its effect that the asynchronous mode allows for.
    pub margin: Duration,
    /// How long a voter whose last grant has run out leaves the Lease to the primary that had it, whose next request may be on
    /// its way. Nothing rests on it: a campaign may begin as late as it likes.
    pub patience: Duration,
    /// How long a candidate leaves the Lease to another voter that is as far as it and preferred. Nothing rests on it: a swap
    /// may be as late as it likes.
    pub preference: Duration,
}

impl Timing {
    /// What every instance uses. T: a network that is gone for less costs no primary its place, though its servers where it is
    /// gone for longer than T − D and two ticks. ρ: NTP slews by 0.5 ‰ at most (`adjtimex(2)`), crystals are good to 0.1 ‰; ten
    /// times both costs 20 ms of each failover. D: a SIGKILL of every server process is through in a few milliseconds on a
    /// loaded node; most of this is for the scheduler. Patience: the last request before a network went may be a tick of 200 ms
    /// older, and the first one after it is sent within a tick; half a tick more is for its way. Preference: two voters begin to campaign
    /// within a tick and two reads of the Lease of each other, and an election takes a fraction of a second.
    pub const PROTOCOL: Self = Self {
        term: Duration::from_secs(2),
        drift_permille: 10,
        margin: Duration::from_millis(300),
        patience: Duration::from_millis(300),
        preference: Duration::from_secs(1),
    };

    /// T·(1+ρ): how long others wait for an authority of T to have run out by its holder's clock, whatever the drift.
    #[must_use]
    pub fn run_out(&self) -> Duration {
        let drift = self.term.saturating_mul(self.drift_permille) / 1000;
        self.term.saturating_add(drift)
    }
}
