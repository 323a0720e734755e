//! Doorbells: an object in Kubernetes has a new version. Whoever it concerns looks at once, instead of when a watch brings it.

use std::future::ready;

use futures::{Stream, StreamExt as _, stream};
use nsq::{NameError, Server};
use pgo_ids::OperationId;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::{self, error::RecvError};

use crate::{Announcer, Listener};

/// The topic of doorbells.
pub const COMMANDS_TOPIC: &str = "pgo.commands";

/// Doorbells that a slow listener may be behind; after that it misses some.
const UNANSWERED: usize = 1024;

/// The kinds of objects that it is rung for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A cluster was asked for, or something of one.
    Pgcluster,
    /// A task was asked for.
    Pgtask,
    /// A replica was asked for.
    Pgreplica,
    /// `pgo.yaml`, or a schedule.
    ConfigMap,
    /// A user of PGO, or a role.
    Secret,
    /// One that a later version rings for.
    #[serde(other)]
    Other,
}

/// An object in Kubernetes has this version, or a newer one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Doorbell {
    /// What it is.
    pub kind: Kind,
    /// Where it is.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Which one of that name.
    #[serde(default)]
    pub uid: String,
    /// Its version.
    #[serde(default)]
    pub resource_version: String,
    /// The operation that it asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationId>,
}

/// Rings doorbells.
pub type Bell = Announcer<Doorbell>;

/// Hears doorbells.
pub type Doorman = Listener<Doorbell>;

impl Bell {
    /// A bell on nsqd.
    ///
    /// # Errors
    /// None that a constant can cause.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn on(server: Server) -> Result<Self, NameError> {
        Self::connect(server, COMMANDS_TOPIC)
    }
}

impl Doorman {
    /// Listens, in the name of `role`.
    ///
    /// # Errors
    /// `role` cannot be in the name of a channel.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn at(server: Server, role: &str) -> Result<Self, NameError> {
        Self::subscribe(server, COMMANDS_TOPIC, role)
    }
}

/// Doorbells as they are heard, for each part of a process that they concern. Clones are handles of the same.
#[derive(Clone, Debug)]
pub struct Doorbells(broadcast::Sender<Doorbell>);

impl Default for Doorbells {
    /// Those that nobody hears yet.
    fn default() -> Self {
        Self(broadcast::Sender::new(UNANSWERED))
    }
}

impl Doorbells {
    /// Hears what the doorman hears, for ever.
    pub async fn hear(self, mut doorman: Doorman) {
        while let Some(doorbell) = doorman.next().await {
            self.tell(doorbell);
        }
    }

    /// Tells those whom it concerns.
    pub fn tell(&self, doorbell: Doorbell) {
        // Fails only where nobody listens.
        let _ = self.0.send(doorbell);
    }

    /// Name and version of each object of this kind, in this namespace, that is rung for from now on. One who is slow misses
    /// some.
    pub fn of(
        &self,
        kind: Kind,
        namespace: &str,
    ) -> impl Stream<Item = (String, String)> + Send + use<> {
        let namespace = namespace.to_owned();
        let rung = stream::unfold(self.0.subscribe(), |mut rung| async move {
            loop {
                match rung.recv().await {
                    Ok(doorbell) => return Some((doorbell, rung)),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                }
            }
        });
        rung.filter_map(move |doorbell| {
            let concerns = doorbell.kind == kind && doorbell.namespace == namespace;
            ready(concerns.then_some((doorbell.name, doorbell.resource_version)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_doorbell_is_small_json_with_names_as_in_kubernetes() {
        let bell = Doorbell {
            kind: Kind::Pgcluster,
            namespace: "pgouser1".to_owned(),
            name: "hippo".to_owned(),
            uid: "u1".to_owned(),
            resource_version: "17".to_owned(),
            operation: None,
        };
        let text = serde_json::to_string(&bell).expect("JSON");
        assert_eq!(
            text,
            r#"{"kind":"Pgcluster","namespace":"pgouser1","name":"hippo","uid":"u1","resourceVersion":"17"}"#
        );
        assert_eq!(
            serde_json::from_str::<Doorbell>(&text).expect("a doorbell"),
            bell
        );
    }

    #[test]
    fn what_a_later_version_rings_for_is_no_error() {
        let text = r#"{"kind":"Pgproxy","namespace":"n","name":"x","colour":"green"}"#;
        let bell: Doorbell = serde_json::from_str(text).expect("a doorbell");
        assert_eq!(bell.kind, Kind::Other);
    }
}
