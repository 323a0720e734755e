//! A client for [NSQ](https://nsq.io) on tokio: a [`Producer`], a [`Consumer`], and the [`codec`] by itself.
//!
//! What it is built for: a caller always knows what became of its message.
//!
//! - [`Producer::publish`] resolves to `Ok` once nsqd has acknowledged, or to a [`PublishError`] that tells apart
//!   *refused* (nsqd answered with an error), *unknown* (the connection was lost after the command was written: nsqd
//!   may have the message or not) and *not sent* (nsqd certainly does not have it).
//! - [`Consumer::next`] hands out at most `max_in_flight` messages at a time, over reconnects and over all nsqd that it reads
//!   from. A [`Message`] that is dropped without an answer goes back to nsqd.
//! - Both reconnect for ever, with exponential backoff and jitter, and tell their [`State`].
//! - Nothing waits for a timer on the hot path: commands are pipelined, and the socket is flushed when there is nothing
//!   more to write.
//! - Each wait for the network has a deadline; heartbeats are answered even while the application is busy.
//! - No bytes that a peer sends make it panic, or take more memory than [`Server::max_frame`] allows.
//!
//! ```no_run
//! use nsq::{ChannelName, Consumer, ConsumerConfig, Producer, ProducerConfig, Server, TopicName};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::new("127.0.0.1:4150");
//! let topic: TopicName = "orders".parse()?;
//! let channel: ChannelName = "billing".parse()?;
//!
//! let producer = Producer::connect(server.clone(), ProducerConfig::default());
//! producer.publish(&topic, "one coffee").await?;
//!
//! let mut consumer = Consumer::subscribe(server, topic, channel, ConsumerConfig::default());
//! if let Some(message) = consumer.next().await {
//!     println!("{} (attempt {})", String::from_utf8_lossy(message.body()), message.attempts());
//!     message.finish();
//! }
//!
//! consumer.close().await;
//! producer.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Publishing
//!
//! [`publish`](Producer::publish) takes one message, [`publish_many`](Producer::publish_many) several as one command, and
//! [`publish_deferred`](Producer::publish_deferred) one that is to be delivered later. Each takes its place in the order at
//! once and gives a future for the result, so that many can be under way:
//!
//! ```no_run
//! # async fn example(producer: nsq::Producer, topic: nsq::TopicName) -> Result<(), nsq::PublishError> {
//! let published: Vec<_> = (0..1000)
//!     .map(|number| producer.publish(&topic, number.to_string()))
//!     .collect();
//! for result in published {
//!     result.await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Handling messages
//!
//! A message is [finished](Message::finish) when its work is done, and [requeued](Message::requeue) when it has failed. nsqd
//! waits for the answer as long as [`Message::timeout`] says; work that takes longer [touches](Message::touch) the message
//! now and then, or lets [`Message::touch_while`] do it. Messages that have waited too long in this process are not handed
//! out: nsqd has given them to somebody else.
//!
//! To handle several messages at once, set [`ConsumerConfig::max_in_flight`] and give each message to a task of its own.
//!
//! - **Backoff**: after a failure the consumer asks for nothing for a while, then for one message, and only if that is
//!   handled for all again ([`ConsumerConfig::backoff`]).
//! - **Dead letters**: a message that was delivered too often is put away ([`ConsumerConfig::dead_letters`]): to a topic, or
//!   to wherever a function of yours puts it.
//! - **Closing** ([`Consumer::close`]) gives back what was not handed out and waits for the rest.
//!
//! # Several nsqd
//!
//! [`Consumer::subscribe_to_all`] reads from several nsqd, and [`Consumer::discover`] from all those that nsqlookupd lists for
//! the topic, as they come and go. A producer publishes to one nsqd, the nearest; NSQ has no notion of where a topic
//! belongs.
//!
//! # TLS, authentication, compression
//!
//! nsqd upgrades a connection to TLS inside of it, after the first command. Give the [`Server`] a rustls configuration
//! (with a client certificate if nsqd asks for one) and the name that nsqd's certificate must carry, which need not be
//! the address:
//!
//! ```no_run
//! # fn example(config: std::sync::Arc<rustls::ClientConfig>) -> Result<(), Box<dyn std::error::Error>> {
//! use nsq::{Compression, Secret, Server};
//!
//! let server = Server::new("10.0.0.7:4150")
//!     .with_tls(config, "nsqd.example".to_owned().try_into()?)
//!     .with_secret(Secret::new("correct horse")?)
//!     .with_compression(Compression::Snappy);
//! # Ok(())
//! # }
//! ```
//!
//! A server that does not offer TLS is then refused: there is no fall back to plain text. Where certificates are renewed
//! while the process runs, give a [`TlsConfig::source`] instead: each connection asks it. The secret goes only to an nsqd that
//! asks for one, and is in no `Debug` and no log. Compression is a wish: an nsqd that does not offer it is spoken with all the
//! same.
//!
//! # Guarantees
//!
//! NSQ delivers at least once and in no particular order, and nsqd's acknowledgement does not mean that a message is on
//! disk (see nsqd's `--mem-queue-size` and `--sync-every`). Message ids are new with each publish, so they cannot serve to
//! recognise a duplicate: put a key of your own into the body. This client adds no guarantee to these and takes none away.
//!
//! # Structure
//!
//! ```text
//! Producer ─► queue ─► producer task ─┐                              ┌─ codec (no I/O)
//!                                     ├─► connection ─► TCP, TLS,  ──┤
//! Consumer ◄─ inbox ◄─ link tasks ────┘   compression (deadlines,    └─ nsqd
//!    └─► answers ────────▲                heartbeats)
//!                        └── supervisor ◄── discovery ◄── nsqlookupd
//! ```

mod backoff;
pub mod codec;
mod compression;
mod connection;
mod consumer;
mod deadline;
mod discovery;
mod error;
mod name;
mod producer;
mod secret;
mod server;
mod state;

pub use compression::{Compression, DeflateLevel, DeflateLevelError};
pub use consumer::{
    Consumer, ConsumerConfig, DeadLetter, DeadLetters, Message, SampleRate, SampleRateError,
};
pub use discovery::{Discovery, LookupError, Node};
pub use error::{ConnectionError, NotSent, PublishError, ServerError};
pub use name::{ChannelName, NameError, TopicName};
pub use producer::{Producer, ProducerConfig, Publication};
pub use secret::{EmptySecret, Secret};
pub use server::{Backoff, OutputBuffer, Server, Tls, TlsConfig};
pub use state::State;

/// The examples of the README are tested with the others.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
