//! Who is at the other end: what the name in a certificate of the installation's authority stands for.
//!
//! Everything that decides about callers of the event service, or of nsqd, decides by this. What whom nsqd lets do is in
//! [`crate::auth`]; what this service does for whom is [`Identity::may`].

use std::fmt;

use pgo_tls::Peer;
use tonic::{Request, Status};

/// End of the names of programs that read events and are no part of PGO.
pub const CONSUMER_SUFFIX: &str = ".consumer.pgo";

/// Who shows a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A process of PGO.
    Apiserver,
    /// A process of PGO.
    Reconciler,
    /// A process of PGO.
    Scheduler,
    /// This process, and the other replica.
    Event,
    /// The process that feeds 4.1's direct watch.
    Direct,
    /// A program outside of PGO that reads events.
    Consumer,
    /// All others: agents, nsqd, and names that nobody knows.
    Other,
}

impl Identity {
    /// Whom a name stands for. A name is compared whole, so that no agent's passes for a process's: a cluster `event` in a
    /// namespace `pgo` has the agent `event.pgo.agent.pgo`.
    #[must_use]
    pub fn of(name: &str) -> Self {
        match name {
            "apiserver.pgo" => Self::Apiserver,
            "reconciler.pgo" => Self::Reconciler,
            "scheduler.pgo" => Self::Scheduler,
            "event.pgo" => Self::Event,
            "direct.pgo" => Self::Direct,
            name => match name.strip_suffix(CONSUMER_SUFFIX) {
                Some(label) if is_label(label) => Self::Consumer,
                _ => Self::Other,
            },
        }
    }

    /// Whether this service does it for them. The other replica asks for its callers, after it has asked the same.
    #[must_use]
    pub fn may(self, what: Deed) -> bool {
        use Identity::{Apiserver, Consumer, Direct, Event, Reconciler};
        match what {
            Deed::Read => matches!(self, Apiserver | Reconciler | Event | Direct),
            // With a bound on readers, which is why programs outside of PGO read so only.
            Deed::ReadOverHttp => self == Consumer || self.may(Deed::Read),
            // The apiserver asks its users for their permissions.
            Deed::Decide => matches!(self, Apiserver | Event),
            Deed::Copy => self == Event,
        }
    }
}

/// What callers of this service want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Read the history, and hear confirmations.
    Read,
    /// Read the history over HTTP.
    ReadOverHttp,
    /// Look at dead letters, requeue and delete them.
    Decide,
    /// Copy the log.
    Copy,
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read events",
            Self::ReadOverHttp => "read events over HTTP",
            Self::Decide => "decide about dead letters",
            Self::Copy => "copy the log",
        })
    }
}

/// The name of who asks over gRPC, if they may.
///
/// # Errors
/// `unauthenticated` without a certificate with a name, `permission_denied` where the name's bearer may not.
pub fn require<T>(request: &Request<T>, what: Deed) -> Result<String, Status> {
    let peer = request.extensions().get::<Peer>();
    let name = peer
        .and_then(Peer::identity)
        .ok_or_else(|| Status::unauthenticated("no client certificate with a DNS name"))?;
    if Identity::of(&name).may(what) {
        return Ok(name);
    }
    Err(Status::permission_denied(format!(
        "the certificate's name is {name:?}, which may not {what}"
    )))
}

/// A single DNS label (RFC 1123, section 2.1).
fn is_label(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.len() <= 63 && text.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_agent_is_anybody_else(cluster in "[a-z][a-z0-9-]{0,62}", namespace in "[a-z][a-z0-9-]{0,62}") {
            let name = format!("{cluster}.{namespace}.agent.pgo");
            // A certificate's common name ends after 64 characters.
            let short: String = name.chars().take(64).collect();
            prop_assert_eq!(Identity::of(&name), Identity::Other);
            prop_assert_eq!(Identity::of(&short), Identity::Other);
        }
    }

    #[test]
    fn names_that_look_like_others_are_nobody() {
        for name in [
            "",
            "event",
            "event.pgo.",
            "EVENT.pgo",
            "x.event.pgo",
            "event.pgo.agent.pgo",
            ".consumer.pgo",
            "a.b.consumer.pgo",
            "consumer.pgo",
            "nsqd.pgo",
        ] {
            assert_eq!(Identity::of(name), Identity::Other, "{name}");
        }
        assert_eq!(Identity::of("billing.consumer.pgo"), Identity::Consumer);
        assert_eq!(Identity::of("reconciler.pgo"), Identity::Reconciler);
    }

    #[test]
    fn who_reads_by_one_way_reads_by_http_too_and_consumers_by_http_only() {
        let readers = ["apiserver.pgo", "reconciler.pgo", "event.pgo", "direct.pgo"];
        for name in readers {
            let identity = Identity::of(name);
            assert!(
                identity.may(Deed::Read) && identity.may(Deed::ReadOverHttp),
                "{name}"
            );
        }
        let consumer = Identity::of("billing.consumer.pgo");
        assert!(consumer.may(Deed::ReadOverHttp) && !consumer.may(Deed::Read));
        for name in ["scheduler.pgo", "nsqd.pgo", "hippo.pgouser1.agent.pgo"] {
            let identity = Identity::of(name);
            let deeds = [Deed::Read, Deed::ReadOverHttp, Deed::Decide, Deed::Copy];
            assert!(!deeds.iter().any(|deed| identity.may(*deed)), "{name}");
        }
    }
}
