//! WAL that a primary keeps for a replica that is away has a bound, so that its volume does not run full: it is told when a
//! replica is about to lose what it needs, and when it has.
//!
//! What was lost is mended without anybody: the replica finds that its WAL is gone, and is copied anew (`RewindReplica`).

use std::collections::BTreeMap;

use jiff::Timestamp;
use pgo_events::{Datum, EventType, Field};
use pgo_ids::InstanceName;
use serde::{Deserialize, Serialize};

use crate::{
    Cluster, ClusterStatus, Observed,
    journal::{Details, Notice},
    wal,
};

/// PostgreSQL's word for what a slot keeps (`pg_replication_slots.wal_status`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WalStatus {
    /// As much as is kept anyway, or more and less than the bound; also where PostgreSQL has no word for it: before release 13
    /// there is no bound.
    #[default]
    Kept,
    /// More than is kept anyway, and less than the bound.
    Extended,
    /// More than the bound: what is too much goes with the next checkpoint.
    Unreserved,
    /// What was needed is gone.
    Lost,
}

impl WalStatus {
    /// By the word.
    #[must_use]
    pub fn read(word: &str) -> Self {
        match word {
            "extended" => Self::Extended,
            "unreserved" => Self::Unreserved,
            "lost" => Self::Lost,
            _ => Self::Kept,
        }
    }
}

/// What was told of the WAL that is kept for an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum KeptWal {
    /// It is about to go.
    AtRisk,
    /// It is gone.
    Lost,
}

/// Tells of each instance once what becomes of the WAL that is kept for it.
pub(crate) fn commit(
    next: &mut ClusterStatus,
    cluster: &Cluster,
    observed: &Observed,
    now: Timestamp,
) {
    let primary = observed.serving_primary();
    let Some(primary) = primary.and_then(|primary| observed.agent(primary)) else {
        // Nobody keeps WAL, so what was said stays until somebody does.
        return;
    };
    let former = std::mem::take(&mut next.kept_wal);
    let first = next.first(&cluster.name);
    let replicas = next.replicas.iter().filter(|known| !known.leaving);
    let instances = replicas.map(|known| known.name.clone()).chain([first]);
    let mut kept_wal = BTreeMap::new();
    for instance in instances.collect::<Vec<_>>() {
        let slot = instance.slot();
        let mut followers = primary.followers.iter();
        let follower = followers.find(|follower| follower.slot == slot);
        let told = former.get(&instance).copied();
        let state = match follower.map(|follower| follower.wal) {
            Some(WalStatus::Lost) => Some(KeptWal::Lost),
            Some(WalStatus::Unreserved) => Some(KeptWal::AtRisk),
            // It may be too much again with the next write: told once is enough.
            Some(WalStatus::Extended) => told.filter(|told| *told == KeptWal::AtRisk),
            Some(WalStatus::Kept) | None => None,
        };
        let Some(state) = state else {
            continue;
        };
        if told != Some(state) {
            let bytes = follower.map_or(0, |follower| follower.kept_bytes);
            let details = wal::standing(observed, &instance);
            let notice = notice((&instance, details), state, bytes, now);
            next.journal.tell(cluster.subject(), notice, now);
        }
        kept_wal.insert(instance, state);
    }
    next.kept_wal = kept_wal;
}

fn notice(
    (instance, standing): (&InstanceName, Details),
    state: KeptWal,
    bytes: u64,
    now: Timestamp,
) -> Notice {
    let (event_type, cause) = match state {
        KeptWal::AtRisk => (
            EventType::ReplicaWalAtRisk,
            format!(
                "the primary keeps {} MiB of WAL for {instance}, more than max_slot_wal_keep_size: what is too much goes with \
                 the next checkpoint",
                bytes >> 20
            ),
        ),
        KeptWal::Lost => (
            EventType::ReplicaWalLost,
            format!(
                "{instance} was behind by more than max_slot_wal_keep_size: the primary has let its WAL go, and {instance} \
                 copies its data anew when it is back"
            ),
        ),
    };
    let replica = (Field::ReplicaName, Datum::Text(instance.to_string()));
    Notice {
        event_type,
        about: format!("{} {instance} at {now}", event_type.as_str()),
        time: None,
        cause,
        since: None,
        details: [replica].into_iter().chain(standing).collect(),
    }
}
