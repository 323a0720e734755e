//! Where the agents of a cluster are. They learn it from each other and from the Lease, so that it needs no name service.

use std::{collections::BTreeMap, net::SocketAddr};

use pgo_ha::VoterId;
use pgo_ids::InstanceName;
use serde::{Deserialize, Serialize};

/// One instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Its name.
    pub name: String,
    /// Where its agent answers.
    pub address: SocketAddr,
    /// Port of its PostgreSQL, at the same address.
    pub port: u16,
}

impl Place {
    /// Where its PostgreSQL answers.
    pub fn postgres(&self) -> SocketAddr {
        SocketAddr::new(self.address.ip(), self.port)
    }
}

/// All instances that are known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Book(BTreeMap<VoterId, Place>);

impl Book {
    /// Notes where an instance is; whether that is news. An instance that is made anew has a new identity, and its old
    /// one is nowhere any more.
    pub fn learn(&mut self, voter: VoterId, place: Place) -> bool {
        if self.0.get(&voter) == Some(&place) {
            return false;
        }
        self.0.retain(|_, known| known.name != place.name);
        self.0.insert(voter, place);
        true
    }

    /// Notes everything that another book has and this one has not: what is heard from an instance itself counts more.
    pub fn fill(&mut self, other: &Self) {
        for (voter, place) in &other.0 {
            let is_known =
                self.0.contains_key(voter) || self.0.values().any(|known| known.name == place.name);
            if !is_known {
                self.0.insert(*voter, place.clone());
            }
        }
    }

    /// Where an instance is.
    pub fn place(&self, voter: &VoterId) -> Option<&Place> {
        self.0.get(voter)
    }

    /// The identity of the instance whose replication slot has this name.
    pub fn of_slot(&self, slot: &str) -> Option<VoterId> {
        let has_slot = |place: &Place| {
            let name: Option<InstanceName> = place.name.parse().ok();
            name.is_some_and(|name| name.slot() == slot)
        };
        let found = self.0.iter().find(|(_, place)| has_slot(place));
        found.map(|(voter, _)| *voter)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&VoterId, &Place)> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn voter(number: u128) -> VoterId {
        VoterId::from(Uuid::from_u128(number))
    }

    fn place(name: &str, last: u8) -> Place {
        Place {
            name: name.to_owned(),
            address: SocketAddr::from(([10, 0, 0, last], 8445)),
            port: 5432,
        }
    }

    #[test]
    fn a_pod_that_came_back_elsewhere_is_found_there() {
        let mut book = Book::default();
        assert!(book.learn(voter(1), place("hippo", 7)));
        assert!(!book.learn(voter(1), place("hippo", 7)));
        assert!(book.learn(voter(1), place("hippo", 8)));
        assert_eq!(book.place(&voter(1)), Some(&place("hippo", 8)));
    }

    #[test]
    fn an_instance_that_was_made_anew_has_one_identity() {
        let mut book = Book::default();
        book.learn(voter(1), place("hippo", 7));
        book.learn(voter(2), place("hippo", 8));
        assert_eq!(book.iter().count(), 1);
        assert_eq!(book.of_slot("pgo_hippo"), Some(voter(2)));
    }

    #[test]
    fn what_was_heard_counts_more_than_what_was_read() {
        let mut book = Book::default();
        book.learn(voter(1), place("hippo", 8));
        let mut read = Book::default();
        read.learn(voter(1), place("hippo", 7));
        read.learn(voter(2), place("hippo-abcd", 9));
        book.fill(&read);
        assert_eq!(book.place(&voter(1)), Some(&place("hippo", 8)));
        assert_eq!(book.place(&voter(2)), Some(&place("hippo-abcd", 9)));
    }
}
