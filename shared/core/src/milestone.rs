//! How far the creation of a cluster is.

use pgo_ids::InstanceName;

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

/// How the first instance of a cluster came to its data directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Data {
    /// It was made for this cluster.
    #[default]
    Made,
    /// It was on the volume already: that of a former cluster, which was kept.
    Found,
}

impl Data {
    /// As its agent says.
    #[must_use]
    pub fn of(first: &InstanceName, observed: &Observed) -> Self {
        let agent = observed.agent(first);
        agent.map(|agent| agent.data).unwrap_or_default()
    }
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

    /// What a person reads when it is reached, where the data directory came to the first instance like this.
    #[must_use]
    pub fn text(self, data: Data) -> &'static str {
        match self {
            Self::Initialized if data == Data::Found => "data directory taken over",
            Self::Accepted => "accepted",
            Self::Prepared => "secrets, certificate and service made",
            Self::Placed => "volume bound and pod placed",
            Self::Started => "agent started",
            Self::Initialized => "data directory initialized",
            Self::Serving => "answering on its service",
        }
    }

    /// How far a cluster's first instance is.
    #[must_use]
    pub fn reached((desired, first): (&Desired, &InstanceName), observed: &Observed) -> Self {
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
                .get(first)
                .is_some_and(|claim| claim.phase == ClaimPhase::Bound);
        let pod = observed.pods.get(first);
        if !bound || pod.is_none_or(|pod| pod.node.is_none()) {
            return Self::Prepared;
        }
        match observed.agent(first).map(|agent| agent.phase) {
            Some(AgentPhase::Recovering | AgentPhase::Running) => Self::Initialized,
            // It speaks, whatever the kubelet has said of its pod until now.
            Some(_) => Self::Started,
            None => Self::Placed,
        }
    }
}
