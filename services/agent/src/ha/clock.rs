//! The clock of the protocol.

use std::time::Duration;

use pgo_ha::Moment;
use rustix::time::{ClockId, clock_gettime};

/// This node's `CLOCK_BOOTTIME`: it never goes back, and goes on while the machine sleeps.
pub fn now() -> Moment {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or_default();
    Moment::since_boot(Duration::new(seconds, nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_does_not_go_back() {
        let earlier = now();
        assert!(now() >= earlier && earlier > Moment::default());
    }
}
