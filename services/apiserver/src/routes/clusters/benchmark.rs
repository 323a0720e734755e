//! Benchmarks: `POST /benchmark` asks for them by Pgtasks, which the reconciler carries out; `/benchmarkshow` shows what became
//! of them, which their tasks say, and `/benchmarkdelete` removes these.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, ObjectMeta, PostParams},
};
use pgo_api::{
    AskedJob, BenchmarkDetail, CreateBenchmarkRequest, CreateBenchmarkResponse,
    DeleteBenchmarkResponse, Outcome, SelectBenchmarkRequest, ShowBenchmarkResponse, texts,
};
use pgo_core::{JobKind, job::TRANSACTIONS, job_name};
use pgo_crd::{
    BENCHMARK_SCRIPT, CLUSTER_NAME, Pgcluster, Pgpolicy, Pgtask, TaskType, benchmark_wish, label,
};
use pgo_ids::OperationId;
use uuid::Uuid;

use super::{
    Selection, ask, is_object_name,
    scale::identity,
    task::{self, Subject},
    workflow::noted,
};
use crate::{
    app::App,
    refusal::{Refusal, kubernetes_text},
    request::Call,
};

fn refuse<T>(why: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal(why.into()))
}

fn outcome(problems: &[String]) -> Outcome {
    match problems {
        [] => Outcome::ok(),
        some => Outcome::error(some.join("; ")),
    }
}

pub(crate) async fn create(
    call: Arc<Call>,
    request: CreateBenchmarkRequest,
) -> Result<CreateBenchmarkResponse, Refusal> {
    if !request.user.is_empty() {
        return refuse(texts::not_available("User"));
    }
    let namespace = request.namespace.as_str();
    let sql = match request.policy.as_str() {
        "" => None,
        policy => Some(transaction(&call.app, namespace, policy).await?),
    };
    let selection = Selection::of(&request.selector, false, &request.cluster_name);
    let (mut clusters, mut problems) = (Vec::new(), Vec::new());
    for found in selection.clusters(&call.app, namespace).await? {
        let name = found.name_any();
        match found.try_parse::<Pgcluster>() {
            Ok(cluster) => clusters.push(cluster),
            Err(error) => problems.push(format!("{name} cannot be understood: {error}")),
        }
    }
    // What was begun is finished, also when the client goes away.
    let asking = tokio::spawn(async move {
        let mut answer = CreateBenchmarkResponse::default();
        for cluster in &clusters {
            match one(&call, &request, cluster, sql.as_deref()).await {
                Ok(asked) => {
                    answer.results.extend([
                        texts::created_benchmark(&asked.cluster),
                        texts::benchmark_workflow_id(&asked.operation),
                    ]);
                    answer.jobs.push(asked);
                }
                Err(Refusal(why)) => problems.push(why),
            }
        }
        answer.outcome = outcome(&problems);
        answer
    });
    asking
        .await
        .map_err(|error| Refusal(format!("asking for a benchmark broke off: {error}")))
}

/// The SQL of a policy, which is to be the transaction.
async fn transaction(app: &App, namespace: &str, policy: &str) -> Result<String, Refusal> {
    let policies: Api<Pgpolicy> = app.api(namespace);
    let found = match is_object_name(policy) {
        true => policies.get_opt(policy).await?,
        false => None,
    };
    match found {
        None => refuse(texts::no_benchmark_policy(policy)),
        Some(found) if found.spec.sql.trim().is_empty() => {
            refuse(texts::benchmark_policy_without_sql(policy))
        }
        Some(found) => Ok(found.spec.sql),
    }
}

/// Asks for that of one cluster.
async fn one(
    call: &Call,
    request: &CreateBenchmarkRequest,
    cluster: &Pgcluster,
    sql: Option<&str>,
) -> Result<AskedJob, Refusal> {
    let namespace = request.namespace.as_str();
    let (name, uid) = identity(cluster)?;
    let id = OperationId::from(Uuid::new_v4());
    let job = job_name(&name, JobKind::Benchmark, id);
    let mut parameters = parameters(call, request, (cluster, id, &job));
    let said = |key: &str| parameters.get(key).map(String::as_str).unwrap_or_default();
    benchmark_wish(said).map_err(Refusal)?;
    let maps: Api<ConfigMap> = call.app.api(namespace);
    if let Some(sql) = sql {
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(script_name(&job)),
                namespace: Some(namespace.to_owned()),
                labels: Some(
                    [
                        (label::BENCHMARK, "true"),
                        (label::PG_CLUSTER, name.as_str()),
                    ]
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .into(),
                ),
                owner_references: Some(vec![pgo_objects::owner(&name, &uid)]),
                ..ObjectMeta::default()
            },
            data: Some([(TRANSACTIONS.to_owned(), sql.to_owned())].into()),
            ..ConfigMap::default()
        };
        maps.create(&PostParams::default(), &map).await?;
        parameters.insert(BENCHMARK_SCRIPT.to_owned(), script_name(&job));
    }
    let make =
        |subject: &Subject<'_>, id| task::job(subject, TaskType::Benchmark, (id, &job), parameters);
    let asked = ask::by_id(call, namespace, cluster, (id, make)).await;
    if asked.is_err() && sql.is_some() {
        remove_script(&maps, &job).await;
    }
    asked?;
    Ok(AskedJob {
        cluster: name.to_string(),
        job,
        operation: id.to_string(),
    })
}

/// 4.1's parameters of the task, and of its workflow.
fn parameters(
    call: &Call,
    request: &CreateBenchmarkRequest,
    (cluster, id, job): (&Pgcluster, OperationId, &str),
) -> BTreeMap<String, String> {
    let config = call.app.configuration.now();
    let (name, spec) = (cluster.name_any(), &cluster.spec);
    let port = match spec.port.as_str() {
        "" => config.cluster.port.clone(),
        port => port.to_owned(),
    };
    // Sent by no client that means it.
    let number = |number: i64| match number {
        0 => String::new(),
        number => number.to_string(),
    };
    let now = Timestamp::now().strftime("%Y-%m-%d.%H.%M.%S").to_string();
    let all = [
        ("benchmarkOpts", request.benchmark_opts.clone()),
        ("ccpImagePrefix", config.cluster.ccp_image_prefix.clone()),
        ("ccpImageTag", spec.ccpimagetag.clone()),
        ("clients", number(request.clients)),
        (CLUSTER_NAME, name.clone()),
        (BENCHMARK_SCRIPT, String::new()),
        ("database", request.database.clone()),
        ("host", name.clone()),
        ("initOpts", request.init_opts.clone()),
        ("jobs", number(request.jobs)),
        (label::PG_CLUSTER, name.clone()),
        ("port", port),
        ("scale", number(request.scale)),
        ("secret", format!("{name}-postgres-secret")),
        ("taskName", job.to_owned()),
        ("task submitted", now.clone()),
        ("timestamp", now),
        ("transactions", number(request.transactions)),
        ("workflowID", id.to_string()),
        ("workflowName", job.to_owned()),
    ];
    all.map(|(key, value)| (key.to_owned(), value)).into()
}

/// Name of the ConfigMap with the transaction of a benchmark, as in 4.1.
fn script_name(job: &str) -> String {
    format!("{job}-tx")
}

/// Removes the ConfigMap with the transaction, as far as that can be done: it goes with its cluster.
async fn remove_script(maps: &Api<ConfigMap>, job: &str) {
    let name = script_name(job);
    match maps.delete(&name, &DeleteParams::default()).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.is_not_found() => {}
        Err(error) => {
            let why = kubernetes_text(&error);
            tracing::warn!(
                name,
                why,
                "the transaction of a benchmark cannot be removed"
            );
        }
    }
}

/// The tasks of the benchmarks that a request is about, the first to be asked for first.
async fn selected(app: &App, request: &SelectBenchmarkRequest) -> Result<Vec<Pgtask>, Refusal> {
    let namespace = request.namespace.as_str();
    let of: Option<BTreeSet<String>> = match (&*request.selector, &*request.cluster_name) {
        ("", "") => None,
        ("", name) => Some([name.to_owned()].into()),
        (selector, _) => {
            let selection = Selection::of(selector, false, "");
            let clusters = selection.clusters(app, namespace).await?;
            Some(clusters.iter().map(|cluster| cluster.name_any()).collect())
        }
    };
    let tasks: Api<Pgtask> = app.api(namespace);
    let mut tasks = tasks.list(&ListParams::default()).await?.items;
    tasks.retain(|task| {
        let is_benchmark = task.spec.tasktype == TaskType::Benchmark.as_str();
        is_benchmark && of.as_ref().is_none_or(|of| of.contains(cluster_of(task)))
    });
    if tasks.is_empty() {
        return refuse(texts::NO_BENCHMARKS);
    }
    tasks.sort_by_key(|task| (task.creation_timestamp(), task.name_any()));
    Ok(tasks)
}

fn cluster_of(task: &Pgtask) -> &str {
    let name = task.spec.parameters.get(CLUSTER_NAME);
    name.map(String::as_str).unwrap_or_default()
}

pub(crate) async fn show(
    call: Arc<Call>,
    request: SelectBenchmarkRequest,
) -> Result<ShowBenchmarkResponse, Refusal> {
    let tasks = selected(&call.app, &request).await?;
    let benchmarks: Vec<BenchmarkDetail> = tasks.iter().map(detail).collect();
    Ok(ShowBenchmarkResponse {
        results: benchmarks.iter().map(text).collect(),
        benchmarks,
        outcome: Outcome::ok(),
    })
}

/// What a task says of its benchmark.
fn detail(task: &Pgtask) -> BenchmarkDetail {
    let state = noted(task);
    let status = task.status.as_ref();
    let mut conditions = status.into_iter().flat_map(|status| &status.conditions);
    let complete = conditions.find(|condition| condition["type"] == "Complete");
    let message = complete.and_then(|condition| condition["message"].as_str());
    let said = |is_so: bool| match is_so {
        true => message.unwrap_or_default().to_owned(),
        false => String::new(),
    };
    BenchmarkDetail {
        job: task.name_any(),
        cluster: cluster_of(task).to_owned(),
        operation: task
            .labels()
            .get(label::WORKFLOWID)
            .cloned()
            .unwrap_or_default(),
        state: state.to_owned(),
        cause: said(state == "failed"),
        output: said(state == "completed"),
    }
}

/// As 4.1 shows the log of its Job.
fn text(detail: &BenchmarkDetail) -> String {
    let lines = match detail.state.as_str() {
        "completed" => detail.output.clone(),
        "failed" => format!("failed: {}", detail.cause),
        state => state.to_owned(),
    };
    let lines = lines.trim_end().lines().map(|line| format!("\n\t{line}"));
    format!("Results for {}:{}", detail.job, lines.collect::<String>())
}

pub(crate) async fn delete(
    call: Arc<Call>,
    request: SelectBenchmarkRequest,
) -> Result<DeleteBenchmarkResponse, Refusal> {
    let tasks = selected(&call.app, &request).await?;
    // What was begun is finished, also when the client goes away.
    let deleting = tokio::spawn(async move {
        let namespace = request.namespace.as_str();
        let api: Api<Pgtask> = call.app.api(namespace);
        let maps: Api<ConfigMap> = call.app.api(namespace);
        let (mut results, mut problems) = (Vec::new(), Vec::new());
        for found in &tasks {
            let job = found.name_any();
            match task::remove(&api, found).await {
                Ok(()) => {
                    let script = found.spec.parameters.get(BENCHMARK_SCRIPT);
                    if script.is_some_and(|name| *name == script_name(&job)) {
                        remove_script(&maps, &job).await;
                    }
                    tracing::info!(
                        namespace,
                        job,
                        user = call.caller.name,
                        "a benchmark was deleted"
                    );
                    results.push(texts::deleted_benchmark(&job));
                }
                Err(error) => problems.push(format!("{job}: {}", kubernetes_text(&error))),
            }
        }
        DeleteBenchmarkResponse {
            results,
            outcome: outcome(&problems),
        }
    });
    deleting
        .await
        .map_err(|error| Refusal(format!("deleting benchmarks broke off: {error}")))
}
