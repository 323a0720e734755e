//! A world for one cluster: what Kubernetes, the agent and the event service would do, and the log of what was told.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use pgo_core::{
    AgentFacts, AgentPhase, ClaimFacts, ClaimPhase, Cluster, ClusterStatus, Desired, Image,
    Observed, Plan, PodFacts, PodPhase, Resources, Role, ServiceType, Step, Storage, StorageKind,
    UserSecret, commit, plan,
};
use pgo_events::{Event, Stage};
use pgo_ids::{InstanceName, OperationId, Seq, Term};

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
    /// Whether the Pgcluster is gone.
    pub gone: bool,
    /// Events that were copied out of the outbox at the end.
    pub copied: Vec<Event>,
    /// Pods made so far; each has another uid.
    pods: u32,
}

pub fn desired() -> Desired {
    Desired {
        name: "hippo".parse().expect("a name"),
        namespace: "pgouser1".parse().expect("a namespace"),
        image: Image("p/crunchy-postgres:15".to_owned()),
        agent_image: Image("p/pgo-agent:1".to_owned()),
        port: 5432,
        database: "userdb".to_owned(),
        user: "testuser".parse().expect("a role"),
        storage: Storage {
            kind: StorageKind::Dynamic,
            class: None,
            access_mode: "ReadWriteOnce".to_owned(),
            size: "1Gi".to_owned(),
            fs_group: Some(26),
            supplemental_groups: Vec::new(),
            match_labels: BTreeMap::new(),
        },
        resources: Resources::default(),
        service_type: ServiceType::ClusterIp,
        node_label: None,
        custom_config: None,
        labels: BTreeMap::new(),
        log_statement: "none".to_owned(),
        log_min_duration_statement: 60_000,
    }
}

fn new_claim() -> ClaimFacts {
    ClaimFacts {
        uid: "claim".to_owned(),
        phase: ClaimPhase::Pending,
        complaint: None,
        terminating: false,
    }
}

fn new_pod(number: u32, generation: i64) -> PodFacts {
    PodFacts {
        uid: format!("pod-{number}"),
        phase: PodPhase::Pending,
        node: None,
        ip: None,
        ready: false,
        terminating: false,
        unschedulable: None,
        waiting: None,
        generation: Some(generation),
    }
}

impl World {
    pub fn new() -> Self {
        Self {
            cluster: Cluster {
                name: "hippo".parse().expect("a name"),
                namespace: "pgouser1".parse().expect("a namespace"),
                stream: "uid-1".parse().expect("a stream"),
                generation: 1,
                deleting: false,
                actor: "pgoadmin".to_owned(),
                workflow: None,
                delete_request: None,
                desired: Ok(desired()),
            },
            status: ClusterStatus::default(),
            observed: Observed::default(),
            now: "2026-10-15T10:11:12Z".parse().expect("a time"),
            stored: Vec::new(),
            storing: true,
            gone: false,
            copied: Vec::new(),
            pods: 0,
        }
    }

    pub fn instance() -> InstanceName {
        "hippo".parse().expect("a name")
    }

    fn confirmed(&self) -> Seq {
        self.stored.last().map_or(Seq(0), |event| event.seq)
    }

    /// One reconcile that is cut off after `steps` steps of its plan.
    pub fn reconcile_cut_off(&mut self, steps: usize) -> Plan {
        if self.gone {
            return Plan::default();
        }
        let confirmed = self.confirmed();
        let next = commit(
            &self.status,
            &self.cluster,
            &self.observed,
            confirmed,
            self.now,
        );
        let again = commit(&next, &self.cluster, &self.observed, confirmed, self.now);
        assert_eq!(next, again, "a commit of what was committed changes it");
        self.status = next;
        self.store();
        let plan = plan(&self.status, &self.cluster, &self.observed, self.now);
        for step in plan.steps.iter().take(steps) {
            self.carry_out(step);
        }
        plan
    }

    pub fn reconcile(&mut self) -> Plan {
        self.reconcile_cut_off(usize::MAX)
    }

    /// The event service takes what is in the outbox and follows what it has.
    pub fn store(&mut self) {
        if !self.storing {
            return;
        }
        for event in &self.status.journal.outbox.entries {
            if event.seq == self.confirmed().next() {
                self.stored.push(event.clone());
            }
        }
    }

    fn carry_out(&mut self, step: &Step) {
        let observed = &mut self.observed;
        match step {
            Step::AddFinalizer => observed.finalizer = true,
            Step::MakeUserSecret(secret) => {
                observed.user_secrets.insert(*secret);
            }
            Step::MakeCertificate => {
                observed.certificate_until = Some(self.now + SignedDuration::from_hours(24 * 365));
            }
            Step::MakeAccess => observed.access = true,
            Step::MakeLease { .. } => observed.lease = true,
            Step::MakeService => observed.service = true,
            Step::MakeEndpointSlice => observed.endpoints = Some(Vec::new()),
            Step::MakeClaim(instance) => {
                let claims = &mut observed.claims;
                claims.entry(instance.clone()).or_insert_with(new_claim);
            }
            Step::MakePod(instance) => {
                self.pods += 1;
                let pod = new_pod(self.pods, self.cluster.generation);
                let former = observed.pods.insert(instance.clone(), pod);
                assert!(former.is_none(), "a second pod on one volume");
            }
            Step::RemovePod { instance, uid } => {
                if let Some(pod) = observed.pods.get_mut(instance) {
                    assert_eq!(pod.uid, *uid);
                    pod.terminating = true;
                }
            }
            Step::RemoveClaim { instance, .. } => {
                assert!(
                    observed.pods.is_empty(),
                    "data goes while a database may run"
                );
                observed.claims.remove(instance);
            }
            Step::RemoveUserSecret(secret) => {
                observed.user_secrets.remove(secret);
            }
            Step::RemoveCluster => self.cluster.deleting = true,
            Step::RemoveFixtures => {
                observed.service = false;
                observed.lease = false;
                observed.access = false;
                observed.endpoints = None;
                observed.certificate_until = None;
            }
            Step::RemoveTasks => observed.tasks = 0,
            Step::CopyEvents => self.copied = self.status.journal.outbox.entries.clone(),
            Step::RemoveFinalizer => self.gone = true,
        }
    }

    /// Kubernetes and the agent get one step further.
    pub fn progress(&mut self) {
        let instance = Self::instance();
        let terminating = self
            .observed
            .pods
            .get(&instance)
            .is_some_and(|pod| pod.terminating);
        if terminating {
            self.observed.pods.remove(&instance);
            self.observed.agents.remove(&instance);
            if let Some(endpoints) = &mut self.observed.endpoints {
                endpoints.clear();
            }
            return;
        }
        let Some(pod) = self.observed.pods.get_mut(&instance) else {
            return;
        };
        if pod.node.is_none() {
            pod.node = Some("node1".to_owned());
            if let Some(claim) = self.observed.claims.get_mut(&instance) {
                claim.phase = ClaimPhase::Bound;
            }
            return;
        }
        if pod.phase == PodPhase::Pending {
            pod.phase = PodPhase::Running;
            pod.ip = Some(format!("10.0.0.{}", self.pods));
            pod.waiting = None;
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
            Some(AgentPhase::Starting | AgentPhase::Failed) => AgentPhase::Initializing,
            Some(AgentPhase::Initializing) => AgentPhase::Recovering,
            Some(_) => AgentPhase::Running,
        };
        self.say(phase, None);
        if phase == AgentPhase::Running && self.observed.endpoints.is_some() {
            self.observed.endpoints = Some(ip.into_iter().collect());
        }
    }

    /// The agent says something.
    pub fn say(&mut self, phase: AgentPhase, error: Option<&str>) {
        let instance = Self::instance();
        let Some(pod) = self.observed.pods.get(&instance) else {
            return;
        };
        let facts = AgentFacts {
            pod_uid: pod.uid.clone(),
            phase,
            role: (phase == AgentPhase::Running).then_some(Role::Primary),
            term: Term(1),
            postgres_version: Some("15.18".to_owned()),
            timeline: 1,
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

    /// Everything that was told: stored, copied at the end, or still in the outbox.
    pub fn told(&self) -> Vec<Event> {
        let mut all = self.stored.clone();
        let rest = self
            .copied
            .iter()
            .chain(&self.status.journal.outbox.entries);
        for event in rest {
            if event.seq > all.last().map_or(Seq(0), |last: &Event| last.seq) {
                all.push(event.clone());
            }
        }
        all
    }

    /// What must hold of the stream whatever happens.
    pub fn check_stream(&self) {
        let told = self.told();
        let mut ended: BTreeMap<OperationId, usize> = BTreeMap::new();
        let mut begun: BTreeMap<OperationId, usize> = BTreeMap::new();
        for (at, event) in told.iter().enumerate() {
            assert_eq!(event.seq, Seq(at as u64 + 1), "a gap or a repeat");
            match event.stage {
                Stage::Notice => {}
                Stage::Started => *begun.entry(event.operationid).or_default() += 1,
                Stage::Progress => assert!(begun.contains_key(&event.operationid)),
                Stage::Completed | Stage::Failed => {
                    assert!(begun.contains_key(&event.operationid));
                    *ended.entry(event.operationid).or_default() += 1;
                }
            }
        }
        assert!(begun.values().all(|count| *count == 1), "begun twice");
        assert!(ended.values().all(|count| *count == 1), "ended twice");
    }
}

pub fn types(events: &[Event]) -> Vec<&'static str> {
    events
        .iter()
        .map(|event| event.event_type().as_str())
        .collect()
}

pub fn all_secrets() -> usize {
    UserSecret::ALL.len()
}
