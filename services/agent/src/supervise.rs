//! Does what [`crate::progress`] decides, stage by stage, until it is told to stop. What only a replica does is in
//! [`copy`], [`follow`] and [`stream`], what only one that is made from a backup, in [`restore`]; how what the protocol wants reaches PostgreSQL, in [`authority`] and, for synchronous
//! modes, in [`rule`].

mod authority;
mod compare;
mod copy;
mod follow;
mod lenient;
mod passwords;
mod reached;
mod restart;
mod restore;
mod rule;
mod stream;

use std::{
    fmt::Display,
    process::ExitStatus,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use pgo_ha::Synchronous;
use pgo_postgres::{
    Installation, SUPERUSER, Session,
    initdb::{self, Presence},
    program, setup, setup_sql,
    synchronous::Rule,
};
use pgo_telemetry::{CancellationToken, Telemetry};
use pgo_tls::TlsFiles;
use tokio::{sync::watch as watch_channel, time::sleep};

use crate::{
    checkpoint,
    cli::Settings,
    endpoint::{self, Target},
    ha::{
        course::{Course, Helm, Leader, Told},
        driver::Standing,
        lease::Reign,
    },
    lock::{self, Lock},
    orders::Orders,
    prepare::{self, SetupSql},
    processes,
    progress::{Event, Next, Progress, Stage, Way},
    server::Server,
    state::{Phase, Reporter},
    store::Store,
    watch::{self, Health, PROBE_DEADLINE, Watch, Watched},
};
use rule::Keeper;

/// Time between two tries to connect to a server that has just started.
const AWAIT_PAUSE: Duration = Duration::from_millis(10);

/// The same for one that takes longer than [`AWAIT_LONG`]: it recovers.
const AWAIT_LONG_PAUSE: Duration = Duration::from_millis(250);

/// When a start counts as a recovery.
const AWAIT_LONG: Duration = Duration::from_secs(5);

/// How long serving may wait for the Service to be directed. It goes on without: it may lead here since earlier.
const PUBLISH_DEADLINE: Duration = Duration::from_secs(2);

/// How long PostgreSQL may take to say what it is, right after its start.
const FACTS_DEADLINE: Duration = Duration::from_secs(5);

/// How long a checkpoint before the end of the pod may take. Less than the 120 s that the pod has, with what the shutdown takes.
const CHECKPOINT_LIMIT: Duration = Duration::from_secs(15);

/// How long taking the Service away may take, while PostgreSQL is being stopped.
const WITHDRAW_DEADLINE: Duration = Duration::from_secs(5);

/// Brings PostgreSQL up and keeps it up.
pub struct Supervisor<S> {
    settings: Settings,
    target: Target,
    store: S,
    tls: Arc<TlsFiles>,
    reporter: Arc<Reporter>,
    helm: Helm,
    standing: watch_channel::Receiver<Standing>,
    /// What the server is to do while it serves.
    orders: Orders,
    health: Health,
    progress: Progress,
    lock: Option<Lock>,
    installation: Option<Installation>,
    server: Option<Server>,
    /// The synchronous rule that the present server has, where it leads.
    rule: Synchronous,
    /// Whom a replica follows; none where that could not be found out.
    leader: Option<Leader>,
    /// Whether the present server was promoted and has written no checkpoint since.
    promoted: bool,
    /// Since when the present server serves.
    serving: Option<Instant>,
    /// Whether the Service may lead here. A former run of the agent may have directed it.
    published: bool,
}

impl<S: Store> Supervisor<S> {
    /// A supervisor that has done nothing yet.
    pub fn new(
        settings: Settings,
        store: S,
        tls: Arc<TlsFiles>,
        reporter: Arc<Reporter>,
        (helm, standing, orders): (Helm, watch_channel::Receiver<Standing>, Orders),
        telemetry: &Telemetry,
    ) -> Self {
        let target = Target {
            address: settings.pod_ip,
            port: settings.port,
            pod: settings.pod_name.clone(),
            uid: settings.pod_uid.clone(),
            namespace: settings.namespace.clone(),
        };
        Self {
            settings,
            target,
            store,
            tls,
            reporter,
            helm,
            standing,
            orders,
            health: Health::register(telemetry),
            progress: Progress::default(),
            lock: None,
            installation: None,
            server: None,
            rule: Synchronous::default(),
            leader: None,
            promoted: false,
            serving: None,
            published: true,
        }
    }

    /// Works until `stop` is there and PostgreSQL has stopped.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut courses = self.helm.watch();
        loop {
            self.tell();
            let event = match self.progress.next() {
                Next::Run(stage) => tokio::select! {
                    biased;
                    () = stop.cancelled() => break,
                    ending = authority::ending(&mut courses) => self.end_server(ending).await,
                    event = self.execute(stage) => event,
                },
                Next::Rest(pause) => {
                    // Nobody is sent to a server that does not come up.
                    self.withdraw().await;
                    let mut turns = self.helm.watch();
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => break,
                        ending = authority::ending(&mut courses) => self.end_server(ending).await,
                        // What was wanted failed; now something else is.
                        _ = turns.changed() => Event::Rested,
                        () = sleep(pause) => Event::Rested,
                    }
                }
            };
            self.progress = std::mem::take(&mut self.progress).after(event);
            if self.progress.is_down() {
                self.helm.tell(Told::Starts(false));
            }
        }
        self.stop().await;
    }

    fn tell(&self) {
        let progress = &self.progress;
        let phase = progress.phase();
        if phase != Phase::Running {
            let reason = progress.error();
            self.health
                .down(reason.map_or_else(|| format!("{phase:?}"), str::to_owned));
        }
        self.reporter.change(|state| {
            state.phase = phase;
            state.error = progress.error().map(str::to_owned);
            if let Some(restore) = &mut state.restore {
                restore.error.clone_from(&state.error);
            }
            state.restarts = progress.restarts();
            state.running_since = match phase {
                // Whoever hears that it runs hears since when.
                Phase::Running => state.running_since.or_else(|| Some(Timestamp::now())),
                _ => None,
            };
        });
    }

    async fn execute(&mut self, stage: Stage) -> Event {
        let result = match stage {
            Stage::Lock => self.lock(),
            Stage::Decide => self.decide().await,
            Stage::Inspect => self.inspect().await,
            Stage::Initialise => self.initialise().await,
            Stage::Clone => self.clone_leader().await,
            Stage::Restore => self.restore().await,
            Stage::Rewind => self.rewind().await,
            Stage::Configure => self.configure(),
            Stage::Start => self.start(),
            Stage::Await => self.wait_for_answer().await,
            Stage::Replay => self.replay().await,
            Stage::Promote => self.promote().await,
            Stage::SetUp => self.set_up().await,
            Stage::Publish => self.publish().await,
            Stage::Serve => Ok(self.serve().await),
            Stage::Stream => Ok(self.stream().await),
        };
        result.unwrap_or_else(Event::Failed)
    }

    fn lock(&mut self) -> Result<Event, String> {
        self.lock = Some(lock::take(&self.settings.data).map_err(shown)?);
        self.reporter.change(|state| state.locked = true);
        Ok(Event::Done)
    }

    async fn inspect(&mut self) -> Result<Event, String> {
        self.recall_comparisons();
        let data = &self.settings.data;
        let path = std::env::var_os("PATH");
        let installation = program::find(path.as_deref(), data).await.map_err(shown)?;
        let version = installation.version.to_string();
        self.reporter
            .change(|state| state.postgres_version = version);
        self.installation = Some(installation);
        let presence = initdb::presence(data).map_err(shown)?;
        let is_there = presence == Presence::Data;
        self.reporter.change(|state| {
            state.data_found.get_or_insert(is_there);
        });
        match presence {
            Presence::Data => {
                self.helm.tell(Told::Filled);
                match self.progress.way() {
                    Way::Follow => self.judge_data().await,
                    Way::Lead | Way::Restore => Ok(Event::Done),
                }
            }
            // initdb says what is wrong with foreign things.
            Presence::Nothing | Presence::Foreign => Ok(Event::Empty),
        }
    }

    async fn initialise(&mut self) -> Result<Event, String> {
        let superuser = prepare::account(&self.settings, "postgres").map_err(shown)?;
        initdb::run(
            self.installation()?,
            &self.settings.data,
            &superuser.verifier,
        )
        .await
        .map_err(shown)?;
        self.helm.tell(Told::Filled);
        Ok(Event::Done)
    }

    fn configure(&mut self) -> Result<Event, String> {
        let synchronous = if !self.leads() {
            Rule::nobody()
        } else {
            // In force from the start, so before the first commit.
            let Course::Lead {
                start, synchronous, ..
            } = self.helm.course()
            else {
                return Ok(Event::Turned);
            };
            self.begin_timeline(start.timeline.0)?;
            lenient::mark_where_nobody_is_asked(&self.settings.data, synchronous.k)?;
            self.rule = synchronous;
            rule::in_words(&self.rule)
        };
        let standby = self.standby();
        prepare::clear(&self.settings).map_err(shown)?;
        // Whose WAL may be received is known only while somebody is to be followed.
        let (installation, tls) = (self.installation()?, &self.tls);
        let upstream = standby.as_ref();
        prepare::write_conf(&self.settings, installation, tls, upstream, &synchronous)
            .map_err(shown)?;
        let is_restored = self.make_restored()?;
        if self.follows() && !is_restored {
            self.make_standby()?;
        }
        Ok(Event::Done)
    }

    fn start(&mut self) -> Result<Event, String> {
        let signals = self
            .settings
            .archive
            .as_ref()
            .map(|_| self.settings.archive_signals());
        let server = Server::start(self.installation()?, &self.settings.data, signals)
            .map_err(|error| format!("PostgreSQL cannot be started: {error}"))?;
        tracing::info!(pid = %server.pid(), "PostgreSQL was started");
        let now = Timestamp::now();
        self.reporter.note(|state| state.started = Some(now));
        self.server = Some(server);
        Ok(Event::Done)
    }

    /// A recovery takes as long as it takes; only the end of the server ends this.
    async fn wait_for_answer(&mut self) -> Result<Event, String> {
        let begin = Instant::now();
        let mut silence = restore::Silence::default();
        loop {
            if let Some(event) = self.ended().await {
                return Ok(event);
            }
            if self.progress.way() == Way::Restore {
                self.look_before_whole(&mut silence).await?;
            }
            match Session::open(&self.settings.socket(), SUPERUSER).await {
                Ok(session) => match session.check(PROBE_DEADLINE).await {
                    Ok(()) => return Ok(Event::Done),
                    Err(error) => tracing::debug!(%error, "no answer yet"),
                },
                Err(error) => tracing::debug!(%error, "no session yet"),
            }
            let long = begin.elapsed() > AWAIT_LONG;
            sleep(if long { AWAIT_LONG_PAUSE } else { AWAIT_PAUSE }).await;
        }
    }

    async fn set_up(&mut self) -> Result<Event, String> {
        if let Some(event) = self.ended().await {
            return Ok(event);
        }
        if self.promoted {
            // It has all that from the primary before it, and writes wait.
            return Ok(Event::Done);
        }
        let settings = &self.settings;
        let socket = settings.socket();
        let wanted = prepare::setup(settings).map_err(shown)?;
        setup::run(&socket, &wanted).await.map_err(shown)?;
        passwords::adopt(settings).await;
        self.run_setup_sql().await?;
        prepare::setup_done(settings).map_err(shown)?;
        // Before the state says that it runs, it says what runs.
        let session = Session::open(&socket, SUPERUSER).await.map_err(shown)?;
        let facts = session.facts(FACTS_DEADLINE).await.map_err(shown)?;
        self.reporter.change(|state| state.learn(&facts));
        Ok(Event::Done)
    }

    /// Runs the user's `setup.sql` once; one that failed, again only when it is another.
    async fn run_setup_sql(&self) -> Result<(), String> {
        let settings = &self.settings;
        let file = match prepare::setup_sql(settings).map_err(shown)? {
            SetupSql::Nothing => return Ok(()),
            SetupSql::Failed(error) => return Err(error),
            SetupSql::Run(file) => file,
        };
        let socket = settings.socket();
        let ran = setup_sql::run(self.installation()?, &socket, SUPERUSER, &file.path).await;
        if let Err(error) = ran {
            if error.is_final() {
                let text = error.to_string();
                prepare::setup_failed(settings, &file, &text).map_err(shown)?;
            }
            return Err(shown(error));
        }
        Ok(())
    }

    /// Directs the Service here. PostgreSQL serves also where that is not possible now; it is tried again later.
    async fn publish(&mut self) -> Result<Event, String> {
        self.published = true;
        self.direct().await;
        Ok(Event::Done)
    }

    /// Under which authority it is to lead, if it is.
    fn reign(&self) -> Option<Reign> {
        match self.helm.course() {
            Course::Lead { reign, .. } => Some(reign),
            _ => None,
        }
    }

    async fn direct(&self) {
        let Some(reign) = self.reign() else { return };
        let direct = endpoint::direct(&self.store, &self.target, &reign);
        match tokio::time::timeout(PUBLISH_DEADLINE, direct).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "the Service cannot be directed here; trying again");
            }
            Err(_) => tracing::warn!("Kubernetes is slow; the Service is directed here later"),
        }
    }

    /// Looks after a server that serves, until it ends.
    async fn serve(&mut self) -> Event {
        let (Some(server), Some(installation)) = (&self.server, &self.installation) else {
            return Event::Failed("there is no server to look after".to_owned());
        };
        server.forget_output();
        let end = server.end();
        // Of none the Service is taken from nobody.
        let reign = self.reign().unwrap_or_default();
        self.helm.tell(Told::Starts(true));
        self.serving = Some(Instant::now());
        let now = Timestamp::now();
        self.reporter.change(|state| state.runs(now));
        let watch = Watch {
            settings: &self.settings,
            socket: self.settings.socket(),
            server: server.pid(),
            tls: &self.tls,
            reporter: &self.reporter,
            health: &self.health,
            watched: Watched::Primary,
        };
        let keeper = Keeper {
            settings: &self.settings,
            tls: &self.tls,
            helm: &self.helm,
            standing: &self.standing,
            installation,
            server: server.pid(),
            in_force: self.rule.clone(),
        };
        let promoted = std::mem::take(&mut self.promoted);
        let socket = self.settings.socket();
        let started = self.reporter.now().started.unwrap_or(now);
        let Orders { reloads, restarts } = &mut self.orders;
        let status = tokio::select! {
            biased;
            status = end => Some(status),
            () = restarts.begins(started) => None,
            never = watch::checkpoint(&socket, promoted) => match never {},
            never = watch.probe() => match never {},
            never = keeper.keep(reloads) => match never {},
            never = passwords::keep(&self.settings) => match never {},
            never = watch::keep_directed(&self.store, (&self.target, &reign), &self.reporter) => match never {},
        };
        match status {
            Some(status) => self.exited(status).await,
            None => self.restart().await,
        }
    }

    /// What happened to the server, if it does not live any more.
    async fn ended(&mut self) -> Option<Event> {
        let Some(server) = &self.server else {
            return Some(Event::Exited {
                reason: "PostgreSQL ended".to_owned(),
                served: Duration::ZERO,
            });
        };
        let status = server.ended()?;
        Some(self.exited(status).await)
    }

    async fn exited(&mut self, status: ExitStatus) -> Event {
        let served = self.serving.take().map(|since| since.elapsed());
        if served.is_some() {
            self.health.restarted();
        }
        let reason = match self.server.take() {
            Some(server) => server.explain(status).await,
            None => "PostgreSQL ended".to_owned(),
        };
        tracing::warn!(reason, "PostgreSQL ended by itself");
        // Where it still may lead, the next server begins at once under the same authority: to find out how far WAL reaches
        // would take longer than to recover.
        if self.leads() && !matches!(self.helm.course(), Course::Lead { .. }) {
            self.tell_stopped();
        }
        self.judge_end(&reason);
        Event::Exited {
            reason,
            served: served.unwrap_or_default(),
        }
    }

    /// Makes the Service lead nowhere, if it may lead here and is ours to direct.
    async fn withdraw(&mut self) {
        if !self.published || !self.leads() {
            return;
        }
        let withdraw = endpoint::withdraw(&self.store, &self.target);
        match tokio::time::timeout(WITHDRAW_DEADLINE, withdraw).await {
            Ok(Ok(())) => self.published = false,
            Ok(Err(error)) => tracing::warn!(%error, "the Service cannot be taken away from here"),
            Err(_) => tracing::warn!("Kubernetes is slow; the Service still leads here"),
        }
    }

    async fn stop(mut self) {
        self.health.down("Stopping".to_owned());
        self.reporter.change(|state| {
            state.phase = Phase::Stopping;
            state.error = None;
            state.running_since = None;
        });
        let server = self.server.take();
        let led = server.is_some() && self.leads();
        if led {
            checkpoint::before_shutdown(&self.settings.socket(), CHECKPOINT_LIMIT).await;
        }
        tokio::join!(self.withdraw(), async {
            if let Some(server) = server {
                server.stop().await;
            }
        });
        if led {
            self.tell_ended().await;
            self.tell_stopped();
        }
        if let Some(lock) = self.lock.take()
            && processes::working_in(&self.settings.data).is_empty()
        {
            lock.release();
        }
    }

    fn installation(&self) -> Result<&Installation, String> {
        let missing = || "PostgreSQL was not looked for yet".to_owned();
        self.installation.as_ref().ok_or_else(missing)
    }
}

fn shown(error: impl Display) -> String {
    error.to_string()
}
