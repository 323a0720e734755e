//! Waiting for what happens by itself.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(200);

/// Looks until `look` finds what is waited for; what it saw instead is told where it does not come in time.
///
/// # Panics
/// When `limit` is over.
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<T, String>) -> T {
    let begun = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) if begun.elapsed() >= limit => {
                panic!(
                    "{what}: not within {} s; seen last: {seen}",
                    limit.as_secs()
                )
            }
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

/// `Ok` where `is`, else what was seen.
pub fn seen(is: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if is { Ok(()) } else { Err(what()) }
}
