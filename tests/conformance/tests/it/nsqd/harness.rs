//! An nsqd process on free loopback ports, with a folder of its own, gone when the value is.

use std::{
    fs,
    future::Future,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

use nsq::{ChannelName, Consumer, ConsumerConfig, Producer, ProducerConfig, Server, TopicName};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde_json::Value;
use tempfile::TempDir;

/// Longest wait for anything that should be there at once, or after a timeout: nsqd looks at the timeouts of a new channel
/// only after 5 s. Generous: it is reached only by a failing test.
pub const SOON: Duration = Duration::from_secs(20);

pub struct Nsqd {
    child: Child,
    folder: TempDir,
    arguments: Vec<String>,
    tcp: SocketAddr,
    http: SocketAddr,
    log: Arc<Mutex<String>>,
}

impl Nsqd {
    /// With further arguments as on the command line.
    pub fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::start_in(folder, arguments)
    }

    /// With a folder that holds what the arguments name.
    pub fn start_in(folder: TempDir, arguments: &[&str]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        let log = Arc::default();
        let (child, tcp, http) = spawn(&folder, &arguments, any, any, &log);
        Self {
            child,
            folder,
            arguments,
            tcp,
            http,
            log,
        }
    }

    pub fn server(&self) -> Server {
        Server::new(self.tcp.to_string())
    }

    pub fn address(&self) -> SocketAddr {
        self.tcp
    }

    pub fn producer(&self) -> Producer {
        Producer::connect(self.server(), ProducerConfig::default())
    }

    pub fn consumer(&self, config: ConsumerConfig) -> Consumer {
        Consumer::subscribe(self.server(), topic(), channel(), config)
    }

    /// It neither reads nor writes from now on, and the kernel goes on taking bytes for it.
    pub fn freeze(&self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::STOP).unwrap();
        waitpid(Some(pid), WaitOptions::UNTRACED).unwrap();
    }

    /// Whether the kernel holds bytes that a client sent and nsqd has not read.
    pub fn has_unread(&self) -> bool {
        // Columns: number, local address, remote address, state, tx_queue:rx_queue.
        let port = format!(":{:04X}", self.tcp.port());
        let sockets = fs::read_to_string("/proc/net/tcp").unwrap();
        sockets.lines().skip(1).any(|line| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            columns[1].ends_with(&port) && !columns[4].ends_with(":00000000")
        })
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The same again, after [`kill`](Self::kill).
    pub fn restart(&mut self) {
        let (child, ..) = spawn(
            &self.folder,
            &self.arguments,
            self.tcp,
            self.http,
            &self.log,
        );
        self.child = child;
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// What nsqd says about the channel; `Null` if it does not know it.
    pub fn channel_stats(&self, topic: &TopicName, channel: &ChannelName) -> Value {
        let stats = self.get(&format!(
            "/stats?format=json&include_mem=false&topic={topic}"
        ));
        stats["topics"][0]["channels"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|known| known["channel_name"] == channel.as_str())
            .cloned()
            .unwrap_or_default()
    }

    /// What nsqd says about the topic; `Null` if it does not know it.
    pub fn topic_stats(&self, topic: &TopicName) -> Value {
        self.get(&format!(
            "/stats?format=json&include_mem=false&topic={topic}"
        ))["topics"][0]
            .clone()
    }

    fn get(&self, path: &str) -> Value {
        let mut stream = TcpStream::connect_timeout(&self.http, SOON).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap()
    }
}

impl Drop for Nsqd {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("log of nsqd:\n{}", self.log());
        }
    }
}

fn binary() -> PathBuf {
    let path = std::env::var_os("NSQD_BIN").map_or_else(
        || {
            let cache = std::env::var_os("PGO_CACHE").map_or_else(
                || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/pgo"),
                PathBuf::from,
            );
            cache.join("bin/nsqd")
        },
        PathBuf::from,
    );
    assert!(
        path.is_file(),
        "no nsqd at {}. Build it with deploy/local/build/build.sh, or set NSQD_BIN to an nsqd 1.3.0, built in a folder with this \
         go.mod by `go build -o nsqd github.com/nsqio/nsq/apps/nsqd`:\n\n\
         module nsqd\n\
         go 1.22\n\
         require github.com/nsqio/nsq v1.3.0\n\
         replace github.com/judwhite/go-svc => github.com/mreiferson/go-svc v1.2.2-0.20210815184239-7a96e00010f6\n",
        path.display()
    );
    path
}

/// Starts nsqd and waits until it listens; gives the ports that it has.
fn spawn(
    folder: &TempDir,
    arguments: &[String],
    tcp: SocketAddr,
    http: SocketAddr,
    log: &Arc<Mutex<String>>,
) -> (Child, SocketAddr, SocketAddr) {
    let mut child = Command::new(binary())
        .current_dir(folder.path())
        .arg("--data-path=.")
        .arg("--broadcast-address=127.0.0.1")
        .arg("--https-address=")
        .arg(format!("--tcp-address={tcp}"))
        .arg(format!("--http-address={http}"))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();

    let stderr = BufReader::new(child.stderr.take().unwrap());
    let (sender, lines) = mpsc::channel();
    let log_of_thread = log.clone();
    std::thread::spawn(move || {
        for line in stderr.lines().map_while(Result::ok) {
            let mut log = log_of_thread.lock().unwrap();
            log.push_str(&line);
            log.push('\n');
            drop(log);
            // Nobody listens once both ports are known.
            let _ = sender.send(line);
        }
    });

    let (mut tcp, mut http) = (None, None);
    let until = Instant::now() + SOON;
    while tcp.is_none() || http.is_none() {
        let left = until.saturating_duration_since(Instant::now());
        let Ok(line) = lines.recv_timeout(left) else {
            let _ = child.kill();
            let _ = child.wait();
            panic!("nsqd does not listen; its log:\n{}", log.lock().unwrap());
        };
        let port = |kind: &str| line.split_once(kind).map(|(_, at)| at.parse().unwrap());
        tcp = tcp.or_else(|| port("TCP: listening on "));
        http = http.or_else(|| port("HTTP: listening on "));
    }
    (child, tcp.unwrap(), http.unwrap())
}

pub fn topic() -> TopicName {
    "orders".parse().unwrap()
}

pub fn channel() -> ChannelName {
    "billing".parse().unwrap()
}

/// What the future gives, which must be there soon.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(SOON, future).await {
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

/// The next message, as text, finished.
pub async fn next_body(consumer: &mut Consumer) -> String {
    let message = soon("a message", consumer.next()).await.unwrap();
    let body = String::from_utf8(message.body().to_vec()).unwrap();
    message.finish();
    body
}

/// Whether no message is handed out for a moment.
pub async fn stays_quiet(consumer: &mut Consumer, moment: Duration) -> bool {
    tokio::time::timeout(moment, consumer.next()).await.is_err()
}
