//! Who is at the other end: what the name in a certificate of the installation's authority stands for.
//!
//! Everything that decides about callers of the event service, or of nsqd, decides by this.

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
    /// This process.
    Event,
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
            name => match name.strip_suffix(CONSUMER_SUFFIX) {
                Some(label) if is_label(label) => Self::Consumer,
                _ => Self::Other,
            },
        }
    }

    /// Whether the history may be read.
    #[must_use]
    pub fn may_read(self) -> bool {
        match self {
            Self::Apiserver | Self::Reconciler | Self::Event | Self::Consumer => true,
            Self::Scheduler | Self::Other => false,
        }
    }
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
}
