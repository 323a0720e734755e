//! Who is compared with whom.

use serde_json::json;

use crate::{
    harness::Cluster,
    patroni::{Pace, Patroni},
    subject::Subject,
};

/// A column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Pgo,
    /// As it comes.
    Patroni,
    /// As fast as it may be set.
    PatroniTuned,
}

impl Peer {
    /// In the order of the columns.
    pub const ALL: [Self; 3] = [Self::Pgo, Self::Patroni, Self::PatroniTuned];

    /// Its name in the book.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pgo => "pgo",
            Self::Patroni => "patroni",
            Self::PatroniTuned => "patroni-tuned",
        }
    }

    /// What stands above its column.
    pub fn title(self) -> String {
        match self {
            Self::Pgo => "PGO".to_owned(),
            Self::Patroni => format!("Patroni, {}", Pace::DEFAULT),
            Self::PatroniTuned => format!("Patroni, {}", Pace::FASTEST),
        }
    }

    /// Three instances of it, ready; they go with the value.
    pub fn begin(self) -> Box<dyn Subject> {
        match self {
            Self::Pgo => Box::new(Cluster::of_three("bench-failover", &json!({}))),
            Self::Patroni => Box::new(Patroni::begin(Pace::DEFAULT)),
            Self::PatroniTuned => Box::new(Patroni::begin(Pace::FASTEST)),
        }
    }
}
