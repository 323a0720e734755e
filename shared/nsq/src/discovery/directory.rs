//! What all nsqlookupd together say, when they do not say the same.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::Node;

/// The last word of an nsqlookupd that is silent counts no longer than this after what another one said: after the same
/// time nsqlookupd itself forgets an nsqd of which it hears nothing (`--inactive-producer-timeout`).
const FORGOTTEN: Duration = Duration::from_secs(300);

/// The last answer of each nsqlookupd.
#[derive(Debug)]
pub(super) struct Directory {
    answers: Vec<Option<(Instant, Vec<Node>)>>,
}

impl Directory {
    /// Of so many nsqlookupd, none of which has answered.
    pub fn new(lookupds: usize) -> Self {
        Self {
            answers: vec![None; lookupds],
        }
    }

    /// One of them has answered.
    pub fn hear(&mut self, lookupd: usize, nodes: Vec<Node>, now: Instant) {
        if let Some(answer) = self.answers.get_mut(lookupd) {
            *answer = Some((now, nodes));
        }
    }

    /// All nsqd that at least one of them lists, by address.
    pub fn nodes(&self) -> BTreeMap<String, &Node> {
        let answers = || self.answers.iter().flatten();
        let newest = answers().map(|(heard, _)| *heard).max();
        let counts = |heard: Instant| newest.is_some_and(|newest| newest - heard < FORGOTTEN);
        answers()
            .filter(|(heard, _)| counts(*heard))
            .flat_map(|(_, nodes)| nodes)
            .filter(|node| !node.broadcast_address.is_empty() && node.tcp_port != 0)
            .map(|node| (node.address(), node))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(host: &str) -> Node {
        Node {
            broadcast_address: host.to_owned(),
            tcp_port: 4150,
            http_port: 0,
            hostname: String::new(),
            version: String::new(),
        }
    }

    fn addresses(directory: &Directory) -> Vec<String> {
        directory.nodes().into_keys().collect()
    }

    #[test]
    fn what_one_of_them_lists_counts_once() {
        let now = Instant::now();
        let mut directory = Directory::new(2);
        directory.hear(0, vec![node("a"), node("b")], now);
        directory.hear(1, vec![node("b"), node("::1")], now);
        assert_eq!(addresses(&directory), ["[::1]:4150", "a:4150", "b:4150"]);
        directory.hear(0, vec![], now);
        assert_eq!(addresses(&directory), ["[::1]:4150", "b:4150"]);
    }

    #[test]
    fn the_last_word_of_a_silent_one_counts_for_a_while_beside_the_others() {
        let now = Instant::now();
        let mut directory = Directory::new(2);
        directory.hear(0, vec![node("a")], now);
        directory.hear(1, vec![node("b")], now);
        directory.hear(1, vec![node("b")], now + FORGOTTEN / 2);
        assert_eq!(addresses(&directory), ["a:4150", "b:4150"]);
        directory.hear(1, vec![node("b")], now + FORGOTTEN);
        assert_eq!(addresses(&directory), ["b:4150"]);
    }

    #[test]
    fn while_all_are_silent_nothing_is_forgotten() {
        let mut directory = Directory::new(2);
        assert!(addresses(&directory).is_empty());
        directory.hear(0, vec![node("a")], Instant::now());
        assert_eq!(addresses(&directory), ["a:4150"]);
    }

    #[test]
    fn an_nsqd_that_cannot_be_reached_is_not_listed() {
        let mut directory = Directory::new(1);
        let unreachable = Node {
            tcp_port: 0,
            ..node("a")
        };
        directory.hear(0, vec![unreachable, node("")], Instant::now());
        assert!(addresses(&directory).is_empty());
    }
}
