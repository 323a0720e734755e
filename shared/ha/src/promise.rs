//! What an agent has promised for ever, and keeps in its volume.

use pgo_ids::Term;
use serde::{Deserialize, Serialize};

use crate::{Position, Rules};

/// On disk before anything is said that rests on it. One small file in the data volume, replaced by rename after fsync
/// of file and folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Promise {
    /// It grants, votes, streams, rewinds and clones in no lower term than this.
    pub term: Term,
    /// It does not vote until it has flushed this: its data is being rewound or cloned, and may lack what it acknowledged.
    pub no_vote: Option<Position>,
}

impl Promise {
    /// Whether something in `term` can still be agreed to.
    #[must_use]
    pub fn allows(&self, rules: &Rules, term: Term) -> bool {
        term >= self.term || !rules.lower_terms_are_refused
    }

    /// The promise after agreeing to something in `term`. Terms only rise.
    #[must_use]
    pub fn in_term(&self, term: Term) -> Self {
        Self {
            term: self.term.max(term),
            ..*self
        }
    }

    /// The promise before data is rewound to, or cloned from, a source that had flushed `source`.
    #[must_use]
    pub fn copying(&self, rules: &Rules, source: Position) -> Self {
        let mark = match self.no_vote {
            // A copy that was interrupted and begins again from a source that is not as far.
            Some(earlier) if earlier > source => earlier,
            _ => source,
        };
        Self {
            no_vote: rules.copy_marks_no_vote.then_some(mark),
            ..*self
        }
    }

    /// The promise once `position` is flushed: the mark goes with the last of what the source had.
    #[must_use]
    pub fn flushed(&self, rules: &Rules, position: Position) -> Self {
        let caught_up =
            |mark: Position| position.reaches(rules, mark) || !rules.mark_stays_until_caught_up;
        Self {
            no_vote: self.no_vote.filter(|mark| !caught_up(*mark)),
            ..*self
        }
    }
}
