//! An instance in a folder of its own, and all that others do with it.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use pgo_agent::{backrest::archiving::ArchiveSettings, cli::Settings, ha::lease::Reading, run};
use pgo_postgres::{Session, backrest::storage::Storages};
use pgo_proto::agent::{
    DropSlotRequest, FailoverRequest, InstanceState, Phase, ReloadRequest, RestartRequest, Role,
    StayRequest, SwitchoverRequest, WatchRequest, agent_client::AgentClient,
};
use pgo_telemetry::{CancellationToken, Telemetry};
use pgo_tls::{Authority, LeafSpec, TlsFiles, grpc};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
};
use tokio_postgres::{Client, config::SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;
use tonic::{Status, Streaming, transport::Channel};

use crate::fake::Fake;

/// No step of a test needs more, not even on a machine that compiles meanwhile.
pub const DEADLINE: Duration = Duration::from_secs(90);

pub const LIFE: SignedDuration = SignedDuration::from_hours(24);
pub const AGENT: &str = "hippo.pgouser1.agent.pgo";

/// Passwords of the three users.
pub const PASSWORDS: [(&str, &str, &str); 3] = [
    ("postgres", "postgres", "super'secret"),
    ("primaryuser", "primaryuser", "replication\"secret"),
    ("user", "testuser", "user\\secret"),
];

/// Where a test that runs as somebody else finds the agent.
const PROGRAM: &str = "PGO_TEST_AGENT";

/// What such a test needs.
pub const PROGRAMS: [(&str, &str); 1] = [(PROGRAM, env!("CARGO_BIN_EXE_pgo-agent"))];

/// The agent's program.
pub fn program() -> PathBuf {
    let own = || env!("CARGO_BIN_EXE_pgo-agent").into();
    std::env::var_os(PROGRAM).unwrap_or_else(own).into()
}

/// An instance and its surroundings.
pub struct Rig {
    folder: TempDir,
    pub authority: Arc<Authority>,
    pub settings: Settings,
    pub store: Fake,
    running: Option<(CancellationToken, JoinHandle<anyhow::Result<()>>)>,
}

/// A port to listen on later. Those that the kernel gives away itself begin at 32768 (ip(7), `ip_local_port_range`): it would
/// give one to some connection meanwhile. Each process of the tests has a hundred of its own.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed) % 100;
        let port = 10_000 + std::process::id() % 200 * 100 + number;
        let port = u16::try_from(port).expect("below 30100");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

pub fn put(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    let new = path.with_extension("new");
    fs::write(&new, text).expect("written");
    fs::rename(new, path).expect("renamed");
}

impl Rig {
    /// An instance `hippo`, not started; the Lease names `holder`.
    pub fn new(holder: &str) -> Self {
        let authority = Authority::generate("test", Timestamp::now(), LIFE).expect("an authority");
        Self::with(holder, Arc::new(authority))
    }

    /// The same with certificates of an authority that others have, too.
    pub fn with(holder: &str, authority: Arc<Authority>) -> Self {
        Self::of("hippo", Fake::new(holder), authority)
    }

    /// Another instance of the same cluster, not started.
    pub fn beside(&self, instance: &str) -> Self {
        Self::of(instance, self.store.clone(), self.authority.clone())
    }

    fn of(instance: &str, store: Fake, authority: Arc<Authority>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        for (name, user, password) in PASSWORDS {
            put(&root.join("secrets").join(name).join("username"), user);
            put(&root.join("secrets").join(name).join("password"), password);
        }
        for name in ["pgdata", "run"] {
            fs::create_dir(root.join(name)).expect("a folder");
        }
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let settings = Settings {
            cluster: "hippo".parse().expect("a name"),
            namespace: "pgouser1".parse().expect("a name"),
            instance: instance.parse().expect("a name"),
            pod_name: instance.to_owned(),
            pod_uid: "pod-1".to_owned(),
            pod_ip: Ipv4Addr::LOCALHOST.into(),
            data: root.join("pgdata").join(instance),
            database: "userdb".to_owned(),
            port: free_port(),
            log_statement: Some("none".to_owned()),
            log_min_duration_statement: Some("-1".to_owned()),
            tls: root.join("tls"),
            secrets: root.join("secrets"),
            custom: root.join("pgconf"),
            sockets: vec![root.join("run")],
            listen: local(free_port()),
            admin: local(free_port()),
            volume_deadline: 20,
            archiving: ArchiveSettings {
                host: None,
                path: root.join("none"),
                storages: Storages::default(),
                conf: root.join("none"),
                port: 0,
                timeout: 60,
            },
            archive: None,
            backrest: None,
            restore: None,
            guard: Some(program()),
        };
        let rig = Self {
            folder,
            authority,
            settings,
            store,
            running: None,
        };
        rig.issue_certificate();
        rig
    }

    /// Gives the agent a new certificate.
    pub fn issue_certificate(&self) {
        let spec = LeafSpec {
            names: vec!["localhost".to_owned()],
            ..LeafSpec::of_identity(AGENT, LIFE)
        };
        self.write_leaf(&self.settings.tls, &spec);
    }

    fn write_leaf(&self, folder: &Path, spec: &LeafSpec) {
        write_leaf(&self.authority, folder, spec);
    }

    /// Has the Secret of a user say another password.
    pub fn change_password(&self, name: &str, password: &str) {
        put(&self.settings.secrets.join(name).join("password"), password);
    }

    /// Puts a file into the custom configuration.
    pub fn customise(&self, name: &str, text: &str) {
        put(&self.settings.custom.join(name), text);
    }

    /// Where its agent and its server are is another place from its next start on, as that of a pod that is made anew.
    pub fn move_away(&mut self) {
        self.settings.port = free_port();
        self.settings.listen.set_port(free_port());
    }

    /// Starts the agent.
    pub async fn start(&mut self) {
        let stop = CancellationToken::new();
        let telemetry = Telemetry::without_logs("agent", "4.1.0");
        let served = run::serve(
            self.settings.clone(),
            self.store.clone(),
            telemetry,
            stop.clone(),
        )
        .await
        .expect("the agent starts");
        self.running = Some((stop, tokio::spawn(served)));
    }

    /// Stops the agent and waits for its end.
    pub async fn stop(&mut self) {
        let (stop, task) = self.running.take().expect("it runs");
        stop.cancel();
        tokio::time::timeout(DEADLINE, task)
            .await
            .expect("it stops in time")
            .expect("it does not panic")
            .expect("it stops well");
    }

    /// Ends agent and server as a node does that loses its power.
    pub async fn crash(&mut self) {
        let (_, task) = self.running.take().expect("it runs");
        task.abort();
        // All that it had begun ends with it.
        let _ = task.await;
        for pid in pgo_agent::processes::working_in(&self.settings.data) {
            // Gone already, perhaps.
            let _ = kill(pid, Signal::SIGKILL);
        }
        // In one process, the servers of the other instances have inherited the lock. In pods there are no others.
        let mut lock = self.settings.data.clone().into_os_string();
        lock.push(".lock");
        fs::remove_file(lock).expect("it was there");
    }

    /// Watches the agent as the process `identity`, which has seen `term`.
    pub async fn watch(
        &self,
        identity: &str,
        term: u64,
    ) -> Result<Streaming<InstanceState>, Status> {
        let answer = self.client(identity).watch(WatchRequest { term }).await?;
        Ok(answer.into_inner())
    }

    /// The first state for which `wanted` holds, and the phases before it.
    pub async fn until(
        &self,
        what: &str,
        wanted: impl Fn(&InstanceState) -> bool,
    ) -> (InstanceState, Vec<Phase>) {
        let mut states = self.watch("reconciler.pgo", 0).await.expect("allowed");
        let mut phases = Vec::new();
        let mut last = None;
        let search = async {
            while let Some(state) = states.message().await.expect("a state") {
                if phases.last() != Some(&state.phase()) {
                    phases.push(state.phase());
                }
                if wanted(&state) {
                    return state;
                }
                last = Some(state);
            }
            panic!("the stream ended before {what}");
        };
        match tokio::time::timeout(DEADLINE, search).await {
            Ok(state) => (state, phases),
            Err(_) => panic!("not {what} in time; last {last:?}"),
        }
    }

    /// Waits until PostgreSQL serves.
    pub async fn until_running(&self) -> InstanceState {
        self.until("running", |state| state.phase() == Phase::Running)
            .await
            .0
    }

    /// Waits until WAL flows here from the instance `leader`; the phases before that.
    pub async fn until_streaming_from(&self, leader: &str) -> (InstanceState, Vec<Phase>) {
        let wanted = |state: &InstanceState| {
            state.phase() == Phase::Running && state.streaming && state.leader == leader
        };
        self.until(&format!("streaming from {leader}"), wanted)
            .await
    }

    /// Waits until PostgreSQL serves as primary.
    pub async fn until_primary(&self) -> InstanceState {
        let leads = |state: &InstanceState| {
            state.phase() == Phase::Running && state.role() == Role::Primary
        };
        self.until("primary", leads).await.0
    }

    /// Waits until so many vote.
    pub async fn until_voters(&self, count: usize) {
        eventually(&format!("{count} voters"), async || {
            let lease = self.store.lease_now();
            let name = "hippo".parse().expect("a name");
            match pgo_agent::ha::lease::read(&lease, &name) {
                Ok(Reading::Recorded { record, .. }) => record.voters.len() == count,
                _ => false,
            }
        })
        .await;
    }

    /// Asks the agent of a primary to give up.
    pub async fn switchover(&self, identity: &str, to: &str) -> Result<(), Status> {
        let request = SwitchoverRequest { to: to.to_owned() };
        self.client(identity).switchover(request).await.map(drop)
    }

    /// Asks the agent of a replica to take over.
    pub async fn failover(&self, identity: &str) -> Result<(), Status> {
        self.client(identity)
            .failover(FailoverRequest {})
            .await
            .map(drop)
    }

    /// Tells the agent of a primary to keep its place when it ends.
    pub async fn stay(&self, identity: &str) -> Result<(), Status> {
        let mut client = self.client(identity);
        client.stay(StayRequest {}).await.map(drop)
    }

    /// Asks the agent to have PostgreSQL read its configuration; what waits for a restart then.
    pub async fn reload(&self, identity: &str) -> Result<Vec<String>, Status> {
        let answer = self.client(identity).reload(ReloadRequest {}).await?;
        Ok(answer.into_inner().pending_restart)
    }

    /// Asks the agent to restart the server that was started then.
    pub async fn restart(
        &self,
        identity: &str,
        started: Option<prost_types::Timestamp>,
    ) -> Result<(), Status> {
        let request = RestartRequest { started };
        self.client(identity).restart(request).await.map(drop)
    }

    /// Asks the agent to remove a slot.
    pub async fn drop_slot(&self, identity: &str, slot: &str) -> Result<(), Status> {
        let request = DropSlotRequest {
            slot: slot.to_owned(),
        };
        self.client(identity).drop_slot(request).await.map(drop)
    }

    fn client(&self, identity: &str) -> AgentClient<Channel> {
        AgentClient::new(self.channel(identity))
    }

    /// The way to the agent, as the process `identity`.
    pub fn channel(&self, identity: &str) -> Channel {
        let folder = self.folder.path().join(identity);
        self.write_leaf(&folder, &LeafSpec::of_identity(identity, LIFE));
        let files = Arc::new(TlsFiles::open(&folder).expect("certificates"));
        let address = self.settings.listen.to_string();
        grpc::channel(&address, AGENT, files).expect("a channel")
    }

    /// Status and text of `/readyz`.
    pub async fn readyz(&self) -> (u16, String) {
        readyz(self.settings.admin).await
    }

    /// Connects as the application does: over TCP and TLS, with its password.
    pub async fn connect(&self) -> Result<Client, tokio_postgres::Error> {
        let (_, user, password) = PASSWORDS[2];
        self.connect_as(user, password).await
    }

    /// Connects in the same way as somebody else, or with another password.
    pub async fn connect_as(
        &self,
        user: &str,
        password: &str,
    ) -> Result<Client, tokio_postgres::Error> {
        let mut roots = RootCertStore::empty();
        roots
            .add(self.authority.certificate().clone())
            .expect("a root");
        let tls = ClientConfig::builder_with_provider(pgo_tls::provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let (client, connection) = tokio_postgres::Config::new()
            .host("localhost")
            .hostaddr(Ipv4Addr::LOCALHOST.into())
            .port(self.settings.port)
            .user(user)
            .password(password)
            .dbname(&self.settings.database)
            .ssl_mode(SslMode::Require)
            .connect(MakeRustlsConnect::new(tls))
            .await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// Number of the postmaster, by its own file.
    pub fn postmaster(&self) -> Pid {
        postmaster(&self.settings.data)
    }

    /// Lets the server forget all WAL that nobody asked it to keep.
    pub async fn forget_wal(&self) {
        let socket = self.settings.socket();
        let session = Session::open(&socket, "postgres").await.expect("a session");
        // More than `wal_keep_size`, by files of 16 MB.
        for _ in 0..12 {
            let statements = "SELECT pg_switch_wal(); CREATE TABLE x (); DROP TABLE x; CHECKPOINT";
            session.execute(statements, DEADLINE).await.expect("done");
        }
    }

    /// Has the server carry out a statement, as the superuser.
    pub async fn execute(&self, statement: &str) {
        let socket = self.settings.socket();
        let session = Session::open(&socket, "postgres").await.expect("a session");
        session.execute(statement, DEADLINE).await.expect("done");
    }

    /// Kills the postmaster, and nothing else.
    pub fn kill_postmaster(&self) {
        kill(self.postmaster(), Signal::SIGKILL).expect("it lives");
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().to_owned()
    }
}

/// Status and text of `/readyz` of the administration port at `admin`.
pub async fn readyz(admin: SocketAddr) -> (u16, String) {
    let mut stream = TcpStream::connect(admin).await.expect("a connection");
    stream
        .write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await
        .expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    let status = answer.split(' ').nth(1).expect("a status");
    let (_, text) = answer.split_once("\r\n\r\n").expect("a body");
    (status.parse().expect("a number"), text.to_owned())
}

/// Puts a certificate of `authority` into a folder.
pub fn write_leaf(authority: &Authority, folder: &Path, spec: &LeafSpec) {
    let leaf = authority.issue(spec, Timestamp::now());
    let leaf = leaf.expect("a certificate");
    put(&folder.join("ca.crt"), authority.certificate_pem());
    put(&folder.join("tls.crt"), &leaf.certificate_pem);
    put(&folder.join("tls.key"), &leaf.key_pem);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(folder.join("tls.key"), mode).expect("restricted");
}

/// Number of the postmaster of a data directory, by its own file.
pub fn postmaster(data: &Path) -> Pid {
    let text = fs::read_to_string(data.join("postmaster.pid")).expect("it runs");
    let first = text.lines().next().expect("a line");
    Pid::from_raw(first.parse().expect("a number"))
}

/// Waits until `condition` holds.
pub async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let begin = Instant::now();
    while !condition().await {
        assert!(begin.elapsed() < DEADLINE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
