//! Keeps the passwords of the roles those that the Secrets say, while a primary serves: a Secret may be made anew or edited.
//! Replicas have them by WAL.

use std::{
    convert::Infallible,
    time::{Duration, Instant},
};

use pgo_postgres::passwords::{self, Agreed};
use tokio::time::sleep;

use crate::{cli::Settings, prepare};

/// Time between two looks at the files of the Secrets; the kubelet takes up to a minute to bring a change there.
const LOOK: Duration = Duration::from_secs(2);

/// Time between two looks at what PostgreSQL has while the files stay the same. Each starts a process of the server.
const COMPARE: Duration = Duration::from_secs(60);

/// Does so until the server ends. Not at once: whoever waits for a new primary to write goes first.
pub(super) async fn keep(settings: &Settings) -> Infallible {
    let mut agreed = Agreed::default();
    let mut compared: Option<Instant> = None;
    loop {
        sleep(LOOK).await;
        let is_due = compared.is_none_or(|then| then.elapsed() >= COMPARE);
        match one_look(settings, &mut agreed, is_due).await {
            Ok(true) => compared = Some(Instant::now()),
            Ok(false) => {}
            Err(error) => warn(&error),
        }
    }
}

/// Sets what differs before anybody is let in: data that was kept, restored or copied may come from times, or from a cluster,
/// with other passwords. What cannot be set now, as no standby acknowledges it, does not keep a primary from serving.
pub(super) async fn adopt(settings: &Settings) {
    if let Err(error) = one_look(settings, &mut Agreed::default(), true).await {
        warn(&error);
    }
}

fn warn(error: &str) {
    tracing::warn!(
        error,
        "the passwords of the Secrets may not be those of the roles; trying again"
    );
}

/// Sets what differs, where that `is_due` or a file has changed; whether PostgreSQL was asked.
async fn one_look(settings: &Settings, agreed: &mut Agreed, is_due: bool) -> Result<bool, String> {
    let wanted = prepare::all_credentials(settings).map_err(super::shown)?;
    if !is_due && agreed.has(&wanted) {
        return Ok(false);
    }
    let set = passwords::set(&settings.socket(), &wanted, agreed).await;
    for role in set.map_err(super::shown)? {
        tracing::info!(%role, "the role has the password of its Secret now");
    }
    Ok(true)
}
