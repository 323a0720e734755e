//! Questions to the primary that a replica follows, and to another replica: over TLS, as the role for replication.

use std::{sync::Arc, time::Duration};

use pgo_ha::{Lsn, Position, Timeline};
use pgo_postgres::{
    session::shown,
    upstream::{ROLE, Upstream},
};
use pgo_tls::TlsFiles;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, config::SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

/// How long the primary may take to let us in, and to answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// Database that is asked; nothing of it is used.
const DATABASE: &str = "postgres";

/// Why another instance gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum PrimaryError {
    /// It cannot be reached, or does not let us in.
    #[error("the server at {address} cannot be asked: {cause}")]
    Asked {
        /// Where it was looked for.
        address: String,
        /// The cause.
        cause: String,
    },
    /// No answer in time.
    #[error("the server at {address} did not answer within {} s", DEADLINE.as_secs())]
    Deadline {
        /// Where it was looked for.
        address: String,
    },
    /// It is no primary.
    #[error("the server at {0} is not a primary")]
    Standby(String),
    /// It is one, where a replica was looked for.
    #[error("the server at {0} is not a replica")]
    NoStandby(String),
}

/// A connection to another instance.
struct Connection {
    client: Client,
    driver: JoinHandle<()>,
    address: String,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    async fn open(upstream: &Upstream, tls: &Arc<TlsFiles>) -> Result<Self, PrimaryError> {
        let address = format!("{}:{}", upstream.address, upstream.port);
        let mut config = tokio_postgres::Config::new();
        config
            .host(&upstream.identity)
            .hostaddr(upstream.address)
            .port(upstream.port)
            .user(ROLE)
            .dbname(DATABASE)
            .ssl_mode(SslMode::Require)
            .application_name("pgo-agent");
        let connector = MakeRustlsConnect::new((*tls.client_config()).clone());
        let connecting = tokio::time::timeout(DEADLINE, config.connect(connector));
        let (client, connection) = connecting
            .await
            .map_err(|_| PrimaryError::Deadline {
                address: address.clone(),
            })?
            .map_err(|error| PrimaryError::Asked {
                address: address.clone(),
                cause: shown(&error),
            })?;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to another instance ended");
            }
        });
        Ok(Self {
            client,
            driver,
            address,
        })
    }

    async fn is_standby(&self) -> Result<bool, PrimaryError> {
        self.ask("SELECT pg_catalog.pg_is_in_recovery()", &[]).await
    }

    async fn ask<T>(
        &self,
        query: &str,
        parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<T, PrimaryError>
    where
        T: for<'a> tokio_postgres::types::FromSql<'a>,
    {
        let asked = |error: tokio_postgres::Error| PrimaryError::Asked {
            address: self.address.clone(),
            cause: shown(&error),
        };
        let row = tokio::time::timeout(DEADLINE, self.client.query_one(query, parameters))
            .await
            .map_err(|_| PrimaryError::Deadline {
                address: self.address.clone(),
            })?
            .map_err(asked)?;
        row.try_get(0).map_err(asked)
    }
}

/// A connection to the primary.
pub struct Primary(Connection);

impl Primary {
    /// Connects, and makes sure that it is a primary.
    ///
    /// # Errors
    /// It cannot be reached, does not let us in, or is none.
    pub async fn connect(upstream: &Upstream, tls: &Arc<TlsFiles>) -> Result<Self, PrimaryError> {
        let connection = Connection::open(upstream, tls).await?;
        if connection.is_standby().await? {
            return Err(PrimaryError::Standby(connection.address.clone()));
        }
        Ok(Self(connection))
    }

    /// Identifier of its data.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn system_identifier(&self) -> Result<u64, PrimaryError> {
        const QUERY: &str = "SELECT system_identifier FROM pg_catalog.pg_control_system()";
        let identifier: i64 = self.0.ask(QUERY, &[]).await?;
        Ok(identifier.cast_unsigned())
    }

    /// How far it has flushed.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn flushed(&self) -> Result<Position, PrimaryError> {
        const TIMELINE: &str = "SELECT ('x' || substr(pg_catalog.pg_walfile_name(\
            pg_catalog.pg_current_wal_lsn()), 1, 8))::bit(32)::int";
        const LSN: &str = "SELECT pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_flush_lsn(), '0/0')::bigint";
        let timeline: i32 = self.0.ask(TIMELINE, &[]).await?;
        let lsn: i64 = self.0.ask(LSN, &[]).await?;
        Ok(Position {
            timeline: Timeline(timeline.cast_unsigned()),
            lsn: Lsn(lsn.cast_unsigned()),
        })
    }

    /// Whether its pg_control has the timeline that it writes: pg_rewind goes by that.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn has_settled(&self) -> Result<bool, PrimaryError> {
        const QUERY: &str = "SELECT timeline_id = ('x' || substr(pg_catalog.pg_walfile_name(\
            pg_catalog.pg_current_wal_lsn()), 1, 8))::bit(32)::int FROM pg_catalog.pg_control_checkpoint()";
        self.0.ask(QUERY, &[]).await
    }

    /// Makes the slot, unless it is there; WAL is kept from now on. One that has lost its WAL keeps nothing and, from release
    /// 18 on, serves nobody: it makes way.
    ///
    /// # Errors
    /// It refuses, or does not answer.
    pub async fn make_slot(&self, slot: &str) -> Result<(), PrimaryError> {
        const LOST: &str = "SELECT count(pg_catalog.pg_drop_replication_slot(slot_name)) FROM pg_catalog.pg_replication_slots \
            WHERE slot_name = $1 AND slot_type = 'physical' AND restart_lsn IS NULL AND NOT active";
        const QUERY: &str = "SELECT count(pg_catalog.pg_create_physical_replication_slot($1, true)) \
            WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_replication_slots WHERE slot_name = $1)";
        let lost: i64 = self.0.ask(LOST, &[&slot]).await?;
        if lost > 0 {
            tracing::warn!(
                slot,
                "the primary has let the WAL go that it kept for this instance"
            );
        }
        let made: i64 = self.0.ask(QUERY, &[&slot]).await?;
        if made > 0 {
            tracing::info!(slot, "the primary keeps WAL for this instance from now on");
        }
        Ok(())
    }

    /// From where on the slot keeps WAL; nothing where it keeps none.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn kept_from(&self, slot: &str) -> Result<Option<Lsn>, PrimaryError> {
        const QUERY: &str = "SELECT max(pg_catalog.pg_wal_lsn_diff(restart_lsn, '0/0'))::bigint \
            FROM pg_catalog.pg_replication_slots WHERE slot_name = $1";
        let lsn: Option<i64> = self.0.ask(QUERY, &[&slot]).await?;
        Ok(lsn.map(|lsn| Lsn(lsn.cast_unsigned())))
    }

    /// The slots through which WAL flows now, those that are furthest first.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn streaming_slots(&self) -> Result<Vec<String>, PrimaryError> {
        const QUERY: &str = "SELECT coalesce(array_agg(slot_name::text ORDER BY restart_lsn DESC), '{}') \
            FROM pg_catalog.pg_replication_slots \
            WHERE slot_type = 'physical' AND active AND restart_lsn IS NOT NULL";
        self.0.ask(QUERY, &[]).await
    }
}

/// A connection to another replica.
pub struct Replica(Connection);

impl Replica {
    /// Connects, and makes sure that it is a replica.
    ///
    /// # Errors
    /// It cannot be reached, does not let us in, or is none.
    pub async fn connect(upstream: &Upstream, tls: &Arc<TlsFiles>) -> Result<Self, PrimaryError> {
        let connection = Connection::open(upstream, tls).await?;
        if !connection.is_standby().await? {
            return Err(PrimaryError::NoStandby(connection.address.clone()));
        }
        Ok(Self(connection))
    }

    /// How far it has replayed; nothing where it has not begun to.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn replayed(&self) -> Result<Option<Lsn>, PrimaryError> {
        const QUERY: &str =
            "SELECT pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_last_wal_replay_lsn(), '0/0')::bigint";
        let lsn: Option<i64> = self.0.ask(QUERY, &[]).await?;
        Ok(lsn.map(|lsn| Lsn(lsn.cast_unsigned())))
    }
}
