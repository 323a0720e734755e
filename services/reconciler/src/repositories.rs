//! What the agents of repositories of backups say, and what they are asked.

use std::{sync::Arc, time::Duration};

use pgo_core::{BackupSet, Cluster, DatabaseHost, Done, Fill, RepositoryFacts, Work};
use pgo_ids::OperationId;
use pgo_proto::agent::{
    self, Backup, BeginRequest, CancelRequest, CheckRestore, CreateStanza, RepositoryState,
    WatchRepositoryRequest, begin_request, repository_client::RepositoryClient,
};
use pgo_tls::TlsFiles;
use tonic::{Status, Streaming, transport::Channel};

use crate::{
    agents::time,
    streams::{Pod, Said, Streams, Told},
    waker::Waker,
};

/// How long an agent may take to say that it begins.
const CALL_DEADLINE: Duration = Duration::from_secs(15);

/// The name under which the repository of a cluster is heard; there is one.
fn name(cluster: &Cluster) -> String {
    format!("{} (repository)", cluster.name)
}

/// The agents of the repositories of all clusters.
#[derive(Clone)]
pub struct Repositories(Streams<RepositoryFacts>);

impl Repositories {
    /// Nobody is heard yet.
    pub fn new(files: Arc<TlsFiles>, waker: Waker) -> Self {
        Self(Streams::new(files, waker))
    }

    /// Hears the agent of a cluster's repository from now on, by uid and address of its pod.
    pub fn hear(&self, cluster: &Cluster, (uid, ip): (&str, &str)) {
        self.0.hear(&Pod {
            namespace: cluster.namespace.clone(),
            cluster: cluster.name.clone(),
            name: name(cluster),
            uid: uid.to_owned(),
            ip: ip.to_owned(),
        });
    }

    /// No longer hears that of a cluster.
    pub fn forget(&self, cluster: &Cluster) {
        self.0
            .forget_others(&cluster.namespace, &cluster.name, |_| false);
    }

    /// What it says; none where it does not answer.
    pub fn said(&self, cluster: &Cluster) -> Option<RepositoryFacts> {
        match self.0.said(&cluster.namespace, &name(cluster))? {
            Said::Facts(facts) => Some(*facts),
            Said::Nothing { .. } => None,
        }
    }

    /// Has it begin a piece of work; asking twice has it done once.
    ///
    /// # Errors
    /// Why it does not, for people.
    pub async fn begin(
        &self,
        cluster: &Cluster,
        operation: OperationId,
        (primary, replica): (Option<&DatabaseHost>, Option<&DatabaseHost>),
        work: begin_request::Work,
    ) -> Result<(), String> {
        let connection = self.0.connection(&cluster.namespace, &name(cluster));
        let connection = connection.map_err(|error| error.to_string())?;
        let mut client = RepositoryClient::new(connection);
        let asked = client.begin(BeginRequest {
            operation: operation.to_string(),
            primary: primary.map(host),
            replica: replica.map(host),
            work: Some(work),
        });
        within(asked).await
    }

    /// Has it stop what it does for an operation, if it does anything for it; its end is told in the state.
    ///
    /// # Errors
    /// Why it does not, for people.
    pub async fn cancel(&self, cluster: &Cluster, operation: OperationId) -> Result<(), String> {
        let connection = self.0.connection(&cluster.namespace, &name(cluster));
        let connection = connection.map_err(|error| error.to_string())?;
        let mut client = RepositoryClient::new(connection);
        let operation = operation.to_string();
        within(client.cancel(CancelRequest { operation })).await
    }
}

/// That an agent answers in time.
async fn within<T>(asked: impl Future<Output = Result<T, Status>>) -> Result<(), String> {
    match tokio::time::timeout(CALL_DEADLINE, asked).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(refused)) => Err(refused.message().to_owned()),
        Err(_) => Err("it does not answer".to_owned()),
    }
}

/// A backup with these arguments, which is ended where it gets no further for so many seconds; 0 for never.
pub fn backup(options: &[String], stall_seconds: u32) -> begin_request::Work {
    begin_request::Work::Backup(Backup {
        options: options.to_vec(),
        stall_seconds,
    })
}

/// A look whether the backups reach what these arguments name.
pub fn check_restore(options: &[String]) -> begin_request::Work {
    begin_request::Work::CheckRestore(CheckRestore {
        options: options.to_vec(),
        ..CheckRestore::default()
    })
}

/// The stanza.
pub fn create_stanza() -> begin_request::Work {
    begin_request::Work::CreateStanza(CreateStanza {})
}

fn host(host: &DatabaseHost) -> agent::DatabaseHost {
    agent::DatabaseHost {
        instance: host.instance.to_string(),
        address: host.address.clone(),
        path: host.path.clone(),
        port: u32::from(host.port),
    }
}

impl Told for RepositoryFacts {
    type State = RepositoryState;

    async fn watch(channel: Channel) -> Result<Streaming<RepositoryState>, Status> {
        let asked = RepositoryClient::new(channel)
            .watch(WatchRepositoryRequest {})
            .await;
        asked.map(tonic::Response::into_inner)
    }

    fn read(state: RepositoryState) -> (String, Self) {
        let facts = Self {
            pod_uid: state.pod_uid.clone(),
            version: given(state.pgbackrest_version),
            error: given(state.error),
            ready: state.ready,
            running: state.running.and_then(work),
            done: state.done.into_iter().filter_map(done).collect(),
            backups: state.backups.into_iter().map(set).collect(),
            volume: (state.volume_bytes > 0).then_some(Fill {
                bytes: state.volume_bytes,
                used: state.volume_used,
            }),
        };
        (state.pod_uid, facts)
    }
}

fn given(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// What is for no operation of ours was asked for by nobody that we know.
fn work(work: agent::Work) -> Option<Work> {
    Some(Work {
        operation: work.operation.parse().ok()?,
        percent: work.percent,
    })
}

fn done(done: agent::Done) -> Option<Done> {
    Some(Done {
        operation: done.operation.parse().ok()?,
        error: (!done.ok).then_some(done.error),
        finished: done.finished.and_then(time),
        backup: done.backup.map(set),
        more: done.more.into_iter().map(set).collect(),
    })
}

fn set(set: agent::BackupSet) -> BackupSet {
    BackupSet {
        label: set.label,
        kind: set.r#type,
        finished: set.finished.and_then(time),
        size: set.size,
        start_wal: set.start_wal,
        stop_wal: set.stop_wal,
        damaged: set.damaged,
        damaged_pages: set.damaged_pages,
        source: set.source,
        place: set.storage,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "25927091-b343-4017-be4b-71575f0b3eb5";

    #[test]
    fn a_state_on_the_wire_is_read_as_it_is_meant() {
        let done = |ok, error: &str| agent::Done {
            operation: ID.to_owned(),
            ok,
            error: error.to_owned(),
            ..agent::Done::default()
        };
        let state = RepositoryState {
            pod_uid: "pod-1".to_owned(),
            pgbackrest_version: "2.45".to_owned(),
            ready: true,
            running: Some(agent::Work {
                operation: ID.to_owned(),
                percent: 30,
                ..agent::Work::default()
            }),
            done: vec![done(true, ""), done(false, "")],
            volume_bytes: 1000,
            volume_used: 700,
            ..RepositoryState::default()
        };
        let (uid, facts) = RepositoryFacts::read(state);
        assert_eq!(
            (uid.as_str(), facts.version.as_deref()),
            ("pod-1", Some("2.45"))
        );
        assert_eq!((facts.ready, &facts.error), (true, &None));
        let volume = facts.volume.expect("how full it is");
        assert_eq!((volume.bytes, volume.percent()), (1000, 70));
        let running = facts.running.expect("what runs");
        assert_eq!(
            (running.operation.to_string().as_str(), running.percent),
            (ID, 30)
        );
        // What failed without a word has failed all the same.
        let failed = facts.done.iter().map(|done| done.error.is_some());
        assert_eq!(failed.collect::<Vec<_>>(), [false, true]);
    }
}
