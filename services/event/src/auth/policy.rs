//! Who may publish and subscribe to what on nsqd, by the identity in the certificate.

use pgo_bus::HISTORY_CHANNEL;
use pgo_events::Topic;
use serde::Serialize;

use crate::identity::Identity;

/// Topics by which PGO's processes wake each other.
const DOORBELLS: &str = r"^pgo\.(commands|confirm)$";

/// Where messages go that nobody could handle.
const DEAD: &str = r"^pgo\.dead$";

/// A channel that takes what nobody else reads, so that it does not fill nsqd's volume.
const DRAIN: &str = "^drain#ephemeral$";

/// Any text, the empty one too: a publication has no channel, and nsqd looks for an expression that fits the empty one.
const ANY: &str = "^.*$";

/// One permission, as nsqd reads it: both expressions are Go's, and fit anywhere in a text unless they are bound to its ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Authorization {
    /// Topics.
    pub topic: String,
    /// Channels.
    pub channels: Vec<String>,
    /// `publish`, `subscribe`.
    pub permissions: Vec<&'static str>,
}

fn publish(topic: &str) -> Authorization {
    Authorization {
        topic: topic.to_owned(),
        channels: vec![ANY.to_owned()],
        permissions: vec!["publish"],
    }
}

fn subscribe(topic: &str, channels: &[&str]) -> Authorization {
    Authorization {
        topic: topic.to_owned(),
        channels: channels.iter().map(|&channel| channel.to_owned()).collect(),
        permissions: vec!["subscribe"],
    }
}

/// What a client may do. Nothing: nsqd closes its connection.
#[must_use]
pub fn authorizations(identity: Identity) -> Vec<Authorization> {
    match identity {
        // The outboxes are the reconciler's, and so is every event.
        Identity::Reconciler => vec![publish(ANY), subscribe(DOORBELLS, &[ANY])],
        // To publish: dead letters go back to where they came from.
        Identity::Event => vec![
            publish(ANY),
            subscribe(&whole(Topic::All.as_str()), &[&whole(HISTORY_CHANNEL)]),
            subscribe(DEAD, &[ANY]),
            subscribe(DOORBELLS, &[ANY]),
            subscribe(&own_topics(), &[DRAIN]),
        ],
        Identity::Apiserver | Identity::Scheduler => vec![
            publish(DOORBELLS),
            publish(DEAD),
            subscribe(DOORBELLS, &[ANY]),
        ],
        Identity::Consumer => consumer(),
        // Its own nsqd is another one, which asks nobody.
        Identity::Direct | Identity::Other => Vec::new(),
    }
}

/// All events, on channels of their own: who read from the history's would take its messages.
fn consumer() -> Vec<Authorization> {
    vec![
        subscribe(&own_topics(), &[ANY]),
        Authorization {
            topic: whole(Topic::All.as_str()),
            channels: all_but(HISTORY_CHANNEL),
            permissions: vec!["subscribe"],
        },
    ]
}

/// The topics of events besides the one that all are on.
fn own_topics() -> String {
    let topics = Topic::ALL.iter().filter(|topic| **topic != Topic::All);
    let names: Vec<&str> = topics.map(|topic| topic.as_str()).collect();
    format!("^({})$", names.join("|"))
}

/// Fits this text and no other; names of topics and channels have no signs of expressions but the dot.
fn whole(name: &str) -> String {
    format!("^{}$", name.replace('.', r"\."))
}

/// Fits every text but this one of lower-case letters. Go's expressions cannot say "not", so each way to differ is one:
/// shorter, another letter at some place, longer.
fn all_but(word: &str) -> Vec<String> {
    let differs = word.char_indices().map(|(at, letter)| {
        let before = &word[..at];
        format!("^{before}([^{letter}].*)?$")
    });
    differs.chain([format!("^{word}.+$")]).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex::Regex;

    use super::*;

    /// As nsqd decides (`internal/auth/authorizations.go` of 1.3.0); a publication has no channel.
    fn allows(identity: Identity, topic: &str, channel: &str) -> bool {
        let permission = if channel.is_empty() {
            "publish"
        } else {
            "subscribe"
        };
        let fits = |expression: &String, text: &str| {
            Regex::new(expression)
                .expect("an expression")
                .is_match(text)
        };
        authorizations(identity).iter().any(|one| {
            one.permissions.contains(&permission)
                && fits(&one.topic, topic)
                && one
                    .channels
                    .iter()
                    .any(|expression| fits(expression, channel))
        })
    }

    proptest! {
        #[test]
        fn a_consumer_may_use_every_channel_but_that_of_the_history(
            channel in prop_oneof!["[.a-zA-Z0-9_-]{1,64}", "h[a-z]{0,8}", "histor[a-z]{0,2}", "history[a-z#]{0,3}"],
        ) {
            prop_assert_eq!(allows(Identity::Consumer, "alltopic", &channel), channel != "history");
            prop_assert!(allows(Identity::Consumer, "clustertopic", &channel));
        }

        #[test]
        fn who_is_nobody_may_do_nothing(topic in "[a-z.]{1,20}", channel in "[a-z]{0,8}") {
            prop_assert!(!allows(Identity::Other, &topic, &channel));
        }
    }

    #[test]
    fn each_may_do_what_its_work_needs_and_no_more() {
        use Identity::{Apiserver, Consumer, Event, Reconciler, Scheduler};
        let cases = [
            (Reconciler, "alltopic", "", true),
            (Reconciler, "pgo.confirm", "", true),
            (Reconciler, "pgo.commands", "reconciler", true),
            (Reconciler, "alltopic", "history", false),
            (Event, "alltopic", "history", true),
            (Event, "alltopic", "other", false),
            (Event, "clustertopic", "drain#ephemeral", true),
            (Event, "clustertopic", "mine", false),
            (Event, "pgo.dead", "kept", true),
            (Event, "clustertopic", "", true),
            (Apiserver, "pgo.commands", "", true),
            (Apiserver, "alltopic", "", false),
            (Apiserver, "alltopic", "history", false),
            (Scheduler, "pgo.commands", "scheduler", true),
            (Scheduler, "pgo.commands2", "", false),
            (Scheduler, "xpgo.commands", "", false),
            (Scheduler, "pgoxcommands", "", false),
            (Consumer, "alltopic", "", false),
            (Consumer, "pgo.commands", "mine", false),
            (Consumer, "pgo.dead", "mine", false),
            (Consumer, "pgousertopic", "mine", true),
        ];
        for (identity, topic, channel, expected) in cases {
            assert_eq!(
                allows(identity, topic, channel),
                expected,
                "{identity:?} on {topic}/{channel}"
            );
        }
    }
}
