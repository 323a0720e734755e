//! The reconciler: for each Pgcluster, observe → validate → plan → commit → execute → relay.
//!
//! | step | file |
//! |---|---|
//! | what wakes a reconcile | `cache`, `agents`, `controller` |
//! | the steps in their order | `reconcile` |
//! | observe | `observe`, `complaints` |
//! | validate | `pgo_crd::desired` |
//! | plan, and which status and events follow | `pgo_core::plan`, `pgo_core::commit` |
//! | commit, one compare-and-swap | `write` |
//! | execute | `execute`, `execute/make`, `execute/remove`, `execute/own` |
//! | relay | `pgo_bus::Relay`; of clusters that are gone, `pages` |
//! | what 4.1 keeps elsewhere | `project` |
//! | what nothing is done for | `not_yet` |
//! | PGO itself | `installation` |

mod agents;
mod cache;
mod complaints;
mod conditions;
mod config;
mod context;
mod controller;
mod error;
mod execute;
mod installation;
mod metrics;
mod not_yet;
mod observe;
mod outage;
mod pages;
mod project;
mod reconcile;
mod rights;
mod settings;
mod waker;
mod write;

use std::{collections::HashMap, sync::Arc};

use anyhow::Context as _;
use kube::{Api, Client, ResourceExt as _};
use pgo_bus::{NsqPublisher, Relay, follow_confirmations};
use pgo_crd::{PGO_VERSION, Pgcluster};
use pgo_ids::{Namespace, StreamId};
use pgo_k8s::lease::{Election, LeaseSettings};
use pgo_telemetry::{CancellationToken, Telemetry};
use pgo_tls::{Authority, TlsFiles};
use tokio::task::JoinSet;

pub use rights::RIGHTS;
pub use settings::Settings;

/// Name of the leader's Lease.
const LEASE: &str = "pgo-reconciler";

/// Identities of those the reconciler speaks to.
const NSQD: &str = "nsqd.pgo";
const EVENT: &str = "event.pgo";

/// Runs until SIGTERM or until leadership is lost; what is under way is finished.
///
/// # Errors
/// It cannot begin: a setting, a certificate, Kubernetes or `pgo.yaml` is missing or wrong.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let logs = pgo_telemetry::Settings::from_env("reconciler", PGO_VERSION)?;
    let telemetry = pgo_telemetry::init(&logs)?;
    let shutdown = pgo_telemetry::shutdown().context("install the signal handlers")?;
    let admin = telemetry.bind(settings.admin_addr).await?;
    tokio::spawn(admin.run(shutdown.clone().cancelled_owned()));
    let started = telemetry.readiness().condition("started");

    let files = Arc::new(TlsFiles::open(&settings.tls_dir)?);
    let client = Client::try_default()
        .await
        .context("find the API server of Kubernetes")?;
    let lease = LeaseSettings::new(&settings.operator_namespace, LEASE, &settings.identity);
    let election = Election::new(client.clone(), lease);
    let mut leadership = election.leadership();
    let outage = outage::Outage::look(&client, &settings.operator_namespace).await?;
    let ended = CancellationToken::new();
    let elected = tokio::spawn(election.run(ended.clone().cancelled_owned()));
    started.met();

    let led = tokio::select! {
        () = shutdown.cancelled() => false,
        led = leadership.wait_for(pgo_k8s::lease::Leadership::is_leading) => led.is_ok(),
    };
    if led {
        let stop = shutdown.child_token();
        tokio::select! {
            result = lead(&settings, &telemetry, client, files, (outage.ended_now(), stop.clone())) => result?,
            _ = leadership.wait_for(|now| !now.is_leading()) => {
                tracing::warn!("leadership was lost; ending, to begin anew as one who follows");
                stop.cancel();
            }
        }
    }
    ended.cancel();
    elected.await.context("give the Lease back")?;
    Ok(())
}

/// Does what a leader does, until told to end.
async fn lead(
    settings: &Settings,
    telemetry: &Telemetry,
    client: Client,
    files: Arc<TlsFiles>,
    (was_down, shutdown): (bool, CancellationToken),
) -> anyhow::Result<()> {
    let metrics = metrics::Metrics::register(telemetry);
    metrics.leads();
    let operator: Namespace = settings
        .operator_namespace
        .parse()
        .context("PGO_OPERATOR_NAMESPACE")?;
    let authority = Arc::new(authority(settings)?);
    let config = config::follow(&client, operator.as_str()).await?;
    let relay = relay(settings, &files)?;
    let mut tasks = JoinSet::new();
    let mut contexts = Vec::new();
    for namespace in &settings.namespaces {
        let (waker, woken) = waker::Waker::new();
        let cache = cache::Cache::watch(&client, namespace, &waker).await;
        let context = Arc::new(context::Context::new(
            client.clone(),
            operator.clone(),
            cache,
            agents::Agents::new(files.clone(), waker.clone()),
            authority.clone(),
            config.clone(),
            relay.clone(),
            metrics.clone(),
        ));
        let api: Api<Pgcluster> = Api::namespaced(client.clone(), namespace);
        contexts.push((namespace.clone(), waker));
        tasks.spawn(controller::run(api, context, woken, shutdown.clone()));
        let told = not_yet::tell(client.clone(), namespace.clone(), shutdown.clone());
        tasks.spawn(told);
    }
    let keeper =
        installation::Keeper::new(client.clone(), operator.clone(), relay.clone(), was_down);
    let pages = Api::namespaced(client.clone(), operator.as_str());
    let confirmed = keeper.confirmed.clone();
    let background = [
        tokio::spawn(keeper.run()),
        tokio::spawn(pages::relay(pages, relay.clone())),
        tokio::spawn(confirmations(
            settings, &files, relay, client, contexts, confirmed,
        )?),
    ];
    while let Some(ended) = tasks.join_next().await {
        ended.context("a controller failed")?;
    }
    for task in background {
        task.abort();
    }
    Ok(())
}

fn authority(settings: &Settings) -> anyhow::Result<Authority> {
    let read = |name: &str| {
        let path = settings.ca_dir.join(name);
        std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    };
    Ok(Authority::from_pem(&read("tls.crt")?, &read("tls.key")?)?)
}

fn relay(settings: &Settings, files: &TlsFiles) -> anyhow::Result<Relay> {
    if settings.disable_eventing == "true" {
        tracing::warn!("DISABLE_EVENTING is true: no event is published");
        return Ok(Relay::off());
    }
    let mut server = nsq::Server::new(&settings.event_addr);
    server.tls = Some(nsq::Tls {
        config: files.client_config(),
        server_name: NSQD.try_into().context("the identity of nsqd")?,
    });
    Ok(Relay::start(NsqPublisher::connect(server)))
}

/// Hears what is on disk at the event service and wakes whom it is about, where that has something to do for it.
fn confirmations(
    settings: &Settings,
    files: &Arc<TlsFiles>,
    relay: Relay,
    client: Client,
    wakers: Vec<(String, waker::Waker)>,
    installation: Arc<tokio::sync::Notify>,
) -> anyhow::Result<impl Future<Output = ()> + use<>> {
    let channel = pgo_tls::grpc::channel(&settings.event_service, EVENT, files.clone())?;
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel::<StreamId>();
    Ok(async move {
        let follow = follow_confirmations(channel, relay, move |stream, _| {
            let _ = sender.send(stream.clone());
        });
        let wake = async move {
            let mut known: HashMap<StreamId, (usize, String)> = HashMap::new();
            while let Some(stream) = receiver.recv().await {
                installation.notify_one();
                if !known.contains_key(&stream) {
                    learn(&client, &wakers, &mut known).await;
                }
                if let Some((at, name)) = known.get(&stream)
                    && let Some((namespace, waker)) = wakers.get(*at)
                {
                    waker.wake(namespace, name);
                }
            }
        };
        tokio::join!(follow, wake);
    })
}

/// Which cluster a stream belongs to.
async fn learn(
    client: &Client,
    wakers: &[(String, waker::Waker)],
    known: &mut HashMap<StreamId, (usize, String)>,
) {
    for (at, (namespace, _)) in wakers.iter().enumerate() {
        let api: Api<Pgcluster> = Api::namespaced(client.clone(), namespace);
        match api.list_metadata(&kube::api::ListParams::default()).await {
            Ok(list) => known.extend(list.items.into_iter().filter_map(|object| {
                let stream = object.uid()?.parse().ok()?;
                Some((stream, (at, object.name_any())))
            })),
            Err(error) => tracing::warn!(namespace, %error, "cannot list the clusters"),
        }
    }
}
