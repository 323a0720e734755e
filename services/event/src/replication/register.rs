//! Who leads and who has everything: one small object in Kubernetes, written by compare-and-swap.
//!
//! The Lease says whose turn it is; what keeps two from both confirming is this object. Who leads must write here before it
//! confirms something that the other replica does not have, and who takes over writes here first.

use std::{collections::BTreeMap, collections::BTreeSet, time::Duration};

use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, Client, api::PostParams};
use tokio::time::timeout;

use crate::log::Term;

/// Name of the object.
pub const NAME: &str = "pgo-event-log";

/// How long the API server may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// What the object says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    /// Rises with each change of leadership.
    pub term: Term,
    /// Name of the replica that leads, or led last.
    pub leader: String,
    /// Where it can be asked, host:port.
    pub address: String,
    /// Which log they have; a replica whose volume was lost has another.
    pub epoch: String,
    /// Replicas that have every record that counts.
    pub in_sync: BTreeSet<String>,
}

/// Names a state of the object.
pub type Version = String;

/// The object cannot be read or written now.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot {what} ConfigMap {NAME}: {reason}")]
pub struct RegisterError {
    /// What was tried.
    pub what: &'static str,
    /// The cause.
    pub reason: String,
}

/// Where the roster is kept.
#[tonic::async_trait]
pub trait Register: std::fmt::Debug + Send + Sync {
    /// What it says, if it is there.
    async fn read(&self) -> Result<Option<(Roster, Version)>, RegisterError>;

    /// Says something else, if it is still in the state named, or still not there. Nothing if somebody else was faster.
    async fn write(
        &self,
        roster: &Roster,
        version: Option<&Version>,
    ) -> Result<Option<Version>, RegisterError>;
}

/// The object in Kubernetes.
#[derive(Clone, Debug)]
pub struct InKubernetes(Api<ConfigMap>);

impl InKubernetes {
    /// In the operator's namespace.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self(Api::namespaced(client, namespace))
    }
}

#[tonic::async_trait]
impl Register for InKubernetes {
    async fn read(&self) -> Result<Option<(Roster, Version)>, RegisterError> {
        let found = in_time("read", self.0.get_opt(NAME)).await?;
        let found = found.map_err(|error| failed("read", &error))?;
        Ok(found.map(|map| {
            let version = map.metadata.resource_version.clone().unwrap_or_default();
            (of_data(&map.data.unwrap_or_default()), version)
        }))
    }

    async fn write(
        &self,
        roster: &Roster,
        version: Option<&Version>,
    ) -> Result<Option<Version>, RegisterError> {
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(NAME.to_owned()),
                labels: Some(BTreeMap::from([(
                    "vendor".to_owned(),
                    "crunchydata".to_owned(),
                )])),
                resource_version: version.cloned(),
                ..ObjectMeta::default()
            },
            data: Some(to_data(roster)),
            ..ConfigMap::default()
        };
        let parameters = PostParams::default();
        let written = match version {
            None => in_time("create", self.0.create(&parameters, &map)).await?,
            Some(_) => in_time("write", self.0.replace(NAME, &parameters, &map)).await?,
        };
        match written {
            Ok(map) => Ok(Some(map.metadata.resource_version.unwrap_or_default())),
            Err(kube::Error::Api(status))
                if status.is_conflict() || status.is_already_exists() || status.is_not_found() =>
            {
                Ok(None)
            }
            Err(error) => Err(failed("write", &error)),
        }
    }
}

async fn in_time<T>(what: &'static str, call: impl Future<Output = T>) -> Result<T, RegisterError> {
    timeout(DEADLINE, call).await.map_err(|_| RegisterError {
        what,
        reason: "the API server did not answer in time".to_owned(),
    })
}

fn failed(what: &'static str, error: &kube::Error) -> RegisterError {
    RegisterError {
        what,
        reason: error.to_string(),
    }
}

fn to_data(roster: &Roster) -> BTreeMap<String, String> {
    let in_sync: Vec<&str> = roster.in_sync.iter().map(String::as_str).collect();
    [
        ("term", roster.term.to_string()),
        ("leader", roster.leader.clone()),
        ("address", roster.address.clone()),
        ("epoch", roster.epoch.clone()),
        ("in-sync", in_sync.join(",")),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// Lenient: what somebody wrote by hand that is no roster names nobody.
fn of_data(data: &BTreeMap<String, String>) -> Roster {
    let text = |name: &str| data.get(name).map_or("", String::as_str);
    let in_sync = text("in-sync").split(',').filter(|name| !name.is_empty());
    Roster {
        term: text("term").parse().unwrap_or_default(),
        leader: text("leader").to_owned(),
        address: text("address").to_owned(),
        epoch: text("epoch").to_owned(),
        in_sync: in_sync.map(str::to_owned).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_roster_is_read_as_it_was_written() {
        let roster = Roster {
            term: 7,
            leader: "event-1".to_owned(),
            address: "10.0.0.7:8444".to_owned(),
            epoch: "a1".to_owned(),
            in_sync: ["event-0", "event-1"].map(str::to_owned).into(),
        };
        assert_eq!(of_data(&to_data(&roster)), roster);
        assert_eq!(of_data(&BTreeMap::new()), Roster::default());
    }
}
