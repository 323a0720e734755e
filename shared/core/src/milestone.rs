//! How far the creation of a cluster is.

use crate::{AgentPhase, ClaimPhase, Desired, Fixture, Observed, StorageKind};

/// Steps of a creation that a person can follow, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Milestone {
    /// Nothing yet.
    Accepted,
    /// Secrets, certificate, Service and Lease are there.
    Prepared,
    /// A node was chosen and the volume is bound.
    Placed,
    /// The agent runs in the pod.
    Started,
    /// The data directory is there.
    Initialized,
    /// PostgreSQL answers on the Service.
    Serving,
}

impl Milestone {
    /// All, in order.
    pub const ALL: [Self; 6] = [
        Self::Accepted,
        Self::Prepared,
        Self::Placed,
        Self::Started,
        Self::Initialized,
        Self::Serving,
    ];

    /// What a person reads when it is reached.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Prepared => "secrets, certificate and service made",
            Self::Placed => "volume bound and pod placed",
            Self::Started => "agent started",
            Self::Initialized => "data directory initialized",
            Self::Serving => "answering on its service",
        }
    }

    /// How far the cluster's first instance is.
    #[must_use]
    pub fn reached(desired: &Desired, observed: &Observed) -> Self {
        let Some(instance) = desired.instances().into_iter().next() else {
            return Self::Accepted;
        };
        if observed.serving_primary().is_some() {
            return Self::Serving;
        }
        let prepared = observed.has(&[Fixture::Service, Fixture::Lease, Fixture::Certificate])
            && desired.missing_secrets(observed).is_empty();
        if !prepared {
            return Self::Accepted;
        }
        let bound = desired.storage.kind == StorageKind::EmptyDir
            || observed
                .claims
                .get(&instance)
                .is_some_and(|claim| claim.phase == ClaimPhase::Bound);
        let pod = observed.pods.get(&instance);
        if !bound || pod.is_none_or(|pod| pod.node.is_none()) {
            return Self::Prepared;
        }
        match observed.agent(&instance).map(|agent| agent.phase) {
            Some(AgentPhase::Recovering | AgentPhase::Running) => Self::Initialized,
            // It speaks, whatever the kubelet has said of its pod until now.
            Some(_) => Self::Started,
            None => Self::Placed,
        }
    }
}
