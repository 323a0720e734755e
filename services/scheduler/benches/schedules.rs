//! Schedules that are due at the same minute: how long it takes until the tasks of all are made, each once. A row of the table
//! in docs/performance.md.
//!
//! The scheduler, etcd and the API server are real ones, on this machine; each schedule has a cluster of its own, and nobody
//! carries the tasks out. `PGO_BIN` holds kube-apiserver; etcd is on the path. `SCHEDULES` (1000) may be set, and
//! `PGO_BENCH_DIR` is where etcd's data is put.

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    pin::pin,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::Context as _;
use futures::{TryStreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{ListParams, PostParams},
    core::NamespaceResourceScope,
    runtime::watcher,
};
use pgo_control_plane::{NAMESPACE, Platform, Process, free_port, object};
use pgo_crd::{Pgcluster, Pgtask, label};
use pgo_scheduler::run::{LAST_RUN, LastRun, NEXT_RUN};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

/// Aim for the last task, after the time that is due.
const AIM: SignedDuration = SignedDuration::from_secs(2);

/// The schedules are due at the first full minute after so much: until then they are made and read.
const AHEAD: SignedDuration = SignedDuration::from_secs(90);

/// How long all of it may take after that time.
const LIMIT: Duration = Duration::from_secs(120);

/// So many objects are made at once.
const AT_ONCE: usize = 16;

fn main() -> anyhow::Result<()> {
    pgo_tls::provider();
    tokio::runtime::Runtime::new()?.block_on(measure())
}

async fn measure() -> anyhow::Result<()> {
    let count: usize = env::var("SCHEDULES").map_or(Ok(1000), |text| {
        let number = text.parse();
        number.with_context(|| format!("SCHEDULES={text:?} is no number"))
    })?;
    let parent =
        env::var_os("PGO_BENCH_DIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
    let folder = TempDir::new_in(parent)?;
    let platform = Platform::start(folder.path()).await?;
    let client = &platform.client;
    let clusters: Vec<Pgcluster> = (0..count).map(cluster).collect::<anyhow::Result<_>>()?;
    make(client, clusters.into_iter()).await?;
    let due = next_minute(Timestamp::now() + AHEAD)?;
    make(client, (0..count).map(|number| schedule(number, due))).await?;
    let scheduler = scheduler(folder.path(), &platform.kubeconfig)?;
    let next_run = due.to_string();
    let is_read = |map: &ConfigMap| map.annotations().get(NEXT_RUN) == Some(&next_run);
    until(client, count, is_read, due).await?;

    let made = timeout(LIMIT + AHEAD.unsigned_abs(), tasks(client, count, due));
    let made = made.await.context("not all tasks are made")??;
    let last_run = |map: &ConfigMap| LastRun::read(map.annotations().get(LAST_RUN)?);
    let limit = due + SignedDuration::try_from(LIMIT)?;
    until(client, count, |map| last_run(map).is_some(), limit).await?;
    let recorded = Timestamp::now().duration_since(due);
    scheduler.usage()?;

    let maps = list::<ConfigMap>(client).await?;
    let mut runs: Vec<_> = maps
        .iter()
        .filter_map(last_run)
        .map(|run| run.operation.to_string())
        .collect();
    let tasks = list::<Pgtask>(client).await?;
    let id = |task: &Pgtask| task.labels().get(label::WORKFLOWID).cloned();
    let mut asked: Vec<_> = tasks.iter().filter_map(id).collect();
    runs.sort();
    asked.sort();
    asked.dedup();
    let is_once = runs == asked && asked.len() == count && made.len() == count;
    let last = made.values().max().copied().unwrap_or_default();
    println!(
        "| {count} schedules that are due at the same minute: their tasks are made | within 2 s, each once | the last one {:.2} s \
         after that minute began, everything recorded after {:.1} s, {} | {} |",
        last.as_secs_f64(),
        recorded.as_secs_f64(),
        if is_once {
            "each once"
        } else {
            "not each once"
        },
        if is_once && last <= AIM { "yes" } else { "no" },
    );
    Ok(())
}

fn next_minute(after: Timestamp) -> anyhow::Result<Timestamp> {
    Ok(Timestamp::from_second((after.as_second() / 60 + 1) * 60)?)
}

fn name(number: usize) -> String {
    format!("team-{:02}-orders-{number:04}", number % 20)
}

fn cluster(number: usize) -> anyhow::Result<Pgcluster> {
    let name = name(number);
    object(json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgcluster",
        "metadata": {"name": name, "labels": {"name": name, "pg-cluster": name, "pgo-backrest": "true"}},
        "spec": {"namespace": NAMESPACE, "name": name, "clustername": name, "replicas": "0"},
    }))
}

/// As `pgo create schedule` of 4.1 makes it.
fn schedule(number: usize, due: Timestamp) -> ConfigMap {
    let cluster = name(number);
    let name = format!("{cluster}-pgbackrest-full");
    let due = due.strftime("%-M %-H * * *").to_string();
    let schedule = json!({
        "version": "v1", "name": name, "cluster": cluster, "created": Timestamp::now(), "schedule": due, "namespace": NAMESPACE,
        "type": "pgbackrest", "pgbackrest": {
            "label": format!("pg-cluster={cluster},name={cluster},deployment-name={cluster}"), "container": "database",
            "type": "full",
        },
        "pgbasebackup": {"securityContext": {}}, "policy": {},
    });
    let labels = BTreeMap::from([("crunchy-scheduler".to_owned(), "true".to_owned())]);
    let mut map = ConfigMap::default();
    map.metadata.name = Some(name.clone());
    map.metadata.labels = Some(labels);
    map.data = Some(BTreeMap::from([(name, schedule.to_string())]));
    map
}

fn api<K>(client: &Client) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    Api::namespaced(client.clone(), NAMESPACE)
}

/// The scheduler, as the installer's manifest starts it, but for the broker.
fn scheduler(folder: &Path, kubeconfig: &Path) -> anyhow::Result<Process> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgo-scheduler"));
    command
        .env_clear()
        .env("KUBECONFIG", kubeconfig)
        .env("PGO_OPERATOR_NAMESPACE", "pgo")
        .env("NAMESPACE", NAMESPACE)
        .env("MY_POD_NAME", "scheduler")
        .env("PGO_SCHEDULER_HEARTBEAT", folder.join("scheduler.hb"))
        .env("PGO_ADMIN_ADDR", format!("127.0.0.1:{}", free_port()?))
        .stdin(Stdio::null());
    Process::start(command, &folder.join("scheduler.log"))
}

/// When each task came, after `due`: `count` of them, and what else comes in the second after the last.
async fn tasks(
    client: &Client,
    count: usize,
    due: Timestamp,
) -> anyhow::Result<BTreeMap<String, SignedDuration>> {
    let events = watcher(api::<Pgtask>(client), watcher::Config::default());
    let mut events = pin!(events);
    let mut made = BTreeMap::new();
    loop {
        let is_complete = made.len() >= count;
        let event = match timeout(Duration::from_secs(1), events.try_next()).await {
            Err(_) if is_complete => return Ok(made),
            Err(_) => continue,
            Ok(event) => event?,
        };
        match event.context("the watch has ended")? {
            watcher::Event::Apply(task) => {
                let uid = task.uid().unwrap_or_default();
                let after = Timestamp::now().duration_since(due);
                made.entry(uid).or_insert(after);
            }
            watcher::Event::InitApply(task) => {
                anyhow::bail!("{} is there too early: fewer SCHEDULES", task.name_any());
            }
            watcher::Event::Delete(task) => anyhow::bail!("{} was removed", task.name_any()),
            watcher::Event::Init | watcher::Event::InitDone => {}
        }
    }
}

/// Makes these objects.
async fn make<K>(client: &Client, objects: impl Iterator<Item = K>) -> anyhow::Result<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug,
    K: Serialize + DeserializeOwned,
{
    let api: Api<K> = api(client);
    let post = PostParams::default();
    let objects = stream::iter(objects.map(anyhow::Ok));
    let made = objects.try_for_each_concurrent(AT_ONCE, |object| {
        let (api, post) = (&api, &post);
        async move {
            let made = api.create(post, &object).await;
            made.with_context(|| format!("make {}", object.name_any()))?;
            Ok(())
        }
    });
    made.await
}

async fn list<K>(client: &Client) -> anyhow::Result<Vec<K>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug,
    K: DeserializeOwned,
{
    let mut params = ListParams::default();
    if K::kind(&()) == "ConfigMap" {
        params = params.labels("crunchy-scheduler=true");
    }
    Ok(api::<K>(client).list(&params).await?.items)
}

/// Waits until so many schedules are like that.
async fn until(
    client: &Client,
    count: usize,
    is_done: impl Fn(&ConfigMap) -> bool,
    limit: Timestamp,
) -> anyhow::Result<()> {
    loop {
        let maps = list::<ConfigMap>(client).await?;
        let done = maps.iter().filter(|map| is_done(map)).count();
        if done == count {
            return Ok(());
        }
        anyhow::ensure!(
            Timestamp::now() < limit,
            "{done} of {count} schedules are as far at {limit}; this machine is too slow for so many"
        );
        sleep(Duration::from_millis(500)).await;
    }
}
