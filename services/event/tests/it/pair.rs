//! Two replicas as processes, with a real nsqd and an API server in memory: which of them is ready, who leads after what.

use std::time::Duration;

use pgo_bus::Relay;
use tokio::time::Instant;

use crate::{
    dead::{letters, of, publish},
    events::{events, stream},
    installation::{Installation, beginning, eventually, open, records, soon},
    kubernetes::Kubernetes,
};

/// `event-0`, `event-1`, and what they share.
struct Pair {
    kubernetes: Kubernetes,
    replicas: [Installation; 2],
    addresses: [String; 2],
}

impl Pair {
    /// nsqd runs, and neither of the two.
    async fn prepare() -> Self {
        let mut zero = Installation::prepare(&[]);
        zero.start_nsqd_open_to_all();
        let kubeconfig = zero.identity("kubeconfig");
        let kubernetes = Kubernetes::start(&kubeconfig).await;
        zero.set("KUBECONFIG", &kubeconfig.to_string_lossy());
        let one = zero.another("data-1");
        let mut replicas = [zero, one];
        for (replica, name) in replicas.iter_mut().zip(["event-0", "event-1"]) {
            replica.set("MY_POD_NAME", name);
        }
        Self {
            kubernetes,
            addresses: replicas
                .each_mut()
                .map(|replica| replica.listen_at_own_address().to_string()),
            replicas,
        }
    }

    /// Both run, and both have everything.
    async fn start() -> Self {
        let mut pair = Self::prepare().await;
        pair.start_replica(0);
        eventually("event-0 leads", || pair.leads(0)).await;
        pair.start_replica(1);
        pair.both_have_everything().await;
        pair
    }

    fn start_replica(&mut self, at: usize) {
        self.replicas[at].set("MY_POD_IP", &self.addresses[at]);
        self.replicas[at].start_event();
    }

    fn leads(&self, at: usize) -> bool {
        self.kubernetes.roster("leader") == format!("event-{at}")
    }

    fn is_ready(&self, at: usize) -> bool {
        self.replicas[at]
            .admin("/readyz")
            .is_some_and(|(status, _)| status == 200)
    }

    async fn both_have_everything(&self) {
        eventually("both have everything", || {
            self.kubernetes.roster("in-sync") == "event-0,event-1"
                && self.is_ready(0)
                && self.is_ready(1)
        })
        .await;
    }

    /// A relay that hears confirmations from this replica.
    fn relay(&self, at: usize) -> Relay {
        self.replicas[at].relay()
    }

    async fn has(&self, at: usize, count: u64) {
        let mut reader = open(&mut self.replicas[at].client("apiserver"), beginning()).await;
        let found = records(&mut reader, usize::try_from(count).unwrap()).await;
        let seqs: Vec<u64> = found.into_iter().map(|(_, seq, _)| seq).collect();
        assert_eq!(seqs, (1..=count).collect::<Vec<_>>(), "event-{at}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_from_one_replica_of_a_version_without_replication_ends_and_keeps_every_event() {
    let mut pair = Pair::prepare().await;
    // Without an address for the other one it is what it was before there were two.
    pair.replicas[0].start_event();
    let relay = pair.relay(0);
    relay.offer(&stream("a"), events("a", 1..=3));
    eventually("confirmations", || *relay.unconfirmed().borrow() == 0).await;

    // The update begins with the last replica, and waits until that is ready.
    pair.start_replica(1);
    eventually("event-1 is ready", || pair.is_ready(1)).await;
    // An empty one does not lead, nor takes the Lease.
    assert_eq!(pair.kubernetes.writes(), 0);
    let mut client = pair.replicas[1].client("apiserver");
    let refused = client.read(beginning()).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable, "{refused}");

    assert!(pair.replicas[0].terminate_event());
    pair.start_replica(0);
    eventually("event-0 leads", || pair.leads(0)).await;
    pair.both_have_everything().await;
    let relay = pair.relay(1);
    relay.offer(&stream("a"), events("a", 4..=5));
    pair.has(0, 5).await;
    pair.has(1, 5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_one_that_stays_takes_over_at_once_and_has_every_event() {
    let mut pair = Pair::start().await;
    // event-1 leads, as after a restart of event-0.
    assert!(pair.replicas[0].terminate_event());
    eventually("event-1 leads", || pair.leads(1)).await;
    pair.start_replica(0);
    pair.both_have_everything().await;
    let relay = pair.relay(1);
    relay.offer(&stream("a"), events("a", 1..=3));
    pair.has(1, 3).await;

    // From two to one.
    let begin = Instant::now();
    assert!(pair.replicas[1].terminate_event());
    eventually("event-0 leads", || pair.leads(0)).await;
    pair.has(0, 3).await;
    assert!(
        begin.elapsed() < Duration::from_secs(5),
        "{:?}",
        begin.elapsed()
    );
    let relay = pair.relay(0);
    relay.offer(&stream("a"), events("a", 4..=5));
    pair.has(0, 5).await;
    eventually("event-0 is ready", || pair.is_ready(0)).await;

    // And to two again, with the volume that event-1 left behind.
    pair.start_replica(1);
    pair.both_have_everything().await;
    relay.offer(&stream("a"), events("a", 6..=6));
    pair.has(1, 6).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_whose_disk_is_full_says_so_and_catches_up_when_there_is_room() {
    let pair = Pair::start().await;
    let relay = pair.relay(0);
    relay.offer(&stream("a"), events("a", 1..=3));
    pair.has(1, 3).await;
    let newest = pair.replicas[1].segments().pop().unwrap();
    let size = newest.metadata().unwrap().len();
    pair.replicas[1].limit_files_to(Some(size + 100));
    relay.offer(&stream("a"), events("a", 4..=6));
    eventually("the copy says what is wrong", || {
        let (status, reason) = pair.replicas[1].admin("/readyz").unwrap();
        status == 503 && reason.starts_with("replica: cannot write")
    })
    .await;
    eventually("it is counted", || {
        pair.replicas[1].metric("pgo_event_append_failures_total") > 0
    })
    .await;
    pair.has(0, 6).await;

    pair.replicas[1].limit_files_to(None);
    pair.both_have_everything().await;
    pair.has(1, 6).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_gets_what_is_damaged_here_from_the_other_replica_and_is_told_of_nothing() {
    let mut pair = Pair::start().await;
    let relay = pair.relay(0);
    relay.offer(&stream("a"), events("a", 1..=9));
    pair.has(1, 9).await;
    assert!(pair.replicas[1].terminate_event());
    let path = pair.replicas[1].segments().pop().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let text = b"CreateClusterProgress";
    let mut places = bytes.windows(text.len()).enumerate();
    let (place, _) = places
        .by_ref()
        .filter(|(_, part)| part == text)
        .nth(4)
        .unwrap();
    bytes[place] = b'D';
    std::fs::write(&path, bytes).unwrap();

    pair.start_replica(1);
    eventually("the damage is counted", || {
        pair.replicas[1].admin("/readyz").is_some()
            && pair.replicas[1].metric("pgo_event_log_damaged") == 1
    })
    .await;
    pair.both_have_everything().await;
    // A cut would end it with a panic.
    pair.has(1, 9).await;
    eventually("it is mended", || {
        pair.replicas[1].metric("pgo_event_log_damaged") == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_on_both_replicas_whoever_leads_next() {
    let mut pair = Pair::start().await;
    publish(&pair.replicas[0], "alltopic", "no event").await;
    publish(&pair.replicas[0], "alltopic", "none either").await;
    let mut zero = pair.replicas[0].dead_letters("apiserver");
    let found = letters(&mut zero, 2).await;
    // One that only event-0 has is not answered, and nsqd gives it out again a minute later.
    eventually("the copies are counted", || {
        pair.replicas[1].metric("pgo_event_dead_letters") == 2
    })
    .await;
    pair.replicas[0].kill_event();
    eventually("event-1 leads", || pair.leads(1)).await;
    let mut one = pair.replicas[1].dead_letters("apiserver");
    assert_eq!(letters(&mut one, 2).await, found);

    // What one that leads forgets is not there again when the other one does.
    let deleted = soon("an outcome", one.delete(of(&[&found[0].id]))).await;
    assert_eq!(deleted.unwrap().into_inner().outcomes[0].problem, "");
    pair.start_replica(0);
    pair.both_have_everything().await;
    eventually("the copy is counted", || {
        pair.replicas[0].metric("pgo_event_dead_letters") == 1
    })
    .await;
    let deleted = soon("an outcome", one.delete(of(&[&found[1].id]))).await;
    assert_eq!(deleted.unwrap().into_inner().outcomes[0].problem, "");
    pair.replicas[1].kill_event();
    eventually("event-0 leads", || pair.leads(0)).await;
    let mut zero = pair.replicas[0].dead_letters("apiserver");
    letters(&mut zero, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_gets_the_dead_letters_that_came_while_its_disk_was_full_or_the_leaders() {
    let pair = Pair::start().await;
    let mut client = pair.replicas[0].dead_letters("apiserver");
    for (full, before) in [(1, 0), (0, 1)] {
        pair.replicas[full].limit_files_to(Some(1));
        publish(&pair.replicas[0], "alltopic", format!("no event {full}")).await;
        if full == 0 {
            pair.replicas[0].event_says("a dead letter is not kept; it comes again");
        } else {
            eventually("the copy is behind", || !pair.is_ready(1)).await;
        }
        pair.replicas[full].limit_files_to(None);
        letters(&mut client, before + 1).await;
        eventually("the copy is counted", || {
            pair.replicas[1].metric("pgo_event_dead_letters") == u64::try_from(before).unwrap() + 1
        })
        .await;
        pair.both_have_everything().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_leader_was_killed_the_other_one_confirms_within_seconds() {
    let mut pair = Pair::start().await;
    let relay = pair.relay(1);
    relay.offer(&stream("a"), events("a", 1..=3));
    pair.has(1, 3).await;
    let begin = Instant::now();
    pair.replicas[0].kill_event();
    relay.offer(&stream("a"), events("a", 4..=4));
    pair.has(1, 4).await;
    // The Lease of 3 s and two looks are 3.75 s.
    assert!(
        begin.elapsed() < Duration::from_secs(6),
        "{:?}",
        begin.elapsed()
    );
    assert!(pair.leads(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_was_killed_and_is_there_again_at_once_goes_on_leading() {
    let mut pair = Pair::start().await;
    let relay = pair.relay(0);
    relay.offer(&stream("a"), events("a", 1..=3));
    pair.has(0, 3).await;
    let term = |pair: &Pair| pair.kubernetes.roster("term").parse::<u64>().unwrap();
    let before = term(&pair);
    pair.replicas[0].kill_event();
    pair.start_replica(0);
    eventually("another term", || term(&pair) > before).await;
    assert!(pair.leads(0), "the Lease is its own still");
    pair.both_have_everything().await;
    let relay = pair.relay(1);
    relay.offer(&stream("a"), events("a", 4..=5));
    pair.has(1, 5).await;
    pair.has(0, 5).await;
    assert_eq!(term(&pair), before + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_power_cut_of_both_the_one_whose_last_record_was_damaged_has_it_again() {
    let mut pair = Pair::start().await;
    let relay = pair.relay(0);
    relay.offer(&stream("a"), events("a", 1..=2));
    pair.has(0, 2).await;
    relay.offer(&stream("a"), events("a", 3..=3));
    pair.has(0, 3).await;
    pair.has(1, 3).await;
    for replica in &mut pair.replicas {
        replica.kill_event();
        // As it was before the last seconds: it is made durable every few of them.
        std::fs::remove_file(replica.data().join("confirmed")).unwrap();
    }
    drop(relay);
    let newest = pair.replicas[0].segments().pop().unwrap();
    let mut bytes = std::fs::read(&newest).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&newest, bytes).unwrap();

    // The Lease is still that of event-0.
    let term = |pair: &Pair| pair.kubernetes.roster("term").parse::<u64>().unwrap();
    let before = term(&pair);
    pair.start_replica(0);
    eventually("event-0 takes over", || term(&pair) > before).await;
    assert!(
        pair.leads(0) && !pair.is_ready(0),
        "it waits for the other one"
    );
    pair.start_replica(1);
    pair.both_have_everything().await;
    pair.has(0, 3).await;
    pair.has(1, 3).await;
    let relay = pair.relay(0);
    relay.offer(&stream("a"), events("a", 4..=4));
    pair.has(1, 4).await;
}
