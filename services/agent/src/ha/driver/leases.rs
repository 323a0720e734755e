//! Requests for the Lease: one at a time, each with an end.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use pgo_ha::{Input, Record, Server, Version, VoterId};
use tokio::time::timeout;

use super::{Driver, DriverError, Event, release};
use crate::{
    ha::{
        clock,
        lease::{self, Cause, Reading, Takeover, Wishes},
    },
    store::{Store, Written},
};

/// How long a request may take; then nothing is known of it.
const DEADLINE: Duration = Duration::from_secs(1);

/// Time between two looks at what is wanted of a primary. At a thousand clusters 200 reads a second, which the API server
/// answers from memory.
const WISHES: Duration = Duration::from_secs(5);

/// How a request ended.
#[derive(Debug)]
pub enum Ended {
    /// The Lease was read.
    Read(Lease),
    /// There is none.
    Missing,
    /// It was written as asked.
    Written(Lease),
    /// The first record of the cluster was written.
    Begun(Lease),
    /// Its version is another one.
    Conflict,
    /// Nothing is known: it failed, or had no answer in time.
    Unknown(String),
}

/// What is written: the first record, or one that follows another.
pub(super) enum Write {
    First,
    Next,
}

impl<S: Store> Driver<S> {
    pub(super) fn read_lease(&self) {
        let store = self.parts.store.clone();
        self.request(async move {
            match store.lease().await {
                Ok(Some(lease)) => Ended::Read(lease),
                Ok(None) => Ended::Missing,
                Err(error) => Ended::Unknown(error.to_string()),
            }
        });
    }

    pub(super) fn write_lease(&self, expected: &Version, record: &Record) {
        match &self.lease {
            Some(lease) => self.write(lease, expected, record, Write::Next),
            None => self.ended(Ended::Unknown("the Lease was never read".to_owned())),
        }
    }

    pub(super) fn write(&self, lease: &Lease, expected: &Version, record: &Record, which: Write) {
        let me = (&self.parts.me, self.agent.me);
        let takeover = self.takeover(record);
        let facts = (takeover.as_ref(), Timestamp::now());
        let lease = match lease::written(lease, expected, record, &self.book, me, facts) {
            Ok(lease) => lease,
            Err(error) => return self.ended(Ended::Unknown(error.to_string())),
        };
        let store = self.parts.store.clone();
        self.request(async move { put(&store, &lease, which).await });
    }

    /// The change of the primary that `record` is, if it is one.
    fn takeover(&self, record: &Record) -> Option<Takeover> {
        let former = self.agent.seen.as_ref()?.record.holder;
        let name = |voter| {
            self.book
                .place(voter)
                .map_or_else(String::new, |place| place.name.clone())
        };
        let start = record.start();
        let words = self.words_of_release();
        (former != record.holder).then(|| Takeover {
            term: record.term.0,
            from: name(&former),
            to: self.parts.me.to_string(),
            cause: match &words {
                Some(_) => Cause::Released,
                None => Cause::Lost,
            },
            lost: words
                .as_ref()
                .and_then(|words| release::lost(words, start.from)),
            unfit: words.as_ref().and_then(|words| words.unfit.clone()),
            former_timeline: Some(start.from.timeline.0),
            timeline: start.timeline.0,
            lsn: start.from.lsn.to_string(),
            heard: self.heard,
            at: Timestamp::now(),
        })
    }

    fn request(&self, request: impl Future<Output = Ended> + Send + 'static) {
        let sender = self.sender.clone();
        let begin = Instant::now();
        tokio::spawn(async move {
            let ended = timeout(DEADLINE, request).await;
            if let Ok(Ended::Written(_)) = &ended {
                tracing::info!(
                    millis = begin.elapsed().as_millis(),
                    "the Lease was written"
                );
            }
            let late = |_| Ended::Unknown(format!("no answer within {} s", DEADLINE.as_secs()));
            let _ = sender.send(Event::Lease(Box::new(ended.unwrap_or_else(late))));
        });
    }

    fn ended(&self, ended: Ended) {
        let _ = self.sender.send(Event::Lease(Box::new(ended)));
    }

    pub(super) async fn lease_ended(&mut self, ended: Ended) -> Result<(), DriverError> {
        let input = match ended {
            Ended::Read(lease) => match lease::read(&lease, &self.parts.me) {
                Ok(Reading::Recorded { record, .. })
                    if self.is_apart() && record.holder != self.agent.me =>
                {
                    self.others_go_on()
                }
                Ok(reading @ Reading::Recorded { .. }) => self.recorded(lease, reading)?,
                Ok(reading) => match self.found_empty(&lease, reading) {
                    Some(input) => input,
                    None => return Ok(()),
                },
                Err(error) => {
                    tracing::error!(%error, "the Lease is not understood");
                    self.wait_for(error.to_string());
                    Input::LeaseUnknown
                }
            },
            Ended::Begun(lease) => match lease::read(&lease, &self.parts.me) {
                Ok(reading) => self.recorded(lease, reading)?,
                Err(_) => Input::LeaseUnknown,
            },
            Ended::Written(lease) => {
                let version = lease::version(&lease);
                match lease::read(&lease, &self.parts.me) {
                    Ok(reading) => self.learn(&reading),
                    Err(error) => tracing::error!(%error, "the Lease is not understood"),
                }
                self.lease = Some(lease);
                Input::LeaseWritten { version }
            }
            Ended::Conflict => Input::LeaseConflict,
            Ended::Missing => {
                self.wait_for("the cluster has no Lease yet; the reconciler makes it".to_owned());
                Input::LeaseUnknown
            }
            Ended::Unknown(reason) => {
                tracing::warn!(reason, "the Lease cannot be read or written");
                self.wait_for(format!("the Lease cannot be read or written: {reason}"));
                Input::LeaseUnknown
            }
        };
        self.wished(self.wishes.clone()).await?;
        self.step(input).await
    }

    /// Takes over what a holder saw of the Lease, which it has no reason of its own to read. Where it records nothing, the
    /// protocol finds that out when it writes.
    ///
    /// Whoever is granted by hears from a primary which version of the Lease it has written, and of no other one: where
    /// something else is wanted, the primary writes it once more. Else the others read it first when the primary is gone, and
    /// the wait for it would begin only then.
    pub(super) async fn looked(
        &mut self,
        wishes: Wishes,
        records: bool,
    ) -> Result<(), DriverError> {
        let is_known = wishes == self.wishes;
        self.wished(wishes).await?;
        if (records && is_known) || self.agent.server != Server::Primary {
            return Ok(());
        }
        self.step(Input::Outdated).await
    }

    /// Takes over what is wanted of the instances.
    pub(super) async fn wished(&mut self, wishes: Wishes) -> Result<(), DriverError> {
        let all = self.book.iter();
        let preferred = all.filter(|(_, place)| wishes.preferred.contains(&place.name));
        let preferred: BTreeSet<VoterId> = preferred.map(|(voter, _)| *voter).collect();
        let autofail = wishes.autofail;
        self.wishes = wishes;
        if self.agent.preferred != preferred {
            self.step(Input::Preferred(preferred)).await?;
        }
        if self.agent.autofail == autofail {
            return Ok(());
        }
        self.step(Input::Autofail(autofail)).await
    }

    /// Names of those that are preferred, in their order.
    pub(super) fn preferred(&self) -> Vec<String> {
        let places = self.agent.preferred.iter();
        let places = places.filter_map(|voter| self.book.place(voter));
        let mut names: Vec<String> = places.map(|place| place.name.clone()).collect();
        names.sort_unstable();
        names
    }

    /// Looks whether something else is wanted of a holder, which has no reason of its own to read the Lease.
    pub(super) fn look_for_wishes(&mut self) {
        let now = clock::now();
        if !self.agent.holds() || now.since(self.looked) < WISHES {
            return;
        }
        self.looked = now;
        let (store, sender) = (self.parts.store.clone(), self.sender.clone());
        tokio::spawn(async move {
            if let Ok(Ok(Some(lease))) = timeout(DEADLINE, store.lease_as_cached()).await {
                let wished = Event::Wished(lease::wishes(&lease), lease::records(&lease));
                let _ = sender.send(wished);
            }
        });
    }

    fn recorded(&mut self, lease: Lease, reading: Reading) -> Result<Input, DriverError> {
        self.learn(&reading);
        Ok(match reading {
            Reading::Recorded {
                version,
                record,
                wishes,
                ..
            } => {
                self.parts.volume.belongs_to(lease::cluster(&lease))?;
                self.wishes = wishes;
                self.lease = Some(lease);
                self.lease_is_lost = false;
                Input::LeaseRead { version, record }
            }
            Reading::First | Reading::Of(_) | Reading::Anew { .. } => Input::LeaseUnknown,
        })
    }

    /// Has a primary record where the instances are, when one of them is elsewhere: once the primary is gone, one that starts
    /// has only the Lease to find the others by.
    pub(super) async fn want_places(&mut self) -> Result<(), DriverError> {
        let leads = self.agent.server == Server::Primary;
        if !leads || self.agent.outdated || !self.is_elsewhere() {
            return Ok(());
        }
        self.step(Input::Outdated).await
    }

    /// Whether a member is not where the Lease says.
    fn is_elsewhere(&self) -> bool {
        let seen = self.agent.seen.as_ref();
        let voters = seen.map(|seen| &seen.record.voters);
        let mut members = voters.into_iter().flatten().chain([&self.agent.me]);
        members.any(|member| {
            let place = self.book.place(member);
            place.is_some() && place != self.recorded.place(member)
        })
    }
}

async fn put(store: &Arc<impl Store>, lease: &Lease, which: Write) -> Ended {
    match (store.write_lease(lease).await, which) {
        (Ok(Written::Done(lease)), Write::Next) => Ended::Written(lease),
        (Ok(Written::Done(lease)), Write::First) => Ended::Begun(lease),
        (Ok(Written::Conflict), Write::Next) => Ended::Conflict,
        // Somebody else wrote it first: it is read again with the next tick.
        (Ok(Written::Conflict), Write::First) => Ended::Unknown("written meanwhile".to_owned()),
        (Err(error), _) => Ended::Unknown(error.to_string()),
    }
}
