//! The replica that leads: a record counts once every replica that is in sync has it on disk.
//!
//! ```text
//! write (own disk) ─► the other asks for what follows, which says that it has it ─► commit ─► confirmed
//!                        │ not in time: written to the register that this one is alone (degraded) ─► commit
//!                        └ the register says that somebody else leads ─► nothing is confirmed any more
//! ```
//!
//! A replica that has just opened its log asks the other one first whether it has more (`gather`).

mod gather;
mod judge;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use pgo_proto::event::{CopyBatch, CopyRequest, CopyResponse, copy_response::What};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tonic::Status;

use super::{
    convert,
    register::{Register, Roster, Version},
};
use crate::log::{self, Log, Offset, Term};

pub use gather::Reach;
pub(super) use judge::is_for_the_first;
use judge::{behind, fits, go_on_without, to_ask};

/// How long a record waits for the other replica before this one goes on alone.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// Pause after the register could not be written.
const PAUSE: Duration = Duration::from_millis(500);

/// A replica that has asked within this time is following; it asks every second at least.
const LATELY: Duration = Duration::from_secs(3);

/// Records of an answer.
const CHUNK: usize = 512;

/// Somebody else leads now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("another replica leads now")]
pub struct Fenced;

/// Why this replica cannot lead.
#[derive(Debug, thiserror::Error)]
pub enum CannotLead {
    /// The other one has records that count and are not here.
    #[error("replica {0} has events that this one has not")]
    Behind(String),
    /// Nobody has led yet, and this replica is neither the first one nor has anything.
    #[error("no replica has led yet, and the first one begins")]
    NotTheFirst,
    /// The register.
    #[error(transparent)]
    Register(#[from] super::register::RegisterError),
    /// Somebody else was faster.
    #[error("another replica was faster")]
    Faster,
    /// The own log.
    #[error(transparent)]
    Log(#[from] log::Error),
}

/// A leadership.
#[derive(Debug)]
pub struct Leading {
    log: Arc<Log>,
    me: String,
    term: Term,
    after_another: bool,
    register: Arc<dyn Register>,
    /// Held over a change of the register.
    roster: tokio::sync::Mutex<(Roster, Version)>,
    quorum: Mutex<Quorum>,
    /// Rises with each change of the quorum.
    news: watch::Sender<u64>,
    patience: Duration,
}

#[derive(Debug, Default)]
struct Quorum {
    /// Replicas besides this one that must have a record before it counts.
    required: BTreeSet<String>,
    /// Those of them of which the register says so.
    noted: BTreeSet<String>,
    /// Those that asked.
    followers: BTreeMap<String, Follower>,
    /// What counts.
    committed: Has,
    /// The newest change of dead letters; the first one is the leadership itself.
    letters: Change,
    fenced: bool,
    /// What the others have, while that is asked.
    asked: Option<BTreeMap<String, CopyRequest>>,
}

impl Quorum {
    /// Of a replica that leads from now on: what it has counts, once those have been asked that have as much.
    fn begin(end: Offset, others: BTreeSet<String>) -> Self {
        let letters = 1;
        Self {
            committed: Has { end, letters },
            letters,
            asked: (!others.is_empty()).then(BTreeMap::new),
            noted: others.clone(),
            required: others,
            ..Self::default()
        }
    }
}

/// Number of a change of dead letters in a leadership, from 1 on; 0 is none.
pub type Change = u64;

/// Up to where a replica has everything.
#[derive(Clone, Copy, Debug, Default)]
struct Has {
    /// Records before this offset.
    end: Offset,
    /// Dead letters as they are after this change.
    letters: Change,
}

impl Has {
    fn covers(self, other: Self) -> bool {
        self.end >= other.end && self.letters >= other.letters
    }

    fn and(self, other: Self) -> Self {
        Self {
            end: self.end.max(other.end),
            letters: self.letters.max(other.letters),
        }
    }

    fn of(request: &CopyRequest) -> Self {
        Self {
            end: request.end,
            letters: request.letters,
        }
    }
}

/// A replica that asked.
#[derive(Debug)]
struct Follower {
    has: Has,
    /// Where it can be asked.
    address: String,
    /// When it asked last.
    heard: Instant,
}

impl Leading {
    /// Takes the leadership over; `forced` also where the other replica had more, in a new epoch then. Where nobody has led
    /// yet, nothing forces an empty replica that is not the first: the first one's volume may be full of events that were
    /// written before there were two. Nothing may be written before [`Self::gather`] has returned.
    ///
    /// # Errors
    /// Others must lead, or it cannot be known.
    pub async fn take_over(
        log: Arc<Log>,
        register: Arc<dyn Register>,
        me: (String, String),
        forced: bool,
        patience: Duration,
    ) -> Result<Self, CannotLead> {
        let (me, address) = me;
        let found = register.read().await?;
        let (former, version) = found.map_or((None, None), |(r, v)| (Some(r), Some(v)));
        let behind = match &former {
            Some(roster) => behind(&log, roster, &me),
            None if is_for_the_first(&log, &me) => return Err(CannotLead::NotTheFirst),
            None => None,
        };
        if let Some(other) = behind.clone().filter(|_| !forced) {
            return Err(CannotLead::Behind(other));
        }
        let (end, last_term) = log.tip();
        let mut lineage = log.lineage();
        if behind.is_some() {
            lineage.begin(end);
        }
        let others = former.as_ref().filter(|_| behind.is_none());
        let others = others.map_or_else(BTreeSet::new, |roster| to_ask(&log, roster, &me));
        let mut in_sync = others.clone();
        in_sync.insert(me.clone());
        let roster = Roster {
            term: former
                .as_ref()
                .map_or(0, |roster| roster.term)
                .max(last_term)
                + 1,
            leader: me.clone(),
            address,
            epoch: lineage.epoch().to_owned(),
            in_sync,
        };
        let written = register.write(&roster, version.as_ref()).await?;
        let version = written.ok_or(CannotLead::Faster)?;
        if let Some(other) = behind {
            go_on_without(&log, &other, lineage).await?;
        }
        let after_another = former.is_some_and(|former| former.leader != me);
        Ok(Self {
            quorum: Mutex::new(Quorum::begin(log.end(), others)),
            log,
            me,
            term: roster.term,
            after_another,
            register,
            roster: tokio::sync::Mutex::new((roster, version)),
            news: watch::Sender::new(0),
            patience,
        })
    }

    /// The term that its records have.
    pub fn term(&self) -> Term {
        self.term
    }

    /// Whether another replica led before.
    pub fn is_after_another(&self) -> bool {
        self.after_another
    }

    /// Replicas besides this one that have everything.
    pub fn in_sync(&self) -> BTreeSet<String> {
        self.quorum().noted.clone()
    }

    /// Where the other replica can be asked, if it was heard.
    pub fn other(&self) -> Option<String> {
        let quorum = self.quorum();
        let mut followers = quorum.followers.values();
        followers.next().map(|follower| follower.address.clone())
    }

    /// Whether somebody else leads now, as far as this one knows.
    pub fn is_fenced(&self) -> bool {
        self.quorum().fenced
    }

    /// Returns when records before `end` are safe, and lets them count.
    ///
    /// # Errors
    /// Somebody else leads now; whether they will count is for it to say.
    pub async fn safe(&self, end: Offset) -> Result<(), Fenced> {
        self.until_safe(Has { end, letters: 0 }).await?;
        self.log.commit(end);
        self.tell();
        Ok(())
    }

    /// The newest change of dead letters. Whoever reads them after that has it.
    pub fn letters(&self) -> Change {
        self.quorum().letters
    }

    /// Returns when the dead letters are safe as they are on the own disk now.
    ///
    /// # Errors
    /// Somebody else leads now, and its letters are those that count.
    pub async fn letters_changed(&self) -> Result<(), Fenced> {
        let letters = {
            let mut quorum = self.quorum();
            quorum.letters += 1;
            quorum.letters
        };
        self.tell();
        self.until_safe(Has { end: 0, letters }).await
    }

    async fn until_safe(&self, what: Has) -> Result<(), Fenced> {
        self.gathered().await;
        let mut news = self.news.subscribe();
        loop {
            let waiting = timeout(self.patience, async {
                while !self.have_it(what)? {
                    // The sender is this value's own.
                    let _ = news.changed().await;
                }
                Ok(())
            });
            match waiting.await {
                Ok(done) => return done,
                Err(_) => {
                    let gone = self.go_on_alone().await?;
                    if !gone.is_empty() {
                        tracing::warn!(
                            ?gone,
                            "the other replica does not answer; events are confirmed by this one alone"
                        );
                    }
                }
            }
        }
    }

    /// Whether all that must have it have it. It counts from that moment.
    fn have_it(&self, what: Has) -> Result<bool, Fenced> {
        let mut quorum = self.quorum();
        if quorum.fenced {
            return Err(Fenced);
        }
        let has = |name: &String| {
            let follower = quorum.followers.get(name);
            follower.is_some_and(|follower| follower.has.covers(what))
        };
        let all = quorum.required.iter().all(has);
        if all {
            quorum.committed = quorum.committed.and(what);
        }
        Ok(all)
    }

    /// Before this replica ends: waits until one that is just copying has everything, but no longer than `most`. What is
    /// confirmed is on this one's volume only until then, and the other one would wait for it to come back.
    pub async fn hand_over(&self, most: Duration) {
        let mut news = self.news.subscribe();
        let handing_over = async {
            while self.is_being_copied() {
                // One that does not ask any more is no news.
                let _ = timeout(LATELY, news.changed()).await;
            }
        };
        if timeout(most, handing_over).await.is_err() {
            tracing::warn!(
                "this replica ends before the other one has everything, which waits for it therefore"
            );
        }
    }

    /// Whether a replica is on its way to have everything.
    fn is_being_copied(&self) -> bool {
        let quorum = self.quorum();
        let catches_up = |(name, follower): (&String, &Follower)| {
            !quorum.noted.contains(name) && follower.heard.elapsed() < LATELY
        };
        !quorum.fenced && quorum.followers.iter().any(catches_up)
    }

    /// Says in the register that the other replica does not have everything any more. Gives those that have not from now on;
    /// where it cannot be noted, none.
    async fn go_on_alone(&self) -> Result<BTreeSet<String>, Fenced> {
        let mut kept = self.roster.lock().await;
        let mut roster = kept.0.clone();
        roster.in_sync = [self.me.clone()].into();
        match self.register.write(&roster, Some(&kept.1)).await {
            Ok(Some(version)) => {
                *kept = (roster, version);
                let gone = {
                    let mut quorum = self.quorum();
                    quorum.noted.clear();
                    std::mem::take(&mut quorum.required)
                };
                self.tell();
                Ok(gone)
            }
            Ok(None) => {
                self.look_who_leads(&mut kept).await?;
                Ok(BTreeSet::new())
            }
            Err(error) => {
                tracing::warn!(%error, "it cannot be noted that this replica is alone; nothing is confirmed until it can, or the other one answers");
                sleep(PAUSE).await;
                Ok(BTreeSet::new())
            }
        }
    }

    /// A write that was cut off may have succeeded, so that a conflict is with oneself.
    async fn look_who_leads(&self, kept: &mut (Roster, Version)) -> Result<(), Fenced> {
        match self.register.read().await {
            Ok(Some(found)) if found.0.leader == self.me && found.0.term == self.term => {
                *kept = found;
                Ok(())
            }
            Ok(_) => {
                self.quorum().fenced = true;
                self.tell();
                Err(Fenced)
            }
            Err(_) => {
                sleep(PAUSE).await;
                Ok(())
            }
        }
    }

    /// Answers the replica that follows.
    ///
    /// # Errors
    /// `failed_precondition` where it follows another leadership than this; `internal` where the log cannot be read.
    pub async fn answer(&self, request: CopyRequest) -> Result<CopyResponse, Status> {
        if request.term != self.term || self.is_fenced() {
            return Err(Status::failed_precondition(
                "this replica does not lead in that term",
            ));
        }
        self.until_gathered(&request).await?;
        self.leave_out_who_lost(&request).await?;
        let log = self.log.clone();
        let (end, last_term, epoch) = (request.end, request.last_term, request.epoch.clone());
        let judged = tokio::task::spawn_blocking(move || fits(&log, &epoch, end, last_term)).await;
        let judged = judged.map_err(|error| Status::internal(error.to_string()))?;
        if let Some(what) = judged.map_err(|error| Status::internal(error.to_string()))? {
            return Ok(self.response(what));
        }
        let was_in_sync = self.in_sync().contains(&request.replica);
        let in_sync = self.heard(&request).await;
        if in_sync == was_in_sync {
            self.wait_for_news(&request, in_sync).await;
        }
        let log = self.log.clone();
        let read = tokio::task::spawn_blocking(move || log.read_all(end, CHUNK)).await;
        let read = read.map_err(|error| Status::internal(error.to_string()))?;
        let records = read.map_err(|error| Status::internal(error.to_string()))?;
        let batch = CopyBatch {
            records: records
                .iter()
                .map(|record| convert::to_proto(record))
                .collect(),
            committed: *self.log.head().borrow(),
            in_sync,
            letters: self.letters(),
        };
        Ok(self.response(What::Batch(batch)))
    }

    fn response(&self, what: What) -> CopyResponse {
        let quiet = match what {
            What::StartAt(_) => self.log.quiet(),
            What::Batch(_) | What::CutTo(_) => Vec::new(),
        };
        CopyResponse {
            what: Some(what),
            lineage: convert::lineage_to_proto(&self.log.lineage()),
            quiet: convert::marks_to_proto(quiet),
        }
    }

    /// The replica that asks has everything before its end. Tells whether it is waited for from now on.
    async fn heard(&self, request: &CopyRequest) -> bool {
        let name = &request.replica;
        let joins = {
            let mut quorum = self.quorum();
            let follower = Follower {
                has: Has::of(request),
                address: request.address.clone(),
                heard: Instant::now(),
            };
            quorum.followers.insert(name.clone(), follower);
            !quorum.noted.contains(name) && Has::of(request).covers(quorum.committed)
        };
        self.tell();
        if joins {
            self.let_join(name, Has::of(request)).await;
        }
        self.quorum().noted.contains(name)
    }

    /// A replica that was in sync and has less now has lost its volume. Before it is told anything, the register must say that it
    /// has not everything: it may lead the next moment.
    async fn leave_out_who_lost(&self, request: &CopyRequest) -> Result<(), Status> {
        let lost = || {
            let quorum = self.quorum();
            let stranger = !self.log.lineage().continues(&request.epoch);
            quorum.required.contains(&request.replica)
                && (stranger || !Has::of(request).covers(quorum.committed))
        };
        if !lost() {
            return Ok(());
        }
        tracing::warn!(
            replica = request.replica,
            "the other replica has less than it had"
        );
        let left_out = self.go_on_alone().await;
        if left_out.is_err() || lost() {
            return Err(Status::unavailable(
                "it cannot be noted that the replica has lost records; ask again",
            ));
        }
        Ok(())
    }

    async fn let_join(&self, name: &str, has: Has) {
        let mut kept = self.roster.lock().await;
        {
            let mut quorum = self.quorum();
            if !has.covers(quorum.committed) {
                return;
            }
            // First: from now on nothing counts that it does not have.
            quorum.required.insert(name.to_owned());
        }
        let mut roster = kept.0.clone();
        roster.in_sync.insert(name.to_owned());
        match self.register.write(&roster, Some(&kept.1)).await {
            Ok(Some(version)) => *kept = (roster, version),
            // Whoever leads now is found out here or with the next record.
            Ok(None) => {
                let _ = self.look_who_leads(&mut kept).await;
            }
            // It may be written: the other replica stays required.
            Err(error) => {
                tracing::warn!(replica = name, %error, "cannot note that the other replica has everything");
                return;
            }
        }
        if kept.0.in_sync.contains(name) {
            tracing::info!(replica = name, "the other replica has everything");
            self.quorum().noted.insert(name.to_owned());
        }
        self.tell();
    }

    async fn wait_for_news(&self, request: &CopyRequest, in_sync: bool) {
        let mut news = self.news.subscribe();
        let old = || {
            let same_epoch = self.log.lineage().epoch() == request.epoch;
            let quorum = self.quorum();
            let in_sync_still = quorum.noted.contains(&request.replica) == in_sync;
            // One that cannot copy them is not told again and again.
            let same_letters = request.letters == 0 || quorum.letters <= request.letters;
            drop(quorum);
            self.log.end() <= request.end
                && *self.log.head().borrow() <= request.committed
                && same_epoch
                && in_sync_still
                && same_letters
        };
        let changed = async {
            while old() && !self.is_fenced() {
                let _ = news.changed().await;
            }
        };
        // Long before the one that asks, or whoever waits for it, loses patience.
        let _ = timeout(self.patience / 2, changed).await;
    }

    /// Wakes who waits: records were written, or count, or were heard of.
    pub fn tell(&self) {
        self.news.send_modify(|count| *count += 1);
    }

    fn quorum(&self) -> MutexGuard<'_, Quorum> {
        self.quorum.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
