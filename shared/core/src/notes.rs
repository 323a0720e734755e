//! What others have noted on a Pgcluster of what they did or changed: each note is told once, and taken away then.

use jiff::Timestamp;
use pgo_ids::OperationId;

use crate::{Cluster, ClusterStatus, Kind, Observed, scheduled, scheduling, settings, tested};

pub use crate::{
    scheduled::ScheduledRun, scheduling::ScheduleRequest, settings::Update, tested::Test,
};

/// Who changed what of a Pgcluster last without a request, by what Kubernetes noted; empty where it noted nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangedBy {
    /// Its settings.
    pub settings: String,
    /// The image that its spec names.
    pub image: String,
    /// The number of its replicas.
    pub replicas: String,
}

/// The notes on a Pgcluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// Changes of its settings that were made by request.
    pub updates: Vec<Update>,
    /// Tests of its connections.
    pub tests: Vec<Test>,
    /// Runs of schedules.
    pub runs: Vec<ScheduledRun>,
    /// Schedules that were made or deleted by request.
    pub schedules: Vec<ScheduleRequest>,
}

impl Notes {
    fn ids(&self) -> impl Iterator<Item = OperationId> {
        let updates = self.updates.iter().map(|update| update.operation);
        let tests = self.tests.iter().map(|test| test.operation);
        let runs = self.runs.iter().map(|run| run.operation);
        let schedules = self.schedules.iter().map(|request| request.operation);
        updates.chain(tests).chain(runs).chain(schedules)
    }
}

/// Tells what is noted and was not told. A note that was is remembered for as long as it is there.
pub(crate) fn commit(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) {
    let updates = untold(next, cluster, now);
    settings::commit(next, cluster, observed, &updates, now);
}

/// The same of a cluster that goes: tests, schedules and runs are told, and a change of its settings is refused. Nothing is told after its
/// deletion.
pub(crate) fn of_one_that_goes(next: &mut ClusterStatus, cluster: &Cluster, now: Timestamp) {
    let deletion = next.journal.newest(Kind::DeleteCluster);
    if deletion.is_some_and(|deletion| !deletion.is_running()) {
        return;
    }
    for update in untold(next, cluster, now) {
        settings::refuse(next, cluster, &update, now);
    }
}

/// Tells the tests, schedules and runs that were not told, and gives the changes that were not.
fn untold(next: &mut ClusterStatus, cluster: &Cluster, now: Timestamp) -> Vec<Update> {
    let notes = &cluster.notes;
    let told = core::mem::replace(&mut next.told_notes, notes.ids().collect());
    for test in &notes.tests {
        if !told.contains(&test.operation) {
            tested::tell(&mut next.journal, cluster.subject(), test);
        }
    }
    for request in &notes.schedules {
        if !told.contains(&request.operation) {
            scheduling::tell(&mut next.journal, cluster.subject(), request);
        }
    }
    let telling = (&mut next.journal, &mut next.told_runs);
    scheduled::tell(telling, cluster.subject(), &notes.runs, now);
    let updates = notes.updates.iter();
    let untold = updates.filter(|update| !told.contains(&update.operation));
    untold.cloned().collect()
}
