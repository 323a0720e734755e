//! `pgo watch --pgo-event-address`: 4.1's way, straight from an nsqd that speaks plain NSQ.
//!
//! Each message is printed as 4.1 prints it: the topic, a bar, and the body as it is. There is no history, no order and no
//! filter.

use std::net::Ipv6Addr;

use clap::Args;
use nsq::{ChannelName, Consumer, ConsumerConfig, Server, State, TopicName};
use rand::Rng as _;

use super::{Failure, advice::in_pgos_namespace};
use crate::output;

/// As many messages as 4.1's client takes at a time.
const MAX_IN_FLIGHT: usize = 200;

/// The flag.
#[derive(Args, Clone, Debug)]
pub struct DirectFlags {
    /// Read from this nsqd (host:port) instead of through the apiserver, as 4.1 does
    #[arg(short = 'a', long, value_name = "ADDRESS", value_parser = address)]
    pgo_event_address: Option<String>,
}

impl DirectFlags {
    /// The address, if one was given.
    pub fn address(&self) -> Option<&str> {
        self.pgo_event_address
            .as_deref()
            .filter(|address| !address.is_empty())
    }
}

/// A host, a colon and a port. Nothing is as good as no flag: scripts of 4.1 may give a variable that is empty.
fn address(text: &str) -> Result<String, String> {
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let in_brackets = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let is_host = match in_brackets {
        Some(v6) => v6.parse::<Ipv6Addr>().is_ok(),
        None => {
            let of_name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
            !host.is_empty() && host.chars().all(of_name)
        }
    };
    let is_port =
        port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    match text.is_empty() || (is_host && is_port) {
        true => Ok(text.to_owned()),
        false => Err(
            "write it as HOST:PORT, such as 127.0.0.1:4150; an IPv6 address in brackets, as [::1]:4150"
                .to_owned(),
        ),
    }
}

/// What to read, and where.
#[derive(Debug)]
pub struct Watch {
    /// `host:port`.
    pub address: String,
    /// Any topic.
    pub topic: String,
}

impl Watch {
    /// Prints messages for ever; nsqd is tried again for ever, too.
    pub async fn run(self) -> Result<(), Failure> {
        let wrong = |what: &str, error: nsq::NameError| Failure::Usage(format!("{what}: {error}"));
        let topic: TopicName = self.topic.parse().map_err(|error| wrong("topic", error))?;
        // 4.1's name: it is gone with the connection.
        let channel = format!("tail{:06}#ephemeral", rand::rng().random_range(0..999_999));
        let channel: ChannelName = channel.parse().map_err(|error| wrong("channel", error))?;
        output::note(&format!("Adding consumer for topic: {}", self.topic));
        let config = ConsumerConfig {
            max_in_flight: MAX_IN_FLIGHT,
            ..ConsumerConfig::default()
        };
        let mut consumer = Consumer::subscribe(Server::new(&self.address), topic, channel, config);
        let mut state = consumer.state();
        let mut away = false;
        loop {
            tokio::select! {
                message = consumer.next() => {
                    let Some(message) = message else {
                        return Err(Failure::Failed("the reader of nsqd ended".to_owned()));
                    };
                    let body = String::from_utf8_lossy(message.body()).into_owned();
                    output::print(&format!("{} | {}\n", self.topic, output::lines(&body)))
                        .map_err(Failure::Output)?;
                    message.finish();
                }
                changed = state.changed() => {
                    if changed.is_err() {
                        return Err(Failure::Failed("the reader of nsqd ended".to_owned()));
                    }
                    let told = state.borrow_and_update().clone();
                    self.tell(&told, &mut away);
                }
            }
        }
    }

    /// Says once that there is no connection, and what is needed for one; then, that there is one.
    fn tell(&self, state: &State, away: &mut bool) {
        let address = &self.address;
        match state {
            State::Disconnected { reason } if !std::mem::replace(away, true) => {
                let (namespace, remark) = in_pgos_namespace();
                output::note(&format!(
                    "pgo: no connection to nsqd at {address}: {reason}; trying again. It is there where PGO is installed with \
                     PGO_DIRECT_WATCH=true, and reached by a forwarded port: kubectl port-forward {namespace} deployment/direct \
                     14150:4150{remark}. Without --pgo-event-address the apiserver is read, which needs neither"
                ));
            }
            State::Connected if std::mem::take(away) => {
                output::note(&format!("pgo: connected to nsqd at {address}"));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for right in [
            "127.0.0.1:4150",
            "nsqd.example.com:4150",
            "localhost:1",
            "[::1]:4150",
            "",
        ] {
            assert_eq!(address(right).as_deref(), Ok(right));
        }
        for wrong in [
            "nohost",
            "127.0.0.1:1:2",
            "::1:4150",
            ":4150",
            "host:",
            "host:0",
            "host:70000",
            "host:+1",
            "http://host:4150",
            "[nohost]:4150",
            "a host:4150",
        ] {
            let why = address(wrong).unwrap_err();
            assert!(why.contains("HOST:PORT"), "{wrong}: {why}");
        }
    }
}
