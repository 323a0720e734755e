//! How data comes to a replica that has none, or none of use: as a copy of another replica's, or of the primary's.
//!
//! ```text
//! primary serves ─► promise ─► own slot there ─► is a replica near? ─yes─► copy of it ────► follow the primary
//!                                                       │no                  │failed              ▲
//!                                                       └───────────► copy of the primary ────────┘
//! ```
//!
//! A copy of a replica ends where that replica is. The slot on the primary is there before, and keeps WAL from a place
//! that the replica has passed already: whatever is missing after the copy comes from the primary.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use pgo_ids::InstanceName;
use pgo_postgres::{
    clone::{self, Source},
    files::{named, write_atomically},
    initdb::{Presence, presence},
    standby::Standby,
    upstream::Upstream,
};

use super::{
    Supervisor,
    follow::{remove, rewinding_mark},
    lenient, shown,
};
use crate::{
    ha::{
        book::{Book, Place},
        course::Told,
        lease::{self, Reading},
    },
    prepare,
    primary::{Primary, Replica},
    progress::Event,
    store::Store,
};

/// How long it may take to find a replica to copy from; after that the primary is copied.
const SEARCH: Duration = Duration::from_secs(10);

/// A replica to copy from.
struct Found {
    name: InstanceName,
    upstream: Upstream,
}

impl<S: Store> Supervisor<S> {
    /// Copies the data of the cluster. What is there goes, if it is of the same system and so is only a former state of
    /// it.
    pub(super) async fn clone_leader(&mut self) -> Result<Event, String> {
        let Some(standby) = self.standby() else {
            return Ok(self.awaited());
        };
        prepare::copy_key(&self.settings).map_err(shown)?;
        let data = self.settings.data.clone();
        let primary = match self.primary(&standby).await {
            Ok(primary) => primary,
            Err(missing) => return Ok(missing),
        };
        if let Some(missing) = self.promise_to_copy(&primary).await? {
            return Ok(missing);
        }
        match presence(&data).map_err(shown)? {
            Presence::Nothing => {}
            Presence::Data => self.discard(&data, &primary).await?,
            Presence::Foreign => {
                return Err(format!(
                    "{} is not empty and holds no PG_VERSION; move away what is in it",
                    data.display()
                ));
            }
        }
        // Before the copy begins: from here on the primary keeps what comes after it.
        primary.make_slot(&standby.slot).await.map_err(shown)?;
        self.copy(&data, &standby, &primary).await?;
        lenient::clear(&data)?;
        remove(&rewinding_mark(&data)).map_err(shown)?;
        self.helm.tell(Told::Filled);
        self.helm.copied();
        Ok(Event::Done)
    }

    /// Copies a replica if one is good, else, or if that fails, the primary.
    async fn copy(&self, data: &Path, standby: &Standby, primary: &Primary) -> Result<(), String> {
        if let Some(found) = self.replica_to_copy(standby, primary).await {
            let source = Source::Replica(&found.upstream);
            match self.copy_from(data, standby, source).await {
                Ok(took) => {
                    tracing::info!(from = %found.name, ?took, "the data of a replica was copied");
                    return Ok(());
                }
                Err(error) => {
                    tracing::warn!(from = %found.name, error, "a replica cannot be copied; the primary is");
                }
            }
        }
        let took = self.copy_from(data, standby, Source::Followed).await?;
        tracing::info!(from = %standby.upstream.address, ?took, "the data of the primary was copied");
        Ok(())
    }

    async fn copy_from(
        &self,
        data: &Path,
        standby: &Standby,
        source: Source<'_>,
    ) -> Result<Duration, String> {
        let begin = Instant::now();
        let reporter = &self.reporter;
        reporter.change(|state| state.clone_percent = 0);
        let progress = |percent| reporter.change(|state| state.clone_percent = percent);
        let copied = clone::run(self.installation()?, data, standby, source, progress).await;
        copied.map_err(shown)?;
        Ok(begin.elapsed())
    }

    /// A replica that streams from the primary and is near it, if there is one and it can be asked.
    async fn replica_to_copy(&self, standby: &Standby, primary: &Primary) -> Option<Found> {
        match tokio::time::timeout(SEARCH, self.search(standby, primary)).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                tracing::info!(error, "no replica is looked for to copy from");
                None
            }
            Err(_) => {
                tracing::info!("no replica to copy from was found in time");
                None
            }
        }
    }

    async fn search(&self, standby: &Standby, primary: &Primary) -> Result<Option<Found>, String> {
        let slots = primary.streaming_slots().await.map_err(shown)?;
        let kept = primary.kept_from(&standby.slot).await.map_err(shown)?;
        let Some(kept) = kept.filter(|_| !slots.is_empty()) else {
            return Ok(None);
        };
        let book = self.instances().await?;
        for (name, place) in candidates(&book, &slots, &self.settings.instance) {
            let upstream = Upstream {
                address: place.postgres().ip(),
                port: place.postgres().port(),
                ..standby.upstream.clone()
            };
            let replayed = match Replica::connect(&upstream, &self.tls).await {
                Ok(replica) => replica.replayed().await,
                Err(error) => Err(error),
            };
            let flushed = primary.flushed().await.map_err(shown)?.lsn;
            match replayed {
                Ok(Some(replayed)) if is_good(replayed.0, kept.0, flushed.0) => {
                    return Ok(Some(Found { name, upstream }));
                }
                Ok(replayed) => {
                    tracing::info!(%name, ?replayed, %kept, %flushed, "a replica is too far behind to be copied");
                }
                Err(error) => tracing::info!(%name, %error, "a replica cannot be copied"),
            }
        }
        Ok(None)
    }

    /// Where the instances are, by the Lease; what it says may be a little old.
    async fn instances(&self) -> Result<Book, String> {
        let lease = self.store.lease_as_cached().await.map_err(shown)?;
        let lease = lease.ok_or("there is no Lease")?;
        match lease::read(&lease, &self.settings.instance).map_err(shown)? {
            Reading::Recorded { instances, .. } => Ok(instances),
            Reading::First | Reading::Of(_) | Reading::Anew { .. } => Ok(Book::default()),
        }
    }

    /// Removes data that is of no use any more.
    async fn discard(&self, data: &Path, primary: &Primary) -> Result<(), String> {
        let mark = rewinding_mark(data);
        if !mark.exists() {
            self.check_system(data, primary).await?;
            // From here on it is incomplete.
            write_atomically(&mark, b"", 0o600).map_err(shown)?;
        }
        tracing::warn!(data = %data.display(), "the data cannot follow the primary; it is copied anew");
        named(fs::remove_dir_all(data), "remove", data).map_err(shown)
    }
}

/// The instances whose slots these are, in the order of the slots, but `me`.
fn candidates<'a>(
    book: &'a Book,
    slots: &[String],
    me: &InstanceName,
) -> Vec<(InstanceName, &'a Place)> {
    let of_slot = |slot: &String| {
        let place = book.place(&book.of_slot(slot)?)?;
        Some((place.name.parse().ok()?, place))
    };
    let found = slots.iter().filter_map(of_slot);
    found.filter(|(name, _)| name != me).collect()
}

/// How far behind a replica may be that is copied: less than one file of WAL.
const NEAR: u64 = 16 << 20;

/// Whether a copy that ends at `replayed` or later can go on by what the primary keeps, from `kept` on, and does not
/// begin far behind `flushed`.
fn is_good(replayed: u64, kept: u64, flushed: u64) -> bool {
    replayed >= kept && flushed.saturating_sub(replayed) < NEAR
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use pgo_ha::VoterId;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn book(names: &[&str]) -> Book {
        let mut book = Book::default();
        for (number, name) in (1..).zip(names) {
            let place = Place {
                name: (*name).to_owned(),
                address: SocketAddr::from(([10, 0, 0, number], 8445)),
                port: 5432,
            };
            book.learn(VoterId::from(Uuid::from_u128(number.into())), place);
        }
        book
    }

    #[test]
    fn only_instances_with_a_slot_that_streams_are_candidates_and_never_oneself() {
        let book = book(&["hippo", "hippo-aaaa", "hippo-bbbb", "hippo-cccc"]);
        let slots = [
            "pgo_hippo_cccc",
            "pgo_hippo_aaaa",
            "pgo_hippo_bbbb",
            "theirs",
        ];
        let slots = slots.map(str::to_owned);
        let me = "hippo-bbbb".parse().expect("a name");
        let found = candidates(&book, &slots, &me);
        let found: Vec<String> = found.iter().map(|(name, _)| name.to_string()).collect();
        assert_eq!(found, ["hippo-cccc", "hippo-aaaa"]);
    }

    proptest! {
        #[test]
        fn nothing_is_missing_between_the_copy_and_what_the_primary_keeps(replayed: u64, kept: u64, flushed: u64) {
            if is_good(replayed, kept, flushed) {
                prop_assert!(replayed >= kept);
                prop_assert!(flushed < NEAR || replayed > flushed - NEAR);
            }
        }
    }

    #[test]
    fn a_replica_that_has_passed_the_slot_and_is_near_is_good() {
        assert!(is_good(100, 100, 100));
        assert!(is_good(100, 40, 100 + NEAR - 1));
        assert!(!is_good(100, 40, 100 + NEAR));
        assert!(!is_good(39, 40, 100));
    }
}
