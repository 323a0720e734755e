//! How many clusters are upgraded at once, over all namespaces.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use pgo_core::{Cluster, ClusterStatus, wants_upgrade};
use pgo_ids::StreamId;

/// How long nobody begins after a leader did: those that went on before are counted first.
const HEARD_WITHIN: Duration = Duration::from_secs(5);

/// The clusters that are being upgraded, or may begin.
#[derive(Clone)]
pub struct Upgrades {
    begun: Instant,
    taken: Arc<Mutex<HashSet<String>>>,
}

impl Default for Upgrades {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            taken: Arc::default(),
        }
    }
}

impl Upgrades {
    /// Whether a cluster has to wait for others: it wants to begin, and `limit` of them go on.
    pub fn full(&self, status: &ClusterStatus, cluster: &Cluster, limit: usize) -> bool {
        let stream = cluster.stream.as_str();
        if status.upgrading().is_some() {
            self.taken().insert(stream.to_owned());
            return false;
        }
        let wants = !cluster.is_to_go() && wants_upgrade(status, cluster);
        self.is_full_for(stream, wants, limit)
    }

    fn is_full_for(&self, stream: &str, wants: bool, limit: usize) -> bool {
        let heard = self.begun.elapsed() >= HEARD_WITHIN;
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
        let upgrades = Upgrades {
            begun: begun.expect("a machine that runs for a while"),
            taken: Arc::default(),
        };
        let full = |stream, wants| upgrades.is_full_for(stream, wants, 2);
        assert!(!full("a", true) && !full("b", true));
        assert!(full("c", true));
        assert!(!full("a", true), "it has its place");
        assert!(!full("a", false), "it is through");
        assert!(!full("c", true) && full("d", true));
    }

    #[test]
    fn nobody_begins_before_those_that_go_on_were_counted() {
        let upgrades = Upgrades::default();
        assert!(upgrades.is_full_for("a", true, 2));
    }
}
