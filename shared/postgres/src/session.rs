//! SQL over the server's own socket, each step with a deadline.

use std::{path::PathBuf, time::Duration};

use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, NoTls, error::SqlState, types::PgLsn};

use crate::{SUPERUSER, backrest::archive::Archiver};

/// How long it may take to get a session; a backend starts in milliseconds.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// Where the server's socket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// The folder.
    pub folder: PathBuf,
    /// The port, part of the socket's name.
    pub port: u16,
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The server cannot be reached, or does not let us in.
    #[error("cannot connect to PostgreSQL: {}", shown(.0))]
    Connect(tokio_postgres::Error),
    /// The server is starting, stopping or recovering.
    #[error("PostgreSQL does not take connections yet: {}", shown(.0))]
    NotYet(tokio_postgres::Error),
    /// A statement failed.
    #[error("PostgreSQL refuses a statement: {}", shown(.0))]
    Statement(tokio_postgres::Error),
    /// No answer in time.
    #[error("PostgreSQL did not answer within {} ms", .0.as_millis())]
    Deadline(Duration),
}

/// The server's own words where it has some, else the cause.
pub fn shown(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), std::error::Error::source(error)) {
        (Some(db), _) => format!("{} ({})", db.message(), db.code().code()),
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}

/// What a running server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Identifier of the data.
    pub system_identifier: u64,
    /// Whether it replays WAL and takes no writes.
    pub in_recovery: bool,
    /// Timeline that is written or replayed.
    pub timeline: u32,
    /// Position of the last write, or replay in recovery; 0 where there is none.
    pub lsn: u64,
}

/// How a standby gets on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Following {
    /// Whether WAL flows from another server now.
    pub streaming: bool,
    /// Timeline of what it receives; 0 where nothing flows.
    pub timeline: u32,
    /// Position up to which it has received WAL.
    pub received: u64,
    /// Position up to which it has replayed WAL.
    pub replayed: u64,
    /// What it knows of that it has not replayed yet, in bytes.
    pub lag_bytes: u64,
    /// How old the last replayed transaction is, in milliseconds, where there is more to replay.
    pub lag_ms: u64,
}

/// A standby as the server that it follows knows it: by the slot that keeps WAL for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follower {
    /// Name of the slot.
    pub slot: String,
    /// Whether WAL flows to it now.
    pub streaming: bool,
    /// PostgreSQL's word for it: `async`, `sync`, `quorum` or `potential`; empty where none flows.
    pub sync: String,
    /// What it has not replayed yet, in bytes.
    pub lag_bytes: u64,
    /// WAL that is kept for it, in bytes.
    pub kept_bytes: u64,
    /// PostgreSQL's word for whether that may stay; empty before release 13.
    pub wal_status: String,
}

/// One connection as the superuser.
#[derive(Debug)]
pub struct Session {
    client: Client,
    driver: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Session {
    /// Connects to `database`.
    ///
    /// # Errors
    /// The server cannot be reached in time, or refuses.
    pub async fn open(socket: &Socket, database: &str) -> Result<Self, SessionError> {
        let mut config = Config::new();
        config
            .host_path(&socket.folder)
            .port(socket.port)
            .user(SUPERUSER)
            .dbname(database)
            // What the agent writes can be written again, and must not wait for replicas that are not there.
            .options("-c synchronous_commit=local")
            .application_name("pgo-agent");
        let (client, connection) = tokio::time::timeout(CONNECT_DEADLINE, config.connect(NoTls))
            .await
            .map_err(|_| SessionError::Deadline(CONNECT_DEADLINE))?
            .map_err(|error| match error.code() {
                Some(&SqlState::CANNOT_CONNECT_NOW) => SessionError::NotYet(error),
                _ => SessionError::Connect(error),
            })?;
        let driver = tokio::spawn(async move {
            // Whoever waits for an answer gets the reason, too.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a session ended");
            }
        });
        Ok(Self { client, driver })
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Whether the server answers a query.
    ///
    /// # Errors
    /// It does not, or not in time.
    pub async fn check(&self, deadline: Duration) -> Result<(), SessionError> {
        within(deadline, self.client.simple_query("SELECT 1"))
            .await
            .map(drop)
    }

    /// Runs statements that return nothing.
    ///
    /// # Errors
    /// One fails, or they take too long.
    pub async fn execute(&self, statements: &str, deadline: Duration) -> Result<(), SessionError> {
        within(deadline, self.client.batch_execute(statements)).await
    }

    /// The texts in the first column of what `query` returns.
    ///
    /// # Errors
    /// It fails, takes too long, or returns something else.
    pub async fn names(
        &self,
        query: &str,
        deadline: Duration,
    ) -> Result<Vec<String>, SessionError> {
        let rows = within(deadline, self.client.query(query, &[])).await?;
        rows.iter()
            .map(|row| row.try_get(0).map_err(SessionError::Statement))
            .collect()
    }

    /// The texts in the first two columns of what `query` returns.
    ///
    /// # Errors
    /// It fails, takes too long, or returns something else.
    pub async fn pairs(
        &self,
        query: &str,
        parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)],
        deadline: Duration,
    ) -> Result<Vec<(String, String)>, SessionError> {
        let rows = within(deadline, self.client.query(query, parameters)).await?;
        let read = |row: &tokio_postgres::Row| Ok((row.try_get(0)?, row.try_get(1)?));
        rows.iter()
            .map(|row| read(row).map_err(SessionError::Statement))
            .collect()
    }

    /// The answer to a question of yes or no.
    ///
    /// # Errors
    /// It fails, takes too long, or returns something else.
    pub async fn truth(&self, query: &str, deadline: Duration) -> Result<bool, SessionError> {
        let row = within(deadline, self.client.query_one(query, &[])).await?;
        row.try_get(0).map_err(SessionError::Statement)
    }

    /// How a standby gets on. For PostgreSQL 10 and newer.
    ///
    /// # Errors
    /// The query fails or takes too long.
    pub async fn following(&self, deadline: Duration) -> Result<Following, SessionError> {
        const QUERY: &str = "
            SELECT coalesce(receiver.status = 'streaming', false),
                   coalesce(receiver.received_tli, 0),
                   received, replayed,
                   greatest(pg_catalog.pg_wal_lsn_diff(greatest(receiver.latest_end_lsn, received), replayed), 0)::bigint,
                   CASE WHEN greatest(receiver.latest_end_lsn, received) <= replayed THEN 0
                        ELSE greatest(extract(epoch FROM pg_catalog.clock_timestamp()
                                      - pg_catalog.pg_last_xact_replay_timestamp()) * 1000, 0) END::bigint
              FROM (SELECT pg_catalog.pg_last_wal_receive_lsn() AS received,
                           pg_catalog.pg_last_wal_replay_lsn() AS replayed) AS now
                   LEFT JOIN pg_catalog.pg_stat_wal_receiver AS receiver ON true";
        let row = within(deadline, self.client.query_one(QUERY, &[])).await?;
        let read = || {
            let lsn = |at| {
                row.try_get::<_, Option<PgLsn>>(at)
                    .map(|lsn| lsn.map(u64::from).unwrap_or_default())
            };
            let count = |at| {
                row.try_get::<_, Option<i64>>(at)
                    .map(|count| count.unwrap_or_default().cast_unsigned())
            };
            Ok(Following {
                streaming: row.try_get(0)?,
                timeline: row.try_get::<_, i32>(1)?.cast_unsigned(),
                received: lsn(2)?,
                replayed: lsn(3)?,
                lag_bytes: count(4)?,
                lag_ms: count(5)?,
            })
        };
        read().map_err(SessionError::Statement)
    }

    /// The standbys that a primary has slots of ours for, by the names of those.
    ///
    /// # Errors
    /// The query fails or takes too long.
    pub async fn followers(&self, deadline: Duration) -> Result<Vec<Follower>, SessionError> {
        const QUERY: &str = "
            SELECT slot.slot_name::text,
                   coalesce(sender.state = 'streaming', false),
                   coalesce(sender.sync_state, ''),
                   coalesce(greatest(pg_catalog.pg_wal_lsn_diff(now, sender.replay_lsn), 0), 0)::bigint,
                   coalesce(greatest(pg_catalog.pg_wal_lsn_diff(now, slot.restart_lsn), 0), 0)::bigint,
                   coalesce(pg_catalog.to_jsonb(slot) ->> 'wal_status', '')
              FROM pg_catalog.pg_replication_slots AS slot
                   LEFT JOIN pg_catalog.pg_stat_replication AS sender ON sender.pid = slot.active_pid,
                   pg_catalog.pg_current_wal_lsn() AS now
             WHERE slot.slot_type = 'physical' AND left(slot.slot_name, 4) = 'pgo_'
             ORDER BY 1";
        let rows = within(deadline, self.client.query(QUERY, &[])).await?;
        let read = |row: &tokio_postgres::Row| {
            Ok(Follower {
                slot: row.try_get(0)?,
                streaming: row.try_get(1)?,
                sync: row.try_get(2)?,
                lag_bytes: row.try_get::<_, i64>(3)?.cast_unsigned(),
                kept_bytes: row.try_get::<_, i64>(4)?.cast_unsigned(),
                wal_status: row.try_get(5)?,
            })
        };
        rows.iter()
            .map(|row| read(row).map_err(SessionError::Statement))
            .collect()
    }

    /// How archiving goes.
    ///
    /// # Errors
    /// The query fails or takes too long.
    pub async fn archiver(&self, deadline: Duration) -> Result<Archiver, SessionError> {
        const QUERY: &str = "SELECT coalesce(last_archived_wal, ''), last_archived_time, last_failed_time \
                             FROM pg_catalog.pg_stat_archiver";
        let row = within(deadline, self.client.query_one(QUERY, &[])).await?;
        let read = || {
            Ok(Archiver {
                last_archived: row.try_get(0)?,
                last_archived_at: row.try_get(1)?,
                last_failed_at: row.try_get(2)?,
            })
        };
        read().map_err(SessionError::Statement)
    }

    /// Removes a slot, and ends who streams from it; whether it is gone.
    ///
    /// # Errors
    /// A query fails or takes too long.
    pub async fn drop_slot(&self, slot: &str, deadline: Duration) -> Result<(), SessionError> {
        const END: &str = "SELECT pg_catalog.pg_terminate_backend(active_pid) FROM pg_catalog.pg_replication_slots \
                           WHERE slot_name = $1 AND active_pid IS NOT NULL";
        const DROP: &str = "SELECT pg_catalog.pg_drop_replication_slot(slot_name) FROM pg_catalog.pg_replication_slots \
                            WHERE slot_name = $1";
        within(deadline, self.client.query(END, &[&slot])).await?;
        within(deadline, self.client.query(DROP, &[&slot]))
            .await
            .map(drop)
    }

    /// What the server says of itself. For PostgreSQL 10 and newer.
    ///
    /// # Errors
    /// The query fails or takes too long.
    pub async fn facts(&self, deadline: Duration) -> Result<Facts, SessionError> {
        // The timeline of a primary is in the name of its WAL file; a standby's is that of its last restart point.
        const QUERY: &str = "
            SELECT (SELECT system_identifier FROM pg_catalog.pg_control_system()),
                   in_recovery,
                   CASE WHEN in_recovery THEN (SELECT timeline_id FROM pg_catalog.pg_control_checkpoint())
                        ELSE ('x' || substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8))
                             ::bit(32)::int END,
                   CASE WHEN in_recovery THEN pg_catalog.pg_last_wal_replay_lsn()
                        ELSE pg_catalog.pg_current_wal_lsn() END
              FROM (SELECT pg_catalog.pg_is_in_recovery() AS in_recovery) AS now";
        let row = within(deadline, self.client.query_one(QUERY, &[])).await?;
        let read = || {
            let lsn: Option<PgLsn> = row.try_get(3)?;
            Ok(Facts {
                system_identifier: row.try_get::<_, i64>(0)?.cast_unsigned(),
                in_recovery: row.try_get(1)?,
                timeline: row.try_get::<_, i32>(2)?.cast_unsigned(),
                lsn: lsn.map(u64::from).unwrap_or_default(),
            })
        };
        read().map_err(SessionError::Statement)
    }
}

pub(crate) async fn within<T>(
    deadline: Duration,
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, SessionError> {
    tokio::time::timeout(deadline, answer)
        .await
        .map_err(|_| SessionError::Deadline(deadline))?
        .map_err(SessionError::Statement)
}
