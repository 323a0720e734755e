//! Notes on a Pgcluster: who changed its settings by request, what a test of its connections has shown, which schedules were
//! made and deleted, and what became of their runs.
//!
//! A note is an annotation with a key of its own, so that none takes the place of another. Who changes a setting writes the
//! note with it, in one write; the reconciler takes it away when it is told.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::ResourceExt as _;
use pgo_core::{
    ChangedBy, Notes, RunVerdict, ScheduleChange, ScheduleRequest, ScheduledRun, Test, Update,
};
use pgo_ids::OperationId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Pgcluster, convert::program, label};

/// Under which name the reconciler writes objects (`metadata.managedFields`).
pub const RECONCILER: &str = "pgo-reconciler";

/// How the keys of notes on changed settings begin; the id of the operation follows.
const UPDATE: &str = "update.pgo.crunchydata.com/";

/// The same of notes on tests.
const TEST: &str = "test.pgo.crunchydata.com/";

/// The same of notes on runs of schedules.
const RUN: &str = "run.pgo.crunchydata.com/";

/// The same of notes on schedules that were made or deleted.
const SCHEDULE: &str = "schedule.pgo.crunchydata.com/";

/// So many notes on tests may wait for the reconciler on a cluster. While it is away, whoever tests on and on would fill the
/// object; what is beyond is told nowhere.
pub const MOST_TESTS: usize = 64;

/// The same of notes on runs.
pub const MOST_RUNS: usize = 64;

/// The same of notes on schedules.
pub const MOST_SCHEDULES: usize = 64;

/// A note that settings were changed by request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateNote {
    /// Who asked.
    pub user: String,
}

/// A note on a test that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestNote {
    /// Who asked.
    pub user: String,
    /// When it began.
    pub began: Timestamp,
    /// When it was over.
    pub ended: Timestamp,
    /// How many connections were tried.
    pub tried: usize,
    /// The commands that connect like those that did not work, each with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub broken: Vec<String>,
}

/// A note on a schedule that was made or deleted by request, or should have been.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleNote {
    /// Who asked.
    pub user: String,
    /// Name of the schedule.
    pub schedule: String,
    /// When.
    pub at: Timestamp,
    /// Whether it was to be deleted; else it was to be made.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub deleted: bool,
    /// Why it was not done, where it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// A note on a run of a schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunNote {
    /// Name of the schedule.
    pub schedule: String,
    /// Uid of the object that holds it.
    pub uid: String,
    /// When the run was due.
    pub due: Timestamp,
    /// Why it was left out, where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
    /// How many runs, this one the last of them, nobody was there for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<u64>,
}

/// Key and value of the annotation for a note.
fn annotation(prefix: &str, id: OperationId, note: &impl Serialize) -> (String, String) {
    // A note is of texts, numbers and times: it can be written.
    let value = serde_json::to_string(note).unwrap_or_default();
    (format!("{prefix}{id}"), value)
}

impl UpdateNote {
    /// Key and value of its annotation.
    #[must_use]
    pub fn annotation(&self, id: OperationId) -> (String, String) {
        annotation(UPDATE, id, self)
    }
}

impl TestNote {
    /// Key and value of its annotation.
    #[must_use]
    pub fn annotation(&self, id: OperationId) -> (String, String) {
        annotation(TEST, id, self)
    }

    /// Whether another one has room among these annotations.
    pub fn has_room<'a>(keys: impl Iterator<Item = &'a String>) -> bool {
        keys.filter(|key| key.starts_with(TEST)).count() < MOST_TESTS
    }
}

impl ScheduleNote {
    /// Key and value of its annotation.
    #[must_use]
    pub fn annotation(&self, id: OperationId) -> (String, String) {
        annotation(SCHEDULE, id, self)
    }

    /// Whether another one has room among these annotations.
    pub fn has_room<'a>(keys: impl Iterator<Item = &'a String>) -> bool {
        keys.filter(|key| key.starts_with(SCHEDULE)).count() < MOST_SCHEDULES
    }

    fn request(self, operation: OperationId) -> ScheduleRequest {
        let change = match self.deleted {
            true => ScheduleChange::Deleted,
            false => ScheduleChange::Created,
        };
        ScheduleRequest {
            operation,
            actor: self.user,
            schedule: self.schedule,
            change,
            at: self.at,
            failed: self.failed,
        }
    }
}

impl RunNote {
    /// Key and value of its annotation.
    #[must_use]
    pub fn annotation(&self, id: OperationId) -> (String, String) {
        annotation(RUN, id, self)
    }

    /// Whether another one has room among these annotations.
    pub fn has_room<'a>(keys: impl Iterator<Item = &'a String>) -> bool {
        keys.filter(|key| key.starts_with(RUN)).count() < MOST_RUNS
    }

    fn run(self, operation: OperationId) -> ScheduledRun {
        let verdict = match (self.skipped, self.missed) {
            (Some(reason), _) => RunVerdict::Skipped(reason),
            (None, Some(runs)) => RunVerdict::Missed(runs),
            (None, None) => RunVerdict::Begun,
        };
        ScheduledRun {
            operation,
            schedule: self.schedule,
            uid: self.uid,
            due: self.due,
            verdict,
        }
    }
}

/// Id of the operation that an annotation notes, if it notes one.
#[must_use]
pub fn noted(key: &str) -> Option<OperationId> {
    let id = [UPDATE, TEST, RUN, SCHEDULE]
        .iter()
        .find_map(|prefix| key.strip_prefix(*prefix));
    id?.parse().ok()
}

/// What is noted on a Pgcluster, in order. A value that cannot be read notes that something was done, by nobody known; a test, a
/// schedule or a run of which nothing is known is none.
pub(crate) fn notes(cluster: &Pgcluster) -> Notes {
    let mut notes = Notes::default();
    for (key, value) in cluster.annotations() {
        let Some(operation) = noted(key) else {
            continue;
        };
        if key.starts_with(UPDATE) {
            let read: Option<UpdateNote> = serde_json::from_str(value).ok();
            let actor = read.map(|note| note.user).unwrap_or_default();
            notes.updates.push(Update { operation, actor });
        } else if key.starts_with(SCHEDULE) {
            let read: Option<ScheduleNote> = serde_json::from_str(value).ok();
            let requests = read.map(|note| note.request(operation));
            notes.schedules.extend(requests);
        } else if key.starts_with(RUN) {
            let read: Option<RunNote> = serde_json::from_str(value).ok();
            notes.runs.extend(read.map(|note| note.run(operation)));
        } else if let Ok(note) = serde_json::from_str::<TestNote>(value) {
            notes.tests.push(Test {
                operation,
                actor: note.user,
                began: note.began,
                ended: note.ended,
                tried: note.tried,
                broken: note.broken,
            });
        }
    }
    notes.tests.sort_by_key(|test| test.began);
    notes.schedules.sort_by_key(|request| request.at);
    notes
}

/// Who changed what last without a request.
pub(crate) fn changed_by(cluster: &Pgcluster) -> ChangedBy {
    let autofail = format!("f:{}", label::AUTOFAIL);
    ChangedBy {
        settings: setter(
            cluster,
            &[
                &["f:metadata", "f:labels", autofail.as_str()],
                &["f:spec", "f:userlabels", autofail.as_str()],
                &["f:spec", "f:syncReplication"],
                &["f:spec", "f:synchronousStandbys"],
                &["f:spec", "f:syncFallback"],
                &["f:spec", "f:restoreDrills"],
                &["f:spec", "f:PrimaryStorage", "f:size"],
            ],
        ),
        image: setter(
            cluster,
            &[&["f:spec", "f:ccpimage"], &["f:spec", "f:ccpimagetag"]],
        ),
        replicas: setter(
            cluster,
            &[&["f:spec", "f:replicaCount"], &["f:spec", "f:replicas"]],
        ),
    }
}

/// Who set one of these fields last, by the name under which Kubernetes noted it. Empty where nobody has, or the reconciler,
/// which only writes down what others asked for. Kubernetes notes whole seconds: of two in the same one it is whoever it knows
/// by a name, for PGO's own services write with a note.
fn setter(cluster: &Pgcluster, paths: &[&[&str]]) -> String {
    let has = |fields: &Value, path: &[&str]| {
        let found = path.iter().try_fold(fields, |at, key| at.get(key));
        found.is_some()
    };
    let setters = cluster.managed_fields().iter().filter(|entry| {
        let fields = entry.fields_v1.as_ref();
        fields.is_some_and(|fields| paths.iter().any(|path| has(&fields.0, path)))
    });
    let named = |entry: &ManagedFieldsEntry| {
        let manager = entry.manager.clone();
        let manager = manager.filter(|manager| *manager != RECONCILER)?;
        program(&manager).map(str::to_owned)
    };
    let last = setters
        .map(|entry| (entry.time.as_ref().map(|time| time.0), named(entry)))
        .max_by(|one, other| (one.0, one.1.is_some()).cmp(&(other.0, other.1.is_some())));
    last.and_then(|(_, name)| name).unwrap_or_default()
}
