//! What the agents say: a stream for each pod, for as long as the pod is there.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use pgo_core::{
    AgentFacts, AgentPhase, Archive, Commits, Data, Fill, Follower, Lost, RestoreFacts, Role,
    WalStatus,
};
use pgo_ids::{ClusterName, InstanceName, Namespace, OperationId, Term};
use pgo_proto::agent::{
    self, ApplyPolicyRequest, DropSlotRequest, FailoverRequest, InstanceState, ReloadRequest,
    RestartRequest, StayRequest, SwitchoverRequest, WatchRequest, agent_client::AgentClient,
    policies_client::PoliciesClient,
};
use pgo_tls::TlsFiles;
use tonic::{Status, Streaming, transport::Channel};

pub use crate::streams::Pod;
use crate::{
    streams::{self, Streams, Told},
    waker::Waker,
};

/// What is heard of the agent of an instance.
pub type Said = streams::Said<AgentFacts>;

/// How long an agent may take for what it is asked to do.
const CALL_DEADLINE: Duration = Duration::from_secs(15);

/// How long an agent may take to say whether there can be another primary. One that prepares for it says so after 3 s.
const CHANGE_DEADLINE: Duration = Duration::from_secs(5);

/// How long an agent may take to apply a policy, which it gives up after 5 min.
const POLICY_DEADLINE: Duration = Duration::from_secs(330);

/// The agents of all clusters.
#[derive(Clone)]
pub struct Agents(Streams<AgentFacts>);

/// What a primary does that is asked to give up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It gives up.
    Now,
    /// It will, after a checkpoint.
    Prepares,
}

/// Why an agent has not done what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unheard {
    /// It says why not.
    Refused(String),
    /// It could not be asked, or something went wrong there: it is worth another try.
    Failed(String),
}

impl Agents {
    /// Nobody is heard yet.
    pub fn new(files: Arc<TlsFiles>, waker: Waker) -> Self {
        Self(Streams::new(files, waker))
    }

    /// Hears the agent of this pod from now on, and of no former pod of the instance.
    pub fn hear(&self, pod: &Pod) {
        self.0.hear(pod);
    }

    /// No longer hears instances of the cluster that are not among `present`.
    pub fn forget_others(
        &self,
        namespace: &Namespace,
        cluster: &ClusterName,
        present: &[InstanceName],
    ) {
        let is_present = |name: &str| present.iter().any(|one| one.as_str() == name);
        self.0.forget_others(namespace, cluster, is_present);
    }

    /// What is heard of an instance's agent, where it was asked for.
    pub fn said(&self, namespace: &Namespace, instance: &InstanceName) -> Option<Said> {
        self.0.said(namespace, instance.as_str())
    }

    /// Has the agent of an instance remove a replication slot.
    ///
    /// # Errors
    /// It is not heard, or did not.
    pub async fn drop_slot(
        &self,
        namespace: &Namespace,
        instance: &InstanceName,
        slot: &str,
    ) -> anyhow::Result<()> {
        let mut client = self.client(namespace, instance)?;
        let request = DropSlotRequest {
            slot: slot.to_owned(),
        };
        tokio::time::timeout(CALL_DEADLINE, client.drop_slot(request)).await??;
        Ok(())
    }

    /// Has the agent of the primary give up in order, for another instance.
    ///
    /// # Errors
    /// Why it does not, for people.
    pub async fn switchover(
        &self,
        namespace: &Namespace,
        primary: &InstanceName,
        to: &InstanceName,
    ) -> Result<Begun, String> {
        let client = self.client(namespace, primary);
        let mut client = client.map_err(|error| error.to_string())?;
        let request = SwitchoverRequest { to: to.to_string() };
        let asked = client.switchover(request);
        let asked = tokio::time::timeout(CHANGE_DEADLINE, asked).await;
        answer(primary, asked).map(|response| match response.prepares {
            true => Begun::Prepares,
            false => Begun::Now,
        })
    }

    /// Has the agent of a primary keep its place when its pod ends within a minute. An agent of an earlier version knows
    /// nothing of that, and hands over where it can.
    ///
    /// # Errors
    /// Why it does not, for people.
    pub async fn stay(&self, namespace: &Namespace, primary: &InstanceName) -> Result<(), String> {
        let client = self.client(namespace, primary);
        let mut client = client.map_err(|error| error.to_string())?;
        let asked = client.stay(StayRequest {});
        let asked = tokio::time::timeout(CALL_DEADLINE, asked).await;
        match asked {
            Ok(Err(older)) if older.code() == tonic::Code::Unimplemented => Ok(()),
            other => answer(primary, other).map(|_| ()),
        }
    }

    /// Has the agent of an instance take over from a primary that is gone.
    ///
    /// # Errors
    /// Why it does not, for people.
    pub async fn failover(&self, namespace: &Namespace, to: &InstanceName) -> Result<(), String> {
        let client = self.client(namespace, to);
        let mut client = client.map_err(|error| error.to_string())?;
        let asked = client.failover(FailoverRequest {});
        answer(to, tokio::time::timeout(CHANGE_DEADLINE, asked).await).map(|_| ())
    }

    /// Has the agent of an instance make PostgreSQL read its configuration; the settings that wait for a restart then.
    ///
    /// # Errors
    /// What is wrong with the configuration, or why it could not be asked.
    pub async fn reload(
        &self,
        namespace: &Namespace,
        instance: &InstanceName,
    ) -> Result<Vec<String>, Unheard> {
        let client = self.client(namespace, instance);
        let mut client = client.map_err(|error| Unheard::Failed(error.to_string()))?;
        let asked = client.reload(ReloadRequest {});
        match tokio::time::timeout(CALL_DEADLINE, asked).await {
            Ok(Ok(answer)) => Ok(answer.into_inner().pending_restart),
            Ok(Err(refused)) if refused.code() == tonic::Code::FailedPrecondition => {
                Err(Unheard::Refused(refused.message().to_owned()))
            }
            Ok(Err(failed)) => Err(Unheard::Failed(failed.message().to_owned())),
            Err(_) => Err(Unheard::Failed("it does not answer".to_owned())),
        }
    }

    /// Has the agent of an instance restart the server that was started then.
    ///
    /// # Errors
    /// Why it does not, for people.
    pub async fn restart(
        &self,
        namespace: &Namespace,
        instance: &InstanceName,
        started: Timestamp,
    ) -> Result<(), String> {
        let client = self.client(namespace, instance);
        let mut client = client.map_err(|error| error.to_string())?;
        let started = prost_types::Timestamp {
            seconds: started.as_second(),
            nanos: started.subsec_nanosecond(),
        };
        let asked = client.restart(RestartRequest {
            started: Some(started),
        });
        answer(instance, tokio::time::timeout(CALL_DEADLINE, asked).await).map(|_| ())
    }

    /// Has the agent of an instance run SQL in a database as a role, on the server that was started then, once for this
    /// operation; how many warnings and notices it gave. An empty role is the superuser.
    ///
    /// # Errors
    /// Why it was not applied, or could not be asked for.
    pub async fn apply_policy(
        &self,
        namespace: &Namespace,
        (instance, started): (&InstanceName, Timestamp),
        (operation, database, role, sql): (OperationId, &str, String, String),
    ) -> Result<u32, Unheard> {
        let connection = self.0.connection(namespace, instance.as_str());
        let connection = connection.map_err(|error| Unheard::Failed(error.to_string()))?;
        let request = ApplyPolicyRequest {
            operation: operation.to_string(),
            started: Some(prost_types::Timestamp {
                seconds: started.as_second(),
                nanos: started.subsec_nanosecond(),
            }),
            database: database.to_owned(),
            sql,
            role,
        };
        let mut client = PoliciesClient::new(connection);
        match tokio::time::timeout(POLICY_DEADLINE, client.apply(request)).await {
            Ok(Ok(answer)) => Ok(answer.into_inner().notices),
            Ok(Err(refused)) if refused.code() == tonic::Code::FailedPrecondition => {
                Err(Unheard::Refused(refused.message().to_owned()))
            }
            Ok(Err(older)) if older.code() == tonic::Code::Unimplemented => {
                Err(Unheard::Refused(format!(
                    "the agent of {instance} is of an earlier version and applies no policies; pgo restart does not change that, \
                     a new pod does"
                )))
            }
            Ok(Err(failed)) => Err(Unheard::Failed(failed.message().to_owned())),
            Err(_) => Err(Unheard::Failed("it does not answer".to_owned())),
        }
    }

    fn client(
        &self,
        namespace: &Namespace,
        instance: &InstanceName,
    ) -> anyhow::Result<AgentClient<Channel>> {
        let connection = self.0.connection(namespace, instance.as_str())?;
        Ok(AgentClient::new(connection))
    }
}

impl Told for AgentFacts {
    type State = InstanceState;

    async fn watch(channel: Channel) -> Result<Streaming<InstanceState>, Status> {
        let asked = AgentClient::new(channel)
            .watch(WatchRequest { term: 0 })
            .await;
        asked.map(tonic::Response::into_inner)
    }

    fn read(state: InstanceState) -> (String, Self) {
        (state.pod_uid.clone(), facts(state))
    }
}

/// What an agent says to a wish for another primary: in its own words where it refuses.
fn answer<T>(
    instance: &InstanceName,
    answered: Result<Result<tonic::Response<T>, tonic::Status>, tokio::time::error::Elapsed>,
) -> Result<T, String> {
    match answered {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(refused)) if refused.code() == tonic::Code::FailedPrecondition => {
            Err(refused.message().to_owned())
        }
        Ok(Err(failed)) => Err(format!(
            "the agent of {instance} cannot be asked: {}",
            failed.message()
        )),
        Err(_) => Err(format!("the agent of {instance} does not answer")),
    }
}

fn facts(state: InstanceState) -> AgentFacts {
    let phase = match state.phase() {
        agent::Phase::Unspecified | agent::Phase::Starting => AgentPhase::Starting,
        agent::Phase::Initializing => AgentPhase::Initializing,
        agent::Phase::Recovering => AgentPhase::Recovering,
        agent::Phase::Running => AgentPhase::Running,
        agent::Phase::Stopping => AgentPhase::Stopping,
        agent::Phase::Failed => AgentPhase::Failed,
        agent::Phase::Cloning => AgentPhase::Cloning,
        agent::Phase::Rewinding => AgentPhase::Rewinding,
    };
    let role = match state.role() {
        agent::Role::Unspecified => None,
        agent::Role::Primary => Some(Role::Primary),
        agent::Role::Replica => Some(Role::Replica),
    };
    let given = |text: String| (!text.is_empty()).then_some(text);
    let preferred = state.preferred.into_iter();
    AgentFacts {
        pod_uid: state.pod_uid,
        phase,
        role,
        term: Term(state.term),
        postgres_version: given(state.postgres_version),
        timeline: state.timeline,
        streaming: state.streaming,
        lag_bytes: state.lag_bytes,
        lag_ms: state.lag_ms,
        received: state.received_lsn,
        followers: state.followers.into_iter().map(follower).collect(),
        error: given(state.error),
        lost: state.lost.into_iter().map(lost).collect(),
        started: state.started.and_then(time),
        running_since: state.running_since.and_then(time),
        pending_restart: state.pending_restart,
        volume_hangs: state.volume_hangs,
        volume: (state.volume_bytes > 0).then_some(Fill {
            bytes: state.volume_bytes,
            used: state.volume_used,
        }),
        data: match state.data_found {
            true => Data::Found,
            false => Data::Made,
        },
        commits: state.commits.map(commits),
        archive: state.archive.map(archive),
        restore: state.restore.map(restore),
        // One that is named like no instance is none.
        preferred: preferred.filter_map(|name| name.parse().ok()).collect(),
    }
}

fn restore(told: agent::Restore) -> RestoreFacts {
    RestoreFacts {
        operation: told.operation.parse().ok(),
        error: (!told.error.is_empty()).then_some(told.error),
        hopeless: told.hopeless,
        reached: told.reached,
        percent: told.percent,
        last_commit: told.last_commit.and_then(time),
        lsn: told.lsn,
        backup: told.backup,
    }
}

fn archive(told: agent::Archive) -> Archive {
    let given = |text: String| (!text.is_empty()).then_some(text);
    Archive {
        error: given(told.error),
        failing_since: told.failing_since.and_then(time),
        last_archived: given(told.last_archived),
        waiting: told.waiting,
    }
}

/// A time on the wire; none where it is none.
pub fn time(told: prost_types::Timestamp) -> Option<Timestamp> {
    Timestamp::new(told.seconds, told.nanos).ok()
}

fn commits(told: agent::Commits) -> Commits {
    Commits {
        rule: told.rule,
        of: told.of,
        wait_for: told.wait_for,
        fell_back: told.fell_back.and_then(time),
        came_back: told.came_back.and_then(time),
    }
}

fn lost(lost: agent::Lost) -> Lost {
    Lost {
        term: Term(lost.term),
        timeline: lost.timeline,
        fork: lost.fork_lsn,
        end: lost.end_lsn,
        commits: lost.commits,
        synchronous: lost.synchronous,
        unknown: lost.unknown,
    }
}

fn follower(follower: agent::Follower) -> Follower {
    Follower {
        slot: follower.slot,
        streaming: follower.streaming,
        lag_bytes: follower.lag_bytes,
        sync: follower.sync,
        kept_bytes: follower.kept_bytes,
        wal: WalStatus::read(&follower.wal_status),
    }
}
