//! Faults under a cluster of three while a client writes through its Service: what is acknowledged stays, what is told is
//! true, and nothing but losing the ability to serve changes the primary: each fault has the changes that it may cause.
//!
//! Each kind of fault comes once, and again until `CHAOS_SECONDS` are over; `make chaos` gives it ten minutes, half of them in
//! each mode, or all in that which `CHAOS_MODE` names. In that time about a third of them have another one begin before they
//! end. Without it each kind comes once in the asynchronous mode, and some in the synchronous one. It wants three nodes: with two,
//! one of them can take two instances with it. `CHAOS_SEED` brings the faults of another run in the same order.

mod fault;
mod strike;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use self::{
    fault::{Fault, Victim},
    strike::Strike,
};
use crate::{
    harness::{
        Cluster, Watch,
        chance::{Chance, seed},
        containers::until_whole,
        events::{fields, types},
        faults::postmaster,
        fence::{end_of, promoted},
        kubernetes::text,
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

/// `CHAOS_SECONDS`, or a time in which each kind of fault comes once.
fn time() -> Duration {
    let given = std::env::var("CHAOS_SECONDS").ok();
    Duration::from_secs(given.map_or(0, |text| text.parse().expect("CHAOS_SECONDS is a number")))
}

/// What happens at a time, and what must hold after it; how often the primary changed.
fn suffer(strike: &Strike, cluster: &Cluster, writer: &Writer) -> usize {
    let roles = cluster.roles();
    let before = &roles.0;
    let known = cluster.takeovers_after(0);
    let known = known.last().and_then(|last| last["term"].as_u64());
    let watches = strike.takes_api_server().then(Watches::count);
    let names = strike.victims(&roles);
    let first = Victim::named(&names.0);
    let other = names.1.as_deref().map(Victim::named);
    let is_left_alone = strike.leaves_primary_alone();
    let former =
        is_left_alone.then(|| end_of(postmaster(&first.pod).expect("the postmaster"), WRITES));
    println!("{strike}: strikes {}{}", names.0, shown(other.as_ref()));
    let begun = Instant::now();
    strike.happen(cluster, &first, other.as_ref());
    let ended = Instant::now();
    // Where two meet the primary may have changed while what directs connections had no API server.
    if let Some(watches) = watches.as_ref().filter(|_| other.is_some()) {
        watches.until_all_again();
    }
    until(&format!("a write after {strike}"), WRITES, || {
        seen(writer.wrote_since(ended), || {
            format!("{} rows tried", writer.notes().tried)
        })
    });
    cluster.until_all_stream(&strike.to_string());
    let pause = writer.notes().longest_pause(begun);
    let changes = cluster.takeovers_after(known.unwrap_or_default());
    let after = changes
        .last()
        .map_or(before.clone(), |last| text(last, "/to"));
    println!(
        "{strike}: {before} -> {after}, longest pause of the writes {} ms",
        pause.as_millis()
    );
    strike.explains(before, &names, &changes);
    if let (Some(former), [_]) = (former, changes.as_slice()) {
        let (end, elected) = (former.get(), promoted(&cluster.name));
        assert!(
            end.is_some_and(|end| *end < elected),
            "{strike}: {after} was elected at {elected:?}, and {before} stopped at {end:?}"
        );
    }
    assert!(
        pause < DEADLINE || strike.may_interrupt_writes(before, &names),
        "{strike} kept the client waiting for {} ms",
        pause.as_millis()
    );
    // Before that, a change of the primary by the next fault would reach no client: that is Kubernetes' part.
    if let Some(watches) = watches {
        watches.until_all_again();
    }
    changes.len()
}

fn shown(other: Option<&Victim>) -> String {
    other.map_or_else(String::new, |other| format!(" and {}", other.name))
}

/// Commits that the events say were lost; those that could not be counted are none.
fn told_lost(told: &[Value]) -> usize {
    let causes = fields(told, "CommitsLost", "/cause");
    let counted = causes.iter().filter_map(|cause| {
        let (before, _) = cause.split_once(" commit")?;
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

/// Lets faults come for so long, each kind at least once; how often the primary changed.
fn torment(cluster: &Cluster, writer: &Writer, ordeal: &Ordeal, chance: &mut Chance) -> usize {
    let begun = Instant::now();
    let time = ordeal.time;
    let is_long = !time.is_zero();
    let longest = Duration::from_secs(if is_long { 10 } else { 5 });
    let (mut changes, mut rounds) = (0, 0);
    while rounds == 0 || begun.elapsed() < time {
        for fault in chance.shuffled(ordeal.faults) {
            let strike = Strike::of(fault, longest, is_long, chance);
            changes += suffer(&strike, cluster, writer);
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
    // Each is told, however it was: also one that happened while nobody could tell it.
    let takeovers = |told: &[Value]| {
        let told = types(told);
        let began = told
            .iter()
            .filter(|name| matches!(name.as_str(), "FailoverCluster" | "SwitchoverCluster"));
        began.count()
    };
    until("an event for each change of the primary", TOLD, || {
        let told = told();
        seen(takeovers(&told) == changes, || {
            format!("{changes} changes, and told are {:?}", types(&told))
        })
    });
    let told = told();
    println!(
        "{mode:?}: {} rows acknowledged, {} missing, {:?} commits told as lost, {} connections, {changes} takeovers: {:?}",
        notes.acknowledged.len(),
        missing.len(),
        told_lost(&told),
        notes.connections,
        fields(&told, "FailoverClusterCompleted", "/target"),
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

#[test]
fn commits_that_are_told_as_lost_are_counted() {
    let told = |cause: &str| json!({"eventheader": {"EventType": "CommitsLost"}, "cause": cause});
    let told = [
        told("the former primary had 1 commit more; its WAL on timeline 1 ends at 0/30001F8"),
        told("the former primary had 3 commits more; its WAL on timeline 1 ends at 0/30001F8"),
        told("the former primary had more, and its commits could not be counted"),
    ];
    assert_eq!(told_lost(&told), 4);
}
