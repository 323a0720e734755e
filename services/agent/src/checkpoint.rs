//! A checkpoint on request: what it has written need not be written by what comes next, and for that somebody waits.

use std::time::{Duration, Instant};

use pgo_postgres::{SUPERUSER, Session, Socket, session::SessionError};

/// Has the server behind `socket` write a checkpoint, for `limit` at most; how long it took. What was written by then counts
/// also where the time ran out.
///
/// # Errors
/// The server does not, or not in time.
pub async fn write(socket: &Socket, limit: Duration) -> Result<Duration, SessionError> {
    let begin = Instant::now();
    let session = Session::open(socket, SUPERUSER).await?;
    session.execute("CHECKPOINT", limit).await?;
    Ok(begin.elapsed())
}

/// The same before the server is shut down, which writes another one while nobody can write: so that is a small one. Where
/// it cannot be written, the shutdown takes longer.
pub async fn before_shutdown(socket: &Socket, limit: Duration) {
    match write(socket, limit).await {
        Ok(took) => tracing::info!(
            millis = took.as_millis(),
            "a checkpoint was written before the shutdown"
        ),
        Err(error) => tracing::warn!(
            %error,
            "no checkpoint before the shutdown, which may take longer"
        ),
    }
}
