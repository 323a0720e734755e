//! Having a server read its configuration anew, and what it says of it.

use std::time::{Duration, Instant, SystemTime};

use tokio::time::sleep;

use crate::{
    SUPERUSER, Session, Socket,
    session::{SessionError, within},
};

/// How long a question about the configuration may take.
const ASK: Duration = Duration::from_secs(5);

/// How long the postmaster may take to read its files.
const READ: Duration = Duration::from_secs(10);

/// Pause between two looks at whether it has.
const LOOK: Duration = Duration::from_millis(10);

/// Most faults that are named in an error.
const MOST_FAULTS: usize = 5;

/// Why a configuration is not in force.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The server does not answer.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The files have faults.
    #[error(
        "the configuration has faults, and the former one goes on: {0}; mend them before PostgreSQL is started anew, which \
         they would keep from starting"
    )]
    Faults(String),
    /// The postmaster did not read them.
    #[error("PostgreSQL did not read its configuration within {} s", READ.as_secs())]
    NotRead,
}

/// Has the server at `socket` read its files anew: `signal` tells the postmaster to. Nothing is told to it where the files
/// have faults. The settings that wait for a restart come back, by name.
///
/// # Errors
/// The files have faults, or the server does not answer or read.
pub async fn run(socket: &Socket, signal: impl FnOnce()) -> Result<Vec<String>, ReloadError> {
    let session = Session::open(socket, SUPERUSER).await?;
    let faults = session.configuration_faults().await?;
    if !faults.is_empty() {
        return Err(ReloadError::Faults(shortened(&faults)));
    }
    let before = session.configured().await?;
    signal();
    let begin = Instant::now();
    loop {
        // A new process has what the postmaster has read; the others read with their next statement.
        let session = Session::open(socket, SUPERUSER).await?;
        if session.configured().await? != before {
            return Ok(session.pending_restart(ASK).await?);
        }
        if begin.elapsed() > READ {
            return Err(ReloadError::NotRead);
        }
        sleep(LOOK).await;
    }
}

fn shortened(faults: &[String]) -> String {
    let named = faults.iter().take(MOST_FAULTS);
    let mut named: Vec<&str> = named.map(String::as_str).collect();
    let more = faults.len().saturating_sub(MOST_FAULTS);
    let rest = format!("and {more} more");
    if more > 0 {
        named.push(&rest);
    }
    named.join("; ")
}

impl Session {
    /// The settings that have another value in the files than in the server and take it over only with a restart
    /// (documentation, "pg_settings"), by name. Not those of a recovery, which nothing else reads: whoever gives them
    /// another value has a standby restarted where that matters.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn pending_restart(&self, deadline: Duration) -> Result<Vec<String>, SessionError> {
        const QUERY: &str = "SELECT name FROM pg_catalog.pg_settings WHERE pending_restart \
             AND name NOT IN ('primary_conninfo', 'primary_slot_name', 'restore_command') AND name NOT LIKE 'recovery_target%' \
             ORDER BY name";
        self.names(QUERY, deadline).await
    }

    /// What is wrong in the files as they are now: in postgresql.conf and what it includes, and in pg_hba.conf. A setting that
    /// only a restart can change is no fault; PostgreSQL has the same words for it, and marks it as pending.
    async fn configuration_faults(&self) -> Result<Vec<String>, SessionError> {
        const OF_SETTINGS: &str = "SELECT pg_catalog.format('%s line %s: %s%s', \
            pg_catalog.regexp_replace(sourcefile, '^.*/', ''), sourceline, coalesce(name || ': ', ''), error) \
            FROM pg_catalog.pg_file_settings AS file \
            WHERE error IS NOT NULL AND NOT EXISTS (SELECT FROM pg_catalog.pg_settings AS setting \
                WHERE setting.name = file.name AND pending_restart)";
        const OF_HBA: &str = "SELECT pg_catalog.format('pg_hba.conf line %s: %s', line_number, error) \
            FROM pg_catalog.pg_hba_file_rules WHERE error IS NOT NULL";
        // Reading the files is what marks settings as pending in this process.
        let _ = self
            .names("SELECT name FROM pg_catalog.pg_file_settings", ASK)
            .await?;
        let mut faults = self.names(OF_SETTINGS, ASK).await?;
        faults.extend(self.names(OF_HBA, ASK).await?);
        Ok(faults)
    }

    /// When the process behind this session read the configuration last, or the one that it comes from.
    async fn configured(&self) -> Result<SystemTime, SessionError> {
        const QUERY: &str = "SELECT pg_catalog.pg_conf_load_time()";
        let row = within(ASK, self.client().query_one(QUERY, &[])).await?;
        row.try_get(0).map_err(SessionError::Statement)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_of_faults_is_cut() {
        let faults: Vec<String> = (1..=7).map(|n| format!("line {n}")).collect();
        assert_eq!(shortened(&faults[..1]), "line 1");
        assert_eq!(
            shortened(&faults),
            "line 1; line 2; line 3; line 4; line 5; and 2 more"
        );
    }
}
