//! What the event service does on NSQ besides reading the history's topic: it gives hints that events are on disk, and keeps
//! topics that nobody reads from filling nsqd's volume.

use nsq::NameError;
use pgo_bus::{Announcer, Hint};
use tokio::{
    sync::broadcast::{self, error::RecvError},
    task::JoinSet,
};

use crate::consume::Confirmation;

/// Begins both; they end when the set is dropped.
///
/// # Errors
/// None that constants can cause.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn begin(
    nsqd: &nsq::Server,
    confirmations: &broadcast::Sender<Confirmation>,
) -> Result<JoinSet<()>, NameError> {
    let mut tasks = pgo_bus::drain(nsqd)?;
    let hints = Announcer::<Hint>::hints(nsqd.clone())?;
    tasks.spawn(tell(confirmations.subscribe(), hints));
    Ok(tasks)
}

/// Tells each watermark that is on disk. Those that come too fast are left out: the next one of the stream says more.
async fn tell(mut confirmations: broadcast::Receiver<Confirmation>, hints: Announcer<Hint>) {
    loop {
        match confirmations.recv().await {
            Ok((stream, seq)) => hints.tell(Hint { stream, seq }),
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}
