//! How an instance is made from a backup, while the cluster goes on without it.
//!
//! ```text
//! choose a backup ─► copy ─► replay what is archived ─► wait at the target ─► promoted there, once the Lease is given to it
//!                     ▲ goes on from what is there
//! ```

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use pgo_postgres::{
    SUPERUSER, Session,
    backrest::{
        Backrest, output,
        restore::{Line, Target, Wish},
        storage::Storage,
        window::{self, Chosen, End, Segment},
    },
    files::{named, sync_folder_of},
    identify,
    initdb::beside,
    standby,
};
use pgo_telemetry::CancellationToken;
use tokio::time::sleep;

use super::{PROBE_DEADLINE, Supervisor, authority::place, lenient, shown};
use crate::{
    backrest::{
        command::{CommandError, Order},
        lookup::{self, Lookup},
    },
    ha::course::{Course, Told},
    prepare,
    progress::Event,
    restoration::{self, Mark, Pending, RestorationError},
    server::Server,
    state::Restore,
    store::Store,
};

/// Pause between two looks at how far replay is.
const LOOK: Duration = Duration::from_millis(500);

/// How long PostgreSQL has asked for a WAL file in vain before it is asked whether that is the end of the archive. It asks each
/// half second.
const SILENCE: Duration = Duration::from_secs(1);

/// Pause between two such questions.
const ASK: Duration = Duration::from_secs(5);

/// How often a file has to be missing in the middle of the archive: it may come while it is looked for.
const GAPS: u32 = 2;

/// Why replay waits where it was not told to.
const HINDERED: &str = "replay waits before its target: a setting such as max_connections is lower here than it was on the \
                        primary; raise it in the custom configuration, and restore again";

/// Whether a server that waits does so for that reason, by its log (PostgreSQL's source, xlogrecovery.c). Up to version 13 it
/// ends instead.
fn is_hindered(log: &str) -> bool {
    log.contains("hot standby is not possible because of insufficient parameter settings")
}

/// A WAL file that PostgreSQL asks for in vain.
#[derive(Debug, Default)]
pub(super) struct Silence {
    absent: Option<(Segment, Instant)>,
    asked: Option<Instant>,
    end: Option<End>,
    gaps: u32,
}

impl Silence {
    /// Takes over what it asks for; that file, if it does so for long enough.
    fn hear(&mut self, absent: Option<Segment>, now: Instant) -> Option<Segment> {
        let before = self.absent.map(|(segment, _)| segment.number);
        if absent.map(|segment| segment.number) != before {
            *self = Self {
                absent: absent.map(|segment| (segment, now)),
                ..Self::default()
            };
        }
        let (segment, since) = self.absent?;
        (now.duration_since(since) >= SILENCE).then_some(segment)
    }

    /// Whether it is time to ask the archive.
    fn is_due(&self, now: Instant) -> bool {
        self.asked
            .is_none_or(|asked| now.duration_since(asked) >= ASK)
    }

    fn judge(&mut self, end: End, now: Instant) {
        self.asked = Some(now);
        self.gaps = match &end {
            End::Gap(_) => self.gaps + 1,
            _ => 0,
        };
        self.end = Some(end).filter(|end| !matches!(end, End::Gap(_)) || self.gaps >= GAPS);
    }
}

/// What a restore needs.
struct Plan {
    backrest: Backrest,
    conf: PathBuf,
    wish: Wish,
}

impl Plan {
    /// Asks where the backup of this number is.
    fn lookup(&self, repository: u32) -> Lookup<'_> {
        Lookup {
            backrest: &self.backrest,
            conf: &self.conf,
            storage: Storage::of_repository(repository),
        }
    }
}

impl<S: Store> Supervisor<S> {
    /// Whether this instance is being made from a backup; tells how far that is.
    pub(super) fn restores(&self) -> Result<bool, String> {
        let Some(order) = &self.settings.restore else {
            return Ok(false);
        };
        let pending = restoration::pending(Some(order), &self.settings.data);
        self.reporter.change(|state| {
            if matches!(pending, Ok(None)) {
                state.restore = None;
                return;
            }
            let restore = state.restore.get_or_insert_with(|| Restore {
                operation: order.operation.clone(),
                ..Restore::default()
            });
            if let Ok(Some(Pending::Replay(mark))) = &pending {
                restore.backup.clone_from(&mark.backup);
                restore.percent = 100;
            }
        });
        let pending = pending.map_err(|error| self.judged(error))?;
        Ok(pending.is_some())
    }

    fn note(&self, note: impl FnOnce(&mut Restore)) {
        self.reporter.change(|state| {
            if let Some(restore) = &mut state.restore {
                note(restore);
            }
        });
    }

    /// The text of an error after which no other try will help.
    fn give_up(&self, error: impl std::fmt::Display) -> String {
        self.note(|restore| restore.hopeless = true);
        error.to_string()
    }

    fn judged(&self, error: RestorationError) -> String {
        match error.is_final() {
            true => self.give_up(error),
            false => error.to_string(),
        }
    }

    fn plan(&self) -> Result<Plan, String> {
        let order = self.settings.restore.as_ref();
        let options = order.map(|order| order.options.as_slice());
        let wish = Wish::read(options.unwrap_or_default());
        let backrest = self.settings.backrest();
        Ok(Plan {
            backrest: backrest.map_err(|error| self.judged(error))?.clone(),
            conf: self.settings.backrest_conf(),
            wish: wish.map_err(|error| self.give_up(error))?,
        })
    }

    /// Copies a backup. What a former try has copied stays.
    pub(super) async fn restore(&mut self) -> Result<Event, String> {
        let plan = self.plan()?;
        if !plan.conf.exists() {
            let what = "pgBackRest's configuration is not written yet";
            return Ok(Event::Missing(what.to_owned()));
        }
        let begin = Instant::now();
        let program = (&plan.backrest, plan.conf.as_path());
        let storages = &self.settings.archiving.storages;
        let chosen = lookup::choose(program, storages, &plan.wish, None).await;
        let chosen = chosen.map_err(|error| match error.is_final() {
            true => self.give_up(error),
            false => error.to_string(),
        })?;
        let label = chosen.set.label.clone();
        tracing::info!(
            backup = label,
            timeline = chosen.timeline,
            "a backup is copied"
        );
        self.note(|restore| restore.backup.clone_from(&label));
        let folder = beside(&self.settings.data, ".restore");
        self.copy_backup(&plan, &chosen, &folder).await?;
        self.name_copy(plan.wish, &chosen, &folder)?;
        let took = begin.elapsed();
        tracing::info!(backup = label, ?took, "a backup was copied");
        self.note(|restore| (restore.percent, restore.hopeless) = (100, false));
        self.helm.tell(Told::Filled);
        Ok(Event::Done)
    }

    /// How long it takes depends on the data; what hangs pgBackRest notices itself (protocol-timeout).
    async fn copy_backup(
        &self,
        plan: &Plan,
        chosen: &Chosen,
        folder: &std::path::Path,
    ) -> Result<(), String> {
        let mut options = vec![
            format!("--pg1-path={}", folder.display()),
            format!("--set={}", chosen.set.label),
            format!("--repo={}", chosen.set.repository),
            // Files that are whole already stay; nothing is written of how PostgreSQL recovers.
            "--delta".to_owned(),
            "--type=none".to_owned(),
        ];
        options.extend_from_slice(&plan.wish.rest);
        let order = Order {
            backrest: &plan.backrest,
            conf: &plan.conf,
            command: "restore",
            options,
            deadline: None,
            stall: None,
        };
        // It ends with whoever waits for it.
        let never = CancellationToken::new();
        let copied = order.run(&never, |line| {
            if output::is_news(line) {
                tracing::info!(target: "pgbackrest", "{line}");
            }
            if let Some(percent) = output::percent(line) {
                self.note(|restore| restore.percent = percent);
            }
        });
        copied.await.map_err(|error| match &error {
            CommandError::Failed { said, .. } if output::is_final(said) => self.give_up(error),
            _ => error.to_string(),
        })
    }

    /// Makes the copy a standby that replays what is archived, before it gets its name.
    fn name_copy(
        &self,
        wish: Wish,
        chosen: &Chosen,
        folder: &std::path::Path,
    ) -> Result<(), String> {
        let (settings, data) = (&self.settings, &self.settings.data);
        let recovery = restoration::recovery_along(settings, wish, chosen.timeline);
        let recovery = recovery.map_err(|error| self.judged(error))?;
        let version = &self.installation()?.version;
        standby::replay(folder, version, &recovery).map_err(shown)?;
        let order = settings.restore.as_ref();
        let mark = Mark {
            operation: order
                .map(|order| order.operation.clone())
                .unwrap_or_default(),
            backup: chosen.set.label.clone(),
            repository: chosen.set.repository,
            timeline: chosen.timeline,
            done: false,
        };
        restoration::write(data, &mark).map_err(shown)?;
        lenient::clear(data)?;
        named(std::fs::rename(folder, data), "rename to", data).map_err(shown)?;
        sync_folder_of(data).map_err(shown)
    }

    /// Makes it a standby again that replays what is archived, where it is one.
    pub(super) fn make_restored(&self) -> Result<bool, String> {
        let recovery = restoration::recovery(&self.settings);
        let Some(recovery) = recovery.map_err(|error| self.judged(error))? else {
            return Ok(false);
        };
        let version = &self.installation()?.version;
        standby::replay(&self.settings.data, version, &recovery).map_err(shown)?;
        Ok(true)
    }

    /// Waits until what was asked for is there, and this instance is to lead.
    pub(super) async fn replay(&mut self) -> Result<Event, String> {
        let mut courses = self.helm.watch();
        let mut silence = Silence::default();
        loop {
            if let Some(event) = self.ended().await {
                return Ok(event);
            }
            let leads = matches!(*courses.borrow_and_update(), Course::Lead { .. });
            let is_there = self.look_at_replay(&mut silence, leads).await?;
            if self.goes_on(&silence)? {
                if let Some(server) = self.server.take() {
                    server.stop().await;
                }
                return Ok(Event::Stopped);
            }
            if is_there && leads {
                return Ok(Event::Elected);
            }
            tokio::select! {
                _ = courses.changed() => {}
                () = sleep(LOOK) => {}
            }
        }
    }

    /// Looks how far replay is; whether all is there that was asked for. Where it `leads` that is asked anew: those that are gone
    /// may have archived something at their end.
    async fn look_at_replay(&mut self, silence: &mut Silence, leads: bool) -> Result<bool, String> {
        let socket = self.settings.socket();
        let asked = async {
            Session::open(&socket, SUPERUSER)
                .await?
                .replayed(PROBE_DEADLINE)
                .await
        };
        let replayed = match asked.await {
            Ok(replayed) => replayed,
            Err(error) => {
                self.note(|restore| restore.error = Some(error.to_string()));
                return Ok(false);
            }
        };
        let output = self.server.as_ref().map(Server::output);
        let hindered = output.filter(|output| replayed.waits && is_hindered(&output.text()));
        let failure = match &hindered {
            Some(_) => Some(HINDERED.to_owned()),
            None => self.settings.fetches().failure(),
        };
        self.note(|restore| {
            restore.lsn = replayed.lsn;
            restore.last_commit = replayed.last_commit;
            restore.error = failure;
        });
        if hindered.is_some() {
            return Ok(false);
        }
        let is_there = replayed.waits || self.is_at_end(silence, leads).await?;
        if is_there {
            let position = place(identify::ask(&socket).await.map_err(shown)?);
            self.helm.tell(Told::Reached(position));
            self.note(|restore| (restore.reached, restore.hopeless) = (true, false));
        }
        Ok(is_there)
    }

    /// Whether all that is archived is replayed, where that is what was asked for. A time is reached with it, too: nothing that
    /// had committed before it is missing, since something was archived after it.
    async fn is_at_end(&mut self, silence: &mut Silence, leads: bool) -> Result<bool, String> {
        self.ask_archive(silence, leads).await?;
        if silence.end != Some(End::Reached) {
            return Ok(false);
        }
        let plan = self.plan()?;
        match plan.wish.target {
            Target::End | Target::Time(_) => Ok(true),
            target => Err(self.give_up(format!(
                "{target} is not in the archive, all of which is replayed"
            ))),
        }
    }

    /// Sees before the data is whole that it will not be.
    pub(super) async fn look_before_whole(&mut self, silence: &mut Silence) -> Result<(), String> {
        let failure = self.settings.fetches().failure();
        self.note(|restore| restore.error = failure);
        self.ask_archive(silence, false).await?;
        match silence.end {
            Some(End::Reached) => {
                Err(self.give_up("the archive ends before the data of the backup is whole"))
            }
            _ => Ok(()),
        }
    }

    /// Asks the archive whether it goes on, where PostgreSQL gets nothing for a while.
    async fn ask_archive(&mut self, silence: &mut Silence, at_once: bool) -> Result<(), String> {
        let now = Instant::now();
        let absent = self.settings.fetches().absent();
        let absent = absent.and_then(|name| Segment::read(&name));
        let Some(absent) = silence.hear(absent, now) else {
            return Ok(());
        };
        if !silence.is_due(now) && !at_once {
            return Ok(());
        }
        let Some(mark) = self.mark()? else {
            return Ok(());
        };
        let plan = self.plan()?;
        let number = Some(mark.timeline).filter(|_| plan.wish.line != Line::Newest);
        match plan.lookup(mark.repository).reaches(number).await {
            Ok((history, newest)) => {
                silence.judge(window::end(absent, mark.timeline, &history, newest), now);
            }
            // What was found out before still holds.
            Err(error) => {
                silence.asked = Some(now);
                self.note(|restore| restore.error = Some(error.to_string()));
            }
        }
        match &silence.end {
            Some(End::Gap(segment)) => Err(self.give_up(format!(
                "WAL file {segment} is missing in the archive, so that nothing after it can be restored"
            ))),
            _ => Ok(()),
        }
    }

    fn mark(&self) -> Result<Option<Mark>, String> {
        let order = self.settings.restore.as_ref();
        let pending = restoration::pending(order, &self.settings.data);
        match pending.map_err(|error| self.judged(error))? {
            Some(Pending::Replay(mark)) => Ok(Some(mark)),
            Some(Pending::Copy) | None => Ok(None),
        }
    }

    /// Whether the archive goes on along another timeline, which is replayed from now on: the cluster has another primary.
    fn goes_on(&self, silence: &Silence) -> Result<bool, String> {
        let (Some(End::GoesOn(timeline)), Some(mark)) = (&silence.end, self.mark()?) else {
            return Ok(false);
        };
        tracing::info!(timeline, "the archive goes on along another timeline");
        let mark = Mark {
            timeline: *timeline,
            ..mark
        };
        restoration::write(&self.settings.data, &mark).map_err(shown)?;
        Ok(true)
    }

    /// Before a server in recovery is promoted, it is where it is to be; what came instead, if something did.
    pub(super) async fn until_there(&mut self) -> Result<Option<Event>, String> {
        if self.mark()?.is_none() {
            return Ok(None);
        }
        match self.replay().await? {
            Event::Elected => Ok(None),
            other => Ok(Some(other)),
        }
    }

    /// It was promoted: from now on it is an instance like another.
    pub(super) fn restored(&self) -> Result<(), String> {
        let Some(mark) = self.mark_of_promoted()? else {
            return Ok(());
        };
        tracing::info!(
            operation = mark.operation,
            "this instance was made from a backup"
        );
        self.reporter.change(|state| state.restore = None);
        let words = super::rule::in_words(&self.rule);
        let installation = self.installation()?;
        prepare::write_conf(&self.settings, installation, &self.tls, None, &words)
            .map_err(shown)?;
        if let Some(server) = &self.server {
            server.reload();
        }
        Ok(())
    }

    /// The mark of a restore that ends with this promotion.
    fn mark_of_promoted(&self) -> Result<Option<Mark>, String> {
        let was_restoring = self.reporter.now().restore.is_some();
        let order = self.settings.restore.as_ref().filter(|_| was_restoring);
        let Some(order) = order else {
            return Ok(None);
        };
        restoration::finish(order, &self.settings.data).map_err(shown)
    }

    /// Remembers that no other try will help where a server that replays has ended for such a reason.
    pub(super) fn judge_end(&self, reason: &str) {
        // PostgreSQL's sources: xlogrecovery.c.
        let is_final = [
            "is before consistent recovery point",
            "is not a child of this server's history",
        ];
        if is_final.iter().any(|words| reason.contains(words)) {
            self.note(|restore| restore.hopeless = true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(number: u64) -> Option<Segment> {
        let timeline = 1;
        Some(Segment { timeline, number })
    }

    #[test]
    fn only_a_file_that_stays_away_counts() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut silence = Silence::default();
        assert_eq!(silence.hear(segment(7), at(0)), None);
        assert_eq!(silence.hear(segment(7), at(3)), segment(7));
        // The same file is asked for on each timeline.
        let other = Segment {
            timeline: 2,
            number: 7,
        };
        assert_eq!(silence.hear(Some(other), at(4)), segment(7));
        silence.judge(End::Reached, at(4));
        assert_eq!(silence.end, Some(End::Reached));
        assert!(!silence.is_due(at(8)) && silence.is_due(at(9)));
        // It came.
        assert_eq!(silence.hear(segment(8), at(9)), None);
        assert_eq!(silence.end, None);
        assert_eq!(silence.hear(None, at(20)), None);
    }

    #[test]
    fn who_waits_for_another_reason_than_its_target_is_not_there() {
        let target =
            "LOG:  recovery stopping at restore point \"x\"\nLOG:  pausing at the end of recovery";
        assert!(!is_hindered(target));
        let setting = "WARNING:  hot standby is not possible because of insufficient parameter settings\n\
                       LOG:  recovery has paused";
        assert!(is_hindered(setting));
    }

    #[test]
    fn a_file_that_comes_while_it_is_looked_for_is_no_gap() {
        let now = Instant::now();
        let mut silence = Silence::default();
        let gap = || End::Gap(segment(7).expect("one"));
        silence.judge(gap(), now);
        assert_eq!(silence.end, None);
        silence.judge(gap(), now);
        assert_eq!(silence.end, Some(gap()));
    }
}
