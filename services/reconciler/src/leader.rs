//! What a leader does: reconcile each namespace, relay what is left of clusters that are gone, keep the status of PGO.
//!
//! Namespaces do not depend on each other, nor anything else on them: one that cannot be read stops nothing but itself.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use kube::{Api, Client};
use pgo_bus::{Doorbells, Doorman, Kind, Listener, NsqPublisher, Relay};
use pgo_crd::PgoConfig;
use pgo_ids::Namespace;
use pgo_objects::LogSettings;
use pgo_telemetry::{CancellationToken, Telemetry};
use pgo_tls::{Authority, TlsFiles};
use tokio::{sync::watch, task::JoinSet, time::timeout};

use crate::{
    agents::Agents,
    cache::Cache,
    config,
    confirmations::Confirmations,
    context::Context,
    controller,
    installation::{Keeper, Namespaces, Services},
    metrics::Metrics,
    not_yet,
    ownership::Ownership,
    pages,
    places::Places,
    preferred,
    publishing::Publishing,
    repositories::Repositories,
    settings::Settings,
    waker::Waker,
};

/// Identity of the event service.
const EVENT: &str = "event.pgo";

/// How the reconciler's channels begin.
const ROLE: &str = "reconciler";

/// How often it is said of a namespace that it cannot be read.
const COMPLAINT: Duration = Duration::from_secs(30);

/// How long reconciles that are under way may take to end. With the time it takes to give the Lease back, less than the
/// 15 s that Kubernetes waits between SIGTERM and SIGKILL.
const DRAIN: Duration = Duration::from_secs(10);

/// What all namespaces share.
#[derive(Clone)]
struct Shared {
    client: Client,
    operator: Namespace,
    files: Arc<TlsFiles>,
    authority: Arc<Authority>,
    config: watch::Receiver<Arc<PgoConfig>>,
    preferred_nodes: watch::Receiver<preferred::Nodes>,
    relay: Relay,
    confirmations: Confirmations,
    publishing: Publishing,
    upgrades: Places,
    drills: Places,
    /// Those that are looked after.
    namespaces: Namespaces,
    doorbells: Doorbells,
    metrics: Metrics,
}

/// Does what a leader does, until told to end.
///
/// # Errors
/// It cannot begin, or a part of it has failed for good.
pub async fn lead(
    settings: &Settings,
    telemetry: &Telemetry,
    client: Client,
    files: Arc<TlsFiles>,
    (was_down, shutdown): (bool, CancellationToken),
) -> anyhow::Result<()> {
    let metrics = Metrics::register(telemetry);
    metrics.leads();
    let operator: Namespace = settings
        .operator_namespace
        .parse()
        .context("PGO_OPERATOR_NAMESPACE")?;
    let doorbells = Doorbells::default();
    let of_config = doorbells.of(Kind::ConfigMap, operator.as_str());
    let (config, following) = tokio::select! {
        begun = config::follow(&client, operator.as_str(), of_config) => begun?,
        () = shutdown.cancelled() => return Ok(()),
    };
    let nsqd = nsqd(settings, &files)?;
    let relay = nsqd.as_ref().map_or_else(Relay::off, relay);
    let confirmations = Confirmations::default();
    let pages = Api::namespaced(client.clone(), operator.as_str());
    let (preferred_nodes, of_nodes) = preferred::follow(client.clone(), config.clone());
    let shared = Shared {
        authority: Arc::new(authority(settings)?),
        publishing: Publishing::new(relay.clone(), confirmations.clone(), pages),
        upgrades: Places::default(),
        drills: Places::default(),
        namespaces: Namespaces::default(),
        relay,
        confirmations,
        doorbells,
        client,
        operator,
        files,
        config,
        preferred_nodes,
        metrics,
    };
    let mut background = background(settings, &shared, was_down, nsqd)?;
    background.spawn(following);
    background.spawn(of_nodes);
    let mut namespaces = JoinSet::new();
    for namespace in &settings.namespaces {
        let installation = &settings.installation_name;
        let ownership = Ownership::new(&shared.client, namespace, installation, &shared.metrics);
        namespaces.spawn(look_after(ownership, shared.clone(), shutdown.clone()));
    }
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(ended) = namespaces.join_next() => ended.context("a controller failed")?,
            Some(ended) = background.join_next() => ended.context("a part of the leader failed")?,
        }
    }
    let drained = async { while namespaces.join_next().await.is_some() {} };
    if timeout(DRAIN, drained).await.is_err() {
        tracing::warn!(
            "reconciles are cut off that did not end in time; who leads next does them again"
        );
    }
    Ok(())
}

/// What does not belong to one namespace.
fn background(
    settings: &Settings,
    shared: &Shared,
    was_down: bool,
    nsqd: Option<nsq::Server>,
) -> anyhow::Result<JoinSet<()>> {
    let (client, relay) = (shared.client.clone(), shared.relay.clone());
    let channel = pgo_tls::grpc::channel(&settings.event_service, EVENT, shared.files.clone())?;
    let keeper = Keeper::new(
        client.clone(),
        (shared.operator.clone(), shared.namespaces.clone()),
        Services::new(
            &settings.ready_urls,
            client.clone(),
            shared.operator.clone(),
        ),
        shared.publishing.clone(),
        (shared.config.clone(), was_down),
    );
    let pages = Api::namespaced(client, shared.operator.as_str());
    let mut background = JoinSet::new();
    background.spawn(shared.metrics.clone().follow(relay.clone()));
    background.spawn(keeper.run());
    background.spawn(pages::relay(pages, relay.clone(), shared.metrics.clone()));
    let confirmations = shared.confirmations.clone();
    if let Some(nsqd) = nsqd {
        let hints = Listener::hints(nsqd.clone(), ROLE)?;
        let hinted = confirmations.clone();
        background.spawn(hinted.follow_hints(hints, channel.clone(), relay.clone()));
        let doorman = Doorman::at(nsqd, ROLE)?;
        background.spawn(shared.doorbells.clone().hear(doorman));
    }
    background.spawn(confirmations.follow(channel, relay));
    Ok(background)
}

/// Looks after a namespace for as long as it belongs to this installation, whenever that is.
async fn look_after(mut ownership: Ownership, shared: Shared, shutdown: CancellationToken) {
    let namespace = ownership.namespace().to_owned();
    while !shutdown.is_cancelled() {
        tokio::select! {
            () = ownership.gained() => {}
            () = shutdown.cancelled() => return,
        }
        shared.namespaces.gained(&namespace);
        let ours = shutdown.child_token();
        let (client, told) = (shared.client.clone(), namespace.clone());
        let work = async {
            tokio::join!(
                reconcile_in(namespace.clone(), shared.clone(), ours.clone()),
                not_yet::tell(client, told, ours.clone()),
            )
        };
        let lost = async {
            tokio::select! {
                () = ownership.lost() => ours.cancel(),
                () = ours.cancelled() => {}
            }
        };
        tokio::join!(work, lost);
        shared.namespaces.lost(&namespace);
        shared.metrics.reads(&namespace, false);
    }
}

/// Reconciles the clusters of a namespace, from when it can be read.
async fn reconcile_in(namespace: String, shared: Shared, shutdown: CancellationToken) {
    let (waker, woken) = Waker::new();
    let cache = Cache::watch(&shared.client, &namespace, &waker, &shared.doorbells);
    shared.metrics.reads(&namespace, false);
    tokio::select! {
        () = readable(&cache, &namespace) => {}
        () = shutdown.cancelled() => return,
    }
    shared.metrics.reads(&namespace, true);
    let api = Api::namespaced(shared.client.clone(), &namespace);
    let rung = shared.doorbells.of(Kind::Pgcluster, &namespace);
    let context = Arc::new(Context::new(
        shared.client,
        shared.operator,
        cache,
        (
            Agents::new(shared.files.clone(), waker.clone()),
            Repositories::new(shared.files, waker.clone()),
        ),
        shared.authority,
        (shared.config, shared.preferred_nodes.clone()),
        // Theirs, too: a user reads the log of a cluster as that of PGO.
        LogSettings::from_lookup(|name| std::env::var(name).ok()),
        shared.publishing,
        (shared.upgrades, shared.drills),
        waker,
        shared.metrics,
    ));
    tokio::select! {
        () = controller::run((api, rung), context.clone(), woken, shutdown) => {}
        () = preferred::wake(shared.preferred_nodes, &context) => {}
    }
}

/// Waits until everything in a namespace was seen once.
async fn readable(cache: &Cache, namespace: &str) {
    while timeout(COMPLAINT, cache.synced()).await.is_err() {
        tracing::error!(
            namespace,
            "the namespace cannot be read, so nothing is done for its clusters; is it there, and has the installer given \
             the reconciler its Role in it? It is tried again, and the other namespaces are looked after"
        );
    }
}

fn authority(settings: &Settings) -> anyhow::Result<Authority> {
    let read = |name: &str| {
        let path = settings.ca_dir.join(name);
        std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    };
    Ok(Authority::from_pem(&read("tls.crt")?, &read("tls.key")?)?)
}

/// nsqd, unless nothing is to be published: then there need not be one.
fn nsqd(settings: &Settings, files: &Arc<TlsFiles>) -> anyhow::Result<Option<nsq::Server>> {
    let Some(address) = settings.publish_to()? else {
        tracing::warn!("DISABLE_EVENTING is true: no event is published");
        return Ok(None);
    };
    let files = files.clone();
    let tls = nsq::TlsConfig::source(move || files.client_config());
    let nsqd = pgo_bus::server(address, tls).context("EVENT_ADDR")?;
    Ok(Some(nsqd))
}

fn relay(nsqd: &nsq::Server) -> Relay {
    Relay::start(NsqPublisher::connect(nsqd.clone()))
}
