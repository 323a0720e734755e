//! The wish to end, from outside.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that is cancelled when the process gets SIGTERM or SIGINT.
///
/// From the return of this function on no such signal is lost. `token.cancelled_owned()` is the future to hand to a
/// server; clones go to the tasks that have to end.
///
/// # Errors
/// The handlers could not be installed.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn shutdown() -> std::io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let cancel = token.clone();
    tokio::spawn(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "asked to end");
        cancel.cancel();
    });
    Ok(token)
}
