//! What the Lease of a cluster says when it is made: of a new cluster, or where it was lost.

use pgo_ids::{InstanceName, OperationId, Term};

use crate::{ClusterStatus, Desired, Observed, restore};

/// A Lease that records nothing yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstLease {
    /// The instance that may make the data directory; where there was one, the primary as it was known last.
    pub holder: InstanceName,
    /// 1 for a new cluster, which says that nobody has served yet. Else above each term that was seen, so that the agents know
    /// that something was recorded: only who serves goes on by it.
    pub term: Term,
    /// Whether the holder may go on by it though it does not serve, since there is no other instance and never was a change of
    /// the primary.
    pub take_up: bool,
    /// The restore by which it is the holder's.
    pub restore: Option<OperationId>,
}

impl FirstLease {
    /// The Lease of a cluster that has none.
    #[must_use]
    pub fn of(status: &ClusterStatus, desired: &Desired, observed: &Observed) -> Self {
        if let Some(lease) = restore::lease(status) {
            return lease;
        }
        let first = status.first(&desired.name);
        let told = status.instances.iter().map(|instance| instance.term);
        let heard = observed.agents.values().map(|agent| agent.term);
        let highest = told.chain(heard).fold(status.term, Term::max);
        if highest == Term::default() && !status.was_ready() {
            return Self {
                holder: first,
                term: Term(1),
                take_up: false,
                restore: None,
            };
        }
        let known = observed.serving_primary();
        let known = known.or(status.current_primary.as_ref()).cloned();
        let holder = known.unwrap_or_else(|| first.clone());
        let there = observed.claims.keys().chain(observed.pods.keys());
        // Nothing runs on what a restore has left.
        let there = there.filter(|instance| !status.retired.contains(instance));
        let replicas = status.replicas.iter().map(|replica| &replica.name);
        let alone = there.chain(replicas).all(|instance| *instance == first);
        Self {
            take_up: alone && holder == first && status.last_takeover.is_none(),
            holder,
            // At least 2, also where the status has lost its terms.
            term: Term(highest.0.max(1).saturating_add(1)),
            restore: None,
        }
    }
}
