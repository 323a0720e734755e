//! What Kubernetes and the agents do by themselves, and what the steps of a plan do to them.

use jiff::{SignedDuration, Timestamp};
use pgo_core::{
    AgentFacts, AgentPhase, ClaimFacts, ClaimPhase, Desired, Endpoints, Fixture, Observed,
    PodFacts, PodPhase, Role, Step,
};
use pgo_ids::{InstanceName, Term};

use crate::store::Ground;

/// Where a name and a uid come from: no two are the same.
fn uid(made: &mut u64) -> String {
    *made += 1;
    format!("o-{made}")
}

/// Carries out a step that makes or removes something around the cluster. Doing it again changes nothing, and what is not
/// exactly what was named stays.
pub fn carry_out(
    ground: &mut Ground,
    step: &Step,
    desired: Option<&Desired>,
    made: &mut u64,
    now: Timestamp,
) {
    let observed = &mut ground.observed;
    match (step, desired) {
        (Step::RemoveTask { name, uid }, _) => {
            if observed.tasks.get(name) == Some(uid) {
                observed.tasks.remove(name);
                ground.requests.remove(name);
            }
        }
        (
            Step::RemovePod { .. }
            | Step::RemoveClaim { .. }
            | Step::RemoveUserSecret { .. }
            | Step::RemoveFixture { .. },
            _,
        ) => remove(observed, step),
        (Step::MakeClaim(_) | Step::MakePod { .. }, Some(desired)) => {
            make_instance(observed, step, desired, made);
        }
        (_, Some(desired)) => make_fixture(observed, step, desired, made, now),
        (_, None) => {}
    }
}

fn make_fixture(
    observed: &mut Observed,
    step: &Step,
    desired: &Desired,
    made: &mut u64,
    now: Timestamp,
) {
    let fixtures: &[Fixture] = match step {
        Step::MakeUserSecret(which) => {
            let name = desired.secret_name(*which);
            observed
                .user_secrets
                .entry(name)
                .or_insert_with(|| uid(made));
            return;
        }
        Step::MakeCertificate => {
            observed.certificate_until = Some(now + SignedDuration::from_hours(24 * 365));
            &[Fixture::Certificate]
        }
        Step::MakeAccess => &Fixture::ACCESS,
        Step::MakeLease { .. } => {
            observed.autofail = Some(desired.autofail);
            observed.synchronous = Some(desired.synchronous);
            observed.sync_fallback = Some(desired.sync_fallback);
            &[Fixture::Lease]
        }
        Step::MakeService => {
            observed.service_form = Some(desired.service_form());
            &[Fixture::Service]
        }
        Step::MakeEndpointSlice(family) => {
            observed.endpoints.get_or_insert(Endpoints {
                family: Some(*family),
                addresses: Vec::new(),
            });
            &[Fixture::EndpointSlice]
        }
        _ => return,
    };
    for fixture in fixtures {
        observed
            .fixtures
            .entry(*fixture)
            .or_insert_with(|| uid(made));
    }
}

fn make_instance(observed: &mut Observed, step: &Step, desired: &Desired, made: &mut u64) {
    match step {
        Step::MakeClaim(instance) => {
            observed
                .claims
                .entry(instance.clone())
                .or_insert_with(|| ClaimFacts {
                    uid: uid(made),
                    phase: ClaimPhase::Pending,
                    has_volume: false,
                    form: Some(desired.claim_form()),
                    complaint: None,
                    terminating: false,
                });
        }
        Step::MakePod { instance, role } => {
            observed
                .pods
                .entry(instance.clone())
                .or_insert_with(|| PodFacts {
                    uid: uid(made),
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
                });
        }
        _ => {}
    }
}

fn remove(observed: &mut Observed, step: &Step) {
    match step {
        Step::RemovePod { instance, uid } => {
            if let Some(pod) = observed.pods.get_mut(instance).filter(|p| p.uid == *uid) {
                pod.terminating = true;
            }
        }
        Step::RemoveClaim { instance, uid } => {
            observed
                .claims
                .retain(|name, claim| name != instance || claim.uid != *uid);
        }
        Step::RemoveUserSecret { name, uid } => {
            observed.user_secrets.retain(|n, u| n != name || u != uid);
        }
        Step::RemoveFixture { fixture, uid } => {
            if observed.fixtures.get(fixture) != Some(uid) {
                return;
            }
            observed.fixtures.remove(fixture);
            match fixture {
                Fixture::Service => observed.service_form = None,
                Fixture::EndpointSlice => observed.endpoints = None,
                Fixture::Certificate => observed.certificate_until = None,
                _ => {}
            }
        }
        _ => {}
    }
}

/// Whether nothing happens by itself.
pub fn is_at_rest(observed: &Observed) -> bool {
    observed.pods.iter().next().is_none_or(|(instance, pod)| {
        let serves = || {
            let agent = observed.agent(instance).map(|agent| agent.phase);
            let led_to = observed
                .endpoints
                .as_ref()
                .and_then(|e| e.addresses.first());
            agent == Some(AgentPhase::Running) && led_to == pod.ip.as_ref()
        };
        !pod.terminating && (pod.phase == PodPhase::Ended || serves())
    })
}

/// What the node of the first pod, its agent and the Service do next.
pub fn progress(observed: &mut Observed, now: Timestamp) {
    let Some((instance, pod)) = observed.pods.iter_mut().next() else {
        return;
    };
    let instance = instance.clone();
    if pod.terminating {
        observed.pods.remove(&instance);
        observed.agents.remove(&instance);
        if let Some(endpoints) = &mut observed.endpoints {
            endpoints.addresses.clear();
        }
    } else if pod.node.is_none() {
        pod.node = Some("node1".to_owned());
        pod.placed = Some(now);
        if let Some(claim) = observed.claims.get_mut(&instance) {
            claim.phase = ClaimPhase::Bound;
            claim.has_volume = true;
        }
    } else if pod.phase == PodPhase::Pending {
        pod.phase = PodPhase::Running;
        pod.ip = Some(address(&pod.uid));
    } else if pod.phase == PodPhase::Running {
        agent_goes_on(observed, &instance);
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

fn agent_goes_on(observed: &mut Observed, instance: &InstanceName) {
    let before = observed.agent(instance).map(|agent| agent.phase);
    let phase = match before {
        None => AgentPhase::Starting,
        Some(AgentPhase::Starting | AgentPhase::Failed | AgentPhase::Stopping) => {
            AgentPhase::Initializing
        }
        Some(AgentPhase::Initializing | AgentPhase::Cloning | AgentPhase::Rewinding) => {
            AgentPhase::Recovering
        }
        Some(AgentPhase::Recovering | AgentPhase::Running) => AgentPhase::Running,
    };
    let ip = observed.pods.get(instance).and_then(|pod| pod.ip.clone());
    if phase == AgentPhase::Running
        && let Some(endpoints) = &mut observed.endpoints
    {
        endpoints.addresses = ip.into_iter().collect();
    }
    say(observed, instance, phase, None);
}

/// The agent of an instance says something.
pub fn say(
    observed: &mut Observed,
    instance: &InstanceName,
    phase: AgentPhase,
    error: Option<&str>,
) {
    let Some(pod) = observed.pods.get(instance) else {
        return;
    };
    let facts = AgentFacts {
        pod_uid: pod.uid.clone(),
        phase,
        role: (phase == AgentPhase::Running).then_some(Role::Primary),
        term: Term(1),
        postgres_version: None,
        timeline: 1,
        streaming: false,
        lag_bytes: 0,
        lag_ms: 0,
        received: 0,
        followers: Vec::new(),
        lost: None,
        started: None,
        running_since: None,
        pending_restart: Vec::new(),
        volume_hangs: false,
        data: pgo_core::Data::Made,
        commits: None,
        error: error.map(str::to_owned),
    };
    observed.agents.insert(instance.clone(), facts);
}

/// What goes wrong with a database: its agent fails, or its pod ends.
pub fn trouble(observed: &mut Observed, its_pod: bool) {
    let Some((instance, pod)) = observed.pods.iter_mut().next() else {
        return;
    };
    let instance = instance.clone();
    if its_pod {
        pod.phase = PodPhase::Ended;
        observed.agents.remove(&instance);
    } else if pod.phase == PodPhase::Running {
        say(
            observed,
            &instance,
            AgentPhase::Failed,
            Some("the data directory is damaged"),
        );
    }
}
