//! Questions to the primary that a replica follows: over TLS, as the role for replication.

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

/// Why the primary gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum PrimaryError {
    /// It cannot be reached, or does not let us in.
    #[error("the primary at {address} cannot be asked: {cause}")]
    Asked {
        /// Where it was looked for.
        address: String,
        /// The cause.
        cause: String,
    },
    /// No answer in time.
    #[error("the primary at {address} did not answer within {} s", DEADLINE.as_secs())]
    Deadline {
        /// Where it was looked for.
        address: String,
    },
    /// It is no primary.
    #[error("the server at {0} is not a primary")]
    Standby(String),
}

/// A connection to the primary.
pub struct Primary {
    client: Client,
    driver: JoinHandle<()>,
    address: String,
}

impl Drop for Primary {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Primary {
    /// Connects, and makes sure that it is a primary.
    ///
    /// # Errors
    /// It cannot be reached, does not let us in, or is none.
    pub async fn connect(upstream: &Upstream, tls: &Arc<TlsFiles>) -> Result<Self, PrimaryError> {
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
                tracing::debug!(%error, "a connection to the primary ended");
            }
        });
        let primary = Self {
            client,
            driver,
            address,
        };
        let is_standby: bool = primary
            .ask("SELECT pg_catalog.pg_is_in_recovery()", &[])
            .await?;
        if is_standby {
            return Err(PrimaryError::Standby(primary.address.clone()));
        }
        Ok(primary)
    }

    /// Identifier of its data.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn system_identifier(&self) -> Result<u64, PrimaryError> {
        const QUERY: &str = "SELECT system_identifier FROM pg_catalog.pg_control_system()";
        let identifier: i64 = self.ask(QUERY, &[]).await?;
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
        let timeline: i32 = self.ask(TIMELINE, &[]).await?;
        let lsn: i64 = self.ask(LSN, &[]).await?;
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
        self.ask(QUERY, &[]).await
    }

    /// Makes the slot, unless it is there; WAL is kept from now on.
    ///
    /// # Errors
    /// It refuses, or does not answer.
    pub async fn make_slot(&self, slot: &str) -> Result<(), PrimaryError> {
        const QUERY: &str = "SELECT count(pg_catalog.pg_create_physical_replication_slot($1, true)) \
            WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_replication_slots WHERE slot_name = $1)";
        let made: i64 = self.ask(QUERY, &[&slot]).await?;
        if made > 0 {
            tracing::info!(slot, "the primary keeps WAL for this instance from now on");
        }
        Ok(())
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
