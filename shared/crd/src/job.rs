//! Benchmarks and loads: the Pgtasks that ask for one, the former under 4.1's names, the latter under those of its load files.

use kube::ResourceExt as _;
use pgo_core::{
    BenchmarkWork, JobKind, JobRequest, JobWish, JobWork, LoadFormat, LoadWork,
    job::{self, options},
};
use pgo_ids::{OperationId, RoleName};

use crate::{
    Pgcluster, Pgtask, TaskType,
    convert::{actor, is_later, operation},
    is_claim,
    restarting::{asked, in_order},
};

/// Parameter of a Pgtask that asks for a benchmark: the cluster.
pub const CLUSTER_NAME: &str = "clusterName";

/// Parameter of the same: the ConfigMap with the transaction; empty means pgbench's own.
pub const BENCHMARK_SCRIPT: &str = "configmapName";

/// Parameter of a Pgtask that asks for a load: the claim with the file.
pub const FILE_CLAIM: &str = "PVCName";

/// The keys of 4.1's load files that mean something here; a Pgtask that asks for a load has them as its parameters.
pub const LOAD_KEYS: [&str; 9] = [
    "DbDatabase",
    "DbUser",
    "DbPort",
    "TableToLoad",
    "FilePath",
    "FileType",
    FILE_CLAIM,
    "FSGroup",
    "SupplementalGroup",
];

/// The benchmarks and loads that Pgtasks ask for and that are not over, the first to ask first.
#[must_use]
pub fn job_requests<'a>(
    tasks: impl Iterator<Item = &'a Pgtask>,
    cluster: &Pgcluster,
) -> Vec<JobRequest> {
    in_order(tasks, |task| job_request(task, cluster))
}

/// Id of the benchmark, or of the load, that a Pgtask asks for, where it asks for one of this very cluster.
#[must_use]
pub fn job_operation(task: &Pgtask, cluster: &Pgcluster) -> Option<OperationId> {
    let benchmark = || {
        let word = TaskType::Benchmark.as_str();
        let is_asked = task.spec.tasktype == word
            && said(task, CLUSTER_NAME) == cluster.name_any()
            && task.namespace() == cluster.namespace()
            && is_later(task, cluster);
        is_asked.then(|| operation(task, word)).flatten()
    };
    asked(task, cluster, TaskType::Load).or_else(benchmark)
}

fn job_request(task: &Pgtask, cluster: &Pgcluster) -> Option<JobRequest> {
    let operation = job_operation(task, cluster)?;
    let is_load = task.spec.tasktype == TaskType::Load.as_str();
    let (kind, wanted) = match is_load {
        true => (JobKind::Load, load_wish(|key| said(task, key))),
        false => (JobKind::Benchmark, benchmark_wish(|key| said(task, key))),
    };
    Some(JobRequest {
        operation,
        actor: actor(task),
        kind,
        wanted,
    })
}

fn said<'a>(task: &'a Pgtask, key: &str) -> &'a str {
    let value = task.spec.parameters.get(key);
    value.map(|value| value.trim()).unwrap_or_default()
}

/// Reads what a benchmark is asked for with.
///
/// # Errors
/// It cannot be done.
pub fn benchmark_wish<'a>(said: impl Fn(&str) -> &'a str) -> Result<JobWish, String> {
    let number = |key: &str, most: u32| match said(key) {
        "" => Ok(1),
        text => match text.parse() {
            Ok(number) if (1..=most).contains(&number) => Ok(number),
            _ => Err(format!("{key} {text:?} is not a number from 1 to {most}")),
        },
    };
    let parsed = |read: fn(&str) -> Result<Vec<String>, options::PgbenchError>, key: &str| {
        read(said(key)).map_err(|error| error.to_string())
    };
    let database = match said("database") {
        "" => "postgres",
        name => name,
    };
    let script = Some(said(BENCHMARK_SCRIPT).to_owned()).filter(|name| !name.is_empty());
    let work = BenchmarkWork {
        database: database_name("database", database)?,
        init: parsed(options::init, "initOpts")?,
        options: parsed(options::run, "benchmarkOpts")?,
        clients: number("clients", 10_000)?,
        threads: number("jobs", 1_000)?,
        scale: number("scale", 100_000)?,
        transactions: number("transactions", i32::MAX.cast_unsigned())?,
        script,
    };
    Ok(JobWish {
        work: JobWork::Benchmark(work),
        port: port("port", said("port"))?,
    })
}

/// Reads what a load is asked for with, by the keys of [`LOAD_KEYS`].
///
/// # Errors
/// It cannot be done; 4.1's text where a key is missing.
pub fn load_wish<'a>(said: impl Fn(&str) -> &'a str) -> Result<JobWish, String> {
    let needed = |key: &str| match said(key) {
        "" => Err(format!("{key} is not supplied")),
        text => Ok(text),
    };
    let group = |key: &str| match said(key) {
        "" => Ok(None),
        text => match text.parse() {
            Ok(group) if (0..=i64::from(i32::MAX)).contains(&group) => Ok(Some(group)),
            _ => Err(format!("{key} {text:?} is not the number of a group")),
        },
    };
    let database = database_name("DbDatabase", needed("DbDatabase")?)?;
    let role = needed("DbUser")?;
    let role: RoleName = role
        .parse()
        .map_err(|error| format!("DbUser {role:?} is the name of no role: {error}"))?;
    let port = port("DbPort", needed("DbPort")?)?;
    let table = needed("TableToLoad")?;
    let file = needed("FilePath")?;
    let claim = needed(FILE_CLAIM)?;
    if !is_claim(claim) {
        return Err(format!("{FILE_CLAIM} {claim:?} is the name of no claim"));
    }
    let work = LoadWork {
        database,
        role: role.to_string(),
        table: job::table(table)?,
        claim: claim.to_owned(),
        file: job::file(file)?,
        format: LoadFormat::parse(said("FileType"))?,
        fs_group: group("FSGroup")?,
        supplemental_group: group("SupplementalGroup")?,
    };
    Ok(JobWish {
        work: JobWork::Load(work),
        port,
    })
}

/// Longest name in PostgreSQL, in bytes.
const LONGEST_NAME: usize = 63;

/// Reads the name of a database.
fn database_name(key: &str, text: &str) -> Result<String, String> {
    match text.len() <= LONGEST_NAME && !text.chars().any(char::is_control) {
        true => Ok(text.to_owned()),
        false => Err(format!("{key} {text:?} is the name of no database")),
    }
}

fn port(key: &str, text: &str) -> Result<Option<u16>, String> {
    match text {
        "" => Ok(None),
        text => match text.parse() {
            Ok(0) | Err(_) => Err(format!("{key} {text:?} is no port")),
            Ok(port) => Ok(Some(port)),
        },
    }
}
