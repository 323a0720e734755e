//! What nodes and agents do by themselves, and what agents are asked for: another primary, a reload, a restart.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use pgo_core::{
    AgentFacts, AgentPhase, ClaimPhase, Data, Lost, Observed, PodPhase, Reloads, Role, Step,
    Takeover, TakeoverCause, Unwilling,
};
use pgo_ids::{ClusterName, InstanceName, OperationId, Term};

use crate::{store::Slot, world::World};

/// What a reconciler has heard of those that it asked. It is lost with the process.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// Who refuses.
    pub unwilling: Option<Unwilling>,
    /// Who has read its configuration.
    pub reloads: Option<Reloads>,
}

/// Whether nothing happens by itself.
pub fn is_at_rest(observed: &Observed, cluster: &ClusterName) -> bool {
    let holder = observed.holder(&cluster.into());
    let led_to = observed.endpoints.as_ref();
    let led_to = led_to.and_then(|endpoints| endpoints.addresses.first());
    successor(observed, cluster).is_none()
        && observed.pods.iter().all(|(instance, pod)| {
            let runs = || {
                let agent = observed.agent(instance).map(|agent| agent.phase);
                let is_reached = *instance != holder || led_to == pod.ip.as_ref();
                agent == Some(AgentPhase::Running) && is_reached
            };
            !pod.terminating && (pod.phase == PodPhase::Ended || runs())
        })
}

/// What the nodes, the agents and the Service do next.
pub fn progress(observed: &mut Observed, cluster: &ClusterName, now: Timestamp) {
    let instances: Vec<InstanceName> = observed.pods.keys().cloned().collect();
    for instance in &instances {
        progress_of(observed, cluster, instance, now);
    }
    if let Some(to) = successor(observed, cluster) {
        elect(observed, cluster, &to, now);
    }
    follow(observed, cluster);
}

/// Who is elected where the pod of the primary is gone.
fn successor(observed: &Observed, cluster: &ClusterName) -> Option<InstanceName> {
    if observed
        .pods
        .contains_key(&observed.holder(&cluster.into()))
    {
        return None;
    }
    let runs = |instance: &&InstanceName| {
        let agent = observed.agent(instance);
        agent.is_some_and(|agent| agent.phase == AgentPhase::Running)
    };
    observed.pods.keys().find(runs).cloned()
}

fn progress_of(
    observed: &mut Observed,
    cluster: &ClusterName,
    instance: &InstanceName,
    now: Timestamp,
) {
    let leads = observed.holder(&cluster.into()) == *instance;
    let Some(pod) = observed.pods.get_mut(instance) else {
        return;
    };
    if pod.terminating {
        observed.pods.remove(instance);
        observed.agents.remove(instance);
        if let Some(endpoints) = observed.endpoints.as_mut().filter(|_| leads) {
            endpoints.addresses.clear();
        }
    } else if pod.node.is_none() {
        pod.node = Some("node1".to_owned());
        pod.placed = Some(now);
        if let Some(claim) = observed.claims.get_mut(instance) {
            claim.phase = ClaimPhase::Bound;
            claim.has_volume = true;
        }
    } else if pod.phase == PodPhase::Pending {
        pod.phase = PodPhase::Running;
        pod.ip = Some(address(&pod.uid));
    } else if pod.phase == PodPhase::Running {
        agent_goes_on(observed, (instance, leads), now);
    }
}

/// An address of its own for each pod.
fn address(uid: &str) -> String {
    let number: u32 = uid
        .trim_start_matches("o-")
        .parse()
        .map_or(1, |n: u32| n % 60_000);
    format!("10.1.{}.{}", number / 250, number % 250 + 1)
}

fn agent_goes_on(
    observed: &mut Observed,
    (instance, leads): (&InstanceName, bool),
    now: Timestamp,
) {
    let before = observed.agent(instance).map(|agent| agent.phase);
    let phase = match before {
        None => AgentPhase::Starting,
        Some(AgentPhase::Starting | AgentPhase::Failed) if leads => AgentPhase::Initializing,
        Some(AgentPhase::Starting | AgentPhase::Failed) => AgentPhase::Cloning,
        Some(
            AgentPhase::Initializing
            | AgentPhase::Cloning
            | AgentPhase::Rewinding
            | AgentPhase::Stopping,
        ) => AgentPhase::Recovering,
        Some(AgentPhase::Recovering | AgentPhase::Running) => AgentPhase::Running,
    };
    let ip = observed.pods.get(instance).and_then(|pod| pod.ip.clone());
    if leads
        && phase == AgentPhase::Running
        && let Some(endpoints) = &mut observed.endpoints
    {
        endpoints.addresses = ip.into_iter().collect();
    }
    say(observed, (instance, leads), (phase, None), now);
}

/// WAL flows to the replicas while the primary serves.
fn follow(observed: &mut Observed, cluster: &ClusterName) {
    let holder = observed.holder(&cluster.into());
    let serves = observed.serving_primary() == Some(&holder);
    for agent in observed.agents.values_mut() {
        agent.streaming = serves && agent.role == Some(Role::Replica);
    }
}

/// The agent of an instance says something.
fn say(
    observed: &mut Observed,
    (instance, leads): (&InstanceName, bool),
    (phase, error): (AgentPhase, Option<&str>),
    now: Timestamp,
) {
    let Some(pod) = observed.pods.get(instance) else {
        return;
    };
    let before = observed.agents.get(instance);
    let before = before.filter(|agent| agent.pod_uid == pod.uid);
    let runs = phase == AgentPhase::Running;
    let ran = before.is_some_and(|agent| agent.phase == AgentPhase::Running);
    let started = match before.and_then(|agent| agent.started) {
        Some(former) if runs && !ran => Some(now.max(former + SignedDuration::from_millis(1))),
        Some(former) => Some(former),
        None => runs.then_some(now),
    };
    let running_since = before.and_then(|agent| agent.running_since);
    let role = if leads { Role::Primary } else { Role::Replica };
    let term = observed.takeovers.last().map_or(Term(1), |last| last.term);
    let image = pod.form.as_ref().and_then(|form| form.image());
    let version = image.and_then(|image| image.rsplit_once(':'));
    let facts = AgentFacts {
        pod_uid: pod.uid.clone(),
        phase,
        role: runs.then_some(role),
        term,
        postgres_version: version.map(|(_, version)| version.to_owned()),
        timeline: 1,
        streaming: before.is_some_and(|agent| agent.streaming),
        lag_bytes: 0,
        lag_ms: 0,
        received: 0,
        followers: Vec::new(),
        lost: before.map_or_else(Vec::new, |agent| agent.lost.clone()),
        started,
        running_since: running_since.filter(|_| ran).or(Some(now)).filter(|_| runs),
        pending_restart: Vec::new(),
        volume_hangs: false,
        volume: None,
        data: Data::Made,
        commits: None,
        archive: None,
        restore: None,
        preferred: Default::default(),
        error: error.map(str::to_owned),
    };
    observed.agents.insert(instance.clone(), facts);
}

/// What goes wrong with one of the databases: its agent fails, or its pod ends.
pub fn trouble(
    observed: &mut Observed,
    cluster: &ClusterName,
    (place, its_pod): (usize, bool),
    now: Timestamp,
) {
    let Some((instance, pod)) = observed.pods.iter_mut().nth(place) else {
        return;
    };
    let instance = instance.clone();
    if its_pod {
        pod.phase = PodPhase::Ended;
        observed.agents.remove(&instance);
    } else if pod.phase == PodPhase::Running {
        let leads = observed.holder(&cluster.into()) == instance;
        let fails = (AgentPhase::Failed, Some("the data directory is damaged"));
        say(observed, (&instance, leads), fails, now);
    }
    follow(observed, cluster);
}

/// Another instance is elected, as the Lease says from then on. It takes writes later; the former one follows it, if it is
/// there.
pub fn elect(observed: &mut Observed, cluster: &ClusterName, to: &InstanceName, now: Timestamp) {
    let from = observed.holder(&cluster.into());
    let runs = |agent: &AgentFacts| agent.phase == AgentPhase::Running;
    if from == *to || !observed.agent(to).is_some_and(runs) {
        return;
    }
    let cause = match observed.serving_primary() {
        Some(_) => TakeoverCause::Released,
        None => TakeoverCause::Lost,
    };
    let last = observed.takeovers.last();
    let term = Term(last.map_or(1, |last| last.term.0) + 1);
    observed.takeovers.push(Takeover {
        term,
        from: from.to_string(),
        to: to.to_string(),
        cause,
        former_timeline: Some(last.map_or(1, |last| last.timeline)),
        timeline: last.map_or(2, |last| last.timeline + 1),
        lsn: "0/3000148".to_owned(),
        lost: None,
        unfit: None,
        heard: Some(now),
        at: now,
    });
    if let Some(endpoints) = &mut observed.endpoints {
        endpoints.addresses.clear();
    }
    if observed.agent(&from).is_some_and(runs) {
        let rewinds = (AgentPhase::Rewinding, None);
        say(observed, (&from, false), rewinds, now);
        let end = 0x300_0148 + u64::from(cause == TakeoverCause::Lost) * 0xB0;
        if let Some(agent) = observed.agents.get_mut(&from) {
            agent.lost.push(Lost {
                term,
                timeline: 1,
                fork: 0x300_0148,
                end,
                commits: Some(1),
                synchronous: false,
                unknown: false,
            });
        }
    }
    say(observed, (to, true), (AgentPhase::Recovering, None), now);
    follow(observed, cluster);
}

/// The server of an instance ends and begins, if it is the one that was meant.
fn restart(
    observed: &mut Observed,
    cluster: &ClusterName,
    (instance, started): (&InstanceName, Timestamp),
    now: Timestamp,
) {
    let agent = observed.agent(instance);
    let is_meant = agent
        .is_some_and(|agent| agent.phase == AgentPhase::Running && agent.started == Some(started));
    if is_meant {
        let leads = observed.holder(&cluster.into()) == *instance;
        say(
            observed,
            (instance, leads),
            (AgentPhase::Stopping, None),
            now,
        );
        follow(observed, cluster);
    }
}

impl World {
    /// Agents are asked for something: some refuse, of some is not heard.
    pub fn ask_agents(&mut self, process: usize, step: &Step, slot: Slot) {
        let refuses = self.chance.happens(self.climate.silent_agents);
        let (now, cluster) = (self.now, self.store.clusters[slot].name.clone());
        match step {
            Step::Reload {
                operation,
                instance,
            } => {
                let answer = match refuses {
                    true => Err("a line cannot be read".to_owned()),
                    false => Ok(Vec::new()),
                };
                self.heard_of_reload(process, slot, (*operation, instance), answer);
            }
            Step::Switchover { operation, .. }
            | Step::Failover { operation, .. }
            | Step::Restart { operation, .. } => {
                self.heard_of_change(process, slot, *operation, refuses);
                if refuses {
                    return;
                }
                self.store.shape(slot, |around| {
                    let observed = around.shaped();
                    match step {
                        Step::Switchover { primary, to, .. }
                            if observed.serving_primary() == Some(primary) =>
                        {
                            elect(observed, &cluster, to, now);
                        }
                        Step::Failover { to, .. } if observed.serving_primary().is_none() => {
                            elect(observed, &cluster, to, now);
                        }
                        Step::Restart {
                            instance, started, ..
                        } => restart(observed, &cluster, (instance, *started), now),
                        _ => {}
                    }
                });
            }
            _ => {}
        }
    }

    /// As `services/reconciler/src/changes.rs` notes it.
    fn heard_of_change(&mut self, process: usize, slot: Slot, operation: OperationId, no: bool) {
        let heard = self.reconcilers[process].heard.entry(slot).or_default();
        let known = heard.unwilling.take();
        let since = known.filter(|known| known.operation == operation);
        let since = since.map_or(self.now, |known| known.since);
        heard.unwilling = no.then(|| Unwilling {
            operation,
            since,
            reason: "it is about to stop".to_owned(),
        });
    }

    /// As `services/reconciler/src/reloads.rs` notes it.
    fn heard_of_reload(
        &mut self,
        process: usize,
        slot: Slot,
        (operation, instance): (OperationId, &InstanceName),
        answer: Result<Vec<String>, String>,
    ) {
        let heard = self.reconcilers[process].heard.entry(slot).or_default();
        let none = || Reloads {
            operation,
            answers: BTreeMap::new(),
        };
        let known = heard.reloads.get_or_insert_with(none);
        if known.operation != operation {
            *known = none();
        }
        known.answers.insert(instance.clone(), answer);
    }
}
