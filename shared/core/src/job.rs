//! Benchmarks by `pgbench`, and loads of files into tables: what a program does once for a cluster, in a pod of its own.
//!
//! ```text
//! JobRequest ─► its turn ─► judge ─► a pod of its own ─► that pod says what became of it ─► completed, or failed
//!                             └─► refused     └─ gone before it said so, or nobody asks any more: failed
//! ```
//!
//! Rows that are loaded twice are wrong, and a benchmark that was broken off has measured nothing: no pod is made a second time
//! once one was there.

pub mod options;
mod run;
mod table;

use jiff::Timestamp;
use pgo_ids::{ClusterName, OperationId};
use serde::{Deserialize, Serialize};

pub(crate) use self::run::{break_off, commit, steps};
pub use self::table::{file, table};
use crate::{Kind, Step, WorkerPod, WorkerState};

/// A request for a benchmark, or for a load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRequest {
    /// The request's id.
    pub operation: OperationId,
    /// Who asked.
    pub actor: String,
    /// What it is.
    pub kind: JobKind,
    /// What is asked for, or why that cannot be done.
    pub wanted: Result<JobWish, String>,
}

impl JobRequest {
    /// With a load its table, empty where that is not understood: each of its events has one.
    pub(crate) fn table(&self) -> Option<String> {
        match (&self.wanted, self.kind) {
            (_, JobKind::Benchmark) => None,
            (
                Ok(JobWish {
                    work: JobWork::Load(load),
                    ..
                }),
                _,
            ) => Some(load.table.clone()),
            _ => Some(String::new()),
        }
    }
}

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobKind {
    /// It measures by `pgbench`.
    Benchmark,
    /// It loads a file into a table.
    Load,
}

impl JobKind {
    /// The kind of its operation.
    pub(crate) fn operation(self) -> Kind {
        match self {
            Self::Benchmark => Kind::Benchmark,
            Self::Load => Kind::Load,
        }
    }
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobWish {
    /// What its pod is to do.
    pub work: JobWork,
    /// The port that whoever asks takes for PostgreSQL's, where one is said.
    pub port: Option<u16>,
}

/// What the pod is to do, as it stands in its environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "work", rename_all = "camelCase")]
pub enum JobWork {
    /// Measure by `pgbench`.
    Benchmark(BenchmarkWork),
    /// Load a file.
    Load(LoadWork),
}

/// A benchmark.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BenchmarkWork {
    /// The database.
    pub database: String,
    /// Further arguments of `pgbench --initialize`.
    pub init: Vec<String>,
    /// Further arguments of the run.
    pub options: Vec<String>,
    /// How many clients there are.
    pub clients: u32,
    /// How many threads these have.
    pub threads: u32,
    /// Scale factor: so many times 100,000 rows.
    pub scale: u32,
    /// Transactions of each client.
    pub transactions: u32,
    /// The ConfigMap with the transaction that is run instead of pgbench's own, under [`TRANSACTIONS`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
}

/// Key of a benchmark's ConfigMap, as in 4.1.
pub const TRANSACTIONS: &str = "transactions.sql";

/// A load.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LoadWork {
    /// The database.
    pub database: String,
    /// The role whose rights it has.
    pub role: String,
    /// The table, as SQL has it, maybe with columns.
    pub table: String,
    /// The claim with the file.
    pub claim: String,
    /// Where the file is in that.
    pub file: String,
    /// What the file holds.
    pub format: LoadFormat,
    /// The group that is to own the files of the volume; none leaves them as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fs_group: Option<i64>,
    /// A further group that may read them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub supplemental_group: Option<i64>,
}

/// What a file holds that is loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LoadFormat {
    /// Comma-separated values.
    #[default]
    Csv,
    /// A JSON value in each line.
    Json,
}

impl LoadFormat {
    /// Reads 4.1's word; an empty one is `csv`.
    ///
    /// # Errors
    /// It is another word.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "" | "csv" => Ok(Self::Csv),
            "json" => Ok(Self::Json),
            other => Err(format!(
                "FileType {other:?} is none; there are csv and json"
            )),
        }
    }
}

/// What a pod for a job is made for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobOrder {
    /// The operation.
    pub operation: OperationId,
    /// What it is to do.
    #[serde(flatten)]
    pub work: JobWork,
}

impl JobOrder {
    /// What kind of job it is.
    #[must_use]
    pub fn kind(&self) -> JobKind {
        match self.work {
            JobWork::Benchmark(_) => JobKind::Benchmark,
            JobWork::Load(_) => JobKind::Load,
        }
    }
}

/// The job that goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobRun {
    /// What its pod is made for.
    #[serde(flatten)]
    pub order: JobOrder,
    /// Since when it goes on.
    pub since: Timestamp,
    /// Uid of its pod, once that was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
}

/// The pod for a job, as it is there.
pub type JobFacts = WorkerPod<JobResult>;

/// How far a pod for a job is.
pub type JobState = WorkerState<JobResult>;

/// What a pod says of what it has done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobResult {
    /// It in one line.
    pub summary: String,
    /// What the program printed, where users are to see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// How many rows were loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Size of the file that they were in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// Name of the pod for a job and of the task that asks for it: 4.1's, with letters that follow from the operation.
#[must_use]
pub fn job_name(cluster: &ClusterName, kind: JobKind, operation: OperationId) -> String {
    let word = match kind {
        JobKind::Benchmark => "benchmark",
        JobKind::Load => "pgo-load",
    };
    let letters = crate::replicas::letters(operation);
    format!("{word}-{cluster}-{letters}")
}

/// The removal of a pod that is left of one that is over, or of a cluster that goes.
pub(crate) fn left(observed: &crate::Observed) -> Option<Step> {
    let pod = observed.job.as_ref().filter(|pod| !pod.terminating)?;
    Some(Step::RemoveJobPod {
        name: pod.name.clone(),
        uid: pod.uid.clone(),
    })
}
