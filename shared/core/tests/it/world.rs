//! A world for one cluster: what Kubernetes, the agent and the event service would do, and the log of what was told.

mod claims;
mod removal;
mod repository;
mod told;
mod wanted;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use pgo_core::{
    AgentFacts, AgentPhase, Archive, ClaimFacts, ClaimPhase, Cluster, ClusterStatus, Condition,
    DeleteRequest, Desired, Endpoints, Fixture, Observed, Plan, PodFacts, PodPhase, Role, Step,
    UserSecret, commit, plan, unrecorded,
};
use pgo_events::{Event, Eventing, Outbox};
use pgo_ids::{InstanceName, Seq, Term};

use crate::jobs;

pub use self::{
    told::{on, types},
    wanted::{backups, desired},
};

/// The world.
pub struct World {
    pub cluster: Cluster,
    pub status: ClusterStatus,
    pub observed: Observed,
    pub now: Timestamp,
    /// What the event service has.
    pub stored: Vec<Event>,
    /// Whether it takes anything.
    pub storing: bool,
    /// Whether events are published.
    pub publishing: bool,
    /// What was left to pages.
    pub pages: Vec<Event>,
    /// Whether Kubernetes takes pages.
    pub paging: bool,
    /// Whether the next page is all that gets written: the process ends between page and status.
    pub ends_after_page: bool,
    /// Whether the Pgcluster is gone.
    pub gone: bool,
    /// Events that were copied out of the outbox at the end.
    pub copied: Vec<Event>,
    /// The Pgtasks that ask for the deletion, with their names; the cache may not show some of them yet.
    pub asked: Vec<(String, DeleteRequest)>,
    /// The instance that is primary.
    pub primary: InstanceName,
    /// How its archiving goes.
    pub archive: Option<Archive>,
    /// Objects made so far; each has another uid.
    made: u32,
}

impl World {
    /// A cluster whose finalizer is there: the next reconcile begins its creation.
    pub fn new() -> Self {
        let mut world = Self::unseen();
        world.reconcile();
        world
    }

    /// A cluster that nobody has looked at.
    pub fn unseen() -> Self {
        Self {
            cluster: Cluster {
                name: "hippo".parse().expect("a name"),
                namespace: "pgouser1".parse().expect("a namespace"),
                stream: "uid-1".parse().expect("a stream"),
                generation: 1,
                deleting: false,
                actor: "pgoadmin".to_owned(),
                workflow: None,
                delete_requests: Vec::new(),
                replicas: Vec::new(),
                replica_count: 0,
                scale_down: Vec::new(),
                failover: Vec::new(),
                reloads: Vec::new(),
                restarts: Vec::new(),
                upgrades: Vec::new(),
                dumps: Vec::new(),
                removals: Vec::new(),
                backups: Vec::new(),
                restores: Vec::new(),
                drills: Vec::new(),
                jobs: Vec::new(),
                policies: Vec::new(),
                policies_at_creation: Vec::new(),
                tasks: BTreeMap::new(),
                cancelled: BTreeMap::new(),
                notes: pgo_core::Notes::default(),
                changed_by: pgo_core::ChangedBy::default(),
                image_said: ":15".to_owned(),
                desired: Ok(desired()),
            },
            status: ClusterStatus::default(),
            observed: Observed::default(),
            now: "2026-10-15T10:11:12Z".parse().expect("a time"),
            stored: Vec::new(),
            storing: true,
            publishing: true,
            pages: Vec::new(),
            paging: true,
            ends_after_page: false,
            gone: false,
            copied: Vec::new(),
            asked: Vec::new(),
            primary: Self::instance(),
            archive: None,
            made: 0,
        }
    }

    pub fn instance() -> InstanceName {
        "hippo".parse().expect("a name")
    }

    /// What the user wants.
    pub fn wanted(&mut self) -> &mut Desired {
        self.cluster.generation += 1;
        self.cluster
            .desired
            .as_mut()
            .expect("a spec that is understood")
    }

    /// The condition of this name, as it was told last.
    pub fn condition(&self, name: &str) -> &Condition {
        let mut conditions = self.status.conditions.iter();
        conditions.find(|c| c.name == name).expect("the condition")
    }

    pub fn pod(&mut self) -> &mut PodFacts {
        self.observed
            .pods
            .get_mut(&Self::instance())
            .expect("a pod")
    }

    pub fn claim(&mut self) -> &mut ClaimFacts {
        self.observed
            .claims
            .get_mut(&Self::instance())
            .expect("a claim")
    }

    pub fn uid(&mut self, of: &str) -> String {
        self.made += 1;
        format!("{of}-{}", self.made)
    }

    fn confirmed(&self) -> Seq {
        self.stored.last().map_or(Seq(0), |event| event.seq)
    }

    /// One reconcile that is cut off after `steps` steps of its plan.
    pub fn reconcile_cut_off(&mut self, steps: usize) -> Plan {
        if self.gone {
            return Plan::default();
        }
        let eventing = self.eventing();
        let mut next = commit(
            &self.status,
            &self.cluster,
            &self.observed,
            eventing,
            self.now,
        );
        let again = commit(&next, &self.cluster, &self.observed, eventing, self.now);
        assert_eq!(next, again, "a commit of what was committed changes it");
        let begun = next.journal.operations.iter().any(|o| o.is_running());
        assert!(
            !begun || self.observed.finalizer,
            "something is begun that nothing holds"
        );
        if !self.make_room(&mut next.journal.outbox) {
            return Plan::default();
        }
        self.status = next;
        self.store();
        let plan = plan(&self.status, &self.cluster, &self.observed, self.now);
        for step in plan.steps.iter().take(steps) {
            self.carry_out(step);
        }
        plan
    }

    fn eventing(&self) -> Eventing {
        if !self.publishing {
            return Eventing::Off;
        }
        on(self.confirmed().0)
    }

    /// Leaves to pages what is too much; false where the process ends over it.
    fn make_room(&mut self, outbox: &mut Outbox) -> bool {
        let page = outbox.overflow(self.status.journal.outbox.last).to_vec();
        let Some(last) = page.last().map(|event| event.seq) else {
            return true;
        };
        if !self.paging {
            return true;
        }
        self.pages.extend(page);
        outbox.leave_to_pages(last);
        !std::mem::take(&mut self.ends_after_page)
    }

    pub fn reconcile(&mut self) -> Plan {
        self.reconcile_cut_off(usize::MAX)
    }

    /// The event service takes what is in the outbox and follows what it has.
    pub fn store(&mut self) {
        if !self.storing || !self.publishing {
            return;
        }
        // What is not there any more will never come.
        self.stored = self.told();
    }

    fn carry_out(&mut self, step: &Step) {
        match step {
            Step::AddFinalizer => self.observed.finalizer = true,
            Step::LabelPod {
                instance,
                uid,
                role,
            } => {
                let pod = self.observed.pods.get_mut(instance).expect("its pod");
                assert_eq!(pod.uid, *uid);
                pod.service = Some(role.service(&self.cluster.name));
            }
            // What the agents make of it shows in the Lease.
            Step::Switchover { .. }
            | Step::Failover { .. }
            | Step::Stay(_)
            | Step::Reload { .. }
            | Step::ApplyPolicy { .. }
            | Step::Restart { .. } => {}
            Step::MakeClaim(instance) | Step::MakePod { instance, .. } => {
                self.make_instance(step, instance);
            }
            Step::MakeReplica(_)
            | Step::HoldReplica { .. }
            | Step::ReleaseReplica { .. }
            | Step::RemoveReplica { .. }
            | Step::DropSlot { .. } => self.scale(step),
            Step::MakeProbe { .. } | Step::RemoveProbe { .. } => self.probe(step),
            // What becomes of it a test says.
            Step::MakeDrill { .. } | Step::RemoveDrill { .. } | Step::MakeRestoredClaim { .. } => {}
            Step::MakeDumpClaim { .. } | Step::MakeDumpPod { .. } | Step::RemoveDumpPod { .. } => {
                crate::dumps::carry_out(self, step);
            }
            Step::MakeJobPod { .. } | Step::RemoveJobPod { .. } => jobs::carry_out(self, step),
            Step::GrowClaim { .. } => self.grow_claim(step),
            Step::MarkClaim { .. } => self.mark_claim(step),
            Step::RemovePod { .. }
            | Step::RemoveClaim { .. }
            | Step::RemoveUserSecret { .. }
            | Step::RemoveBackup { .. }
            | Step::RemoveFixture { .. }
            | Step::RemoveTask { .. } => self.remove(step),
            Step::MakeRepositoryClaim
            | Step::MakeRepositoryService
            | Step::MakeBucketKey
            | Step::MakeRepository
            | Step::CreateStanza { .. }
            | Step::CheckRestore { .. }
            | Step::Backup { .. }
            | Step::CancelWork { .. } => self.of_repository(step),
            Step::RemoveCluster => self.cluster.deleting = true,
            Step::CopyEvents => self.copied = self.status.journal.outbox.entries.clone(),
            Step::RemoveFinalizer => self.gone = self.is_heard(),
            _ => self.make_fixture(step),
        }
    }

    fn make_fixture(&mut self, step: &Step) {
        let desired = self
            .cluster
            .desired
            .clone()
            .expect("nobody makes what is not understood");
        let fixtures: &[Fixture] = match step {
            Step::MakeUserSecret(which) | Step::CopyUserSecret { which, .. } => {
                let (name, uid) = (desired.secret_name(*which), self.uid("secret"));
                self.observed.user_secrets.entry(name).or_insert(uid);
                &[]
            }
            Step::MakeCertificate => {
                let until = self.now + SignedDuration::from_hours(24 * 365);
                self.observed.certificate_until = Some(until);
                self.observed.certificate_form = Some(desired.certificate_form());
                &[Fixture::Certificate]
            }
            Step::MakeAccess => &Fixture::ACCESS,
            Step::MakeLease(first) => {
                self.observed.lease_restore = first.restore;
                self.observed.autofail = Some(desired.autofail);
                self.observed.synchronous = Some(desired.synchronous);
                self.observed.sync_fallback = Some(desired.sync_fallback);
                &[Fixture::Lease]
            }
            Step::SetSynchronous(_)
            | Step::SetSyncFallback(_)
            | Step::SetAutofail(_)
            | Step::SetPreferred(_) => {
                self.say_in_lease(step);
                &[]
            }
            Step::MakeReplicaService => {
                self.observed.replica_service_form = Some(desired.replica_service_form());
                &[Fixture::ReplicaService]
            }
            Step::MakeService => {
                self.observed.service_form = Some(desired.service_form());
                &[Fixture::Service]
            }
            Step::MakeEndpointSlice(family) => {
                self.observed.endpoints = Some(Endpoints {
                    family: Some(*family),
                    addresses: Vec::new(),
                });
                &[Fixture::EndpointSlice]
            }
            other => panic!("{other:?} makes no fixture"),
        };
        for fixture in fixtures {
            let uid = self.uid("fixture");
            self.observed.fixtures.entry(*fixture).or_insert(uid);
        }
    }

    fn say_in_lease(&mut self, step: &Step) {
        let observed = &mut self.observed;
        match step {
            Step::SetSynchronous(k) => observed.synchronous = Some(*k),
            Step::SetSyncFallback(fallback) => observed.sync_fallback = Some(*fallback),
            Step::SetAutofail(autofail) => observed.autofail = Some(*autofail),
            Step::SetPreferred(preferred) => observed.preferred.clone_from(preferred),
            other => panic!("{other:?} is not said in the Lease"),
        }
    }

    fn make_instance(&mut self, step: &Step, instance: &InstanceName) {
        let desired = self
            .cluster
            .desired_of(&self.status, instance)
            .expect("nobody makes what is not understood");
        match step {
            Step::MakeClaim(instance) => self.make_claim(instance, &desired),
            Step::MakePod { instance, role } => {
                let pod = PodFacts {
                    uid: self.uid("pod"),
                    phase: PodPhase::Pending,
                    node: None,
                    placed: None,
                    ip: None,
                    ready: false,
                    terminating: false,
                    unschedulable: None,
                    waiting: None,
                    complaint: None,
                    form: Some(desired.pod_form()),
                    service: Some(role.service(&desired.name)),
                };
                let former = self.observed.pods.insert(instance.clone(), pod);
                assert!(former.is_none(), "a second pod on one volume");
            }
            other => panic!("{other:?} makes nothing of an instance"),
        }
    }

    /// The cache shows so many of the Pgtasks.
    pub fn see(&mut self, shown: usize) {
        let shown = self.asked.iter().take(shown);
        let (mut requests, mut tasks) = (Vec::new(), BTreeMap::new());
        for (name, request) in shown {
            requests.push(request.clone());
            tasks.insert(name.clone(), format!("uid of {name}"));
        }
        self.cluster.delete_requests = requests;
        self.observed.tasks.extend(tasks);
    }

    /// What is asked of Kubernetes itself before the cluster goes: whether every request is recorded.
    fn is_heard(&mut self) -> bool {
        let asked = self.asked.iter().map(|(_, request)| request.clone());
        let asked = Cluster {
            delete_requests: asked.collect(),
            ..self.cluster.clone()
        };
        unrecorded(&self.status, &asked).is_none()
    }

    /// Kubernetes and the agents get one step further.
    pub fn progress(&mut self) {
        let instances: Vec<InstanceName> = self.observed.pods.keys().cloned().collect();
        for instance in instances {
            self.progress_of(&instance);
        }
        self.progress_repository();
    }

    /// The same of one instance.
    pub fn progress_of(&mut self, instance: &InstanceName) {
        let leads = *instance == self.primary;
        let instance = instance.clone();
        let terminating = self
            .observed
            .pods
            .get(&instance)
            .is_some_and(|pod| pod.terminating);
        if terminating {
            self.pod_is_gone(&instance);
            return;
        }
        let Some(pod) = self.observed.pods.get_mut(&instance) else {
            return;
        };
        if pod.node.is_none() {
            pod.node = Some("node1".to_owned());
            pod.placed = Some(self.now);
            if let Some(claim) = self.observed.claims.get_mut(&instance) {
                claim.phase = ClaimPhase::Bound;
                claim.has_volume = true;
            }
            return;
        }
        if pod.phase == PodPhase::Pending {
            pod.phase = PodPhase::Running;
            pod.ip = Some(format!("10.0.0.{}", self.made % 256));
            (pod.waiting, pod.complaint) = (None, None);
            return;
        }
        let (uid, ip) = (pod.uid.clone(), pod.ip.clone());
        let before = self
            .observed
            .agents
            .get(&instance)
            .filter(|agent| agent.pod_uid == uid)
            .map(|agent| agent.phase);
        let phase = match before {
            None => AgentPhase::Starting,
            Some(AgentPhase::Starting | AgentPhase::Failed) if leads => AgentPhase::Initializing,
            Some(AgentPhase::Starting | AgentPhase::Failed) => AgentPhase::Cloning,
            Some(AgentPhase::Initializing | AgentPhase::Cloning) => AgentPhase::Recovering,
            Some(_) => AgentPhase::Running,
        };
        self.say_of(&instance, phase, None);
        self.keep_wal(&instance, phase);
        if leads
            && phase == AgentPhase::Running
            && let Some(endpoints) = &mut self.observed.endpoints
        {
            endpoints.addresses = ip.into_iter().collect();
        }
    }

    /// The agent of the first instance says something.
    pub fn say(&mut self, phase: AgentPhase, error: Option<&str>) {
        self.say_of(&Self::instance(), phase, error);
    }

    /// The agent of an instance says something.
    pub fn say_of(&mut self, instance: &InstanceName, phase: AgentPhase, error: Option<&str>) {
        let leads = *instance == self.primary;
        let instance = instance.clone();
        let version = self.version_of(&instance);
        let followers = self.observed.agents.get(&instance);
        let started = followers.and_then(|agent| agent.started);
        let followers = followers.map(|agent| agent.followers.clone());
        let runs = phase == AgentPhase::Running;
        let role = runs.then_some(if leads { Role::Primary } else { Role::Replica });
        let before = self.observed.agents.get(&instance);
        let before_volume = before.and_then(|agent| agent.volume);
        let restore = before.and_then(|agent| agent.restore.clone());
        let before = before.filter(|agent| agent.role == role);
        let running_since = before
            .and_then(|agent| agent.running_since)
            .or(Some(self.now));
        let takeover = self.observed.takeovers.last();
        let term = takeover.map_or(Term(1), |takeover| takeover.term);
        let Some(pod) = self.observed.pods.get(&instance) else {
            return;
        };
        let facts = AgentFacts {
            pod_uid: pod.uid.clone(),
            phase,
            role,
            term,
            postgres_version: Some(version),
            timeline: takeover.map_or(1, |takeover| takeover.timeline),
            streaming: runs && !leads,
            lag_bytes: 0,
            lag_ms: 0,
            received: if runs && !leads { 0x300_0148 } else { 0 },
            followers: followers.unwrap_or_default(),
            lost: Vec::new(),
            started: started.or(runs.then_some(self.now)),
            running_since: running_since.filter(|_| runs),
            pending_restart: Vec::new(),
            volume_hangs: false,
            volume: before_volume,
            data: pgo_core::Data::Made,
            commits: None,
            archive: self.archive.clone().filter(|_| runs && leads),
            restore: restore.filter(|_| !leads),
            preferred: Default::default(),
            error: error.map(str::to_owned),
        };
        self.observed.silent.remove(&instance);
        self.observed.agents.insert(instance, facts);
    }

    /// Nothing is heard of the agent from now on.
    pub fn fall_silent(&mut self) {
        let instance = Self::instance();
        self.observed.agents.remove(&instance);
        self.observed.silent.insert(instance, self.now);
    }

    pub fn wait(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    /// Reconciles and progresses until the cluster is ready and nothing is left to do.
    pub fn settle(&mut self) {
        for _ in 0..30 {
            let plan = self.reconcile();
            if self.status.is_ready() && plan == Plan::default() {
                return;
            }
            self.progress();
            self.wait(1);
        }
        panic!("the cluster did not become ready: {:?}", self.status);
    }
}

pub fn all_secrets() -> usize {
    UserSecret::ALL.len()
}
