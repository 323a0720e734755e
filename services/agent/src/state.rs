//! What this instance tells of itself.

use jiff::Timestamp;
use pgo_ids::{InstanceName, Term};
use pgo_postgres::{Facts, Follower, Following, timeline};
use pgo_proto::agent;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::ha::driver::Commits;

/// How far the instance is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Before PostgreSQL runs.
    #[default]
    Starting,
    /// initdb makes the data directory.
    Initializing,
    /// PostgreSQL starts or recovers and does not serve yet.
    Recovering,
    /// It serves.
    Running,
    /// It is being stopped.
    Stopping,
    /// It could not be brought up; it is tried again.
    Failed,
    /// The data directory is being copied from another instance.
    Cloning,
    /// The data directory is brought back to what the primary has.
    Rewinding,
}

/// All that is told; a reader needs no earlier one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Name of the cluster.
    pub cluster: String,
    /// Name of the instance.
    pub instance: String,
    /// Uid of the pod.
    pub pod_uid: String,
    /// How far it is.
    pub phase: Phase,
    /// Whether it replays another's WAL; unknown before PostgreSQL has run.
    pub replica: Option<bool>,
    /// Term under which it serves; 0 before the Lease was read.
    pub term: Term,
    /// Version of PostgreSQL; empty before it was found.
    pub postgres_version: String,
    /// Identifier of the data; 0 before it was asked for.
    pub system_identifier: u64,
    /// Timeline; 0 where unknown.
    pub timeline: u32,
    /// Position in the WAL; 0 where unknown.
    pub lsn: u64,
    /// When PostgreSQL began to serve.
    pub running_since: Option<Timestamp>,
    /// When the server was started that runs, or ran last.
    pub started: Option<Timestamp>,
    /// Why it failed; while it serves, why the Service may not lead here; before it runs, what is being waited for.
    pub error: Option<String>,
    /// How often PostgreSQL was started again after it had served.
    pub restarts: u32,
    /// On a replica: the instance that it follows.
    pub leader: Option<InstanceName>,
    /// On a replica: how it gets on.
    pub following: Following,
    /// On a primary: those that follow it.
    pub followers: Vec<Follower>,
    /// Whether the data volume is this agent's.
    pub locked: bool,
    /// While the data directory is being copied: how much is done, in per cent.
    pub clone_percent: u8,
    /// On a former primary: what it had that its successor has not, of each time that it was one, the newest last.
    pub lost: Vec<Lost>,
    /// The settings that take over their values in the files only with a restart.
    pub pending_restart: Vec<String>,
    /// On a primary: for whose answers commits wait.
    pub commits: Option<Commits>,
    /// When commits began last to go on without those that the rule asks for, and when they waited for them again.
    pub fallback: Option<(Timestamp, Option<Timestamp>)>,
    /// On a primary that archives: how that goes.
    pub archived: Option<Archived>,
    /// Whether the data volume hangs.
    pub volume_hangs: bool,
    /// How full the data volume is, once measured.
    pub volume: Option<Volume>,
    /// Whether the data directory was there when it was first looked for; none before that.
    pub data_found: Option<bool>,
    /// While this instance is made from a backup: how far that is.
    pub restore: Option<Restore>,
    /// The instances that become primary rather than others that are as far, in their order.
    pub preferred: Vec<String>,
    /// Whether something of it was noted that nobody was told.
    pub noted: bool,
}

/// How far an instance is that is made from a backup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restore {
    /// Id of the operation.
    pub operation: String,
    /// Why it cannot go on now.
    pub error: Option<String>,
    /// Whether no other try will help.
    pub hopeless: bool,
    /// Whether what was asked for is there.
    pub reached: bool,
    /// How much of the backup is copied, in per cent.
    pub percent: u32,
    /// When the last transaction had committed that is there.
    pub last_commit: Option<Timestamp>,
    /// How far WAL is replayed; 0 before that began.
    pub lsn: u64,
    /// Label of the backup; empty before it was chosen.
    pub backup: String,
}

/// How the archiving of WAL goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Archived {
    /// Why the last attempt failed, if it did.
    pub error: Option<String>,
    /// When the first of those attempts failed that have failed since the last success.
    pub failing_since: Option<Timestamp>,
    /// The WAL file that was archived last; empty where none was.
    pub last: String,
    /// When.
    pub last_at: Option<Timestamp>,
    /// WAL files that are complete and not archived.
    pub waiting: u32,
}

/// How full a volume is, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volume {
    /// What is used and what can still be.
    pub bytes: u64,
    /// What is used.
    pub used: u64,
}

/// What a former primary had written that its successor does not have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// Term of the successor that it was compared with.
    pub term: Term,
    /// Timeline of the former primary.
    pub timeline: u32,
    /// Where the successor's history leaves it.
    pub fork: u64,
    /// Up to where it had written.
    pub end: u64,
    /// Transactions that had committed in between, if that could be counted.
    pub commits: Option<u64>,
    /// Whether none of them had been acknowledged: commits waited for replicas.
    pub synchronous: bool,
    /// Whether the two could not be compared, so that the places are not known.
    pub unknown: bool,
}

/// Longest error that is told, in bytes: it ends up in the status of a custom resource.
const ERROR_LIMIT: usize = 2048;

impl State {
    /// Takes over what PostgreSQL says of itself.
    pub fn learn(&mut self, facts: &Facts) {
        self.replica = Some(facts.in_recovery);
        self.system_identifier = facts.system_identifier;
        self.timeline = facts.timeline;
        self.lsn = facts.lsn;
        if facts.in_recovery {
            self.followers.clear();
            self.archived = None;
        } else {
            self.following = Following::default();
            self.leader = None;
        }
    }

    /// PostgreSQL serves from `now` on, unless that was said already: whoever has heard it hears no other time.
    pub fn runs(&mut self, now: Timestamp) {
        self.running_since.get_or_insert(now);
    }

    /// Takes over for whose answers commits wait.
    pub fn tell_commits(&mut self, commits: Option<Commits>, now: Timestamp) {
        let falls_back = commits.map(|commits| commits.wait_for < commits.rule);
        self.commits = commits;
        match (falls_back, &mut self.fallback) {
            (Some(true), Some((_, None))) => {}
            (Some(true), fallback) => *fallback = Some((now, None)),
            (_, Some((_, until @ None))) => *until = Some(now),
            _ => {}
        }
    }

    /// Takes over how a standby gets on.
    pub fn follow(&mut self, following: Following) {
        self.replica = Some(true);
        self.lsn = following.replayed;
        if following.timeline > 0 {
            self.timeline = following.timeline;
        }
        self.following = following;
    }

    /// The same in the protocol's words.
    pub fn to_proto(&self) -> agent::InstanceState {
        let phase = match self.phase {
            Phase::Starting => agent::Phase::Starting,
            Phase::Initializing => agent::Phase::Initializing,
            Phase::Recovering => agent::Phase::Recovering,
            Phase::Running => agent::Phase::Running,
            Phase::Stopping => agent::Phase::Stopping,
            Phase::Failed => agent::Phase::Failed,
            Phase::Cloning => agent::Phase::Cloning,
            Phase::Rewinding => agent::Phase::Rewinding,
        };
        let role = match self.replica {
            None => agent::Role::Unspecified,
            Some(false) => agent::Role::Primary,
            Some(true) => agent::Role::Replica,
        };
        let identifier = self.system_identifier;
        agent::InstanceState {
            cluster: self.cluster.clone(),
            instance: self.instance.clone(),
            pod_uid: self.pod_uid.clone(),
            phase: phase.into(),
            role: role.into(),
            term: self.term.0,
            postgres_version: self.postgres_version.clone(),
            system_identifier: if identifier == 0 {
                String::new()
            } else {
                identifier.to_string()
            },
            timeline: self.timeline,
            lsn: self.lsn,
            running_since: self.running_since.map(timestamp),
            error: self.error.as_deref().map(shortened).unwrap_or_default(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            restarts: self.restarts,
            streaming: self.following.streaming,
            received_lsn: self.following.received,
            lag_bytes: self.following.lag_bytes,
            lag_ms: self.following.lag_ms,
            followers: self.followers.iter().map(follower).collect(),
            clone_percent: self.clone_percent.into(),
            lost: self.lost.iter().map(lost).collect(),
            pending_restart: self.pending_restart.clone(),
            volume_hangs: self.volume_hangs,
            volume_bytes: self.volume.map_or(0, |volume| volume.bytes),
            volume_used: self.volume.map_or(0, |volume| volume.used),
            data_found: self.data_found.unwrap_or_default(),
            archive: self.archived.as_ref().map(archive),
            restore: self.restore.as_ref().map(restore),
            preferred: self.preferred.clone(),
            started: self.started.map(timestamp),
            commits: self
                .commits
                .map(|commits| commits_of(commits, self.fallback)),
            leader: self
                .leader
                .as_ref()
                .map_or_else(String::new, ToString::to_string),
        }
    }
}

fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: time.as_second(),
        nanos: time.subsec_nanosecond(),
    }
}

fn commits_of(
    commits: Commits,
    fallback: Option<(Timestamp, Option<Timestamp>)>,
) -> agent::Commits {
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    agent::Commits {
        rule: number(commits.rule),
        of: number(commits.of),
        wait_for: number(commits.wait_for),
        fell_back: fallback.map(|(since, _)| timestamp(since)),
        came_back: fallback.and_then(|(_, until)| until).map(timestamp),
    }
}

fn lost(lost: &Lost) -> agent::Lost {
    agent::Lost {
        term: lost.term.0,
        timeline: lost.timeline,
        fork_lsn: lost.fork,
        end_lsn: lost.end,
        commits: lost.commits,
        synchronous: lost.synchronous,
        unknown: lost.unknown,
    }
}

fn archive(archived: &Archived) -> agent::Archive {
    agent::Archive {
        error: archived.error.as_deref().map(shortened).unwrap_or_default(),
        failing_since: archived.failing_since.map(timestamp),
        last_archived: archived.last.clone(),
        last_archived_at: archived.last_at.map(timestamp),
        waiting: archived.waiting,
    }
}

fn restore(restore: &Restore) -> agent::Restore {
    agent::Restore {
        operation: restore.operation.clone(),
        error: restore.error.as_deref().map(shortened).unwrap_or_default(),
        reached: restore.reached,
        percent: restore.percent,
        last_commit: restore.last_commit.map(timestamp),
        lsn: match restore.lsn {
            0 => String::new(),
            lsn => timeline::shown(lsn),
        },
        hopeless: restore.hopeless,
        backup: restore.backup.clone(),
    }
}

fn follower(follower: &Follower) -> agent::Follower {
    agent::Follower {
        slot: follower.slot.clone(),
        streaming: follower.streaming,
        sync: follower.sync.clone(),
        lag_bytes: follower.lag_bytes,
        kept_bytes: follower.kept_bytes,
        wal_status: follower.wal_status.clone(),
    }
}

/// The beginning says what failed and the end what the program said last; the middle may go.
fn shortened(error: &str) -> String {
    if error.len() <= ERROR_LIMIT {
        return error.to_owned();
    }
    let half = ERROR_LIMIT / 2;
    let head = &error[..error.floor_char_boundary(half)];
    let tail = &error[error.ceil_char_boundary(error.len() - half)..];
    format!("{head} … {tail}")
}

/// Tells changes of the state to whoever watches.
#[derive(Debug)]
pub struct Reporter(watch::Sender<State>);

impl Reporter {
    /// Begins with `state`.
    pub fn new(state: State) -> Self {
        Self(watch::Sender::new(state))
    }

    /// Changes the state; it is told only if something is different afterwards.
    pub fn change(&self, change: impl FnOnce(&mut State)) {
        self.0.send_if_modified(|state| {
            let before = state.clone();
            change(state);
            if state.phase != before.phase {
                let error = state.error.as_deref();
                tracing::info!(phase = ?state.phase, error, "the state of the instance changed");
            }
            let is_news = *state != before;
            state.noted &= !is_news;
            is_news
        });
    }

    /// Changes what is not worth telling by itself; it goes along with the next change, or the next look.
    pub fn note(&self, note: impl FnOnce(&mut State)) {
        self.0.send_if_modified(|state| {
            let before = state.clone();
            note(state);
            state.noted |= *state != before;
            false
        });
    }

    /// Tells what was only noted until now, too: where nothing else changes, nobody would ever hear of it.
    pub fn tell_noted(&self) {
        self.0
            .send_if_modified(|state| std::mem::take(&mut state.noted));
    }

    /// The state now.
    pub fn now(&self) -> State {
        self.0.borrow().clone()
    }

    /// Follows the state.
    pub fn watch(&self) -> watch::Receiver<State> {
        self.0.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_only_noted_is_told_with_the_next_change_or_look() {
        let reporter = Reporter::new(State::default());
        let mut told = reporter.watch();
        let at = |lsn| move |state: &mut State| state.lsn = lsn;
        let mut is_told = || {
            let is_told = told.has_changed().expect("a reporter");
            told.mark_unchanged();
            is_told
        };
        reporter.note(at(1));
        reporter.change(|state| state.phase = Phase::Starting);
        assert!(!is_told(), "the phase is as it was");
        reporter.tell_noted();
        assert!(is_told());
        reporter.note(at(1));
        reporter.tell_noted();
        assert!(!is_told(), "nothing has changed");
        reporter.note(at(2));
        reporter.change(|state| state.phase = Phase::Running);
        assert!(is_told());
        reporter.tell_noted();
        assert!(!is_told(), "it went along");
    }

    #[test]
    fn what_is_unknown_is_told_as_unknown() {
        let told = State::default().to_proto();
        assert_eq!(told.phase(), agent::Phase::Starting);
        assert_eq!(told.role(), agent::Role::Unspecified);
        assert_eq!((told.term, told.system_identifier.as_str()), (0, ""));
        assert_eq!(told.running_since, None);
    }

    #[test]
    fn what_is_known_is_told() {
        let state = State {
            phase: Phase::Running,
            replica: Some(false),
            term: Term(3),
            system_identifier: u64::MAX,
            running_since: Some(Timestamp::new(5, 7).expect("a time")),
            ..State::default()
        };
        let told = state.to_proto();
        assert_eq!(told.role(), agent::Role::Primary);
        assert_eq!(told.system_identifier, "18446744073709551615");
        let since = told.running_since.expect("a time");
        assert_eq!((since.seconds, since.nanos), (5, 7));
    }

    #[test]
    fn how_far_a_restore_is_is_told_until_it_is_over() {
        let mut state = State::default();
        assert_eq!(state.to_proto().restore, None);
        state.restore = Some(Restore {
            lsn: 0x1_0000_0028,
            last_commit: Timestamp::from_second(7).ok(),
            error: Some("away".to_owned()),
            ..Restore::default()
        });
        let told = state.to_proto().restore.expect("told");
        assert_eq!((told.lsn.as_str(), told.error.as_str()), ("1/28", "away"));
        assert_eq!(told.last_commit.expect("a time").seconds, 7);
        state.restore = Some(Restore::default());
        assert_eq!(state.to_proto().restore.expect("told").lsn, "");
    }

    #[test]
    fn a_fallback_is_told_with_its_times_and_only_once() {
        let mut state = State::default();
        let at = |second| Timestamp::from_second(second).expect("a time");
        let commits = |wait_for| {
            let (rule, of) = (1, 2);
            Some(Commits { rule, of, wait_for })
        };
        state.tell_commits(commits(1), at(1));
        assert_eq!(state.fallback, None);
        state.tell_commits(commits(0), at(2));
        state.tell_commits(commits(0), at(3));
        assert_eq!(state.fallback, Some((at(2), None)));
        state.tell_commits(commits(1), at(4));
        state.tell_commits(commits(1), at(5));
        assert_eq!(state.fallback, Some((at(2), Some(at(4)))));
        state.tell_commits(commits(0), at(6));
        assert_eq!(state.fallback, Some((at(6), None)));
        // It serves no more.
        state.tell_commits(None, at(7));
        assert_eq!(state.fallback, Some((at(6), Some(at(7)))));
    }

    #[test]
    fn a_long_error_keeps_its_beginning_and_its_end() {
        let long = format!("initdb failed: {}the end", "é".repeat(5000));
        let short = shortened(&long);
        assert!(short.len() <= ERROR_LIMIT + 10);
        assert!(short.starts_with("initdb failed") && short.ends_with("the end"));
        assert_eq!(shortened("short"), "short");
    }

    #[test]
    fn only_changes_are_told() {
        let reporter = Reporter::new(State::default());
        let watcher = reporter.watch();
        reporter.change(|state| state.phase = Phase::Starting);
        assert!(!watcher.has_changed().expect("open"));
        reporter.change(|state| state.phase = Phase::Running);
        assert!(watcher.has_changed().expect("open"));
    }
}
