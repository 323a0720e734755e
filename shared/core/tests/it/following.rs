//! The world's replicas: what Kubernetes and the primary do with them.

use pgo_core::{
    AgentPhase, Follower, Replica, Step, Takeover, TakeoverCause, WalStatus, WantedReplica,
};
use pgo_ids::{InstanceName, Term};

use crate::world::{World, desired};

/// A Pgreplica as somebody made it.
pub fn replica(name: &str, uid: &str, derived: bool) -> Replica {
    let desired = desired();
    Replica {
        name: name.parse().expect("a name"),
        uid: uid.to_owned(),
        deleting: false,
        finalizer: derived,
        derived,
        actor: "alice".to_owned(),
        wanted: Ok(WantedReplica {
            storage: desired.storage,
            resources: desired.resources,
            node: None,
            image: desired.image,
            service_type: None,
        }),
    }
}

impl World {
    /// A Pgreplica comes, or goes.
    pub fn scale(&mut self, step: &Step) {
        let uid = self.uid("replica");
        let replicas = &mut self.cluster.replicas;
        let find = |replicas: &mut Vec<Replica>, uid: &str| {
            replicas.iter().position(|replica| replica.uid == uid)
        };
        match step {
            Step::MakeReplica(name) => {
                if replicas.iter().all(|replica| replica.name != *name) {
                    replicas.push(replica(name.as_str(), &uid, true));
                }
            }
            Step::HoldReplica { uid, .. } => {
                let at = find(replicas, uid).expect("it is there");
                replicas[at].finalizer = true;
            }
            Step::RemoveReplica { uid, .. } => {
                let at = find(replicas, uid).expect("it is there");
                replicas[at].deleting = true;
                // Nothing holds it.
                replicas.retain(|replica| !replica.deleting || replica.finalizer);
            }
            Step::ReleaseReplica { uid, .. } => {
                let at = find(replicas, uid).expect("it is there");
                assert!(replicas[at].deleting, "let go before anybody asked for it");
                let name = &replicas[at].name;
                assert!(
                    !self.observed.pods.contains_key(name),
                    "let go with its pod"
                );
                replicas.remove(at);
            }
            Step::DropSlot { primary, slot } => {
                let agent = self.observed.agents.get_mut(primary).expect("it is heard");
                agent.followers.retain(|follower| follower.slot != *slot);
            }
            other => panic!("{other:?} is about no replica"),
        }
    }

    /// A replica has its slot at the primary from when it begins to copy.
    pub fn keep_wal(&mut self, instance: &InstanceName, phase: AgentPhase) {
        if *instance == self.primary || phase == AgentPhase::Starting {
            return;
        }
        if let Some(primary) = self.observed.agents.get_mut(&self.primary) {
            let slot = instance.slot();
            primary.followers.retain(|follower| follower.slot != slot);
            primary.followers.push(Follower {
                slot,
                streaming: phase == AgentPhase::Running,
                lag_bytes: 0,
                sync: "async".to_owned(),
                kept_bytes: 0,
                wal: WalStatus::Kept,
            });
        }
    }

    /// A pod has ended, and with it what it had at the others.
    pub fn pod_is_gone(&mut self, instance: &InstanceName) {
        self.observed.pods.remove(instance);
        self.observed.agents.remove(instance);
        let slot = instance.slot();
        for agent in self.observed.agents.values_mut() {
            let mut followers = agent.followers.iter_mut();
            if let Some(follower) = followers.find(|follower| follower.slot == slot) {
                follower.streaming = false;
            }
        }
        let leads = *instance == self.primary;
        if let Some(endpoints) = self.observed.endpoints.as_mut().filter(|_| leads) {
            endpoints.addresses.clear();
        }
    }

    /// Another instance has become the primary, and the others follow it.
    pub fn takes_over(&mut self, to: &InstanceName, cause: TakeoverCause) {
        self.is_elected(to, cause);
        self.serves();
    }

    /// Another instance is to be the primary, as the Lease says.
    pub fn is_elected(&mut self, to: &InstanceName, cause: TakeoverCause) {
        let before = self.observed.takeovers.last();
        let term = before.map_or(Term(2), |before| Term(before.term.0 + 1));
        self.observed.takeovers.push(Takeover {
            term,
            from: self.primary.to_string(),
            to: to.to_string(),
            cause,
            former_timeline: Some(before.map_or(1, |before| before.timeline)),
            timeline: before.map_or(2, |before| before.timeline + 1),
            lsn: "0/3000148".to_owned(),
            lost: (cause == TakeoverCause::Released).then_some(0),
            unfit: None,
            heard: Some(self.now),
            at: self.now,
        });
        if let Some(former) = self.observed.agents.get_mut(&self.primary) {
            (former.phase, former.role) = (AgentPhase::Stopping, None);
        }
        self.primary = to.clone();
        self.say_of(to, AgentPhase::Recovering, None);
    }

    /// The primary takes writes, the Service leads to it, and the others follow it.
    pub fn serves(&mut self) {
        let instances: Vec<InstanceName> = self.observed.pods.keys().cloned().collect();
        for instance in instances {
            self.say_of(&instance, AgentPhase::Running, None);
            self.keep_wal(&instance, AgentPhase::Running);
        }
        let ip = self.observed.pods[&self.primary].ip.clone();
        let endpoints = self.observed.endpoints.as_mut().expect("an EndpointSlice");
        endpoints.addresses = ip.into_iter().collect();
    }

    /// The primary's pod is gone with its node, and nobody takes over.
    pub fn primary_is_lost(&mut self) {
        let pod = self.observed.pods.get_mut(&self.primary);
        pod.expect("its pod").ip = None;
        self.observed.agents.remove(&self.primary);
        self.observed.silent.insert(self.primary.clone(), self.now);
        self.wait(11);
    }
}
