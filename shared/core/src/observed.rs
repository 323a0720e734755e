//! What is there, as of one moment.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use pgo_ids::{InstanceName, Term};

use crate::UserSecret;

/// A claim for a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimFacts {
    /// Its uid, for a precondition of its deletion.
    pub uid: String,
    /// How far it is.
    pub phase: ClaimPhase,
    /// What whoever provides volumes complained of last.
    pub complaint: Option<String>,
    /// Whether its deletion was asked for.
    pub terminating: bool,
}

/// How far a claim is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimPhase {
    /// No volume yet.
    Pending,
    /// It has its volume.
    Bound,
    /// Its volume is gone.
    Lost,
}

/// A container that does not run, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Name of the container.
    pub container: String,
    /// Kubernetes' word for it.
    pub reason: String,
    /// Its details.
    pub message: String,
}

/// How far a pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodPhase {
    /// Accepted, not all containers started.
    Pending,
    /// Started.
    Running,
    /// Ended, and will not start again.
    Ended,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFacts {
    /// Its uid; a pod of the same name made later has another.
    pub uid: String,
    /// How far it is.
    pub phase: PodPhase,
    /// Where it runs.
    pub node: Option<String>,
    /// Its address, once it has one.
    pub ip: Option<String>,
    /// Whether its readiness probe succeeds.
    pub ready: bool,
    /// Whether its deletion was asked for.
    pub terminating: bool,
    /// Since when no node could take it, and why.
    pub unschedulable: Option<(Timestamp, String)>,
    /// The first container that cannot start.
    pub waiting: Option<Waiting>,
    /// `metadata.generation` of the Pgcluster it was made for; none where nobody wrote it down.
    pub generation: Option<i64>,
}

impl PodFacts {
    /// Whether it was made for another spec than that of `generation`.
    #[must_use]
    pub fn is_outdated(&self, generation: i64) -> bool {
        self.generation
            .is_some_and(|made_for| made_for != generation)
    }
}

/// What an agent does, in its own words: `proto/pgo/agent/v1/agent.proto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentPhase {
    /// Before PostgreSQL runs.
    Starting,
    /// initdb makes the data directory.
    Initializing,
    /// PostgreSQL does not answer yet.
    Recovering,
    /// It answers.
    Running,
    /// It is being stopped.
    Stopping,
    /// It could not be brought up.
    Failed,
}

/// Role of an instance as PostgreSQL says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Takes writes.
    Primary,
    /// Follows.
    Replica,
}

/// What the agent of an instance told last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentFacts {
    /// Uid of the pod it runs in.
    pub pod_uid: String,
    /// What it does.
    pub phase: AgentPhase,
    /// Role, once known.
    pub role: Option<Role>,
    /// Term it serves under; 0 before it has one.
    pub term: Term,
    /// Version of PostgreSQL, once known.
    pub postgres_version: Option<String>,
    /// Timeline; 0 before there is one.
    pub timeline: u32,
    /// Why it failed.
    pub error: Option<String>,
}

/// What is there of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Whether the finalizer is on the Pgcluster.
    pub finalizer: bool,
    /// User Secrets that exist.
    pub user_secrets: BTreeSet<UserSecret>,
    /// End of validity of the agents' certificate.
    pub certificate_until: Option<Timestamp>,
    /// Whether ServiceAccount, Role and RoleBinding exist.
    pub access: bool,
    /// Whether the Lease exists.
    pub lease: bool,
    /// Whether the Service exists.
    pub service: bool,
    /// Addresses in the EndpointSlice, where that exists.
    pub endpoints: Option<Vec<String>>,
    /// Claims by instance.
    pub claims: BTreeMap<InstanceName, ClaimFacts>,
    /// Pods by instance.
    pub pods: BTreeMap<InstanceName, PodFacts>,
    /// Agents by instance.
    pub agents: BTreeMap<InstanceName, AgentFacts>,
    /// Instances whose agent is called and has not answered, and since when: who observes has just begun, or it fell
    /// silent.
    pub silent: BTreeMap<InstanceName, Timestamp>,
    /// How many Pgtasks of the cluster exist.
    pub tasks: usize,
    /// What Kubernetes refused of the last plan, and why; not what merely failed for now.
    pub refused: Option<String>,
}

impl Observed {
    /// What the agent in the present pod of an instance told; what a former pod's agent told does not count.
    #[must_use]
    pub fn agent(&self, instance: &InstanceName) -> Option<&AgentFacts> {
        let pod = self.pods.get(instance)?;
        self.agents
            .get(instance)
            .filter(|agent| agent.pod_uid == pod.uid)
    }

    /// The instance that is primary, says so itself, and is what the Service leads to.
    #[must_use]
    pub fn serving_primary(&self) -> Option<&InstanceName> {
        let endpoints = self.endpoints.as_ref()?;
        self.pods.iter().find_map(|(name, pod)| {
            let agent = self.agent(name)?;
            let serves = agent.phase == AgentPhase::Running
                && agent.role == Some(Role::Primary)
                && !pod.terminating
                && pod.ip.as_ref().is_some_and(|ip| endpoints.contains(ip));
            serves.then_some(name)
        })
    }
}
