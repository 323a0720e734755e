//! `agent run`: puts the parts together.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use kube::Client;
use nix::sys::signal::SigSet;
use pgo_postgres::initdb::{self, Presence};
use pgo_proto::agent::{
    agent_server::AgentServer, inspection_server::InspectionServer, peer_server::PeerServer,
    policies_server::PoliciesServer,
};
use pgo_telemetry::{CancellationToken, Telemetry};
use pgo_tls::TlsFiles;
use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    backrest::archiving,
    cli::Settings,
    fill, grpc,
    ha::{
        self,
        calls::Calls,
        course::{Course, Helm, Told},
        driver::{Driver, Event, Parts, Standing},
        guard::Guard,
        hang,
        volume::Volume,
    },
    inspection, orders, policy, restoration,
    state::{Reporter, State},
    store::Kubernetes,
    supervise::Supervisor,
};

/// Threads besides those that wait for files: one for PostgreSQL, one for who asks.
const THREADS: usize = 2;

/// Runs until it is told to end, and PostgreSQL has stopped.
///
/// # Errors
/// Something that is needed from the beginning is missing: certificates, ports, the way to Kubernetes.
pub fn main(settings: Box<Settings>) -> anyhow::Result<()> {
    runtime(|telemetry| run(*settings, telemetry))
}

/// What a role of the agent that runs on and on begins with: signals, logs, TLS, a runtime.
///
/// # Errors
/// One of these cannot be had, or what runs ends with an error.
pub(crate) fn runtime<F: Future<Output = anyhow::Result<()>>>(
    role: impl FnOnce(Telemetry) -> F,
) -> anyhow::Result<()> {
    // Process 1 waits for signals and has all of them blocked, which its children inherit.
    SigSet::all()
        .thread_unblock()
        .context("cannot take signals")?;
    let version = env!("CARGO_PKG_VERSION");
    let telemetry = pgo_telemetry::init(&pgo_telemetry::Settings::from_env("agent", version)?)?;
    pgo_tls::provider();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(role(telemetry))
}

async fn run(settings: Settings, telemetry: Telemetry) -> anyhow::Result<()> {
    let stop = pgo_telemetry::shutdown().context("cannot take signals")?;
    let client = Client::try_default()
        .await
        .context("cannot find the way to Kubernetes; is the ServiceAccount's token mounted?")?;
    let store = Kubernetes::new(client, &settings.namespace, &settings.cluster);
    let served = serve(settings, store, telemetry, stop).await?;
    served.await
}

/// Opens the ports and starts the supervisor. The future that comes back ends when everything has.
///
/// # Errors
/// Certificates cannot be read, or a port cannot be bound.
pub async fn serve<S: crate::store::Store + Clone>(
    settings: Settings,
    store: S,
    telemetry: Telemetry,
    stop: CancellationToken,
) -> anyhow::Result<impl Future<Output = anyhow::Result<()>>> {
    let tls = Arc::new(TlsFiles::open(&settings.tls)?);
    let settings = archiving::equip(settings).await;
    let reporter = Reporter::new(begins(&settings));
    let ended = CancellationToken::new();

    let admin = telemetry.bind(settings.admin).await?;
    let admin = spawn(admin.run(ended.clone().cancelled_owned()));
    let listener = pgo_tls::grpc::listen(settings.listen, tls.clone()).await?;
    let (events, received) = mpsc::unbounded_channel();
    let identity = tls.details().identity().unwrap_or_default().to_owned();
    let (sender, orders) = orders::channel();
    let agent = grpc::Service::new(reporter.watch(), settings.socket(), events.clone(), sender);
    let peer = ha::service::Service::new(identity.clone(), events.clone());
    let inspection = inspection::Service::of(&settings);
    let policies = policy::Service::new(reporter.watch(), settings.socket());
    let grpc = pgo_tls::grpc::server()
        .add_service(AgentServer::new(agent))
        .add_service(PeerServer::new(peer))
        .add_service(InspectionServer::new(inspection))
        .add_service(PoliciesServer::new(policies))
        .serve_with_incoming_shutdown(listener, ended.clone().cancelled_owned());
    let grpc = spawn(grpc);

    let course = Arc::new(watch::Sender::new(Course::default()));
    let helm = Helm::new(course.clone(), events.clone());
    let standing = watch::Sender::new(Standing::default());
    let stood = standing.subscribe();
    let driver = Protocol {
        settings: settings.clone(),
        store: store.clone(),
        tls: tls.clone(),
        identity,
        course,
        standing,
        state: reporter.watch(),
    };
    let reporter = Arc::new(reporter);
    fill::measure(&settings.data, &reporter).context("cannot measure the data volume")?;
    let driver = spawn(driver.drive((events, received), stop.clone(), ended.clone()));
    let telling = spawn(tell(stood.clone(), reporter.clone()));
    let helm = (helm, stood, orders);
    let kept = archiving::Kept::begin(&settings, &tls);
    let supervisor = Supervisor::new(settings, store, tls, reporter, helm, &telemetry);
    let mut driver = driver;
    Ok(async move {
        let driver = tokio::select! {
            // Its end drops the reporter, so that the streams of those who watch end, too.
            () = supervisor.run(stop) => {
                ended.cancel();
                driver.await
            }
            // Nothing may be served without it. Process 1 ends what is left, and begins again.
            driver = &mut driver => driver,
        };
        kept.end().await;
        ended.cancel();
        driver.context("the protocol's driver broke off")??;
        drop(telling);
        grpc.await.context("the gRPC server broke off")??;
        admin.await.context("the administration port broke off")?;
        Ok(())
    })
}

/// What is told before anything was done.
fn begins(settings: &Settings) -> State {
    State {
        cluster: settings.cluster.to_string(),
        instance: settings.instance.to_string(),
        pod_uid: settings.pod_uid.clone(),
        ..State::default()
    }
}

/// What the protocol is driven with.
struct Protocol<S> {
    settings: Settings,
    store: S,
    tls: Arc<TlsFiles>,
    identity: String,
    course: Arc<watch::Sender<Course>>,
    standing: watch::Sender<Standing>,
    state: watch::Receiver<State>,
}

impl<S: crate::store::Store> Protocol<S> {
    /// Opens the volume once it is this agent's, and drives until `ended`.
    async fn drive(
        self,
        (events, received): (mpsc::UnboundedSender<Event>, mpsc::UnboundedReceiver<Event>),
        stop: CancellationToken,
        ended: CancellationToken,
    ) -> anyhow::Result<()> {
        let locked = self.course_begins(&ended).await;
        if !locked {
            return Ok(());
        }
        let settings = self.settings;
        let has_data = initdb::presence(&settings.data)? == Presence::Data;
        // Where that is not known, it takes no part.
        let pending = restoration::pending(settings.restore.as_ref(), &settings.data);
        let restores = !matches!(pending, Ok(None));
        let volume = Volume::open(&settings.data, has_data)?;
        let place = settings.place();
        let calls = Calls::new(
            volume.voter(),
            place.clone(),
            self.identity,
            self.tls,
            events.clone(),
        );
        let _hang = watch_volume(&settings, &events)?;
        let socket = settings.socket();
        let program = match settings.guard {
            Some(program) => program,
            None => std::env::current_exe().context("cannot find this program")?,
        };
        let guard = Guard::start(&program, &settings.data).context("cannot start the guard")?;
        let parts = Parts {
            me: settings.instance,
            place,
            volume,
            store: Arc::new(self.store),
            calls,
            guard,
            course: self.course,
            standing: self.standing,
            state: self.state,
            socket,
            restores,
        };
        let driver = Driver::new(parts, (events, received));
        Ok(driver.run(stop, ended).await?)
    }

    /// Waits until the supervisor has locked the volume; not if all ends before.
    async fn course_begins(&self, ended: &CancellationToken) -> bool {
        let mut state = self.state.clone();
        tokio::select! {
            () = ended.cancelled() => false,
            locked = state.wait_for(|state| state.locked) => locked.is_ok(),
        }
    }
}

/// Has the data volume watched, where that is wanted, as long as what comes back lives.
fn watch_volume(
    settings: &Settings,
    events: &mpsc::UnboundedSender<Event>,
) -> anyhow::Result<Option<AbortOnDropHandle<()>>> {
    if settings.volume_deadline == 0 {
        return Ok(None);
    }
    let done = hang::probe(&settings.data).context("cannot watch the data volume")?;
    let limit = Duration::from_secs(settings.volume_deadline);
    let events = events.clone();
    Ok(Some(spawn(hang::watch(done, limit, move |answers| {
        // The driver ends before this only when all ends.
        let _ = events.send(Event::Told(Told::Answers(answers)));
    }))))
}

/// Tells what the protocol says of this instance along with the rest.
async fn tell(mut standing: watch::Receiver<Standing>, reporter: Arc<Reporter>) {
    while standing.changed().await.is_ok() {
        let now = standing.borrow_and_update().clone();
        reporter.change(|state| {
            state.term = now.term;
            state.volume_hangs = now.volume_hangs;
            state.preferred = now.preferred;
            state.tell_commits(now.commits, jiff::Timestamp::now());
            state.leader = now
                .holder
                .filter(|holder| *holder != state.instance)
                .and_then(|holder| holder.parse().ok());
        });
    }
}

/// A task that ends with whoever waits for it.
fn spawn<F>(task: F) -> AbortOnDropHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    AbortOnDropHandle::new(tokio::spawn(task))
}
