//! What the services say to each other over NSQ: events from the outboxes to nsqd and their confirmations back, and news.
//!
//! ```text
//! outbox ─offer─► Relay ─Message─► Publisher (nsqd) ─► topic of its type, alltopic ─► event service, channel `history`
//!                   ▲                                                                       │
//!                   └──────────── confirm(stream, seq) ◄── follow_confirmations ◄───────────┘
//! ```
//!
//! An event is published until it is confirmed, so it is never lost and may arrive more than once; its key
//! (stream, seq) tells.
//!
//! Besides events there is news between the services, which may be lost at the cost of time: doorbells ([`Bell`],
//! [`Doorman`]) and hints that something is confirmed ([`Hint`]).

mod announcer;
mod confirmations;
mod dead;
mod doorbell;
mod drain;
mod hints;
mod history;
mod message;
mod publisher;
mod relay;
mod server;

pub use announcer::{Announcer, Listener};
pub use confirmations::follow_confirmations;
pub use dead::{DEAD_CHANNEL, DEAD_TOPIC, DeadLetter, LONGEST_BODY, Undertaker, dead_consumer};
pub use doorbell::{Bell, COMMANDS_TOPIC, Doorbell, Doorbells, Doorman, Kind};
pub use drain::{DRAIN_CHANNEL, drain, drained_topics};
pub use hints::{CONFIRM_TOPIC, Hint, follow_hints};
pub use history::{HISTORY_CHANNEL, history_consumer};
pub use message::{Message, NotAnEvent};
pub use publisher::{NsqPublisher, PublishFailed, Publisher};
pub use relay::{Relay, backlog};
pub use server::{NSQD, SECRET, ServerUnusable, server};

#[cfg(test)]
mod tests {
    use pgo_events::{Draft, Event, EventType};
    use pgo_ids::{EventKey, Seq};

    pub(crate) fn event(stream: &str, seq: u64) -> Event {
        let stream = stream.parse().expect("a stream");
        let draft = Draft {
            event_type: EventType::CreateClusterProgress,
            time: "2026-10-15T10:11:12.5Z".parse().expect("a time"),
            namespace: "pgouser1".parse().expect("a namespace"),
            cluster: Some("hippo".parse().expect("a name")),
            operation: "25927091-b343-4017-be4b-71575f0b3eb5"
                .parse()
                .expect("an id"),
            actor: "pgoadmin".to_owned(),
            step: None,
            cause: None,
            duration_ms: None,
            details: std::collections::BTreeMap::new(),
        };
        Event::new(
            draft,
            EventKey {
                stream,
                seq: Seq(seq),
            },
        )
    }
}
