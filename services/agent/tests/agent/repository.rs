//! A repository of backups in a folder of its own, as process 1 keeps it, and all that others do with it.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _},
    path::PathBuf,
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use pgo_agent::processes;
use pgo_proto::agent::{
    Backup, BeginRequest, CancelRequest, CreateStanza, DatabaseHost, Done, InfoRequest,
    RepositoryState, WatchRepositoryRequest, begin_request::Work,
    repository_client::RepositoryClient,
};
use pgo_s3::S3;
use pgo_tls::{Authority, LeafSpec, TlsFiles, grpc};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tonic::{Status, transport::Channel};

use crate::rig::{AGENT, DEADLINE, LIFE, Rig, free_port, program, put, readyz, write_leaf};

/// A repository and its surroundings.
pub struct Repository {
    folder: TempDir,
    authority: Arc<Authority>,
    backrest: SocketAddr,
    listen: SocketAddr,
    admin: SocketAddr,
    /// Where it keeps what it has, and the port of an S3 server.
    storage: (&'static str, u16),
    /// Certificates of that.
    beside: TempDir,
    init: Option<Child>,
}

/// An address of this machine for an instance of this test: pgBackRest's server has the same port everywhere.
fn own_address(number: u8) -> IpAddr {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    // The first half of 127.0.0.0/8 is left to others. Numbers of processes have 22 bits.
    Ipv4Addr::new(127, 128 | number << 6 | high, middle, low.max(1)).into()
}

/// An instance `hippo` that archives to `repository`, not started.
pub fn instance(repository: &Repository) -> Rig {
    archiving(
        Rig::with("hippo", repository.authority.clone()),
        repository,
        0,
    )
}

/// A primary that archives, and its repository.
pub async fn archived() -> (Repository, Rig) {
    let mut repository = Repository::new();
    let mut primary = instance(&repository);
    primary.start().await;
    repository.start();
    primary.until_primary().await;
    repository.until_ready().await;
    repository.create_stanza(&primary).await;
    (repository, primary)
}

/// A replica of `primary` that archives there, too, once it leads; not started.
pub fn replica(primary: &Rig, repository: &Repository) -> Rig {
    beside(primary, "hippo-abcd", repository)
}

/// A second instance of the cluster of `primary` that knows `repository`; not started.
pub fn beside(primary: &Rig, name: &str, repository: &Repository) -> Rig {
    archiving(primary.beside(name), repository, 1)
}

fn archiving(mut rig: Rig, repository: &Repository, number: u8) -> Rig {
    rig.settings.pod_ip = own_address(number);
    // Where the others call it.
    rig.settings.listen.set_ip(rig.settings.pod_ip);
    rig.settings.archiving.host = Some("localhost".to_owned());
    rig.settings.archiving.port = repository.backrest.port();
    rig.settings.archiving.path = repository.path();
    rig.settings.archiving.conf = repository.folder.path().join("run/pgbackrest.conf");
    let (storages, _) = repository.storage;
    rig.settings.archiving.storages = storages.parse().expect("places");
    rig
}

impl Repository {
    /// One that is not started.
    pub fn new() -> Self {
        let now = jiff::Timestamp::now();
        let authority = Authority::generate("test", now, LIFE).expect("an authority");
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("run")).expect("a folder");
        let mut resolved = ("localhost", free_port())
            .to_socket_addrs()
            .expect("a name");
        let local = || SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let repository = Self {
            folder,
            authority: Arc::new(authority),
            // Where pgBackRest takes the name to be.
            backrest: resolved.next().expect("an address"),
            listen: local(),
            admin: local(),
            storage: ("local", 0),
            beside: tempfile::tempdir().expect("a folder"),
            init: None,
        };
        repository.issue_certificate();
        repository
    }

    /// One that keeps what it has in these places, and knows the key of an S3 server that is begun here.
    pub fn in_places(storages: &'static str) -> (Self, S3) {
        let mut repository = Self::new();
        let (folder, beside) = (repository.folder.path(), repository.beside.path());
        let spec = LeafSpec {
            names: vec!["localhost".to_owned()],
            ..LeafSpec::of_identity("storage", LIFE)
        };
        write_leaf(&repository.authority, beside, &spec);
        // Where pgBackRest takes the name to be.
        let server = S3::start((repository.backrest.ip(), free_port()).into(), beside);
        let authority = fs::read_to_string(beside.join("ca.crt")).expect("an authority");
        put(&folder.join("s3/aws-s3-ca.crt"), &authority);
        put(&folder.join("s3/aws-s3-key"), pgo_s3::KEY);
        repository.storage = (storages, server.port());
        repository.set_key_secret(pgo_s3::KEY_SECRET);
        (repository, server)
    }

    /// Has the Secret with the key of S3 say this.
    pub fn set_key_secret(&self, secret: &str) {
        put(&self.folder.path().join("s3/aws-s3-key-secret"), secret);
    }

    /// Gives the agent a new certificate.
    pub fn issue_certificate(&self) {
        let spec = LeafSpec {
            names: vec!["localhost".to_owned()],
            ..LeafSpec::of_identity(AGENT, LIFE)
        };
        write_leaf(&self.authority, &self.folder.path().join("tls"), &spec);
    }

    /// Status and text of `/readyz`.
    pub async fn readyz(&self) -> (u16, String) {
        readyz(self.admin).await
    }

    /// The folder that pgBackRest keeps.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("volume/hippo-backrest-shared-repo")
    }

    /// Has the next start find that this was begun and did not end.
    pub fn remember(&self, operation: &str, what: &str) {
        let running =
            json!({"operation": operation, "what": what, "started": "2026-10-15T10:11:12Z"});
        let journal = self
            .folder
            .path()
            .join("volume/.pgo/hippo-backrest-shared-repo.json");
        let mut content: Value =
            serde_json::from_slice(&fs::read(&journal).expect("a journal")).expect("JSON");
        content["running"] = running;
        fs::write(journal, content.to_string()).expect("written");
    }

    /// Starts process 1.
    pub fn start(&mut self) {
        let folder = self.folder.path();
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(folder.join("log"));
        let init = Command::new(program())
            .env("PGO_REPOSITORY", self.path())
            .env("PGO_CLUSTER", "hippo")
            .env("PGO_NAMESPACE", "pgouser1")
            .env("POD_UID", "pod-2")
            .env("PGO_TLS_DIR", folder.join("tls"))
            .env("PGO_RUN_DIR", folder.join("run"))
            .env("PGO_BACKREST_DATABASE_HOST", "localhost")
            .env("PGO_BACKREST_STORAGE", self.storage.0)
            .env("PGO_BACKREST_S3_BUCKET", pgo_s3::BUCKET)
            .env(
                "PGO_BACKREST_S3_ENDPOINT",
                format!("localhost:{}", self.storage.1),
            )
            .env("PGO_BACKREST_S3_REGION", "here")
            .env("PGO_BACKREST_S3_URI_STYLE", "path")
            .env("PGO_BACKREST_S3_DIR", folder.join("s3"))
            .env("PGO_BACKREST_ADDR", self.backrest.to_string())
            .env("PGO_AGENT_ADDR", self.listen.to_string())
            .env("PGO_ADMIN_ADDR", self.admin.to_string())
            .stdin(Stdio::null())
            .stdout(log.expect("a log"))
            .kill_on_drop(true)
            .spawn();
        self.init = Some(init.expect("started"));
    }

    fn init(&self) -> Pid {
        let child = self.init.as_ref().expect("it was started");
        Pid::from_raw(child.id().expect("it lives").cast_signed())
    }

    /// Kills the agent, and neither process 1 nor what the agent has started.
    pub fn kill_agent(&self) {
        let children = processes::children_of(self.init());
        let agent = children.first().expect("an agent");
        kill(*agent, Signal::SIGKILL).expect("it lives");
    }

    /// Stops process 1 as a pod is stopped; nothing is left.
    pub async fn stop(&mut self) {
        kill(self.init(), Signal::SIGTERM).expect("it lives");
        let mut child = self.init.take().expect("it was started");
        let ended = tokio::time::timeout(DEADLINE, child.wait()).await;
        let status = ended.expect("in time").expect("a status");
        assert_eq!(status.code(), Some(0), "{}", self.log());
        assert_eq!(self.processes(), [""; 0]);
    }

    /// Whether something of backups or WAL is on its volume.
    pub fn has_archive(&self) -> bool {
        self.path().join("archive").exists() || self.path().join("backup").exists()
    }

    /// Names of the WAL files of this timeline that it has on its volume.
    pub fn wal(&self, timeline: u32) -> Vec<String> {
        let mut names = Vec::new();
        let mut folders = vec![self.path().join("archive")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a folder").flatten() {
                if entry.path().is_dir() {
                    folders.push(entry.path());
                } else {
                    let name = entry.file_name().to_string_lossy().into_owned();
                    names.extend(name.split_once('-').map(|(name, _)| name.to_owned()));
                }
            }
        }
        names.retain(|name| name.starts_with(&format!("{timeline:08X}")));
        names.sort();
        names
    }

    /// Command lines of all processes that work for this repository.
    pub fn processes(&self) -> Vec<String> {
        let own = self.folder.path().to_string_lossy().into_owned();
        command_lines().filter(|line| line.contains(&own)).collect()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).expect("a log")
    }

    fn client(&self, identity: &str) -> RepositoryClient<Channel> {
        let folder = self.folder.path().join(identity);
        write_leaf(
            &self.authority,
            &folder,
            &LeafSpec::of_identity(identity, LIFE),
        );
        let files = Arc::new(TlsFiles::open(&folder).expect("certificates"));
        let address = self.listen.to_string();
        RepositoryClient::new(grpc::channel(&address, AGENT, files).expect("a channel"))
    }

    /// Orders a piece of work with the instance of `rig`.
    pub async fn begin(
        &self,
        identity: &str,
        operation: &str,
        rig: &Rig,
        work: Work,
    ) -> Result<(), Status> {
        self.begin_with(identity, operation, Some(rig), work).await
    }

    /// The same where there may be no instance.
    pub async fn begin_with(
        &self,
        identity: &str,
        operation: &str,
        rig: Option<&Rig>,
        work: Work,
    ) -> Result<(), Status> {
        let request = BeginRequest {
            operation: operation.to_owned(),
            primary: rig.map(database_host),
            replica: None,
            work: Some(work),
        };
        self.client(identity).begin(request).await.map(drop)
    }

    /// Orders a backup with the instances of a primary and of a replica, and waits for its end.
    pub async fn back_up(
        &self,
        operation: &str,
        (primary, replica): (&Rig, &Rig),
        options: &[&str],
    ) -> Done {
        let request = BeginRequest {
            operation: operation.to_owned(),
            primary: Some(database_host(primary)),
            replica: Some(database_host(replica)),
            work: Some(backup(options)),
        };
        let begun = self.client("reconciler.pgo").begin(request).await;
        begun.expect("begun");
        self.until_done(operation).await.0
    }

    /// Has what runs for an operation stop.
    pub async fn cancel(&self, identity: &str, operation: &str) -> Result<(), Status> {
        let operation = operation.to_owned();
        let request = CancelRequest { operation };
        self.client(identity).cancel(request).await.map(drop)
    }

    /// What pgBackRest says of the repository.
    pub async fn info(&self, json: bool) -> Result<String, Status> {
        let answer = self
            .client("apiserver.pgo")
            .info(InfoRequest {
                json,
                ..InfoRequest::default()
            })
            .await?;
        Ok(answer.into_inner().text)
    }

    /// The first state for which `wanted` holds; also over restarts of the agent.
    pub async fn until(
        &self,
        what: &str,
        wanted: impl Fn(&RepositoryState) -> bool,
    ) -> RepositoryState {
        let mut last = None;
        let search = async {
            loop {
                let stream = self
                    .client("reconciler.pgo")
                    .watch(WatchRepositoryRequest {})
                    .await;
                if let Ok(stream) = stream {
                    let mut stream = stream.into_inner();
                    while let Ok(Some(state)) = stream.message().await {
                        if wanted(&state) {
                            return state;
                        }
                        last = Some(state);
                    }
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        match tokio::time::timeout(DEADLINE, search).await {
            Ok(state) => state,
            Err(_) => panic!("not {what} in time; last {last:?}\n{}", self.log()),
        }
    }

    /// Waits until it takes orders.
    pub async fn until_ready(&self) -> RepositoryState {
        self.until("ready", |state| state.ready).await
    }

    /// How this operation has ended.
    pub async fn until_done(&self, operation: &str) -> (Done, RepositoryState) {
        let is_it = |done: &&Done| done.operation == operation;
        let ended = |state: &RepositoryState| state.done.iter().any(|done| is_it(&done));
        let state = self.until(&format!("{operation} done"), ended).await;
        let done = state.done.iter().find(is_it).expect("it is done");
        (done.clone(), state.clone())
    }

    /// Makes the stanza.
    pub async fn create_stanza(&self, rig: &Rig) {
        let work = Work::CreateStanza(CreateStanza {});
        self.begin("reconciler.pgo", "stanza", rig, work)
            .await
            .expect("begun");
        let (done, _) = self.until_done("stanza").await;
        assert!(done.ok, "{done:?}\n{}", self.log());
    }
}

fn database_host(rig: &Rig) -> DatabaseHost {
    DatabaseHost {
        instance: rig.settings.instance.to_string(),
        address: rig.settings.pod_ip.to_string(),
        path: rig.settings.data.display().to_string(),
        port: rig.settings.port.into(),
    }
}

/// A backup with these options.
pub fn backup(options: &[&str]) -> Work {
    let options = options.iter().map(ToString::to_string).collect();
    Work::Backup(Backup {
        options,
        ..Backup::default()
    })
}

/// The command lines of all processes, with blanks between their words.
pub fn command_lines() -> impl Iterator<Item = String> {
    let processes = fs::read_dir("/proc").expect("processes");
    processes.flatten().filter_map(|entry| {
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).replace('\0', " "))
    })
}
