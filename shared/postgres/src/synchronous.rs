//! For whose answers commits wait, and how a server that runs is brought from one such rule to another without a commit
//! that goes by neither.
//!
//! PostgreSQL has no way to say that each of its processes has read a new `synchronous_standby_names`. So in between
//! stands [`Rule::nobody`], by which nothing is acknowledged. That it is in force can be seen from outside: no walsender
//! counts any more (`sync_priority`), and a commit waits (`SyncRep`). What was acknowledged before was so by the old rule,
//! and lies before the end of WAL then; what comes after goes by the new one.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use tokio::time::sleep;
use tokio_postgres::types::PgLsn;

use crate::{
    SUPERUSER, Session, Socket,
    session::{SessionError, within},
};

/// `application_name` that no standby has.
const NOBODY: &str = "pgo-nobody";

/// How long a query about all that may take.
const ASK: Duration = Duration::from_secs(5);

/// How long each step may take until it is given up.
const STEP: Duration = Duration::from_secs(10);

/// How long a walsender may take to read the new rule until it is ended; the standby connects again.
const SENDER: Duration = Duration::from_secs(1);

/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(5);

/// `synchronous_standby_names`: any `k` of the standbys that have these values of `application_name`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    k: usize,
    names: BTreeSet<String>,
}

impl Rule {
    /// Commits wait for any `k` of `names`; for nobody where `k` is 0.
    pub fn any(k: usize, names: impl IntoIterator<Item = String>) -> Self {
        let names = if k == 0 {
            BTreeSet::new()
        } else {
            names.into_iter().collect()
        };
        Self { k, names }
    }

    /// Commits wait for somebody who never answers. Each standby has it, so that none acknowledges anything between its
    /// promotion and the rule that is recorded.
    pub fn nobody() -> Self {
        Self::any(1, [NOBODY.to_owned()])
    }

    /// How many have to answer; 0 where commits wait for nobody.
    pub fn k(&self) -> usize {
        self.k
    }

    /// The value of `synchronous_standby_names` (documentation, "Replication").
    pub fn value(&self) -> String {
        if self.k == 0 {
            return String::new();
        }
        let quoted = |name: &String| format!("\"{}\"", name.replace('"', "\"\""));
        let names: Vec<String> = self.names.iter().map(quoted).collect();
        format!("ANY {} ({})", self.k, names.join(", "))
    }

    fn names(&self) -> Vec<String> {
        self.names.iter().cloned().collect()
    }
}

/// Why a rule is not in force.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// The server does not answer.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The server goes by another value than the one that was written.
    #[error(
        "PostgreSQL goes by synchronous_standby_names = {found:?} instead of {wanted:?}; was it set by ALTER SYSTEM, or for \
         the superuser? Reset it there"
    )]
    Overruled {
        /// What it goes by.
        found: String,
        /// What was written.
        wanted: String,
    },
    /// Standbys went on acknowledging commits by the former rule.
    #[error("walsenders still go by the former synchronous_standby_names after {} s", STEP.as_secs())]
    Senders,
    /// Commits did not wait.
    #[error("commits still do not wait by synchronous_standby_names after {} s", STEP.as_secs())]
    Commits,
}

/// Waits until whoever connects goes by `rule`: then every process of the server was told to read it.
///
/// # Errors
/// It goes by another one, or does not answer.
pub async fn is_read(socket: &Socket, rule: &Rule) -> Result<(), RuleError> {
    const SHOW: &str = "SELECT pg_catalog.current_setting('synchronous_standby_names')";
    let begin = Instant::now();
    let wanted = rule.value();
    loop {
        let session = Session::open(socket, SUPERUSER).await?;
        let found = session.names(SHOW, ASK).await?.pop().unwrap_or_default();
        if found == wanted {
            return Ok(());
        }
        if begin.elapsed() > STEP {
            return Err(RuleError::Overruled { found, wanted });
        }
        sleep(LOOK).await;
    }
}

/// Waits until nothing is acknowledged any more, where [`Rule::nobody`] was read after `former`.
///
/// # Errors
/// Something still is, or the server does not answer.
pub async fn is_nobody(socket: &Socket, former: &Rule) -> Result<(), RuleError> {
    let session = Session::open(socket, SUPERUSER).await?;
    let begin = Instant::now();
    let mut ended = false;
    while session.acknowledges(&former.names()).await? {
        if begin.elapsed() > STEP {
            return Err(RuleError::Senders);
        }
        if begin.elapsed() > SENDER && !ended {
            ended = true;
            session.end_senders(&former.names()).await?;
        }
        sleep(LOOK).await;
    }
    commits_wait(socket, &session).await
}

/// Waits until a commit waits: then whoever tells backends whether to wait has read the rule.
async fn commits_wait(socket: &Socket, observer: &Session) -> Result<(), RuleError> {
    // A commit of nothing waits for nobody, so something is written.
    const COMMIT: &str =
        "SET synchronous_commit TO on; SELECT pg_catalog.pg_logical_emit_message(true, 'pgo', '')";
    let begin = Instant::now();
    while begin.elapsed() < STEP {
        let session = Session::open(socket, SUPERUSER).await?;
        let pid = session.backend(ASK).await?;
        let waits = tokio::select! {
            done = session.execute(COMMIT, STEP) => {
                done?;
                false
            }
            seen = observer.sees_waiting(pid) => seen.map(|()| true)?,
        };
        observer.end_backend(pid).await?;
        if waits {
            return Ok(());
        }
    }
    Err(RuleError::Commits)
}

impl Session {
    /// Up to where this server has flushed its own WAL.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn flushed(&self) -> Result<u64, SessionError> {
        const QUERY: &str = "SELECT pg_catalog.pg_current_wal_flush_lsn()";
        let row = within(ASK, self.client().query_one(QUERY, &[])).await?;
        let lsn: PgLsn = row.try_get(0).map_err(SessionError::Statement)?;
        Ok(lsn.into())
    }

    /// Whether as many of the standbys as `rule` asks for have flushed up to `lsn`.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn is_held(&self, rule: &Rule, lsn: u64) -> Result<bool, SessionError> {
        const QUERY: &str = "SELECT count(DISTINCT application_name) FROM pg_catalog.pg_stat_replication \
            WHERE application_name = ANY ($1) AND flush_lsn >= $2";
        let (names, lsn) = (rule.names(), PgLsn::from(lsn));
        let row = within(ASK, self.client().query_one(QUERY, &[&names, &lsn])).await?;
        let count: i64 = row.try_get(0).map_err(SessionError::Statement)?;
        Ok(usize::try_from(count).is_ok_and(|count| count >= rule.k))
    }

    /// Whether a walsender of these standbys may acknowledge commits: it does, or nothing is known of it yet.
    async fn acknowledges(&self, names: &[String]) -> Result<bool, SessionError> {
        const QUERY: &str = "SELECT EXISTS (SELECT FROM pg_catalog.pg_stat_replication \
            WHERE application_name = ANY ($1) AND (sync_priority > 0 OR flush_lsn IS NULL))";
        let row = within(ASK, self.client().query_one(QUERY, &[&names])).await?;
        row.try_get(0).map_err(SessionError::Statement)
    }

    async fn end_senders(&self, names: &[String]) -> Result<(), SessionError> {
        const QUERY: &str = "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_replication \
            WHERE application_name = ANY ($1) AND (sync_priority > 0 OR flush_lsn IS NULL)";
        within(ASK, self.client().query(QUERY, &[&names]))
            .await
            .map(drop)
    }

    /// Number of the process behind this session.
    async fn backend(&self, deadline: Duration) -> Result<i32, SessionError> {
        const QUERY: &str = "SELECT pg_catalog.pg_backend_pid()";
        let row = within(deadline, self.client().query_one(QUERY, &[])).await?;
        row.try_get(0).map_err(SessionError::Statement)
    }

    async fn sees_waiting(&self, pid: i32) -> Result<(), SessionError> {
        const QUERY: &str = "SELECT EXISTS (SELECT FROM pg_catalog.pg_stat_activity \
            WHERE pid = $1 AND wait_event = 'SyncRep')";
        loop {
            let row = within(ASK, self.client().query_one(QUERY, &[&pid])).await?;
            if row.try_get(0).map_err(SessionError::Statement)? {
                return Ok(());
            }
            sleep(LOOK).await;
        }
    }

    async fn end_backend(&self, pid: i32) -> Result<(), SessionError> {
        const QUERY: &str = "SELECT pg_catalog.pg_terminate_backend($1)";
        within(ASK, self.client().query(QUERY, &[&pid]))
            .await
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_written_as_postgresql_reads_it() {
        let names = ["b\"c", "a"].map(str::to_owned);
        assert_eq!(
            Rule::any(2, names.clone()).value(),
            "ANY 2 (\"a\", \"b\"\"c\")"
        );
        assert_eq!(Rule::any(0, names).value(), "");
        assert_eq!(Rule::default().value(), "");
        assert_eq!(Rule::nobody().value(), "ANY 1 (\"pgo-nobody\")");
    }
}
