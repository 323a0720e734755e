//! Durations that callers give, as far as the clock can count them.

use std::time::Duration;

/// Longer than anything waits: `Duration::MAX` is a natural way to say "for ever", and no `Instant` is so far away.
const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// `given`, or a time that nobody lives to see.
pub(crate) fn countable(given: Duration) -> Duration {
    given.min(FOR_EVER)
}
