//! How far WAL has come on a server that runs and receives none: what its votes, and its promotion, go by.

use std::time::Duration;

use pgo_postgres::{
    Installation, Session, identify,
    position::{self, WalEnd},
    timeline,
};

use super::shown;
use crate::cli::Settings;

/// How long PostgreSQL may take to say whether it has received WAL.
const DEADLINE: Duration = Duration::from_secs(5);

/// The end of what is flushed on a standby that receives nothing, to whose server this is a `session`.
///
/// PostgreSQL knows what it has replayed, and what it has received since it started or came back from the crash of a backend.
/// It begins to receive when all that it had is replayed, so once it has received something no more is there than it says: but
/// on a timeline after that of what is replayed. All else is looked for in the WAL itself.
pub(super) async fn ask(
    session: &Session,
    settings: &Settings,
    installation: &Installation,
) -> Result<WalEnd, String> {
    // Documentation, "Recovery Information Functions".
    const RECEIVED: &str = "SELECT pg_catalog.pg_last_wal_receive_lsn() IS NOT NULL";
    let (socket, data) = (settings.socket(), &settings.data);
    let has_received = session.truth(RECEIVED, DEADLINE).await.map_err(shown)?;
    let told = identify::ask(&socket).await.map_err(shown)?;
    let newer = timeline::begun_after(data, told.timeline, told.lsn).map_err(shown)?;
    if has_received && newer.is_empty() {
        return Ok(told);
    }
    let end = position::of_standby(installation, data, told)
        .await
        .map_err(shown)?;
    tracing::info!(?told, ?end, "WAL was read that may not be replayed yet");
    Ok(end)
}
