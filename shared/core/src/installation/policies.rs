//! Policies that are made and deleted. They belong to no cluster, so that they are told with PGO itself; which were told is read
//! off the finalizer.
//!
//! ```text
//! no finalizer ─► CreatePolicy ─► finalizer is put on ─► … ─► deletion is asked for ─► DeletePolicy ─► finalizer is taken off
//! ```
//!
//! An id stays in the status from when it was told until the policy shows by its finalizer that it was, or is gone.

use jiff::Timestamp;
use pgo_events::{Datum, Field};
use pgo_ids::{Namespace, OperationId, StreamId};

use crate::{
    Journal, Kind, Operation, Outcome,
    journal::{Ending, Subject},
};

/// What is there of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyFacts {
    /// Its uid.
    pub uid: StreamId,
    /// Its namespace.
    pub namespace: Namespace,
    /// Its name.
    pub name: String,
    /// Who made it.
    pub maker: String,
    /// Who asked for its deletion; empty where that is not known.
    pub deleter: String,
    /// Whether the finalizer is on it.
    pub held: bool,
    /// Whether its deletion was asked for.
    pub deleting: bool,
    /// What is wrong with its name.
    pub wrong: Option<String>,
}

/// So many are told in one step at most: events have to have room.
const AT_ONCE: usize = 32;

impl PolicyFacts {
    /// What is to be told of it, if anything is.
    fn untold(&self) -> Option<(Kind, OperationId)> {
        let (kind, what) = match (self.held, self.deleting) {
            (false, false) => (Kind::CreatePolicy, "create"),
            (true, true) => (Kind::DeletePolicy, "delete"),
            // One that goes before it was seen was never made, as far as anybody was told.
            _ => return None,
        };
        Some((kind, OperationId::derived(&self.uid, what)))
    }

    /// Whether its making, or its deletion, is among those that were told and it does not show that yet: its finalizer is to
    /// be put on, or taken off.
    #[must_use]
    pub fn is_told(&self, told: &[OperationId]) -> bool {
        self.untold().is_some_and(|(_, id)| told.contains(&id))
    }
}

/// Tells of those that were not told; the ids that are to be remembered.
pub(crate) fn tell(
    (journal, told): (&mut Journal, &[OperationId]),
    stream: &StreamId,
    policies: &[PolicyFacts],
    now: Timestamp,
) -> Vec<OperationId> {
    let (mut remembered, mut news) = (Vec::new(), 0);
    for policy in policies {
        let Some((kind, id)) = policy.untold() else {
            continue;
        };
        if !told.contains(&id) {
            if news == AT_ONCE {
                continue;
            }
            news += 1;
            tell_one(journal, stream, policy, (kind, id), now);
        }
        remembered.push(id);
    }
    remembered
}

fn tell_one(
    journal: &mut Journal,
    stream: &StreamId,
    policy: &PolicyFacts,
    (kind, id): (Kind, OperationId),
    now: Timestamp,
) {
    let subject = Subject {
        stream,
        namespace: &policy.namespace,
        cluster: None,
    };
    let actor = match kind {
        Kind::DeletePolicy => &policy.deleter,
        _ => &policy.maker,
    };
    let how: Ending = match (&policy.wrong, kind) {
        (Some(wrong), Kind::CreatePolicy) => (Outcome::Failed, Some(wrong.clone())),
        _ => (Outcome::Completed, None),
    };
    let operation = Operation::begun((kind, None), id, actor, 0, now);
    let details = [(Field::PolicyName, Datum::Text(policy.name.clone()))];
    journal.tell_over_with(subject, &operation, how, &details, now);
}
