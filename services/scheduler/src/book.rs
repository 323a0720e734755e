//! All schedules, and what there is to do about them at a moment.
//!
//! What was done is in the ConfigMaps themselves, as annotations, and each is changed by compare-and-swap: so every time that
//! is due is recorded once, whoever leads and however often it restarts.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;

use crate::schedule::{Kind, Schedule};

/// The last run that was skipped: its time, a blank, the reason.
pub const LAST_SKIPPED: &str = "pgo.crunchydata.com/last-skipped";

/// Why the schedule cannot be kept.
pub const SCHEDULE_ERROR: &str = "pgo.crunchydata.com/schedule-error";

/// Most runs that are counted one by one after a time without a scheduler.
const MOST_MISSED: u64 = 10_000;

/// Where a schedule is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Namespace of the ConfigMap.
    pub namespace: String,
    /// Its name.
    pub name: String,
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
    pub about: About,
}

/// What a [`Note`] tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// Runs were due and are skipped.
    Skipped {
        /// Of which type.
        kind: Kind,
        /// For which cluster.
        cluster: String,
        /// When the last of them was due.
        due: Timestamp,
        /// How many were due, that one included.
        runs: u64,
        /// Why.
        reason: String,
    },
    /// The schedule cannot be kept.
    Wrong(String),
    /// It can be kept again.
    Mended,
}

#[derive(Debug)]
struct Entry {
    version: String,
    schedule: Result<Schedule, String>,
    /// When it was made.
    since: Timestamp,
    /// Up to when it is recorded what was due.
    recorded: Timestamp,
    /// The complaint that is in the annotations.
    complaint: Option<String>,
    /// Not before, after a write that failed.
    postponed: Option<Timestamp>,
}

/// All schedules.
#[derive(Debug, Default)]
pub struct Book {
    entries: BTreeMap<Key, Entry>,
}

impl Book {
    /// Takes a ConfigMap as it is now.
    pub fn put(&mut self, map: &ConfigMap) {
        if let Some(key) = key(map) {
            let entry = entry(&key.namespace, map);
            self.entries.insert(key, entry);
        }
    }

    /// Forgets a ConfigMap.
    pub fn remove(&mut self, map: &ConfigMap) {
        if let Some(key) = key(map) {
            self.entries.remove(&key);
        }
    }

    /// Takes all ConfigMaps of a namespace; there are no others.
    pub fn replace(&mut self, namespace: &str, maps: &[ConfigMap]) {
        self.entries.retain(|key, _| key.namespace != namespace);
        maps.iter().for_each(|map| self.put(map));
    }

    /// Does nothing about a schedule before `until`, unless it changes.
    pub fn postpone(&mut self, key: &Key, until: Timestamp) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.postponed = Some(until);
        }
    }

    /// What is to be written at `now`.
    pub fn notes(&self, now: Timestamp) -> Vec<Note> {
        let ready = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.postponed.is_none_or(|until| until <= now));
        ready
            .filter_map(|(key, entry)| entry.note(key, now))
            .collect()
    }

    /// When there may be something to write, after `now`.
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        self.entries
            .values()
            .filter_map(|entry| {
                let schedule = entry.schedule.as_ref().ok();
                let due = schedule?
                    .timetable
                    .next_due(entry.since, entry.recorded.max(now));
                match entry.postponed {
                    Some(until) if until > now => Some(until),
                    _ => due,
                }
            })
            .min()
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

impl Entry {
    fn note(&self, key: &Key, now: Timestamp) -> Option<Note> {
        let (annotations, about) = match &self.schedule {
            Err(reason) => (self.complain(Some(reason))?, About::Wrong(reason.clone())),
            Ok(schedule) => match (self.skipped(schedule, now), self.complain(None)) {
                (Some((note, about)), complaint) => {
                    let mut all = complaint.unwrap_or_default();
                    all.insert(LAST_SKIPPED, Some(note));
                    (all, about)
                }
                (None, complaint) => (complaint?, About::Mended),
            },
        };
        Some(Note {
            key: key.clone(),
            version: self.version.clone(),
            annotations,
            about,
        })
    }

    /// The annotation about what is wrong, if it is not there as it should be.
    fn complain(&self, reason: Option<&String>) -> Option<BTreeMap<&'static str, Option<String>>> {
        let differs = self.complaint.as_ref() != reason;
        differs.then(|| BTreeMap::from([(SCHEDULE_ERROR, reason.cloned())]))
    }

    /// What was due since the last record, all in one: the last time, and how many.
    fn skipped(&self, schedule: &Schedule, now: Timestamp) -> Option<(String, About)> {
        let next = |after| schedule.timetable.next_due(self.since, after);
        let mut due = next(self.recorded).filter(|due| *due <= now)?;
        let mut runs = 1;
        while runs < MOST_MISSED
            && let Some(later) = next(due).filter(|due| *due <= now)
        {
            due = later;
            runs += 1;
        }
        let mut reason = schedule.kind.skipped_because();
        if runs > 1 {
            let missed = runs - 1;
            reason = format!(
                "{reason}; {missed} earlier runs were missed, since no scheduler could record them"
            );
        }
        let about = About::Skipped {
            kind: schedule.kind,
            cluster: schedule.cluster.clone(),
            due,
            runs,
            reason: reason.clone(),
        };
        Some((format!("{due} {reason}"), about))
    }
}

fn key(map: &ConfigMap) -> Option<Key> {
    Some(Key {
        namespace: map.metadata.namespace.clone()?,
        name: map.metadata.name.clone()?,
    })
}

fn entry(namespace: &str, map: &ConfigMap) -> Entry {
    let annotations = map.metadata.annotations.as_ref();
    let annotation = |name: &str| annotations.and_then(|all| all.get(name)).cloned();
    let schedule = Schedule::parse(namespace, &map.data.clone().unwrap_or_default());
    let created = map.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let since = created.unwrap_or(Timestamp::UNIX_EPOCH);
    let skipped = annotation(LAST_SKIPPED).and_then(|text| {
        let (time, _) = text.split_once(' ')?;
        time.parse().ok()
    });
    Entry {
        version: map.metadata.resource_version.clone().unwrap_or_default(),
        schedule: schedule.map_err(|error| error.to_string()),
        since,
        recorded: since
            .max(changed(map).unwrap_or(since))
            .max(skipped.unwrap_or(since)),
        complaint: annotation(SCHEDULE_ERROR),
        postponed: None,
    }
}

/// When the data was written last: what a schedule would have had to do before it said so was not due.
fn changed(map: &ConfigMap) -> Option<Timestamp> {
    let writers = map.metadata.managed_fields.iter().flatten();
    let of_data = writers.filter(|writer| {
        let fields = writer.fields_v1.as_ref();
        fields.is_some_and(|fields| fields.0.get("f:data").is_some())
    });
    of_data
        .filter_map(|writer| writer.time.as_ref())
        .map(|time| time.0)
        .max()
}

#[cfg(test)]
mod tests;
