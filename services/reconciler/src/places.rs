//! How many clusters do the same at once, over all namespaces: are upgraded, or have a backup tried.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use pgo_ids::StreamId;

/// How long nobody begins after a leader did: those that went on before are counted first.
const HEARD_WITHIN: Duration = Duration::from_secs(5);

/// The clusters that are at it, or may begin.
#[derive(Clone)]
pub struct Places {
    begun: Instant,
    taken: Arc<Mutex<HashSet<String>>>,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            taken: Arc::default(),
        }
    }
}

impl Places {
    /// Whether a cluster has to wait for others: it is not `at_it`, wants to begin, and `limit` of them go on.
    pub fn full(&self, stream: &StreamId, at_it: bool, wants: bool, limit: usize) -> bool {
        let stream = stream.as_str();
        if at_it {
            self.taken().insert(stream.to_owned());
            return false;
        }
        self.is_full_for(stream, wants, limit)
    }

    fn is_full_for(&self, stream: &str, wants: bool, limit: usize) -> bool {
        let heard = !self.is_new();
        let mut taken = self.taken();
        if !wants {
            taken.remove(stream);
            return false;
        }
        if taken.contains(stream) {
            return false;
        }
        if !heard || taken.len() >= limit {
            return true;
        }
        taken.insert(stream.to_owned());
        false
    }

    /// Whether those that went on before may not have been counted yet.
    pub fn is_new(&self) -> bool {
        self.begun.elapsed() < HEARD_WITHIN
    }

    /// Forgets a cluster that is gone.
    pub fn forget(&self, stream: &StreamId) {
        self.taken().remove(stream.as_str());
    }

    fn taken(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_limit_begin_and_each_that_ends_makes_room() {
        let begun = Instant::now().checked_sub(HEARD_WITHIN);
        let places = Places {
            begun: begun.expect("a machine that runs for a while"),
            taken: Arc::default(),
        };
        let full = |stream, wants| places.is_full_for(stream, wants, 2);
        assert!(!full("a", true) && !full("b", true));
        assert!(full("c", true));
        assert!(!full("a", true), "it has its place");
        assert!(!full("a", false), "it is through");
        assert!(!full("c", true) && full("d", true));
    }

    #[test]
    fn nobody_begins_before_those_that_go_on_were_counted() {
        let places = Places::default();
        assert!(places.is_full_for("a", true, 2));
    }
}
