//! `pgo benchmark`, `pgo show benchmark` and `pgo delete benchmark`.

use std::sync::Arc;

use clap::Args;
use pgo_api::{
    CreateBenchmarkRequest, CreateBenchmarkResponse, DeleteBenchmarkResponse, Endpoint,
    SelectBenchmarkRequest, ShowBenchmarkResponse,
};

use super::{
    Failure, Output, Report,
    create_cluster::lines,
    select::{Selected, Selection, each, shows},
    wait::{Following, WaitFlags, Work},
};
use crate::{client::Api, output};

/// Measure clusters with pgbench
///
/// The tables pgbench_accounts, pgbench_branches, pgbench_history and pgbench_tellers of the database are made anew, then the run
/// begins. The answer says that it was asked for; with --wait the command follows it to its end. `pgo show benchmark` shows what
/// pgbench has printed.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  pgo benchmark hippo --scale=10 --clients=4 --transactions=1000 --wait\n  pgo benchmark hippo \
                  --benchmark-opts='--select-only --time=60'"
)]
pub struct Create {
    #[command(flatten)]
    pub selection: Selection,
    /// Database in which it is done
    #[arg(short, long, value_name = "DATABASE", default_value = "postgres")]
    database: String,
    /// Further options of pgbench for the initialisation, in one text
    #[arg(
        short,
        long,
        value_name = "OPTIONS",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    init_opts: String,
    /// Further options of pgbench for the run, in one text
    #[arg(
        short,
        long,
        value_name = "OPTIONS",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    benchmark_opts: String,
    /// Policy whose SQL is the transaction, instead of pgbench's own
    #[arg(
        short,
        long,
        value_name = "POLICY",
        default_value = "",
        hide_default_value = true
    )]
    policy: String,
    /// Number of clients
    #[arg(short, long, value_name = "NUMBER", default_value = "1", value_parser = clap::value_parser!(i64).range(1..=10_000))]
    clients: i64,
    /// Number of threads that the clients have
    #[arg(short, long, value_name = "NUMBER", default_value = "1", value_parser = clap::value_parser!(i64).range(1..=1_000))]
    jobs: i64,
    /// Scale factor: so many times 100,000 rows
    #[arg(long, value_name = "NUMBER", default_value = "1", value_parser = clap::value_parser!(i64).range(1..=100_000))]
    scale: i64,
    /// Transactions of each client
    #[arg(short, long, value_name = "NUMBER", default_value = "1", value_parser = clap::value_parser!(i64).range(1..=2_147_483_647))]
    transactions: i64,
    #[command(flatten)]
    wait: WaitFlags,
    #[command(flatten)]
    output: Output,
}

/// Show benchmarks, and what came out of them
///
/// Those of a cluster, of the clusters of a selector, or all of the namespace.
#[derive(Args)]
pub struct Show {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    output: Output,
}

/// Delete benchmarks
///
/// One that is under way is ended. The tables of pgbench stay.
#[derive(Args)]
pub struct Delete {
    #[command(flatten)]
    which: Which,
    /// Accepted, and without effect: nobody is asked
    #[arg(long, hide = true)]
    no_prompt: bool,
    #[command(flatten)]
    output: Output,
}

/// Benchmarks of clusters.
#[derive(Args)]
struct Which {
    /// Name of the cluster whose benchmarks are meant
    #[arg(value_name = "CLUSTER")]
    cluster: Option<String>,
    /// Kubernetes label selector of clusters whose benchmarks are meant
    #[arg(short, long, value_name = "SELECTOR")]
    selector: Option<String>,
}

impl Which {
    fn check(&self) -> Result<(), Failure> {
        let given = |one: &Option<String>| one.as_ref().is_some_and(|one| !one.is_empty());
        match given(&self.cluster) && given(&self.selector) {
            true => Err(Failure::Usage(
                "give either the name of a cluster, or --selector, not both".to_owned(),
            )),
            false => Ok(()),
        }
    }

    fn request(&self, api: &Api) -> SelectBenchmarkRequest {
        SelectBenchmarkRequest {
            args: self.cluster.iter().cloned().collect(),
            namespace: api.settings().namespace.clone(),
            cluster_name: self.cluster.clone().unwrap_or_default(),
            selector: self.selector.clone().unwrap_or_default(),
        }
    }
}

impl Create {
    /// What the arguments get wrong together.
    pub fn check(&self) -> Result<(), Failure> {
        match self.selection.all {
            // As in 4.1 the request names one cluster, or selects some.
            true => Err(Failure::Usage(
                "name one or more clusters, or give --selector; a benchmark is for no more than that"
                    .to_owned(),
            )),
            false => self.selection.requests().map(|_| ()),
        }
    }

    fn request(&self, api: &Api, selected: &Selected) -> CreateBenchmarkRequest {
        CreateBenchmarkRequest {
            args: selected.args(),
            benchmark_opts: self.benchmark_opts.clone(),
            clients: self.clients,
            cluster_name: selected.name.clone(),
            database: self.database.clone(),
            init_opts: self.init_opts.clone(),
            jobs: self.jobs,
            namespace: api.settings().namespace.clone(),
            policy: self.policy.clone(),
            scale: self.scale,
            selector: selected.selector.clone(),
            transactions: self.transactions,
            user: String::new(),
        }
    }
}

impl Show {
    /// What the arguments get wrong together.
    pub fn check(&self) -> Result<(), Failure> {
        self.which.check()
    }
}

impl Delete {
    /// What the arguments get wrong together.
    pub fn check(&self) -> Result<(), Failure> {
        self.which.check()
    }
}

/// Asks for each name; refusals are told when all were asked.
pub async fn create(arguments: &Create, api: Arc<Api>) -> Result<(), Failure> {
    let requests = arguments.selection.requests()?;
    let json = arguments.output.is_json();
    let following = Following::begin(&arguments.wait, &api, json).await;
    let (mut results, mut jobs, mut missing) = (Vec::new(), Vec::new(), Vec::new());
    let mut report = Report::default();
    let ask = async |selected: &Selected| {
        let request = arguments.request(&api, selected);
        api.send(Endpoint::CreateBenchmark, &request).await
    };
    let take = |report: &mut Report, selected: &Selected, answer: CreateBenchmarkResponse| {
        if !json {
            report.print(&lines(&answer.results));
        }
        if answer.results.is_empty() && answer.outcome.failure().is_none() {
            if !json {
                report.print("No clusters found.\n");
            }
            missing.extend(Some(selected.name.clone()).filter(|name| !name.is_empty()));
        }
        results.extend(answer.results);
        jobs.extend(answer.jobs);
    };
    let outcome = each(requests, &mut report, ask, take).await;
    if !missing.is_empty() {
        let (namespace, names) = (&api.settings().namespace, missing.join(", "));
        report.problem(format!("not found in namespace {namespace}: {names}"));
    }
    if json && shows(&outcome, &results) {
        report.print_json(&CreateBenchmarkResponse {
            results,
            jobs: jobs.clone(),
            outcome,
        });
    }
    if let Some(following) = following {
        let asked = jobs.into_iter();
        let asked = asked
            .map(|one| (one.cluster.into(), one.operation))
            .collect();
        following
            .until_done(Work::Benchmark, asked, &mut report)
            .await;
    }
    report.end()
}

/// One request, one answer.
pub async fn show(arguments: &Show, api: &Api) -> Result<(), Failure> {
    let request = arguments.which.request(api);
    let answer = api.send(Endpoint::ShowBenchmark, &request).await?;
    let answer: ShowBenchmarkResponse = answer.whole()?;
    let mut report = Report::default();
    match arguments.output.is_json() {
        true => report.print_json(&answer),
        false => {
            let each = answer.results.iter();
            let text = each.map(|one| format!("{}\n", output::lines(one)));
            report.print(&text.collect::<String>());
        }
    }
    report.end()
}

/// One request, one answer, which may be of a part.
pub async fn delete(arguments: &Delete, api: &Api) -> Result<(), Failure> {
    let request = arguments.which.request(api);
    let answer = api.send(Endpoint::DeleteBenchmark, &request).await?;
    let answer: DeleteBenchmarkResponse = answer.also_in_part();
    let mut report = Report::default();
    match arguments.output.is_json() {
        true if shows(&answer.outcome, &answer.results) => report.print_json(&answer),
        true => {}
        false => report.print(&lines(&answer.results)),
    }
    if let Some(why) = answer.outcome.failure() {
        report.problem(why);
    }
    report.end()
}
