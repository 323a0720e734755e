//! An nsqd of a test's own, and waiting for what it does.

use std::{fs, future::Future, net::SocketAddr, path::Path, time::Duration};

use nsq::{ChannelName, Consumer, ConsumerConfig, Producer, ProducerConfig, Server, TopicName};
use pgo_nsqd::Process;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde_json::Value;
use tempfile::TempDir;

/// Longest wait for anything that should be there at once, or after a timeout: nsqd looks at the timeouts of a new channel
/// only after 5 s. Generous: it is reached only by a failing test.
pub const SOON: Duration = Duration::from_secs(20);

pub struct Nsqd {
    process: Process,
}

impl Nsqd {
    /// With further arguments as on the command line.
    pub fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::start_in(folder, arguments)
    }

    /// With a folder that holds what the arguments name.
    pub fn start_in(folder: TempDir, arguments: &[&str]) -> Self {
        let own = ["--https-address="];
        let arguments = own.iter().chain(arguments).map(|&a| a.to_owned()).collect();
        let process = Process::start("nsqd", folder, arguments);
        Self { process }
    }

    pub fn server(&self) -> Server {
        Server::new(self.process.tcp().to_string())
    }

    pub fn address(&self) -> SocketAddr {
        self.process.tcp()
    }

    /// As an nsqlookupd names it when it is about HTTP.
    pub fn http_address(&self) -> SocketAddr {
        self.process.http()
    }

    /// Where it keeps its data.
    pub fn folder(&self) -> &Path {
        self.process.folder()
    }

    pub fn producer(&self) -> Producer {
        Producer::connect(self.server(), ProducerConfig::default())
    }

    pub fn consumer(&self, config: ConsumerConfig) -> Consumer {
        Consumer::subscribe(self.server(), topic(), channel(), config)
    }

    fn pid(&self) -> Pid {
        let id = self.process.id().expect("it runs");
        Pid::from_raw(id.cast_signed()).expect("a number")
    }

    /// It neither reads nor writes from now on, and the kernel goes on taking bytes for it.
    pub fn freeze(&self) {
        let pid = self.pid();
        kill_process(pid, Signal::STOP).unwrap();
        waitpid(Some(pid), WaitOptions::UNTRACED).unwrap();
    }

    /// Whether the kernel holds bytes that a client sent and nsqd has not read.
    pub fn has_unread(&self) -> bool {
        // Columns: number, local address, remote address, state, tx_queue:rx_queue.
        let port = format!(":{:04X}", self.process.tcp().port());
        let sockets = fs::read_to_string("/proc/net/tcp").unwrap();
        sockets.lines().skip(1).any(|line| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            columns[1].ends_with(&port) && !columns[4].ends_with(":00000000")
        })
    }

    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// The same again, after [`kill`](Self::kill).
    pub fn restart(&mut self) {
        self.process.begin();
    }

    pub fn log(&self) -> String {
        self.process.log()
    }

    /// What nsqd says about the channel; `Null` if it does not know it.
    pub fn channel_stats(&self, topic: &TopicName, channel: &ChannelName) -> Value {
        let stats = self.get(&format!(
            "stats?format=json&include_mem=false&topic={topic}"
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
            "stats?format=json&include_mem=false&topic={topic}"
        ))["topics"][0]
            .clone()
    }

    /// A command over HTTP, as an operator gives it: `topic/pause?topic=orders`.
    pub fn command(&self, path: &str) {
        self.process.ask("POST", path);
    }

    fn get(&self, path: &str) -> Value {
        serde_json::from_str(&self.process.ask("GET", path)).unwrap()
    }
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
