//! What the cluster's Lease records, and the records that follow from it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use pgo_ids::Term;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Lsn, Position, Rules, Timeline};

/// Who votes: the identity of a data volume's content, stored in it when it is made. A pod that is made again on the same
/// volume is the same voter; a volume that is cloned anew without the old content is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VoterId(Uuid);

impl From<Uuid> for VoterId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

/// Why a text is not a [`VoterId`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a voter is named by a UUID such as 25927091-b343-4017-be4b-71575f0b3eb5, not by {0:?}; is the file damaged?"
)]
pub struct VoterIdError(String);

impl FromStr for VoterId {
    type Err = VoterIdError;

    fn from_str(text: &str) -> Result<Self, VoterIdError> {
        Uuid::parse_str(text.trim())
            .map(Self)
            .map_err(|_| VoterIdError(text.chars().take(80).collect()))
    }
}

impl fmt::Display for VoterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The Lease's resourceVersion. Two are equal or not, nothing else is known of them (Kubernetes API concepts, "Resource
/// versions").
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(String);

impl Version {
    /// The version as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Version {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// For how many of whose answers a commit waits: `synchronous_standby_names = 'ANY k (set)'`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Synchronous {
    /// How many; 0 in the asynchronous mode.
    pub k: usize,
    /// Of whom. Each is a voter.
    pub set: BTreeSet<VoterId>,
}

/// Where a timeline begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Start {
    /// The timeline.
    pub timeline: Timeline,
    /// What it goes on from: what its primary had flushed when it was elected, until that primary knows better.
    pub from: Position,
}

/// What the Lease records. Every write of it is a compare-and-swap on its [`Version`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Record {
    /// Who may be primary.
    pub holder: VoterId,
    /// Under which term.
    pub term: Term,
    /// Who votes on a successor, and grants meanwhile. The holder is not among them.
    pub voters: BTreeSet<VoterId>,
    /// What holds for every commit that was acknowledged so far.
    pub synchronous: Synchronous,
    /// By term in which it began, each timeline. The last one is that of the holder.
    pub history: BTreeMap<Term, Start>,
}

/// The most timelines that a record keeps: one that is older than the last so many is cloned, not rewound.
pub const MOST_HISTORY: usize = 32;

impl Record {
    /// The record of a new cluster whose first primary is `holder`.
    #[must_use]
    pub fn first(holder: VoterId) -> Self {
        Self {
            holder,
            term: Term(1),
            voters: BTreeSet::new(),
            synchronous: Synchronous::default(),
            history: BTreeMap::from([(Term(1), Start::FIRST)]),
        }
    }

    /// The record of a cluster whose former one is lost. `holder`, whose data reaches to `position`, goes on alone, in a term
    /// above all that were used. Its timeline is at least as high as the term: no former one was higher than its own term, so
    /// that the number was never used.
    #[must_use]
    pub fn taken_up(holder: VoterId, term: Term, position: Position) -> Self {
        let least = u32::try_from(term.0).unwrap_or(u32::MAX);
        let timeline = Timeline(position.timeline.0.saturating_add(1).max(least));
        let start = Start {
            timeline,
            from: position,
        };
        Self {
            term,
            history: BTreeMap::from([(term, start)]),
            ..Self::first(holder)
        }
    }

    /// Where the holder's timeline began.
    #[must_use]
    pub fn start(&self) -> Start {
        let last = self.history.values().next_back();
        last.copied().unwrap_or(Start::FIRST)
    }

    /// The same holder under `term`, which is higher. Nothing else changes: its WAL goes on.
    #[must_use]
    pub fn raised(&self, term: Term) -> Self {
        Self {
            term: self.term.max(term),
            ..self.clone()
        }
    }

    /// What a candidate writes that was voted for and had flushed `position`.
    ///
    /// The former primary becomes a voter: it has every commit that it acknowledged, which nobody else need have. The
    /// synchronous rule goes on with it in the place of the candidate.
    #[must_use]
    pub fn promoted(&self, rules: &Rules, candidate: VoterId, position: Position) -> Self {
        let term = if rules.term_rises {
            self.next_term()
        } else {
            self.term
        };
        let follow = |set: &BTreeSet<VoterId>| {
            let mut set = set.clone();
            if rules.promoted_leaves_voters {
                set.remove(&candidate);
            }
            if rules.former_primary_joins_voters {
                set.insert(self.holder);
            }
            set
        };
        let synchronous = Synchronous {
            k: self.synchronous.k,
            set: if self.synchronous.k == 0 {
                BTreeSet::new()
            } else {
                follow(&self.synchronous.set)
            },
        };
        let start = Start {
            timeline: self.unused_timeline(rules, position),
            from: position,
        };
        let mut history = self.history.clone();
        history.insert(term, start);
        while history.len() > MOST_HISTORY {
            history.pop_first();
        }
        Self {
            holder: candidate,
            term,
            voters: follow(&self.voters),
            synchronous,
            history,
        }
    }

    /// The one term in which a successor can be elected.
    #[must_use]
    pub fn next_term(&self) -> Term {
        Term(self.term.0.saturating_add(1))
    }

    /// A timeline above all that any record had: two promotions that both took the next number after their own
    /// would give one number to two histories, and nothing could tell them apart.
    fn unused_timeline(&self, rules: &Rules, position: Position) -> Timeline {
        let recorded = self.history.values().map(|start| start.timeline).max();
        let used = match recorded {
            Some(recorded) if rules.timeline_is_new => recorded.max(position.timeline),
            _ => position.timeline,
        };
        Timeline(used.0.saturating_add(1))
    }
}

impl Start {
    /// Where the first timeline of every cluster begins.
    pub const FIRST: Self = Self {
        timeline: Timeline(1),
        from: Position {
            timeline: Timeline(0),
            lsn: Lsn(0),
        },
    };
}
