//! A pod that does one operation and says what became of it: a dump, a copy, a benchmark, a load. What it says of what it has done
//! depends on the operation; what is to be waited for does not.

use jiff::SignedDuration;
use pgo_ids::OperationId;

use crate::{Cluster, ClusterStatus, Desired, Observed, restore};

/// How long a pod may take until it works: the image is pulled and the volume made in that time.
pub(crate) const START_DEADLINE: SignedDuration = SignedDuration::from_mins(10);

/// 4.1's text.
pub(crate) const NOT_READY: &str = "primary pod is not in Ready state";

/// The pod, as it is there; `T` is what it says of what it has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerPod<T> {
    /// Its uid.
    pub uid: String,
    /// Its name.
    pub name: String,
    /// Id of the operation it was made for.
    pub operation: String,
    /// Whether it is being removed.
    pub terminating: bool,
    /// How far it is.
    pub state: WorkerState<T>,
}

/// How far such a pod is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerState<T> {
    /// It has not begun; why, where that is known.
    Waiting(Option<String>),
    /// It works.
    Working,
    /// It has done it.
    Done(T),
    /// It has done it, and what it says of that is not understood; why.
    Garbled(String),
    /// It could not do it.
    Failed(String),
    /// It was ended before it could say anything; how.
    Lost(String),
}

impl<T> WorkerPod<T> {
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self.state, WorkerState::Lost(_))
    }

    pub(crate) fn works(&self) -> bool {
        matches!(self.state, WorkerState::Working)
    }

    /// It, where it was made for this operation.
    pub(crate) fn of(pod: Option<&Self>, operation: OperationId) -> Option<&Self> {
        pod.filter(|pod| pod.operation == operation.to_string())
    }
}

/// Why no pod works, for people.
pub(crate) fn unbegun<T>(pod: Option<&WorkerPod<T>>, observed: &Observed) -> String {
    let minutes = START_DEADLINE.as_mins();
    let why = match (pod.map(|pod| &pod.state), &observed.refused) {
        (Some(WorkerState::Waiting(Some(why))), _) | (None, Some(why)) => why.as_str(),
        (Some(_), _) => "it was not started",
        (None, None) => "there is none",
    };
    format!("its pod did not begin to work within {minutes} min: {why}")
}

/// What the cluster is to be.
///
/// # Errors
/// Its spec says nothing that can be made.
pub(crate) fn understood(cluster: &Cluster) -> Result<&Desired, String> {
    let desired = cluster.desired.as_ref();
    desired.map_err(|invalid| format!("the spec of {} is not understood: {invalid}", cluster.name))
}

/// Whether there is a server to work with.
///
/// # Errors
/// There is none now; why.
pub(crate) fn serves(status: &ClusterStatus, observed: &Observed) -> Result<(), String> {
    if !status.was_ready() {
        return Err("the cluster has not been ready yet".to_owned());
    }
    if let Some(reason) = restore::in_the_way(status) {
        return Err(reason);
    }
    if observed.serving_primary().is_none() {
        return Err(NOT_READY.to_owned());
    }
    Ok(())
}
