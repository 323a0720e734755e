//! What can go wrong, and what it means for a message.

use std::{fmt, io, sync::Arc, time::Duration};

use crate::{codec::CodecError, discovery::LookupError};

/// An error that nsqd answered with: a code such as `E_BAD_MESSAGE`, and a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerError {
    /// The first word of the answer.
    pub code: String,
    /// The rest of it.
    pub text: String,
}

impl ServerError {
    /// Whether nsqd closes the connection after it: all errors but those of a late answer to a message.
    pub fn is_fatal(&self) -> bool {
        !matches!(
            self.code.as_str(),
            "E_FIN_FAILED" | "E_REQ_FAILED" | "E_TOUCH_FAILED"
        )
    }

    /// Whether nsqd could not learn what the client may do: its authentication service does not answer, or not properly.
    /// nsqd asks it again when the answer of before has expired, so this can come at any time, and passes.
    pub(crate) fn is_about_authentication_service(&self) -> bool {
        self.code == "E_AUTH_FAILED"
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.code)?;
        if !self.text.is_empty() {
            write!(f, " {}", self.text)?;
        }
        Ok(())
    }
}

impl std::error::Error for ServerError {}

/// Why a connection could not be made, or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The name was not resolved, or nobody accepted the connection.
    #[error("cannot connect to nsqd at {address}: {source}")]
    Connect {
        /// `host:port` as configured.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// A step was not done in its time.
    #[error("nsqd at {address}: {step} took longer than {limit:?}")]
    Timeout {
        /// `host:port` as configured.
        address: String,
        /// What was being waited for.
        step: &'static str,
        /// The deadline that passed.
        limit: Duration,
    },
    /// TLS is configured, and nsqd does not offer it. Give nsqd `--tls-cert` and `--tls-key`.
    #[error("nsqd at {address} does not offer TLS; start it with --tls-cert and --tls-key")]
    TlsNotOffered {
        /// `host:port` as configured.
        address: String,
    },
    /// The TLS handshake failed: an untrusted certificate, a wrong name, or nsqd refused ours.
    #[error("TLS with nsqd at {address} failed: {source}")]
    Tls {
        /// `host:port` as configured.
        address: String,
        /// What rustls says.
        source: io::Error,
    },
    /// nsqd wants to know who its clients are. Give [`Server::secret`](crate::Server::secret).
    #[error("nsqd at {address} asks for a secret (AUTH), and none is configured")]
    SecretRequired {
        /// `host:port` as configured.
        address: String,
    },
    /// nsqlookupd could not be asked which nsqd there are.
    #[error("cannot ask nsqlookupd at {address}: {source}")]
    Lookup {
        /// `host:port` as configured.
        address: String,
        /// What went wrong.
        source: LookupError,
    },
    /// nsqd answered with an error and closed the connection.
    #[error("nsqd at {address} refused: {error}")]
    Refused {
        /// `host:port` as configured.
        address: String,
        /// What it answered.
        error: ServerError,
    },
    /// nsqd closed the connection without a word.
    #[error("nsqd at {address} closed the connection")]
    Closed {
        /// `host:port` as configured.
        address: String,
    },
    /// Reading or writing failed.
    #[error("connection to nsqd at {address} broke: {source}")]
    Io {
        /// `host:port` as configured.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// The peer does not speak NSQ's protocol, or not as expected.
    #[error("nsqd at {address} sent what is not understood: {source}")]
    Protocol {
        /// `host:port` as configured.
        address: String,
        /// What was wrong.
        source: CodecError,
    },
    /// nsqd sent something that does not belong here.
    #[error("nsqd at {address} sent what was not expected: {what}")]
    Unexpected {
        /// `host:port` as configured.
        address: String,
        /// What it was.
        what: String,
    },
    /// The client's task ended with the tokio runtime it ran on.
    #[error("the runtime of the NSQ client stopped")]
    Stopped,
}

/// Why a publish was not acknowledged.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PublishError {
    /// nsqd refused it: the message is not queued, and the same again will be refused again, unless the code is
    /// `E_PUB_FAILED`, `E_DPUB_FAILED` or `E_MPUB_FAILED`: then nsqd could not write to its disk, or the topic was just being
    /// deleted.
    ///
    /// One exception: `E_MPUB_FAILED` of [`publish_many`](crate::Producer::publish_many) can mean that nsqd's disk failed
    /// halfway, with the first messages queued.
    #[error("nsqd refused the message: {0}")]
    Rejected(ServerError),
    /// The command was written, but the answer did not come: nsqd has the message, or it has not. To publish it again
    /// means that it may arrive twice.
    #[error("whether nsqd has the message is unknown: {0}")]
    Unknown(Arc<ConnectionError>),
    /// nsqd does not have the message; publishing it again makes no duplicate.
    #[error("the message was not sent: {0}")]
    NotSent(NotSent),
}

/// Why a message was not sent.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotSent {
    /// The producer holds as many messages or bytes as it is configured to.
    #[error("the producer's queue is full ({messages} messages, {bytes} bytes)")]
    QueueFull {
        /// Messages that wait or are on their way.
        messages: usize,
        /// Bytes of their bodies.
        bytes: usize,
    },
    /// It waited for a connection as long as configured.
    #[error("no connection within {limit:?}{}", last.as_ref().map(|e| format!("; {e}")).unwrap_or_default())]
    Expired {
        /// [`ProducerConfig::send_timeout`](crate::ProducerConfig::send_timeout).
        limit: Duration,
        /// Why the last connection, or the last try, ended, if there was one.
        last: Option<Arc<ConnectionError>>,
    },
    /// The producer was closed before the message could be sent.
    #[error("the producer is closed")]
    Closed,
}
