//! What the Lease says of what is wanted, for the agents.

use std::collections::BTreeSet;

use pgo_ids::InstanceName;

use super::Step;
use crate::{Desired, Observed};

/// What the agents are to know of what is wanted, where the Lease says something else.
pub(super) fn steps(desired: &Desired, observed: &Observed) -> impl Iterator<Item = Step> {
    let autofail = (observed.autofail != Some(desired.autofail))
        .then_some(Step::SetAutofail(desired.autofail));
    let synchronous = (observed.synchronous != Some(desired.synchronous))
        .then_some(Step::SetSynchronous(desired.synchronous));
    let fallback = (observed.sync_fallback != Some(desired.sync_fallback))
        .then_some(Step::SetSyncFallback(desired.sync_fallback));
    autofail
        .into_iter()
        .chain(synchronous)
        .chain(fallback)
        .chain(preferred(observed))
}

/// Which instances are preferred, where the Lease says something else. It is left alone while nobody serves: each write of it
/// makes an election that is under way begin to wait anew.
fn preferred(observed: &Observed) -> Option<Step> {
    observed.preferred_nodes.as_ref()?;
    observed.serving_primary()?;
    let of_pods = observed.pods.keys();
    let all = of_pods.chain(observed.preferred.iter());
    let is_there = |one: &&InstanceName| observed.claims.contains_key(*one);
    let wanted: BTreeSet<InstanceName> = all
        .filter(is_there)
        .filter(|one| observed.prefers(one))
        .cloned()
        .collect();
    (wanted != observed.preferred).then_some(Step::SetPreferred(wanted))
}
