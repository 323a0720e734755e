//! What agents answer that are asked for another primary, until the next look at their cluster.
//!
//! An agent that has begun may ask its Lease first, or wait for one, and pass the wish over: so it is asked again for a
//! moment. After that the primary is on its way out, or serves on because nobody came: asking once more would interrupt
//! it once more.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use pgo_core::Unwilling;
use pgo_ids::{OperationId, StreamId};

/// Pause between two questions.
const PAUSE: SignedDuration = SignedDuration::from_millis(500);

/// How long a primary is asked again that has agreed.
const AGAIN: SignedDuration = SignedDuration::from_secs(2);

/// How long after it has agreed a primary that serves counts as one that nobody replaces.
const COMES_BACK: SignedDuration = SignedDuration::from_secs(6);

/// What agents answered, by the cluster's uid.
#[derive(Debug, Default)]
pub struct Changes(Mutex<HashMap<StreamId, Change>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    operation: OperationId,
    asked: Timestamp,
    /// When the agent agreed first.
    agreed: Option<Timestamp>,
    /// Since when it has refused.
    refused: Option<(Timestamp, String)>,
}

/// What is to be done with a wish for another primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Ask the agent.
    Ask,
    /// Wait for what comes of it.
    Wait,
    /// Nobody has taken over, and the primary serves.
    InVain,
}

impl Changes {
    /// What is to be done now. `planned` says that a primary serves, which ends by it.
    pub fn due(
        &self,
        cluster: &StreamId,
        operation: OperationId,
        planned: bool,
        now: Timestamp,
    ) -> Due {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = all.get(cluster).filter(|one| one.operation == operation) else {
            return Due::Ask;
        };
        let since_agreed = known.agreed.map(|agreed| now.duration_since(agreed));
        match since_agreed.filter(|_| planned) {
            Some(long) if long >= COMES_BACK => Due::InVain,
            Some(long) if long >= AGAIN => Due::Wait,
            _ if now.duration_since(known.asked) < PAUSE => Due::Wait,
            _ => Due::Ask,
        }
    }

    /// Notes an answer: that the agent begins, or why it does not.
    pub fn answered(
        &self,
        cluster: &StreamId,
        operation: OperationId,
        answer: Result<(), String>,
        now: Timestamp,
    ) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.get(cluster).filter(|one| one.operation == operation);
        let mut change = known.cloned().unwrap_or(Change {
            operation,
            asked: now,
            agreed: None,
            refused: None,
        });
        change.asked = now;
        match answer {
            Ok(()) => {
                change.agreed.get_or_insert(now);
                change.refused = None;
            }
            Err(reason) => {
                let since = change.refused.map_or(now, |(since, _)| since);
                change.refused = Some((since, reason));
            }
        }
        all.insert(cluster.clone(), change);
    }

    /// Notes that a primary will give up when it has prepared for it: until then it neither agrees nor refuses.
    pub fn prepares(&self, cluster: &StreamId, operation: OperationId, now: Timestamp) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let change = Change {
            operation,
            asked: now,
            agreed: None,
            refused: None,
        };
        all.insert(cluster.clone(), change);
    }

    /// Notes that nobody has taken over from a primary that had agreed, for this reason.
    pub fn in_vain(&self, cluster: &StreamId, reason: String) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(change) = all.get_mut(cluster) {
            change.refused = Some((change.agreed.unwrap_or(change.asked), reason));
        }
    }

    /// Who is not willing, if somebody is.
    pub fn unwilling(&self, cluster: &StreamId) -> Option<Unwilling> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let change = all.get(cluster)?;
        let (since, reason) = change.refused.clone()?;
        Some(Unwilling {
            operation: change.operation,
            since,
            reason,
        })
    }

    /// Forgets a cluster that is gone.
    pub fn forget(&self, cluster: &StreamId) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(cluster);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster() -> StreamId {
        "uid-1".parse().expect("a uid")
    }

    fn operation(last: u8) -> OperationId {
        let id = format!("25927091-b343-4017-be4b-71575f0b3eb{last}");
        id.parse().expect("an id")
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(1_800_000_000_000 + millis).expect("a time")
    }

    #[test]
    fn a_primary_that_agreed_is_asked_again_for_a_moment_and_never_later() {
        let changes = Changes::default();
        let due = |millis| changes.due(&cluster(), operation(1), true, at(millis));
        assert_eq!(due(0), Due::Ask);
        changes.answered(&cluster(), operation(1), Ok(()), at(0));
        assert_eq!(
            [due(100), due(600), due(2000), due(5900), due(6000)],
            [Due::Wait, Due::Ask, Due::Wait, Due::Wait, Due::InVain]
        );
        changes.in_vain(&cluster(), "hippo serves".to_owned());
        let unwilling = changes.unwilling(&cluster()).expect("noted");
        assert_eq!(
            (unwilling.operation, unwilling.since),
            (operation(1), at(0))
        );
        // Another operation begins anew.
        let due = changes.due(&cluster(), operation(2), true, at(6000));
        assert_eq!(due, Due::Ask);
    }

    #[test]
    fn a_primary_that_prepares_is_asked_on_and_on() {
        let changes = Changes::default();
        for millis in [0, 3000, 20_000] {
            changes.prepares(&cluster(), operation(1), at(millis));
            let due = |later| changes.due(&cluster(), operation(1), true, at(millis + later));
            assert_eq!([due(100), due(600)], [Due::Wait, Due::Ask]);
            assert_eq!(changes.unwilling(&cluster()), None);
        }
        changes.answered(&cluster(), operation(1), Ok(()), at(21_000));
        let due = |millis| changes.due(&cluster(), operation(1), true, at(millis));
        assert_eq!([due(26_000), due(27_000)], [Due::Wait, Due::InVain]);
    }

    #[test]
    fn who_is_to_take_over_from_nobody_is_asked_on_and_on() {
        let changes = Changes::default();
        changes.answered(&cluster(), operation(1), Ok(()), at(0));
        let due = changes.due(&cluster(), operation(1), false, at(20_000));
        assert_eq!(due, Due::Ask);
    }

    #[test]
    fn a_refusal_counts_from_the_first_one_and_an_agreement_ends_it() {
        let changes = Changes::default();
        let refuse = |millis| {
            let no = Err("not ready".to_owned());
            changes.answered(&cluster(), operation(1), no, at(millis));
        };
        refuse(0);
        refuse(1000);
        let since = changes.unwilling(&cluster()).expect("noted").since;
        assert_eq!(since, at(0));
        changes.answered(&cluster(), operation(1), Ok(()), at(2000));
        assert_eq!(changes.unwilling(&cluster()), None);
        changes.forget(&cluster());
        assert_eq!(
            changes.due(&cluster(), operation(1), true, at(9000)),
            Due::Ask
        );
    }
}
