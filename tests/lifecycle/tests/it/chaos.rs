//! Faults, one after the other, under a cluster of three while a client writes through its Service: what is acknowledged
//! stays, what is told is true, and nothing but losing the ability to serve changes the primary.
//!
//! Each kind of fault comes once, and again until `CHAOS_SECONDS` are over; `make chaos` gives it ten minutes, half of them in
//! each mode, or all in that which `CHAOS_MODE` names. Without them each kind comes once in the asynchronous mode, and some in
//! the synchronous one. It wants three nodes: with two, one of them can take two instances with it. `CHAOS_SEED` brings the
//! faults of another run in the same order.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{
    harness::{
        Cluster, Watch,
        chance::{Chance, seed},
        containers::{kill, kill_all_of, process, until_whole},
        events::{fields, types},
        faults::{Cut, Full, Stopped, agent, delete, last, postmaster, restart},
        fence::{end_of, promoted},
        kubernetes::{get, text},
        namespace,
        proxies::Watches,
        turns::alone,
        until,
        until::seen,
        writer::{DEADLINE, Writer, missing},
    },
    synchronous::until_rule,
};

/// How long the client may be without an acknowledgement after the end of a fault.
const WRITES: Duration = Duration::from_secs(60);

/// How long what a former primary had more may take to be told once it streams again.
const TOLD: Duration = Duration::from_secs(30);

/// Whose answer commits wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Nobody's: rows can be lost, and then that is told.
    Asynchronous,
    /// One replica's, whichever it is: no row is lost.
    Synchronous,
}

/// What one cluster goes through.
struct Ordeal {
    mode: Mode,
    /// Kinds of faults, each of which comes at least once.
    faults: &'static [Fault],
    /// For how long.
    time: Duration,
}

impl Ordeal {
    /// Those of this run.
    fn of_this_run() -> Vec<Self> {
        let time = time();
        let all = |mode, time| Self {
            mode,
            faults: &Fault::ALL,
            time,
        };
        match std::env::var("CHAOS_MODE").unwrap_or_default().as_str() {
            "asynchronous" => vec![all(Mode::Asynchronous, time)],
            "synchronous" => vec![all(Mode::Synchronous, time)],
            "" if time.is_zero() => vec![
                all(Mode::Asynchronous, time),
                Self {
                    faults: &Fault::OF_COMMITS,
                    ..all(Mode::Synchronous, time)
                },
            ],
            "" => vec![
                all(Mode::Asynchronous, time / 2),
                all(Mode::Synchronous, time / 2),
            ],
            other => panic!("CHAOS_MODE is asynchronous or synchronous, not {other:?}"),
        }
    }
}

impl Mode {
    fn spec(self) -> Value {
        match self {
            Self::Asynchronous => json!({}),
            Self::Synchronous => json!({"synchronousStandbys": 1}),
        }
    }
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
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
    DiskFull,
}

impl Fault {
    const ALL: [Self; 15] = [
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
        Self::DiskFull,
    ];

    /// Those by which a commit that waited for nobody could be missing, and that of one who is waited for.
    const OF_COMMITS: [Self; 3] = [Self::PodDeletedByForce, Self::NodeCut, Self::ReplicaKilled];

    /// Whether another instance is primary afterwards: who was it is away for longer than its authority lasts.
    fn changes_primary(self) -> bool {
        matches!(self, Self::NodeCut | Self::NodeStopped | Self::AgentStopped)
    }

    /// Whether another instance may be primary afterwards. Where the answer is no, what failed is not what serves, or is
    /// back before anybody has to take its place.
    fn may_change_primary(self) -> bool {
        match self {
            Self::AgentKilled
            | Self::ContainerKilled
            | Self::PodDeleted
            | Self::PodDeletedByForce
            | Self::NodeCut
            | Self::NodeStopped
            | Self::AgentStopped
            | Self::DiskFull => true,
            Self::PostmasterKilled
            | Self::NodeCutForLessThanT
            | Self::ReplicaKilled
            | Self::ReconcilerKilled
            | Self::ApiserverStopped
            | Self::ApiserverRestarted
            | Self::EtcdRestarted => false,
        }
    }

    /// Whether the client may notice. The primary and the way to it are untouched where the answer is no.
    fn may_interrupt_writes(self) -> bool {
        !matches!(
            self,
            Self::ReplicaKilled
                | Self::ReconcilerKilled
                | Self::ApiserverStopped
                | Self::ApiserverRestarted
                | Self::EtcdRestarted
        )
    }

    /// Whether Kubernetes' own programs have to find their API server again afterwards.
    fn takes_api_server(self) -> bool {
        matches!(
            self,
            Self::ApiserverStopped | Self::ApiserverRestarted | Self::EtcdRestarted
        )
    }

    /// Whether who was primary lives on where nobody can tell it to stop, so that its own agent or its guard has to.
    fn leaves_primary_alone(self) -> bool {
        matches!(self, Self::NodeCut | Self::AgentStopped)
    }

    /// How long it lasts.
    fn time(self, longest: Duration, chance: &mut Chance) -> Duration {
        match self {
            // T is 2 s, and to take a link down and up takes a moment, too.
            Self::NodeCutForLessThanT => Duration::from_millis(200 + chance.below(1600)),
            _ => longest,
        }
    }

    /// Lets it happen, and end.
    fn happen(self, cluster: &Cluster, time: Duration) {
        let (primary, replicas) = cluster.roles();
        let pod = get("pod", &primary, &namespace()).expect("the primary's pod");
        let node = text(&pod, "/spec/nodeName");
        let of_agent = || agent(&pod).expect("the primary's agent");
        match self {
            Self::PostmasterKilled => kill(postmaster(&pod).expect("the postmaster")),
            Self::AgentKilled => kill(of_agent()),
            Self::ContainerKilled => kill(process(&pod, "database").expect("its process 1")),
            Self::PodDeleted => delete(&pod, &[]),
            Self::PodDeletedByForce => delete(&pod, &["--force", "--grace-period=0"]),
            Self::NodeCut => during(Cut::begin(&node), time),
            Self::NodeCutForLessThanT => during(Cut::begin(&node), time),
            Self::NodeStopped => during(Stopped::node(&node), time),
            Self::AgentStopped => during(Stopped::begin(vec![of_agent()]), time),
            Self::ReplicaKilled => {
                let pod = get("pod", &replicas[0], &namespace()).expect("the replica's pod");
                kill(process(&pod, "database").expect("its process 1"));
            }
            Self::ReconcilerKilled => {
                kill_all_of("reconciler");
            }
            Self::ApiserverStopped => during(Stopped::of_kubernetes("apiserver"), 3 * time),
            Self::ApiserverRestarted => restart("apiserver"),
            Self::EtcdRestarted => restart("etcd"),
            Self::DiskFull => {
                let full = Full::begin(&primary);
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

/// `CHAOS_SECONDS`, or a time in which each kind of fault comes once.
fn time() -> Duration {
    let given = std::env::var("CHAOS_SECONDS").ok();
    Duration::from_secs(given.map_or(0, |text| text.parse().expect("CHAOS_SECONDS is a number")))
}

/// One fault, and what must hold after it.
fn suffer(fault: Fault, cluster: &Cluster, writer: &Writer, time: Duration) {
    let (before, _) = cluster.roles();
    let watches = fault.takes_api_server().then(Watches::count);
    let former = fault.leaves_primary_alone().then(|| {
        let pod = get("pod", &before, &namespace()).expect("the primary's pod");
        end_of(postmaster(&pod).expect("the postmaster"), WRITES)
    });
    let begun = Instant::now();
    fault.happen(cluster, time);
    let ended = Instant::now();
    until(&format!("a write after {fault:?}"), WRITES, || {
        seen(writer.wrote_since(ended), || {
            format!("{} rows tried", writer.notes().tried)
        })
    });
    cluster.until_all_stream(&format!("{fault:?}"));
    let pause = writer.notes().longest_pause(begun);
    let (after, _) = cluster.roles();
    println!(
        "{fault:?} for {} ms: {before} -> {after}, longest pause of the writes {} ms",
        time.as_millis(),
        pause.as_millis()
    );
    assert!(
        after == before || fault.may_change_primary(),
        "{fault:?} made {after} primary instead of {before}"
    );
    assert!(
        after != before || !fault.changes_primary(),
        "{fault:?}: nobody took the place of {before}"
    );
    if let Some(former) = former.filter(|_| after != before) {
        let (end, elected) = (former.get(), promoted(&cluster.name));
        assert!(
            end.is_some_and(|end| *end < elected),
            "{fault:?}: {after} was elected at {elected:?}, and {before} stopped at {end:?}"
        );
    }
    assert!(
        pause < DEADLINE || fault.may_interrupt_writes(),
        "{fault:?} kept the client waiting for {} ms",
        pause.as_millis()
    );
    // Before that, a change of the primary by the next fault would reach no client: that is Kubernetes' part.
    if let Some(watches) = watches {
        watches.until_all_again();
    }
}

/// Commits that the events say were lost; those that could not be counted are none.
fn told_lost(told: &[Value]) -> usize {
    let causes = fields(told, "CommitsLost", "/cause");
    let counted = causes.iter().filter_map(|cause| {
        let (before, _) = cause.split_once(" commits more")?;
        before.rsplit(' ').next()?.parse::<usize>().ok()
    });
    counted.sum()
}

/// Holds the rows that are missing against what the events say of them.
fn account(mode: Mode, missing: &[u64], told: impl Fn() -> Vec<Value>) {
    match mode {
        Mode::Synchronous => {
            assert!(
                missing.is_empty(),
                "acknowledged in a synchronous mode, and lost: {missing:?}"
            );
            let lost = fields(&told(), "CommitsLost", "/cause");
            assert!(lost.is_empty(), "lost in a synchronous mode: {lost:?}");
        }
        // Commits of others than the client are counted, too, and those that nobody was told of.
        Mode::Asynchronous => until("an event for each row that is missing", TOLD, || {
            let commits = told_lost(&told());
            seen(commits >= missing.len(), || {
                let causes = fields(&told(), "CommitsLost", "/cause");
                format!("{commits} commits told as lost by {causes:?}, and missing are {missing:?}")
            })
        }),
    }
}

/// Lets faults come for so long, each kind at least once; how many of them may have changed the primary.
fn torment(cluster: &Cluster, writer: &Writer, ordeal: &Ordeal, chance: &mut Chance) -> usize {
    let begun = Instant::now();
    let time = ordeal.time;
    let longest = Duration::from_secs(if time.is_zero() { 5 } else { 10 });
    let (mut changes, mut rounds) = (0, 0);
    while rounds == 0 || begun.elapsed() < time {
        for fault in chance.shuffled(ordeal.faults) {
            suffer(fault, cluster, writer, fault.time(longest, chance));
            changes += usize::from(fault.may_change_primary());
            if rounds > 0 && begun.elapsed() >= time {
                break;
            }
        }
        rounds += 1;
    }
    changes
}

/// Lets faults come in this mode, and holds what is there afterwards against what was acknowledged and told.
fn chaos(ordeal: &Ordeal, chance: &mut Chance) {
    let mode = ordeal.mode;
    until_whole();
    let watch = Watch::begin();
    // Volumes that have no more room than they ask for.
    let storage = json!({
        "storagetype": "dynamic", "storageclass": "local-memory", "accessmode": "ReadWriteOnce", "size": "512Mi",
    });
    let mut wanted = mode.spec();
    wanted["PrimaryStorage"] = storage.clone();
    wanted["ReplicaStorage"] = storage;
    let cluster = Cluster::of_three("chaos", &wanted);
    if mode == Mode::Synchronous {
        until_rule(&cluster, 1, 2);
    }
    let writer = Writer::begin(&cluster);
    let changes = torment(&cluster, &writer, ordeal, chance);
    until_whole();
    let notes = writer.end();
    let missing = missing(&cluster, &notes);
    let told = || watch.of(&cluster.uid());
    account(mode, &missing, told);
    let told = told();
    let takeovers = types(&told)
        .iter()
        .filter(|name| matches!(name.as_str(), "FailoverCluster" | "SwitchoverCluster"))
        .count();
    println!(
        "{mode:?}: {} rows acknowledged, {} missing, {:?} commits told as lost, {} connections, {takeovers} takeovers: {:?}",
        notes.acknowledged.len(),
        missing.len(),
        told_lost(&told),
        notes.connections,
        fields(&told, "FailoverClusterCompleted", "/target"),
    );
    assert!(
        takeovers <= changes,
        "{takeovers} takeovers for {changes} faults: {:?}",
        types(&told)
    );
    assert!(
        notes.acknowledged.len() > 70 * ordeal.faults.len(),
        "the client wrote hardly anything: {}",
        notes.acknowledged.len()
    );
}

#[test]
fn a_cluster_survives_what_happens_to_it_and_says_what_was_lost() {
    let _turn = alone();
    let seed = seed("CHAOS_SEED");
    println!("the faults again, in the same order: CHAOS_SEED={seed}");
    let mut chance = Chance::new(seed);
    for ordeal in Ordeal::of_this_run() {
        chaos(&ordeal, &mut chance);
    }
}
