//! What is there, as of one moment.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use pgo_ids::{ClusterName, InstanceName, OperationId, Term};

use crate::{Form, UserSecret};

/// How long the containers of a pod that has its node may take to begin. Volumes are mounted before, and the kubelet
/// tries again what it complains of at first: a Secret is a moment old then.
const STARTING_GRACE: SignedDuration = SignedDuration::from_secs(8);

/// What a cluster has besides its data and its passwords, in the order in which it is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fixture {
    /// The Deployment of the repository of backups.
    Repository,
    /// Its Service.
    RepositoryService,
    /// The Service of the primary.
    Service,
    /// The Service of the replicas.
    ReplicaService,
    /// Its EndpointSlice.
    EndpointSlice,
    /// The Lease.
    Lease,
    /// The Secret with the agents' certificate.
    Certificate,
    /// What gives the agents' account its rights.
    RoleBinding,
    /// The agents' rights.
    Role,
    /// The agents' account.
    Account,
}

impl Fixture {
    /// What makes up the agents' access to Kubernetes.
    pub const ACCESS: [Self; 3] = [Self::RoleBinding, Self::Role, Self::Account];
}

/// Kind of address that a Service and its EndpointSlice lead to; an EndpointSlice has one for all its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl AddressFamily {
    /// The family of an address; none where the text is no address.
    #[must_use]
    pub fn of(address: &str) -> Option<Self> {
        Some(match address.parse().ok()? {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        })
    }

    /// Kubernetes' word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

/// Where the Service leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// Kind of the addresses; none where it is one we do not make.
    pub family: Option<AddressFamily>,
    /// The addresses.
    pub addresses: Vec<String>,
}

/// A claim for a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimFacts {
    /// Its uid, for a precondition of its deletion.
    pub uid: String,
    /// Since when its instance is the first one of a cluster that was restored to it; none of any other claim.
    pub first_since: Option<Timestamp>,
    /// How far it is.
    pub phase: ClaimPhase,
    /// Whether a volume was chosen for it, so that there may be data behind it.
    pub has_volume: bool,
    /// What it was made for; none where nobody wrote it down.
    pub form: Option<Form>,
    /// Its size, and that of its volume.
    pub size: crate::ClaimSize,
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

/// What holds a cluster's backups, whoever made it: 4.1, or hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Backup {
    /// A claim with a repository or with dumps.
    Claim,
    /// The Secret that opens the repository.
    Secret,
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
    /// Since when it has its node.
    pub placed: Option<Timestamp>,
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
    /// What Kubernetes complained of last about it, if nothing went well since.
    pub complaint: Option<String>,
    /// What it was made for; none where nobody wrote it down.
    pub form: Option<Form>,
    /// 4.1's labels `service-name` and `name`: the Service whose clients it is for; none where they do not agree.
    pub service: Option<String>,
}

impl PodFacts {
    /// Whether it was made for something else than what is wanted.
    #[must_use]
    pub fn is_outdated(&self, wanted: &Form) -> bool {
        self.form.as_ref().is_some_and(|made| made.differs(wanted))
    }

    /// Whether its containers should have begun by now: what Kubernetes complains of is worth asking for, and counts.
    #[must_use]
    pub fn is_slow(&self, now: Timestamp) -> bool {
        self.phase == PodPhase::Pending
            && !self.terminating
            && self
                .placed
                .is_some_and(|since| now.duration_since(since) >= STARTING_GRACE)
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
    /// It copies the data of the primary.
    Cloning,
    /// It brings its data back to what the primary has.
    Rewinding,
}

/// Role of an instance as PostgreSQL says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Takes writes.
    Primary,
    /// Follows.
    Replica,
    /// Restores a backup beside the cluster, and is for nobody's clients.
    Restoring,
}

impl Role {
    /// Name of the Service whose clients an instance of this role is for, as in 4.1; of none where it restores.
    #[must_use]
    pub fn service(self, cluster: &ClusterName) -> String {
        match self {
            Self::Primary => cluster.to_string(),
            Self::Replica => format!("{cluster}-replica"),
            // No Service has this name.
            Self::Restoring => format!("{cluster}-restore"),
        }
    }
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
    /// Why it failed; while it runs, why the Service may not lead to it.
    pub error: Option<String>,
    /// On a replica: whether WAL flows to it.
    pub streaming: bool,
    /// On a replica: how far it is behind, in bytes.
    pub lag_bytes: u64,
    /// On a replica: how old what it replayed last is, where there is more to replay, in milliseconds.
    pub lag_ms: u64,
    /// On a replica: position up to which it has received WAL; 0 where unknown.
    pub received: u64,
    /// On a primary: who follows it.
    pub followers: Vec<Follower>,
    /// On a former primary: how it compared with its successor, each time that it was one, the newest last.
    pub lost: Vec<Lost>,
    /// When its server was started that runs, or ran last.
    pub started: Option<Timestamp>,
    /// Since when it serves as what it is.
    pub running_since: Option<Timestamp>,
    /// The settings that take over their values in the files only with a restart.
    pub pending_restart: Vec<String>,
    /// On a primary: for whose answers commits wait.
    pub commits: Option<crate::Commits>,
    /// Whether its data volume hangs.
    pub volume_hangs: bool,
    /// How full its data volume is, once measured.
    pub volume: Option<crate::Fill>,
    /// How it came to its data directory.
    pub data: crate::Data,
    /// On a primary that archives: how that goes.
    pub archive: Option<crate::Archive>,
    /// On one that restores a backup: how far it is.
    pub restore: Option<crate::RestoreFacts>,
    /// The instances to which it leaves the place of a primary that is gone, where they are as far as it.
    pub preferred: BTreeSet<InstanceName>,
}

/// What a former primary had written that its successor does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Term of the successor.
    pub term: Term,
    /// Timeline of the former primary.
    pub timeline: u32,
    /// Where the successor's history leaves it.
    pub fork: u64,
    /// Up to where the former primary had written.
    pub end: u64,
    /// Transactions that had committed in between, where they could be counted.
    pub commits: Option<u64>,
    /// Whether none of them had been acknowledged.
    pub synchronous: bool,
    /// Whether the two could not be compared, so that the places are not known.
    pub unknown: bool,
}

impl AgentFacts {
    /// Whether it is a replica to which WAL flows.
    #[must_use]
    pub fn follows(&self) -> bool {
        self.phase == AgentPhase::Running && self.role == Some(Role::Replica) && self.streaming
    }
}

/// A replica as its primary knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follower {
    /// Name of the slot that keeps WAL for it.
    pub slot: String,
    /// Whether WAL flows to it.
    pub streaming: bool,
    /// How far it is behind, in bytes.
    pub lag_bytes: u64,
    /// PostgreSQL's word for whether commits wait for it; empty where nothing flows.
    pub sync: String,
    /// WAL that is kept for it, in bytes.
    pub kept_bytes: u64,
    /// Whether that may stay.
    pub wal: crate::WalStatus,
}

/// What is there of a cluster: objects that are its own by label and, where they have one, by owner. What others have
/// made under the same names is not among it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Whether the finalizer is on the Pgcluster.
    pub finalizer: bool,
    /// Uids of the Secrets with users' passwords, by name: those of users that are not wanted any more, too.
    pub user_secrets: BTreeMap<String, String>,
    /// Names of the same that belong to somebody else, who gave them the cluster's labels: they are used and not removed.
    pub lent_secrets: BTreeSet<String>,
    /// Which user Secrets of the cluster that `secretfrom` names hold a password; none where nobody looked: there is no such
    /// cluster, nothing is to be copied, or Kubernetes did not answer.
    pub sources: Option<BTreeSet<UserSecret>>,
    /// Uids of what the cluster has besides its data and its passwords.
    pub fixtures: BTreeMap<Fixture, String>,
    /// End of validity of the agents' certificate.
    pub certificate_until: Option<Timestamp>,
    /// What it was made for; none where nobody wrote it down.
    pub certificate_form: Option<Form>,
    /// The same of the authority that it comes from: no certificate of it lasts longer. None where that is not known.
    pub authority_until: Option<Timestamp>,
    /// What the Service was made for; none where nobody wrote it down.
    pub service_form: Option<Form>,
    /// The same of the replicas' Service.
    pub replica_service_form: Option<Form>,
    /// Where the EndpointSlice leads, where there is one.
    pub endpoints: Option<Endpoints>,
    /// Whether instances may take over by themselves, as the Lease says; none where it does not say.
    pub autofail: Option<bool>,
    /// For how many replicas' answers commits are to wait, as the Lease says; none where it does not say.
    pub synchronous: Option<u32>,
    /// Whether they go on without those that are missing, as the Lease says; none where it does not say.
    pub sync_fallback: Option<bool>,
    /// Instances that become primary rather than others that are as far, as the Lease says.
    pub preferred: BTreeSet<InstanceName>,
    /// Names of the nodes whose instances are to be those; none where that is not known.
    pub preferred_nodes: Option<BTreeSet<String>>,
    /// The restore for which the Lease was made.
    pub lease_restore: Option<OperationId>,
    /// The last changes of the primary, by the Lease; the newest one last.
    pub takeovers: Vec<crate::Takeover>,
    /// Family of addresses of the Kubernetes cluster, where it is known before a pod has one.
    pub family: Option<AddressFamily>,
    /// Claims by instance.
    pub claims: BTreeMap<InstanceName, ClaimFacts>,
    /// Uids of what holds backups, by kind and name.
    pub backups: BTreeMap<(Backup, String), String>,
    /// The repository of backups.
    pub repository: crate::Repository,
    /// Pods by instance.
    pub pods: BTreeMap<InstanceName, PodFacts>,
    /// Agents by instance.
    pub agents: BTreeMap<InstanceName, AgentFacts>,
    /// Instances whose agent is called and has not answered, and since when: who observes has just begun, or it fell
    /// silent.
    pub silent: BTreeMap<InstanceName, Timestamp>,
    /// The pod that asks an image for its version.
    pub probe: Option<crate::ProbeFacts>,
    /// The pod in which a backup is tried.
    pub drill: Option<crate::DrillFacts>,
    /// Whether a backup of this cluster may be tried beside those of others.
    pub drill_place: crate::DrillPlace,
    /// The pod for a dump.
    pub dump: Option<crate::DumpFacts>,
    /// Whether as many other clusters are being upgraded as may be at once.
    pub upgrades_full: bool,
    /// Uids of the cluster's Pgtasks, by name.
    pub tasks: BTreeMap<String, String>,
    /// What Kubernetes refused of the last plan, and why; not what merely failed for now.
    pub refused: Option<String>,
    /// Which operation's change of the primary, or restart, an agent refuses.
    pub unwilling: Option<Unwilling>,
    /// What the agents answered that were asked for a reload last.
    pub reloads: Option<crate::Reloads>,
    /// The pod for a benchmark, or for a load.
    pub job: Option<crate::JobFacts>,
    /// What became of the policy that was asked for last.
    pub policy: Option<crate::PolicyAnswer>,
}

/// What an agent answers that was asked for a change of the primary, or a restart, and does not begin one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unwilling {
    /// The operation it was asked for.
    pub operation: OperationId,
    /// Since when it has given no other answer.
    pub since: Timestamp,
    /// Its answer.
    pub reason: String,
}

impl Observed {
    /// Whether all of these are there.
    #[must_use]
    pub fn has(&self, fixtures: &[Fixture]) -> bool {
        fixtures
            .iter()
            .all(|fixture| self.fixtures.contains_key(fixture))
    }

    /// Whether an instance is to become primary rather than others that are as far: it is on such a node. One that is on no
    /// node, or where the nodes are not known, is as the Lease says.
    #[must_use]
    pub fn prefers(&self, instance: &InstanceName) -> bool {
        let node = self.pods.get(instance).and_then(|pod| pod.node.as_ref());
        match (&self.preferred_nodes, node) {
            (Some(preferred), Some(node)) => preferred.contains(node),
            _ => self.preferred.contains(instance),
        }
    }

    /// Whether the claim of an instance waits for a volume that is not wanted any more. No data goes with it: it has no
    /// volume, and no pod has begun with it.
    #[must_use]
    pub fn waits_in_vain(&self, instance: &InstanceName, wanted: &Form) -> bool {
        let is_unused = self.pods.get(instance).is_none_or(|pod| pod.node.is_none());
        is_unused
            && self.claims.get(instance).is_some_and(|claim| {
                claim.phase == ClaimPhase::Pending
                    && !claim.has_volume
                    && claim.form.as_ref().is_some_and(|made| made.differs(wanted))
            })
    }

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
        let endpoints = &self.endpoints.as_ref()?.addresses;
        self.pods.iter().find_map(|(name, pod)| {
            let agent = self.agent(name)?;
            let serves = agent.phase == AgentPhase::Running
                && agent.role == Some(Role::Primary)
                && !pod.terminating
                && pod.ip.as_ref().is_some_and(|ip| endpoints.contains(ip));
            serves.then_some(name)
        })
    }

    /// The instance that is to write: the one that serves, else the one that the Lease names. A cluster begins with its
    /// first one.
    #[must_use]
    pub fn primary(&self, first: &InstanceName) -> InstanceName {
        let serving = self.serving_primary().cloned();
        serving.unwrap_or_else(|| self.holder(first))
    }

    /// The instance that the Lease names, as it was seen last: it may be one that was replaced a moment ago.
    #[must_use]
    pub fn holder(&self, first: &InstanceName) -> InstanceName {
        let last = self.takeovers.last();
        let to = last.and_then(|takeover| takeover.to.parse().ok());
        to.unwrap_or_else(|| first.clone())
    }

    /// What an instance is to be.
    #[must_use]
    pub fn role_of(
        &self,
        (status, cluster): (&crate::ClusterStatus, &ClusterName),
        instance: &InstanceName,
    ) -> Role {
        if status.restoring() == Some(instance) {
            Role::Restoring
        } else if self.primary(&status.first(cluster)) == *instance {
            Role::Primary
        } else {
            Role::Replica
        }
    }
}
