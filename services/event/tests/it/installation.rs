//! nsqd and the event service with an authority of their own.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use pgo_bus::{NsqPublisher, Relay, follow_confirmations};
use pgo_nsqd::{Nsqd, as_installed, free_address};
use pgo_proto::event::{
    ReadRequest, ReadResponse, dead_letters_client::DeadLettersClient,
    event_log_client::EventLogClient, read_request, read_response,
};
use pgo_tls::{Authority, LeafSpec, TlsFiles};
use rustix::process::{Resource, Rlimit, prlimit};
use tempfile::TempDir;
use tokio::time::timeout;
use tonic::{Status, Streaming, transport::Channel};

use crate::process::{Process, SOON};

pub struct Installation {
    folder: Arc<TempDir>,
    /// Folder of the log, below the one of all.
    log: &'static str,
    nsqd: Option<Nsqd>,
    event: Option<Process>,
    nsqd_addr: SocketAddr,
    grpc: SocketAddr,
    pub http: SocketAddr,
    auth: SocketAddr,
    admin: SocketAddr,
    settings: Vec<(&'static str, String)>,
    /// Its volume is so large, as mount(8) says it; none: that of the test.
    volume: Option<&'static str>,
}

impl Installation {
    /// nsqd and event service, running.
    pub fn start(settings: &[(&'static str, &str)]) -> Self {
        let mut installation = Self::prepare(settings);
        installation.start_nsqd();
        installation.start_event();
        installation
    }

    /// Certificates and folders only.
    pub fn prepare(settings: &[(&'static str, &str)]) -> Self {
        let folder = TempDir::new().unwrap();
        certify_all(folder.path());
        let none = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            folder: Arc::new(folder),
            log: "data",
            nsqd: None,
            event: None,
            nsqd_addr: none,
            grpc: none,
            http: none,
            auth: free_address(),
            admin: none,
            settings: settings
                .iter()
                .map(|(k, v)| (*k, (*v).to_owned()))
                .collect(),
            volume: None,
        }
    }

    /// nsqd and event service, running; the log has a volume of its own, of this size. It is in memory, seen by the event service
    /// only, and gone with it.
    pub fn start_with_volume(size: &'static str, settings: &[(&'static str, &str)]) -> Self {
        let mut installation = Self::prepare(settings);
        installation.volume = Some(size);
        fs::create_dir_all(installation.data()).unwrap();
        installation.start_nsqd();
        installation.start_event();
        installation
    }

    /// The folder of the log as the event service sees it.
    pub fn data_in_volume(&self) -> PathBuf {
        let event = self.event.as_ref().unwrap().pid().as_raw_nonzero();
        let data = self.data();
        let data = data.strip_prefix("/").unwrap();
        PathBuf::from(format!("/proc/{event}/root")).join(data)
    }

    /// Another event service with the same certificates, settings and nsqd; its log is in a folder of this name.
    pub fn another(&self, log: &'static str) -> Self {
        Self {
            folder: self.folder.clone(),
            log,
            nsqd: None,
            event: None,
            auth: free_address(),
            settings: self.settings.clone(),
            ..*self
        }
    }

    /// Gives the log's port an address of the loopback network (127.0.0.0/8) that nobody else has, so that it is known before
    /// the process runs, and is free whenever it is started.
    pub fn listen_at_own_address(&mut self) -> IpAddr {
        static GIVEN: AtomicU8 = AtomicU8::new(0);
        let [.., high, low] = std::process::id().to_be_bytes();
        let number = GIVEN.fetch_add(1, Ordering::Relaxed);
        // 127.0.0.1 is for all others.
        let ip = IpAddr::from([127, high | 0x80, low, number % 254 + 1]);
        self.grpc = SocketAddr::new(ip, 8444);
        ip
    }

    /// As in the product: all queues on disk, TLS with certificates only, and who may what is asked of the event service.
    pub fn start_nsqd(&mut self) {
        let auth = format!("--auth-http-address=https://{}/auth", self.auth);
        self.start_nsqd_with(auth);
    }

    /// Whoever has a certificate may do everything: several event services use it, of which any may be away.
    pub fn start_nsqd_open_to_all(&mut self) {
        self.start_nsqd_with(None);
    }

    fn start_nsqd_with(&mut self, argument: impl Into<Option<String>>) {
        let mut arguments = as_installed(&self.identity("nsqd"));
        arguments.push("--sync-every=1".to_owned());
        arguments.extend(argument.into());
        match &mut self.nsqd {
            Some(nsqd) => nsqd.begin(),
            none => *none = Some(Nsqd::start(arguments)),
        }
        self.nsqd_addr = self.nsqd.as_ref().unwrap().tcp();
    }

    pub fn start_event(&mut self) {
        let (shell, script) = match self.volume {
            Some(size) => (
                &["unshare", "--mount", "/bin/sh"][..],
                format!("mount -t tmpfs -o size={size} none \"$PGO_EVENT_DATA\" && exec \"$0\""),
            ),
            // Writing beyond a file-size limit is an error then, not the end.
            None => (&["/bin/sh"][..], "trap '' XFSZ; exec \"$0\"".to_owned()),
        };
        let event = Process::spawn(
            Command::new(shell[0])
                .args(&shell[1..])
                .args(["-c", &script])
                .arg(env!("CARGO_BIN_EXE_pgo-event"))
                .env("EVENT_ADDR", self.nsqd_addr.to_string())
                .env("PGO_TLS_DIR", self.folder.path().join("event"))
                .env("PGO_EVENT_DATA", self.data())
                .env("PGO_EVENT_WITHDRAWN_DIR", self.withdrawn())
                .env("PGO_EVENT_LISTEN", self.grpc.to_string())
                .env("PGO_EVENT_AUTH_LISTEN", self.auth.to_string())
                .env("PGO_EVENT_HTTP_LISTEN", self.http.to_string())
                .env("PGO_ADMIN_ADDR", self.admin.to_string())
                .env("LOG_FORMAT", "json")
                .env("LOG_LEVEL", "info")
                .envs(self.settings.iter().map(|(k, v)| (k, v))),
        );
        let addr = |line: &str, message: &str| {
            let record: serde_json::Value = serde_json::from_str(line).ok()?;
            let addr = record["addr"]
                .as_str()
                .filter(|_| record["message"] == message);
            addr?.parse().ok()
        };
        self.admin = event.line(|line| addr(line, "serving the administration port"));
        self.http = event.line(|line| addr(line, "serving the log over HTTP"));
        self.grpc = event.line(|line| addr(line, "serving the log"));
        self.event = Some(event);
    }

    /// Replaces all certificates, that of the authority included. nsqd shows its new one when it is started again.
    pub fn renew_certificates(&self) {
        certify_all(self.folder.path());
    }

    pub fn kill_nsqd(&mut self) {
        self.nsqd.as_mut().unwrap().kill();
    }

    pub fn kill_event(&mut self) {
        self.event.take().unwrap().kill();
    }

    /// Whether the event service ended well when it was asked to.
    pub fn terminate_event(&mut self) -> bool {
        self.event.take().unwrap().terminate()
    }

    /// From now on no file of the event service grows beyond this size.
    pub fn limit_files_to(&self, bytes: Option<u64>) {
        let limit = Rlimit {
            current: bytes,
            maximum: None,
        };
        let event = self.event.as_ref().unwrap();
        prlimit(Some(event.pid()), Resource::Fsize, limit).unwrap();
    }

    /// Waits until the event service writes this message to its log, behind those that were waited for before.
    pub fn event_says(&self, message: &str) {
        let says = |line: &str| {
            let record: serde_json::Value = serde_json::from_str(line).ok()?;
            (record["message"] == message).then_some(())
        };
        self.event.as_ref().unwrap().line(says);
    }

    /// The files of the log, the oldest first.
    pub fn segments(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.data()).unwrap();
        let files = files.map(|file| file.unwrap().path());
        let mut files: Vec<_> = files
            .filter(|path| path.extension().is_some_and(|end| end == "log"))
            .collect();
        files.sort();
        files
    }

    pub fn set(&mut self, name: &'static str, value: &str) {
        self.settings.push((name, value.to_owned()));
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join(self.log)
    }

    fn withdrawn(&self) -> PathBuf {
        self.folder.path().join("withdrawn")
    }

    /// Withdraws the consumer NAME.consumer, as a key of the ConfigMap that kubelet brings does.
    pub fn withdraw(&self, name: &str) {
        fs::create_dir_all(self.withdrawn()).unwrap();
        fs::write(self.withdrawn().join(name), "").unwrap();
    }

    pub fn let_in_again(&self, name: &str) {
        fs::remove_file(self.withdrawn().join(name)).unwrap();
    }

    pub fn client(&self, process: &str) -> EventLogClient<Channel> {
        EventLogClient::new(self.channel(process))
    }

    pub fn dead_letters(&self, process: &str) -> DeadLettersClient<Channel> {
        DeadLettersClient::new(self.channel(process))
    }

    pub fn channel(&self, process: &str) -> Channel {
        let files = self.files(process);
        pgo_tls::grpc::channel(&self.grpc.to_string(), "event.pgo", files).unwrap()
    }

    pub fn files(&self, process: &str) -> Arc<TlsFiles> {
        Arc::new(TlsFiles::open(self.folder.path().join(process)).unwrap())
    }

    /// `host:port` of nsqd.
    pub fn nsqd_address(&self) -> String {
        self.nsqd_addr.to_string()
    }

    /// The folder with the certificate of a process.
    pub fn identity(&self, process: &str) -> PathBuf {
        self.folder.path().join(process)
    }

    pub fn nsq_server(&self) -> nsq::Server {
        self.nsq_server_for("reconciler")
    }

    /// nsqd as a process speaks with it.
    pub fn nsq_server_for(&self, process: &str) -> nsq::Server {
        let config = self.files(process).client_config();
        let mut server = pgo_bus::server(&self.nsqd_addr.to_string(), config.into()).unwrap();
        server.backoff.max = Duration::from_millis(500);
        server
    }

    /// A relay as the reconciler has one.
    pub fn relay(&self) -> Relay {
        let relay = Relay::start(NsqPublisher::connect(self.nsq_server()));
        tokio::spawn(follow_confirmations(
            self.channel("reconciler"),
            relay.clone(),
            |_, _| {},
        ));
        relay
    }

    /// Status and body of an answer of the administration port; nothing where nobody listens.
    pub fn admin(&self, path: &str) -> Option<(u16, String)> {
        get(self.admin, path)
    }

    /// Does something by nsqd's HTTP port.
    pub fn post_to_nsqd(&self, path: &str) {
        let (status, text) = ask(self.nsqd.as_ref().unwrap().http(), "POST", path).unwrap();
        assert_eq!(status, 200, "{path}: {text}");
    }

    /// How many messages a channel has had that neither wait nor are in flight.
    pub fn finished(&self, queue: &str) -> u64 {
        let [all, waiting, in_flight] = self.counts(queue);
        all - waiting - in_flight
    }

    /// How many messages of a channel were delivered and not answered.
    pub fn in_flight(&self, queue: &str) -> u64 {
        self.counts(queue)[2]
    }

    /// How many messages a channel has had, how many of them wait, and how many are in flight.
    fn counts(&self, queue: &str) -> [u64; 3] {
        let (topic, channel) = queue.split_once('/').unwrap();
        let path = format!("/stats?format=json&topic={topic}&channel={channel}");
        let (_, text) = get(self.nsqd.as_ref().unwrap().http(), &path).unwrap();
        let stats: serde_json::Value = serde_json::from_str(&text).unwrap();
        let channel = &stats["topics"][0]["channels"][0];
        ["message_count", "depth", "in_flight_count"].map(|name| channel[name].as_u64().unwrap())
    }

    /// How many messages wait in nsqd, by topic and by `topic/channel`.
    pub fn depths(&self) -> BTreeMap<String, u64> {
        let (_, text) = get(self.nsqd.as_ref().unwrap().http(), "/stats?format=json").unwrap();
        let stats: serde_json::Value = serde_json::from_str(&text).unwrap();
        let mut depths = BTreeMap::new();
        for topic in stats["topics"].as_array().unwrap() {
            let name = topic["topic_name"].as_str().unwrap();
            depths.insert(name.to_owned(), topic["depth"].as_u64().unwrap());
            for channel in topic["channels"].as_array().unwrap() {
                let channel_name = channel["channel_name"].as_str().unwrap();
                let depth = channel["depth"].as_u64().unwrap();
                depths.insert(format!("{name}/{channel_name}"), depth);
            }
        }
        depths
    }

    /// A metric's value.
    pub fn metric(&self, name: &str) -> u64 {
        let (_, text) = self.admin("/metrics").unwrap();
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value
            .unwrap_or_else(|| panic!("no {name} in\n{text}"))
            .parse()
            .unwrap()
    }
}

/// Status and body of an answer; nothing where nobody listens.
fn get(addr: SocketAddr, path: &str) -> Option<(u16, String)> {
    ask(addr, "GET", path)
}

fn ask(addr: SocketAddr, method: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&addr, SOON).ok()?;
    stream.set_read_timeout(Some(SOON)).unwrap();
    write!(stream, "{method} {path} HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

fn certify_all(folder: &Path) {
    let life = SignedDuration::from_hours(1);
    let authority = Authority::generate("test", Timestamp::now(), life).unwrap();
    for name in [
        "nsqd",
        "event",
        "reconciler",
        "apiserver",
        "scheduler",
        "audit.consumer",
        "billing.consumer",
        "hippo.pgouser1.agent",
    ] {
        certify(&authority, name, &folder.join(name));
    }
}

fn certify(authority: &Authority, process: &str, folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let life = SignedDuration::from_hours(1);
    let mut leaf = LeafSpec::of_identity(format!("{process}.pgo"), life);
    // nsqd asks the event service by address.
    leaf.addresses = vec![IpAddr::from([127, 0, 0, 1])];
    let leaf = authority.issue(&leaf, Timestamp::now()).unwrap();
    fs::write(folder.join("tls.crt"), leaf.certificate_pem).unwrap();
    fs::write(folder.join("tls.key"), leaf.key_pem.as_bytes()).unwrap();
    fs::write(folder.join("ca.crt"), authority.certificate_pem()).unwrap();
}

/// What the future gives, which must be there soon.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(SOON, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {SOON:?}"),
    }
}

/// Waits until the condition holds, which must be soon.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    soon(what, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

pub fn beginning() -> ReadRequest {
    ReadRequest {
        from: Some(read_request::From::Beginning(true)),
        follow: true,
        ..ReadRequest::default()
    }
}

/// A reader that opens its stream.
pub async fn open(
    client: &mut EventLogClient<Channel>,
    request: ReadRequest,
) -> Streaming<ReadResponse> {
    soon("a stream", client.read(request))
        .await
        .unwrap()
        .into_inner()
}

/// The next answer of a stream.
pub async fn next(
    stream: &mut Streaming<ReadResponse>,
) -> Option<Result<read_response::What, Status>> {
    let answer = soon("an answer", stream.next()).await?;
    Some(answer.map(|answer| answer.what.unwrap()))
}

/// Stream, seq and cursor of the next records, which must be `count`.
pub async fn records(
    stream: &mut Streaming<ReadResponse>,
    count: usize,
) -> Vec<(String, u64, String)> {
    let mut found = Vec::new();
    while found.len() < count {
        match next(stream).await.unwrap().unwrap() {
            read_response::What::Record(record) => {
                let event = pgo_events::Event::from_wire(&record.event).unwrap();
                found.push((event.stream.to_string(), event.seq.0, record.cursor));
            }
            read_response::What::CaughtUp(_) => {}
            read_response::What::Cut(cut) => panic!("{cut}"),
        }
    }
    found
}
