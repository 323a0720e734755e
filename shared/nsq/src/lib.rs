//! A client for [NSQ](https://nsq.io): a codec, a [`Producer`] and a [`Consumer`], on tokio.
//!
//! What it is built for: a caller always knows what became of its message.
//!
//! - [`Producer::publish`] resolves to `Ok` once nsqd has acknowledged, or to a [`PublishError`] that tells apart
//!   *refused* (nsqd answered with an error), *unknown* (the connection was lost after the command was written: nsqd
//!   may have the message or not) and *not sent* (nsqd certainly does not have it).
//! - [`Consumer::next`] hands out at most `max_in_flight` messages at a time, over reconnects too. A [`Message`] that is
//!   dropped without an answer goes back to nsqd.
//! - Both reconnect for ever, with exponential backoff and jitter, and tell their [`State`].
//! - Nothing waits for a timer on the hot path: commands are pipelined, and the socket is flushed when there is nothing
//!   more to write.
//! - Each wait for the network has a deadline; heartbeats are answered even while the application is busy.
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
//! # TLS
//!
//! nsqd upgrades a connection to TLS inside of it, after the first command. Give the [`Server`] a rustls configuration
//! (with a client certificate if nsqd asks for one) and the name that nsqd's certificate must carry, which need not be
//! the address:
//!
//! ```no_run
//! # fn example(config: std::sync::Arc<rustls::ClientConfig>) -> Result<(), Box<dyn std::error::Error>> {
//! let server = nsq::Server::new("10.0.0.7:4150").with_tls(config, "nsqd.example".to_owned().try_into()?);
//! # Ok(())
//! # }
//! ```
//!
//! A server that does not offer TLS is then refused: there is no fall back to plain text.
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
//!                                     ├─► connection ─► TCP or TLS ──┤
//! Consumer ◄─ inbox ◄─ consumer task ─┘   (deadlines, heartbeats)    └─ nsqd
//!    └─► answers ──────────▲
//! ```

mod backoff;
pub mod codec;
mod compression;
mod connection;
mod consumer;
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
pub use server::{Backoff, OutputBuffer, Server, Tls};
pub use state::State;
