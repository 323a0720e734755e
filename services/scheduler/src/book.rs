//! All schedules, and what there is to do about them at a moment.
//!
//! ```text
//! due ─┬─► skipped, missed: recorded ────────────────────────► noted on the Pgcluster ─► recorded that it is
//!      └─► claimed ─► task made (what it finds made, it keeps) ─► noted on the Pgcluster ─► recorded as begun ─► its end recorded
//! ```
//!
//! What was decided is in the ConfigMaps themselves, as annotations, and each is changed by compare-and-swap: so every time
//! that is due is decided once, whoever leads and however often it restarts. What was decided and is not done yet, the next one
//! does.
//!
//! The rules, each of a run that is due (docs/schedules.md):
//! - Nothing can be run there, now or later: skipped.
//! - The schedule's former run has not ended: skipped.
//! - Another backup or a restore of the cluster runs: it waits, until the schedule is due again and for at most [`GRACE`]; then skipped.
//! - Otherwise it begins, where it is not later than [`GRACE`] and the schedule was not due again meanwhile: else missed.

mod entry;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ConfigMap;
use pgo_crd::RunNote;
use pgo_ids::OperationId;

use self::entry::Entry;
use crate::{
    around::Around,
    run::{Claim, LastRun, Missed, Skipped},
    schedule::{Kind, Schedule, Work},
};

/// A run that cannot begin when it is due begins at most so much later.
pub const GRACE: SignedDuration = SignedDuration::from_hours(1);

/// Where an object is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Namespace of the object.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// That of an object.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

/// A change of a ConfigMap's annotations, for one version of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Of which ConfigMap.
    pub key: Key,
    /// Only if it is still this version.
    pub version: String,
    /// New values; nothing removes one.
    pub annotations: BTreeMap<&'static str, Option<String>>,
    /// What is told once it is written.
    pub about: Option<About>,
}

/// What a [`Note`] tells in the log and the counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// A run was due and is skipped.
    Skipped(Run, Skipped),
    /// Runs were due and are missed.
    Missed(Run, Missed),
    /// A run has begun.
    Begun(Run, Claim),
    /// A run has ended.
    Ended(Run, LastRun),
    /// The schedule cannot be kept.
    Wrong(String),
    /// It can be kept again.
    Mended,
}

/// Whose run it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Of which type.
    pub kind: Kind,
    /// For which cluster.
    pub cluster: String,
}

impl Run {
    fn of(schedule: &Schedule) -> Self {
        Self {
            kind: schedule.work.kind(),
            cluster: schedule.cluster.clone(),
        }
    }
}

/// Something to do about one schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write this.
    Note(Note),
    /// Make the task of a run that is claimed.
    Make(Make),
    /// Note on the Pgcluster what became of runs, and then write this.
    Tell(Tell),
}

impl Step {
    /// The schedule.
    pub fn key(&self) -> &Key {
        match self {
            Self::Note(note) => &note.key,
            Self::Make(make) => &make.key,
            Self::Tell(tell) => &tell.then.key,
        }
    }
}

/// The task of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Make {
    /// The schedule.
    pub key: Key,
    /// The run.
    pub claim: Claim,
    /// What is done.
    pub work: Work,
    /// For which cluster.
    pub cluster: String,
    /// Its uid.
    pub cluster_uid: String,
}

/// What became of runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tell {
    /// The cluster; none where nothing can be noted on it.
    pub cluster: Option<(String, String)>,
    /// What is noted, by id of the run.
    pub notes: Vec<(OperationId, RunNote)>,
    /// Once it is.
    pub then: Note,
}

/// What keeps runs of a cluster waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct AtWork {
    /// Its id, where it has one.
    operation: Option<OperationId>,
    /// When it was due, where it is a run that was claimed and may not have begun.
    claimed: Option<Timestamp>,
}

type Busy = BTreeMap<Key, Vec<AtWork>>;

/// All schedules.
#[derive(Debug, Default)]
pub struct Book {
    entries: BTreeMap<Key, Entry>,
    /// Runs that wait for their turn, by when they were due.
    waiting: BTreeMap<Key, Timestamp>,
}

impl Book {
    /// Takes a ConfigMap as it is now, unless it is known in this version or a later one.
    pub fn put(&mut self, map: &ConfigMap) {
        if let Some(key) = key(map) {
            let known = self.entries.get(&key);
            if known.is_none_or(|known| !known.is_as_new_as(map)) {
                let entry = Entry::of(&key, map);
                self.entries.insert(key, entry);
            }
        }
    }

    /// Forgets a ConfigMap.
    pub fn remove(&mut self, map: &ConfigMap) {
        if let Some(key) = key(map) {
            self.entries.remove(&key);
            self.waiting.remove(&key);
        }
    }

    /// Takes all ConfigMaps of a namespace; there are no others.
    pub fn replace(&mut self, namespace: &str, maps: &[ConfigMap]) {
        let are_there: Vec<Key> = maps.iter().filter_map(key).collect();
        let stays = |key: &Key| key.namespace != namespace || are_there.contains(key);
        self.entries.retain(|key, _| stays(key));
        self.waiting.retain(|key, _| stays(key));
        maps.iter().for_each(|map| self.put(map));
    }

    /// Does nothing about a schedule before `until`, unless it changes.
    pub fn postpone(&mut self, key: &Key, until: Timestamp) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.postponed = Some(until);
        }
    }

    /// Skips the run that is claimed: Kubernetes does not take its task.
    pub fn refuse(&mut self, key: &Key, reason: String) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.refused = Some(reason);
        }
    }

    /// What is to be done at `now`, in one of the namespaces that `is_known` names: at most one thing for each schedule, and at
    /// most one claim for each cluster.
    pub fn steps(
        &mut self,
        now: Timestamp,
        around: &Around,
        is_known: impl Fn(&str) -> bool,
    ) -> Vec<Step> {
        let mut busy = self.busy(around);
        let ready = self
            .entries
            .iter()
            .filter(|(key, entry)| is_known(&key.namespace) && !entry.is_postponed(now));
        let (mut steps, mut due) = (Vec::new(), Vec::new());
        for (key, entry) in ready {
            if let Some(step) = entry.pending(key, now, around, &busy) {
                steps.push(step);
            } else if let Some(order) = entry.due(now) {
                due.push((order, key, entry));
            } else if let Some(note) = entry.correction(key, now) {
                steps.push(Step::Note(note));
            }
        }
        due.sort_by(|(one, ..), (other, ..)| one.cmp(other));
        for (_, key, entry) in due {
            let waits = self.waiting.get(key).copied();
            let verdict = entry.verdict(key, now, around, (&busy, waits));
            match verdict {
                entry::Verdict::Waits(due) => {
                    self.waiting.insert(key.clone(), due);
                    // Its other annotations can be mended meanwhile.
                    steps.extend(entry.correction(key, now).map(Step::Note));
                }
                entry::Verdict::Unknown => {}
                entry::Verdict::Decided(note) => {
                    self.waiting.remove(key);
                    steps.push(Step::Note(note));
                }
                entry::Verdict::Claimed(cluster, claim, note) => {
                    self.waiting.remove(key);
                    busy.entry(cluster).or_default().push(AtWork {
                        operation: Some(claim.operation),
                        claimed: Some(claim.due),
                    });
                    steps.push(Step::Note(note));
                }
            }
        }
        steps
    }

    /// Whatever works on each cluster: tasks, and runs of schedules that are claimed or of whose end nothing is known.
    fn busy(&self, around: &Around) -> Busy {
        let mut busy = Busy::new();
        for (cluster, operation) in around.at_work() {
            busy.entry(cluster).or_default().push(AtWork {
                operation,
                claimed: None,
            });
        }
        for (key, entry) in &self.entries {
            if let Some((cluster, at_work)) = entry.at_work(key, around) {
                busy.entry(cluster).or_default().push(at_work);
            }
        }
        busy
    }

    /// When there may be something to do that no change brings, after `now`.
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let entries = self.entries.values();
        entries.filter_map(|entry| entry.next(now)).min()
    }

    /// How many schedules there are, and how many of them cannot be kept.
    pub fn count(&self) -> (usize, usize) {
        let wrong = self
            .entries
            .values()
            .filter(|entry| entry.schedule.is_err());
        (self.entries.len(), wrong.count())
    }
}

fn key(map: &ConfigMap) -> Option<Key> {
    Some(Key {
        namespace: map.metadata.namespace.clone()?,
        name: map.metadata.name.clone()?,
    })
}

#[cfg(test)]
mod tests;
