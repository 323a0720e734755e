//! An nsqlookupd of a test's own.

use std::{net::SocketAddr, time::Duration};

use nsq::{Discovery, Server};
use pgo_nsqd::Process;

pub struct Nsqlookupd {
    process: Process,
}

impl Nsqlookupd {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let process = Process::start("nsqlookupd", folder, Vec::new());
        Self { process }
    }

    /// What makes an nsqd register here.
    pub fn argument(&self) -> String {
        format!("--lookupd-tcp-address={}", self.process.tcp())
    }

    /// Where clients ask.
    pub fn http_address(&self) -> String {
        self.process.http().to_string()
    }

    pub fn kill(&mut self) {
        self.process.kill();
    }

    pub fn restart(&mut self) {
        self.process.begin();
    }

    /// A command, as an operator gives it: `topic/delete?topic=orders`.
    pub fn command(&self, path: &str) {
        self.process.ask("POST", path);
    }

    /// Whether it lists an nsqd for this topic.
    pub fn lists(&self, nsqd: SocketAddr, topic: &str) -> bool {
        let nodes: serde_json::Value =
            serde_json::from_str(&self.process.ask("GET", "nodes")).unwrap();
        nodes["producers"].as_array().unwrap().iter().any(|node| {
            let topics = node["topics"].as_array().unwrap();
            let tombstones = node["tombstones"].as_array().unwrap();
            let mut known = topics.iter().zip(tombstones);
            node["tcp_port"] == nsqd.port()
                && node["broadcast_address"] == nsqd.ip().to_string()
                && known.any(|(known, tombstone)| known == topic && tombstone == false)
        })
    }
}

/// Asks these, often.
pub fn discovery(lookupds: &[&Nsqlookupd]) -> Discovery {
    let mut template = Server::new("");
    // Shorter than by default: nsqds come back soon here.
    template.backoff.max = Duration::from_millis(500);
    let addresses = lookupds.iter().map(|lookupd| lookupd.http_address());
    let mut discovery = Discovery::new(addresses).with_template(template);
    discovery.poll_interval = Duration::from_millis(200);
    discovery
}
