//! What the protocol wants, carried out: which way to go, when to end, which timeline to begin; and what is told of it.

use std::time::{Duration, Instant};

use pgo_ha::{Lsn, Position, Synchronous, Timeline};
use pgo_postgres::{
    SUPERUSER, Session, control, identify,
    initdb::{self, Presence},
    position::{self, WalEnd},
    program, standby, timeline,
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::{FACTS_DEADLINE, Supervisor, lenient, reached, rule, shown};
use crate::{
    backrest::archiving,
    ha::course::{Course, Ending, Told},
    prepare,
    progress::{Event, Way},
    server::clear_leftovers,
    store::Store,
};

/// How long a standby waits for news of the primary before it serves readers without.
const ALONE: Duration = Duration::from_secs(3);

/// How long an instance that does not know yet what comes next waits until it tells unasked how far its WAL reaches.
const UNASKED: Duration = Duration::from_secs(1);

/// How long the end of a server that has shut down may be looked for: writes wait meanwhile.
const END_DEADLINE: Duration = Duration::from_millis(300);

/// The state of a cluster whose server has written all that it had (PostgreSQL's source, pg_controldata.c).
const SHUT_DOWN: &str = "shut down";

/// Pause between two looks at what is being waited for.
const LOOK: Duration = Duration::from_millis(500);

/// Until no process that writes may live any more.
pub(super) async fn ending(courses: &mut watch::Receiver<Course>) -> Ending {
    let ends = |course: &Course| matches!(course, Course::End(_));
    match courses.wait_for(ends).await.as_deref() {
        Ok(Course::End(ending)) => *ending,
        // Without the driver nothing says that it may live.
        _ => Ending::Kill,
    }
}

pub(super) fn place(end: WalEnd) -> Position {
    Position {
        timeline: Timeline(end.timeline),
        lsn: Lsn(end.lsn),
    }
}

impl<S: Store> Supervisor<S> {
    /// Waits until it is known which way to go.
    pub(super) async fn decide(&mut self) -> Result<Event, String> {
        if self.restores()? {
            return Ok(Event::Decided(Way::Restore));
        }
        let mut courses = self.helm.watch();
        let begin = Instant::now();
        let (mut told, mut answered) = (false, None);
        loop {
            let course = courses.borrow_and_update().clone();
            let order = course.order();
            let is_due = match order {
                Some(_) => answered != order,
                None => !told && begin.elapsed() > UNASKED,
            };
            if is_due && self.tell_resting(order).await {
                (told, answered) = (true, order);
            }
            let is_standby = standby::is_standby(&self.settings.data);
            let way = match course {
                Course::Lead { .. } => {
                    self.leader = None;
                    Some(Way::Lead)
                }
                Course::Follow { leader, .. } if leader.place.is_some() => {
                    self.leader = Some(leader);
                    Some(Way::Follow)
                }
                // It receives nothing, so it can do no harm, and serves readers.
                Course::Hold { .. } if is_standby => {
                    self.leader = None;
                    Some(Way::Follow)
                }
                _ if is_standby && begin.elapsed() > ALONE => {
                    self.leader = None;
                    Some(Way::Follow)
                }
                _ => None,
            };
            if let Some(way) = way {
                return Ok(Event::Decided(way));
            }
            let waiting = self.standing.borrow().waiting.clone();
            let waiting = waiting.or_else(|| self.progress.error().map(str::to_owned));
            if let Some(reason) = &waiting {
                self.health.down(reason.clone());
            }
            self.reporter.change(|state| state.error = waiting);
            tokio::select! {
                _ = courses.changed() => {}
                () = sleep(LOOK) => {}
            }
        }
    }

    /// Another instance is to be primary, or authority has ended: nothing is acknowledged here any more.
    pub(super) async fn end_server(&mut self, ending: Ending) -> Event {
        tracing::warn!(
            ?ending,
            "this instance is to write no more; PostgreSQL ends here"
        );
        // The Service is another's now, or will be.
        self.published = false;
        self.promoted = false;
        self.serving = None;
        self.health
            .down("this instance is not the primary any more".to_owned());
        match (self.server.take(), ending) {
            (Some(server), Ending::Kill) => server.kill().await,
            (Some(server), Ending::ShutDown) => {
                server.stop().await;
                self.tell_ended().await;
            }
            (None, _) => clear_leftovers(&self.settings.data).await,
        }
        self.tell_stopped();
        Event::Turned
    }

    /// Tells what a server that has shut down in order had written, for who takes over to know what it lacks: everything
    /// before its last checkpoint, whose record lies at its redo position (PostgreSQL, "pg_controldata").
    pub(super) async fn tell_ended(&self) {
        let Ok(installation) = self.installation() else {
            return;
        };
        let read = control::read(installation, &self.settings.data);
        match timeout(END_DEADLINE, read).await {
            Ok(Ok(control)) if control.state == SHUT_DOWN => {
                self.helm.tell(Told::Ended(Position {
                    timeline: Timeline(control.timeline),
                    lsn: Lsn(control.redo),
                }));
            }
            Ok(Ok(control)) => {
                tracing::warn!(
                    state = control.state,
                    "PostgreSQL did not shut down in order"
                );
            }
            Ok(Err(error)) => tracing::warn!(%error, "where WAL ends here is not known"),
            Err(_) => tracing::warn!("where WAL ends here is not known in time"),
        }
    }

    /// Tells that nothing writes here any more. How far WAL reaches is told later, from where it is decided what comes next: who
    /// takes over does not wait for it, and needs the machine.
    pub(super) fn tell_stopped(&self) {
        tracing::info!("no server writes here");
        self.helm.tell(Told::ServersStopped(None));
    }

    /// Tells how far WAL reaches here, where data of a former primary rests and a vote needs to know; whether it did.
    async fn tell_resting(&mut self, order: Option<u64>) -> bool {
        let data = &self.settings.data;
        let rests = self.server.is_none() && !standby::is_standby(data);
        if !rests || !matches!(initdb::presence(data), Ok(Presence::Data)) {
            return false;
        }
        let begin = Instant::now();
        match self.wal_end().await {
            Ok(end) => {
                let (position, millis) = (place(end), begin.elapsed().as_millis());
                tracing::info!(?position, millis, "so far WAL reaches here");
                self.helm.tell(Told::ReceiverStopped { order, position });
                true
            }
            Err(error) => {
                tracing::error!(
                    error,
                    "how far WAL reaches here cannot be found out, so there is no vote"
                );
                false
            }
        }
    }

    pub(super) async fn wal_end(&mut self) -> Result<WalEnd, String> {
        let data = &self.settings.data;
        if self.installation.is_none() {
            let path = std::env::var_os("PATH");
            let found = program::find(path.as_deref(), data).await;
            self.installation = Some(found.map_err(shown)?);
        }
        position::of_stopped(self.installation()?, data)
            .await
            .map_err(shown)
    }

    /// Begins the timeline that the Lease records for this term, where it has not begun here.
    pub(super) async fn promote(&mut self) -> Result<Event, String> {
        if let Some(event) = self.ended().await {
            return Ok(event);
        }
        let Course::Lead {
            start, synchronous, ..
        } = self.helm.course()
        else {
            return Err("this instance is not to lead any more".to_owned());
        };
        let socket = self.settings.socket();
        let session = Session::open(&socket, SUPERUSER).await.map_err(shown)?;
        if let Some(event) = self.until_there().await? {
            return Ok(event);
        }
        let facts = session.facts(FACTS_DEADLINE).await.map_err(shown)?;
        let wanted = start.timeline.0;
        if facts.in_recovery {
            let replayed = facts.lsn;
            self.end_recovery(&session, replayed, wanted, synchronous)
                .await?;
            self.restored()?;
        } else if facts.timeline != wanted {
            return Err(format!(
                "PostgreSQL is on timeline {}, and the Lease records {wanted} for this term",
                facts.timeline
            ));
        }
        // Before the state says that it runs, it says what runs.
        let facts = session.facts(FACTS_DEADLINE).await.map_err(shown)?;
        self.reporter.change(|state| state.learn(&facts));
        Ok(Event::Done)
    }

    /// Lets data of a former primary begin the timeline `wanted` where it is not its own, as after the loss of the Lease: as
    /// a standby, to be promoted when it has replayed what it has.
    pub(super) fn begin_timeline(&self, wanted: u32) -> Result<(), String> {
        let data = &self.settings.data;
        let has_data = matches!(initdb::presence(data), Ok(Presence::Data));
        let begun = || timeline::begun(data, wanted).map_err(shown);
        if wanted > 1 && has_data && !standby::is_standby(data) && begun()?.is_none() {
            let version = &self.installation()?.version;
            standby::follow(data, version, None).map_err(shown)?;
        }
        Ok(())
    }

    /// Where the timeline ends that a promotion leaves: with all WAL that is here, but where a restore has replayed what was
    /// asked for.
    async fn before_promotion(&self, session: &Session) -> Result<WalEnd, String> {
        if self.reporter.now().restore.is_some() {
            let told = identify::ask(&self.settings.socket()).await;
            return told.map_err(shown);
        }
        reached::ask(session, &self.settings, self.installation()?).await
    }

    /// Promotes a standby that has replayed so far to the timeline `wanted`, with this rule.
    async fn end_recovery(
        &mut self,
        session: &Session,
        replayed: u64,
        wanted: u32,
        synchronous: Synchronous,
    ) -> Result<(), String> {
        let begin = Instant::now();
        let before = self.before_promotion(session).await?;
        // In force before the first commit: until it is read, commits wait for nobody's answer.
        let words = rule::in_words(&synchronous);
        lenient::mark_where_nobody_is_asked(&self.settings.data, synchronous.k)?;
        let installation = self.installation()?;
        prepare::write_conf(&self.settings, installation, &self.tls, None, &words)
            .map_err(shown)?;
        if let Some(server) = &self.server {
            server.reload();
        }
        let (data, version) = (&self.settings.data, installation.version.clone());
        timeline::skip_to(data, before.timeline, before.lsn, wanted).map_err(shown)?;
        // Where nothing is left to replay the promotion takes a moment, in which the Service is directed here as well: it takes
        // as long until Kubernetes' proxies have heard of it.
        let is_current = replayed >= before.lsn;
        self.published |= is_current;
        let direct = async {
            if is_current {
                self.direct().await;
            }
        };
        if self.reporter.now().restore.is_none() {
            archiving::before_promotion(&self.settings);
        }
        let promote = standby::promote(session, data, &version);
        let promoted = async {
            let promoted = promote.await;
            (promoted, begin.elapsed().as_millis())
        };
        let ((promoted, millis), ()) = tokio::join!(promoted, direct);
        promoted.map_err(shown)?;
        let begun = timeline::begun(&self.settings.data, wanted).map_err(shown)?;
        let begun = begun.ok_or_else(|| format!("PostgreSQL did not begin timeline {wanted}"))?;
        let from = WalEnd {
            timeline: before.timeline,
            lsn: begun.from,
        };
        tracing::info!(timeline = wanted, from = %Lsn(begun.from), millis, "PostgreSQL was promoted");
        self.promoted = true;
        self.rule = synchronous;
        self.helm.tell(Told::Promoted(place(from)));
        Ok(())
    }
}
