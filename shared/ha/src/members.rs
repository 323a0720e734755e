//! Who votes and for whose answer commits wait: one change at a time, in the order in which nothing is lost.
//!
//! What the Lease records must hold for every commit acknowledged so far, and so for every configuration under which
//! one was or will be. What lets a commit through sooner (one more in the set, a lower k) is recorded first and configured
//! then; what makes it wait for more (one less in the set, a higher k) is configured first, and recorded once it holds for
//! what was acknowledged before.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{Record, Rules, Synchronous, VoterId};

/// What is wanted of the membership. Whoever wants it has seen that those who join stream, and that those who leave are
/// gone for good or for the set time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Wanted {
    /// The voters.
    pub voters: BTreeSet<VoterId>,
    /// The synchronous rule.
    pub synchronous: Synchronous,
}

/// The next step of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// All is as wanted.
    Done,
    /// Write this membership to the Lease.
    Record(Wanted),
    /// Tell PostgreSQL. Who left the set loses its walsender, every other walsender has read the new rule, and then the
    /// WAL's end is taken: what k of the new set have flushed up to it, was before.
    Configure(Synchronous),
    /// k of the configured set have not yet flushed up to the place taken after it was configured.
    Wait,
    /// k replicas cannot answer where the set has fewer; nothing is changed.
    Impossible,
}

/// Whether every commit that `stricter` lets through would have been let through by `looser`.
fn implies(stricter: &Synchronous, looser: &Synchronous) -> bool {
    looser.k <= stricter.k && (stricter.set.is_subset(&looser.set) || looser.k == 0)
}

/// Both rules in one that holds wherever one of them does.
fn loosest(a: &Synchronous, b: &Synchronous) -> Synchronous {
    let k = a.k.min(b.k);
    let set = if k == 0 {
        BTreeSet::new()
    } else {
        a.set.union(&b.set).copied().collect()
    };
    Synchronous { k, set }
}

/// The next step from what is recorded, and `configured` in PostgreSQL, to what is `wanted`; `held` says that k of the
/// configured set have flushed up to the place taken after it was configured.
#[must_use]
pub fn next_step(
    rules: &Rules,
    record: &Record,
    configured: &Synchronous,
    held: bool,
    wanted: &Wanted,
) -> Step {
    let rule = &wanted.synchronous;
    let members = rule.set.is_subset(&wanted.voters);
    if !members || rule.set.len() < rule.k || (rule.k == 0 && !rule.set.is_empty()) {
        return Step::Impossible;
    }
    // First what is recorded covers what is wanted, too; voters that the wider set needs come with it.
    let wider = loosest(&record.synchronous, rule);
    let joined: BTreeSet<VoterId> = record.voters.union(&wanted.voters).copied().collect();
    if rules.added_is_recorded_first && (wider != record.synchronous || joined != record.voters) {
        return Step::Record(Wanted {
            voters: joined,
            synchronous: wider,
        });
    }
    let as_wanted = record.voters == wanted.voters && record.synchronous == *rule;
    if !rules.removed_is_recorded_last && !as_wanted {
        return Step::Record(wanted.clone());
    }
    if configured != rule {
        return Step::Configure(rule.clone());
    }
    if as_wanted {
        return Step::Done;
    }
    if held
        || implies(rule, &record.synchronous) && implies(&record.synchronous, rule)
        || rule.k == 0
    {
        return Step::Record(wanted.clone());
    }
    Step::Wait
}
