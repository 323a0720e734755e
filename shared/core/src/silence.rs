//! Silence is no verdict: what an agent said last holds for a moment while it is not heard.
//!
//! A reconciler that has just begun to lead has heard nobody yet, and a connection can break at any time. Neither says
//! that a database does not serve.

use jiff::{SignedDuration, Timestamp};
use pgo_ids::InstanceName;

use crate::{ClusterStatus, InstanceStatus, Observed, PodPhase, RESULT_READY};

/// How long an agent may be silent before that counts: a few times the longest pause between two calls of it (3 s), so
/// that a loaded node has time for a handshake.
const GRACE: SignedDuration = SignedDuration::from_secs(10);

/// Reasons of condition Ready that rest on the word of an agent.
const ON_ITS_WORD: [&str; 3] = ["Serving", "PostgreSQLFailed", "ServiceNotDirected"];

/// Whether an agent is silent, and only since a moment ago.
pub(crate) fn is_brief(observed: &Observed, now: Timestamp) -> bool {
    let mut silences = observed.silent.values();
    silences.any(|since| now.duration_since(*since) < GRACE)
}

/// Whether it is known whether somebody serves: who has just begun to listen cannot say that nobody does.
pub(crate) fn is_clear(observed: &Observed, now: Timestamp) -> bool {
    observed.serving_primary().is_some() || !is_brief(observed, now)
}

/// What `status` says of an instance, if that was about its present pod, and the pod's agent is silent only since a
/// moment ago.
pub(crate) fn remembered<'a>(
    status: &'a ClusterStatus,
    observed: &Observed,
    instance: &InstanceName,
    now: Timestamp,
) -> Option<&'a InstanceStatus> {
    let pod = observed.pods.get(instance)?;
    let since = observed.silent.get(instance)?;
    let holds = observed.agent(instance).is_none()
        && now.duration_since(*since) < GRACE
        && pod.phase != PodPhase::Ended
        && !pod.terminating;
    let known = status
        .instances
        .iter()
        .find(|known| known.name == *instance && known.pod_uid == pod.uid);
    known.filter(|_| holds)
}

/// The primary as `status` says, if nothing but silence speaks against it: the Service still leads to it.
pub(crate) fn remembered_primary<'a>(
    status: &'a ClusterStatus,
    observed: &Observed,
    now: Timestamp,
) -> Option<&'a InstanceName> {
    let primary = status.current_primary.as_ref()?;
    remembered(status, observed, primary, now)?;
    let ip = observed.pods.get(primary)?.ip.as_ref()?;
    let led_to = observed.endpoints.as_ref()?.addresses.contains(ip);
    led_to.then_some(primary)
}

/// Whether the verdict in `status` rests on the word of an agent that is silent only since a moment ago.
pub(crate) fn verdict_holds(status: &ClusterStatus, observed: &Observed, now: Timestamp) -> bool {
    let ready = status.conditions.iter().find(|c| c.name == RESULT_READY);
    let on_its_word = ready.is_some_and(|ready| ON_ITS_WORD.contains(&ready.reason.as_str()));
    let any_remembered = || {
        let mut names = observed.silent.keys();
        names.any(|name| remembered(status, observed, name, now).is_some())
    };
    on_its_word
        && if status.is_ready() {
            remembered_primary(status, observed, now).is_some()
        } else {
            any_remembered()
        }
}
