//! What all requests share.

use std::{
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::{Api, Client, runtime::watcher};
use pgo_bus::{Bell, Kind};
use pgo_proto::event::{dead_letters_client::DeadLettersClient, event_log_client::EventLogClient};
use pgo_telemetry::{CancellationToken, Telemetry};
use pgo_tls::{TlsFiles, grpc};
use tokio::sync::{Mutex, MutexGuard, Semaphore};
use tonic::transport::Channel;

use crate::{
    Settings,
    access::{Access, Managed},
    accounts::{self, Account},
    certificate::{self, RestTls},
    configuration::{self, CONFIG_MAP, Configuration},
    deadline, doorbell,
    events::Remembered,
    metrics::Metrics,
    mirror::{Mirror, News},
};

/// How long Kubernetes may take to tell what is there when the process starts.
const SYNC_DEADLINE: Duration = Duration::from_secs(60);

/// Identity of the event service.
const EVENT_IDENTITY: &str = "event.pgo";

/// What all requests share.
pub(crate) struct App {
    pub client: Client,
    pub operator_namespace: String,
    pub access: Access,
    pub configuration: Configuration,
    /// Our certificate, and the authority by which we know PostgreSQL and the event service.
    pub tls_files: Arc<TlsFiles>,
    /// Tells the other services of what was stored.
    pub bell: Bell,
    /// None: not configured.
    pub events: Option<EventLogClient<Channel>>,
    /// Places for streams of events.
    pub streams: Arc<Semaphore>,
    /// As `events`.
    pub dead_letters: Option<DeadLettersClient<Channel>>,
    pub telemetry: Telemetry,
    pub metrics: Metrics,
    pub shutdown: CancellationToken,
    /// None: plain HTTP, so nobody can show a certificate.
    pub rest_tls: Option<RestTls>,
    /// Paths that need no client certificate.
    pub open_routes: Vec<String>,
    pub names: NameLocks,
    /// Of clusters that may be gone.
    pub labels: Remembered,
}

impl App {
    /// Reads what there is, and follows it until `shutdown`.
    ///
    /// # Errors
    /// Something that must be there is not, or is wrong.
    pub(crate) async fn start(
        settings: &Settings,
        client: Client,
        telemetry: Telemetry,
        shutdown: CancellationToken,
    ) -> anyhow::Result<Self> {
        let client = deadline::for_calls(client);
        let namespace = settings.operator_namespace.as_str();
        let tls_files = Arc::new(TlsFiles::open(&settings.tls_dir)?);
        let event_service = event_service(settings, &tls_files)?;
        let (bell, doorbells) = doorbell::begin(settings, &tls_files)?;
        let news = |kind| {
            Some(News {
                kind,
                namespace: namespace.to_owned(),
                doorbells: doorbells.clone(),
                bell: bell.clone(),
            })
        };
        let (accounts, namespaces, texts) =
            mirrors(settings, &client, news, &telemetry, &shutdown).await?;

        let configuration = Configuration::start(texts, client.clone()).await?;
        let open_routes = settings.open_routes();
        let rest_tls = rest_tls(settings, &client, &accounts).await?;
        Ok(Self {
            client,
            operator_namespace: namespace.to_owned(),
            access: Access {
                accounts,
                namespaces,
                targets: settings.target_namespaces().into(),
            },
            configuration,
            tls_files,
            bell,
            events: event_service.clone().map(EventLogClient::new),
            streams: Arc::new(Semaphore::new(settings.event_streams.into())),
            dead_letters: event_service.map(DeadLettersClient::new),
            metrics: Metrics::register(&telemetry),
            telemetry,
            shutdown,
            rest_tls,
            open_routes,
            names: NameLocks::default(),
            labels: Remembered::default(),
        })
    }

    /// Objects of one kind in a namespace.
    pub(crate) fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), namespace)
    }
}

/// The way to the event service, where there is one.
fn event_service(
    settings: &Settings,
    tls_files: &Arc<TlsFiles>,
) -> anyhow::Result<Option<Channel>> {
    let address = settings.event_service.as_str();
    if address.is_empty() {
        return Ok(None);
    }
    let channel =
        grpc::channel(address, EVENT_IDENTITY, tls_files.clone()).context("EVENT_SERVICE")?;
    Ok(Some(channel))
}

/// What requests are checked against, once it is all there: users and roles, namespaces, pgo.yaml.
async fn mirrors(
    settings: &Settings,
    client: &Client,
    news: impl Fn(Kind) -> Option<News>,
    telemetry: &Telemetry,
    shutdown: &CancellationToken,
) -> anyhow::Result<(Mirror<Account>, Mirror<Managed>, Mirror<String>)> {
    let namespace = settings.operator_namespace.as_str();
    let condition = |name| telemetry.readiness().condition(name);
    let accounts = Mirror::start(
        Api::<Secret>::namespaced(client.clone(), namespace),
        watcher::Config::default(),
        accounts::account,
        news(Kind::Secret),
        condition("accounts"),
        shutdown.clone(),
    );
    let installation = settings.installation_name.clone();
    let namespaces = Mirror::start(
        Api::<Namespace>::all(client.clone()),
        watcher::Config::default(),
        move |namespace: &Namespace| Some(Managed::by(&installation, namespace)),
        None,
        condition("namespaces"),
        shutdown.clone(),
    );
    let texts = Mirror::start(
        Api::<ConfigMap>::namespaced(client.clone(), namespace),
        watcher::Config::default().fields(&format!("metadata.name={CONFIG_MAP}")),
        configuration::text,
        news(Kind::ConfigMap),
        condition("configuration"),
        shutdown.clone(),
    );
    accounts.synced("Secrets", SYNC_DEADLINE).await?;
    namespaces.synced("Namespaces", SYNC_DEADLINE).await?;
    texts.synced("ConfigMap pgo-config", SYNC_DEADLINE).await?;
    Ok((accounts, namespaces, texts))
}

/// The REST interface's TLS, where it has it. The certificate is made even where it is not used, as in 4.1: clients may
/// need it after a change of mind.
async fn rest_tls(
    settings: &Settings,
    client: &Client,
    accounts: &Mirror<Account>,
) -> anyhow::Result<Option<RestTls>> {
    let namespace = settings.operator_namespace.as_str();
    let secrets = Api::<Secret>::namespaced(client.clone(), namespace);
    let identity = certificate::get_or_make(&secrets, namespace, Timestamp::now()).await?;
    if !settings.tls() {
        return Ok(None);
    }
    Ok(Some(RestTls::start(&identity, accounts.clone())?))
}

/// Locks by name of cluster, so that two creations of one name do not mix their Secrets. Kubernetes decides between
/// processes; this orders the requests of one.
#[derive(Default)]
pub(crate) struct NameLocks([Mutex<()>; 32]);

impl NameLocks {
    /// Waits for the name's turn. Two names may share a lock: they wait a little, no more.
    pub(crate) async fn lock(&self, namespace: &str, name: &str) -> MutexGuard<'_, ()> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one((namespace, name));
        let at = usize::try_from(hash % self.0.len() as u64).unwrap_or_default();
        self.0[at].lock().await
    }
}
