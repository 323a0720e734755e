//! Waiting with a deadline.

use std::{future::Future, time::Duration};

use nsq::State;
use tokio::sync::watch;

/// Longest wait for anything that should be there at once. Generous: it is reached only by a failing test.
const SOON: Duration = Duration::from_secs(15);

/// What the future gives, which must be there soon.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(SOON, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {SOON:?}"),
    }
}

/// The state that fulfils the condition, which must come soon.
pub async fn state(
    state: &mut watch::Receiver<State>,
    condition: impl FnMut(&State) -> bool,
) -> State {
    soon("the state", state.wait_for(condition))
        .await
        .unwrap()
        .clone()
}
