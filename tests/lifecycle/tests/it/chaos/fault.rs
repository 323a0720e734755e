//! The kinds of faults: how each happens, and what may follow from it.

use std::time::Duration;

use serde_json::Value;

use crate::harness::{
    Cluster,
    chance::Chance,
    containers::{kill, kill_all_of, process},
    faults::{Busy, Cut, Full, Stopped, agent, delete, last, postmaster, restart},
    kubernetes::{get, text},
    namespace,
};

/// How long the API server stands still, or its store.
const FROZEN: Duration = Duration::from_secs(30);

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    PostmasterKilled,
    AgentKilled,
    ContainerKilled,
    PodDeleted,
    PodDeletedByForce,
    NodeCut,
    NodeCutForLessThanT,
    NodeStopped,
    AgentStopped,
    ReplicaKilled,
    ReconcilerKilled,
    ApiserverStopped,
    ApiserverRestarted,
    EtcdRestarted,
    EtcdStopped,
    ProcessorsBusy,
    DiskFull,
}

/// Why another instance becomes the primary, as the Lease says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The former one handed over in order.
    HandedOver,
    /// Its PostgreSQL could not serve, and it gave up.
    GaveUp,
    /// It was not heard any more.
    Lost,
}

impl Change {
    /// Of a change in the Lease.
    pub fn of(takeover: &Value) -> Self {
        match (takeover["cause"].as_str(), &takeover["unfit"]) {
            (Some("lost"), _) => Self::Lost,
            (Some("released"), Value::Null) => Self::HandedOver,
            (Some("released"), _) => Self::GaveUp,
            _ => panic!("not a change of the primary: {takeover}"),
        }
    }
}

/// An instance as it is before anything happens: later nobody may be there to tell.
pub struct Victim {
    /// Its name.
    pub name: String,
    /// Its pod.
    pub pod: Value,
}

impl Victim {
    /// The instance of this name.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            pod: get("pod", name, &namespace()).expect("its pod"),
        }
    }
}

impl Fault {
    pub const ALL: [Self; 17] = [
        Self::PostmasterKilled,
        Self::AgentKilled,
        Self::ContainerKilled,
        Self::PodDeleted,
        Self::PodDeletedByForce,
        Self::NodeCut,
        Self::NodeCutForLessThanT,
        Self::NodeStopped,
        Self::AgentStopped,
        Self::ReplicaKilled,
        Self::ReconcilerKilled,
        Self::ApiserverStopped,
        Self::ApiserverRestarted,
        Self::EtcdRestarted,
        Self::EtcdStopped,
        Self::ProcessorsBusy,
        Self::DiskFull,
    ];

    /// Those by which a commit that waited for nobody could be missing, and that of one who is waited for.
    pub const OF_COMMITS: [Self; 3] = [Self::PodDeletedByForce, Self::NodeCut, Self::ReplicaKilled];

    /// Whether it strikes an instance, or its node: the primary, or a replica.
    pub fn strikes(self) -> bool {
        let of_all = matches!(self, Self::ReconcilerKilled | Self::ProcessorsBusy);
        !self.takes_api_server() && !of_all
    }

    /// Whether another instance is primary afterwards: who was it is away for longer than its authority lasts.
    pub fn changes_primary(self) -> bool {
        matches!(self, Self::NodeCut | Self::NodeStopped | Self::AgentStopped)
    }

    /// Which changes of the primary it may cause that strikes the primary. None where what failed is not what serves, or is back
    /// before anybody has to take its place.
    pub fn may_cause(self) -> &'static [Change] {
        match self {
            Self::PodDeleted => &[Change::HandedOver],
            // The kubelet gives it a moment to end in order, which may be enough.
            Self::PodDeletedByForce => &[Change::HandedOver, Change::Lost],
            Self::AgentKilled
            | Self::ContainerKilled
            | Self::NodeCut
            | Self::NodeStopped
            | Self::AgentStopped => &[Change::Lost],
            Self::DiskFull => &[Change::GaveUp, Change::Lost],
            Self::PostmasterKilled
            | Self::NodeCutForLessThanT
            | Self::ReplicaKilled
            | Self::ReconcilerKilled
            | Self::ApiserverStopped
            | Self::ApiserverRestarted
            | Self::EtcdRestarted
            | Self::EtcdStopped
            | Self::ProcessorsBusy => &[],
        }
    }

    /// Whether the client may notice where it strikes the primary. That and the way to it are untouched where the answer is no.
    pub fn may_interrupt_writes(self) -> bool {
        self.strikes() && self != Self::ReplicaKilled
    }

    /// Whether Kubernetes' own programs have to find their API server again afterwards.
    pub fn takes_api_server(self) -> bool {
        matches!(
            self,
            Self::ApiserverStopped
                | Self::ApiserverRestarted
                | Self::EtcdRestarted
                | Self::EtcdStopped
        )
    }

    /// Whether who was primary lives on where nobody can tell it to stop, so that its own agent or its guard has to.
    pub fn leaves_primary_alone(self) -> bool {
        matches!(self, Self::NodeCut | Self::AgentStopped)
    }

    /// Whether something else may happen meanwhile. Not where it is a question of moments whether it is noticed, or where it is
    /// brought about by the primary itself.
    fn can_be_joined(self) -> bool {
        !matches!(self, Self::NodeCutForLessThanT | Self::DiskFull)
    }

    /// Whether it is brought about by way of the API server.
    fn asks_api_server(self) -> bool {
        matches!(
            self,
            Self::PodDeleted | Self::PodDeletedByForce | Self::ReconcilerKilled
        )
    }

    /// Whether both can go on at a time: with an API server that is away nothing can be deleted or listed, and on a node that stands
    /// still nothing can be looked for.
    pub fn goes_with(self, other: Self) -> bool {
        // What is done beside it takes longer than its checks allow for.
        if self == Self::ProcessorsBusy || other == Self::ProcessorsBusy {
            return false;
        }
        let clash = |one: Self, two: Self| {
            let away = one.takes_api_server() && (two.takes_api_server() || two.asks_api_server());
            away || one == Self::NodeStopped && two == Self::ReconcilerKilled
        };
        let clashes = clash(self, other) || clash(other, self);
        self.can_be_joined() && other.can_be_joined() && !clashes
    }

    /// Another one that can begin while this goes on, if any can.
    pub fn joined(self, chance: &mut Chance) -> Option<Self> {
        let all = chance.shuffled(&Self::ALL);
        all.into_iter()
            .find(|other| *other != self && self.goes_with(*other))
    }

    /// Whether it goes on for a while.
    pub fn lasts(self) -> bool {
        matches!(
            self,
            Self::NodeCut
                | Self::NodeCutForLessThanT
                | Self::NodeStopped
                | Self::AgentStopped
                | Self::ApiserverStopped
                | Self::EtcdStopped
                | Self::ProcessorsBusy
                | Self::DiskFull
        )
    }

    /// How long it lasts, if it does.
    pub fn time(self, longest: Duration, chance: &mut Chance) -> Duration {
        match self {
            // T is 2 s, and to take a link down and up takes a moment, too.
            Self::NodeCutForLessThanT => Duration::from_millis(200 + chance.below(1600)),
            Self::ApiserverStopped | Self::EtcdStopped => FROZEN,
            _ if self.lasts() => longest,
            _ => Duration::ZERO,
        }
    }

    /// Lets it happen, and end.
    pub fn happen(self, cluster: &Cluster, victim: &Victim, time: Duration) {
        let pod = &victim.pod;
        let node = text(pod, "/spec/nodeName");
        let of_agent = || agent(pod).expect("its agent");
        match self {
            Self::PostmasterKilled => kill(postmaster(pod).expect("the postmaster")),
            Self::AgentKilled => kill(of_agent()),
            Self::ContainerKilled | Self::ReplicaKilled => {
                kill(process(pod, "database").expect("its process 1"));
            }
            Self::PodDeleted => delete(pod, &[]),
            Self::PodDeletedByForce => delete(pod, &["--force", "--grace-period=0"]),
            Self::NodeCut | Self::NodeCutForLessThanT => during(Cut::begin(&node), time),
            Self::NodeStopped => during(Stopped::node(&node), time),
            Self::AgentStopped => during(Stopped::begin(vec![of_agent()]), time),
            Self::ReconcilerKilled => {
                kill_all_of("reconciler");
            }
            Self::ApiserverStopped => during(Stopped::of_kubernetes("apiserver"), time),
            Self::ApiserverRestarted => restart("apiserver"),
            Self::EtcdRestarted => restart("etcd"),
            Self::EtcdStopped => during(Stopped::of_kubernetes("etcd"), time),
            Self::ProcessorsBusy => during(Busy::begin(), time),
            Self::DiskFull => {
                let full = Full::begin(&victim.name);
                // What PostgreSQL has made ahead is used up: from now on it needs room for each new segment.
                for _ in 0..10 {
                    cluster.psql_as_superuser(
                        "CREATE TABLE t (); DROP TABLE t; SELECT pg_switch_wal()",
                    );
                }
                during(full, time);
            }
        }
    }
}

fn during<T>(fault: T, time: Duration) {
    last(time);
    drop(fault);
}
