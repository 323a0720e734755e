//! NSQ between the services as the reconciler uses it, with a real nsqd: a doorbell helps where a watch stalls, and nothing
//! needs one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use nsq::{Consumer, ConsumerConfig};
use pgo_bus::{Bell, Doorbell, Kind};
use pgo_events::Event;
use serde_json::{Value, json};
use tokio::time::{Duration, timeout};

use crate::{
    event_log::FakeEventLog,
    harness::{
        Certificates, NS, PGO_YAML, Reconciler, SOON, configure, create_cluster, eventually,
        installation, uid,
    },
    kubernetes::{Fault, Kubernetes},
    nsqd::Nsqd,
};

const CLUSTERS: &str = "/apis/crunchydata.com/v1/namespaces/pgouser1/pgclusters";
const TASKS: &str = "/apis/crunchydata.com/v1/namespaces/pgouser1/pgtasks";
const CONFIGURATION: &str = "/api/v1/namespaces/pgo/configmaps";

fn of(kind: Kind, object: &Value) -> Doorbell {
    let text = |field: &str| {
        let value = object["metadata"][field].as_str();
        value.unwrap_or_default().to_owned()
    };
    Doorbell {
        kind,
        namespace: text("namespace"),
        name: text("name"),
        uid: text("uid"),
        resource_version: text("resourceVersion"),
        operation: None,
    }
}

/// Rings for an object until the condition holds: a doorbell that is rung before somebody listens is lost.
async fn ring_until(bell: &Bell, what: &str, rung: &Doorbell, met: impl Fn() -> bool) {
    let ringing = async {
        while !met() {
            bell.tell(rung.clone());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(timeout(SOON, ringing).await.is_ok(), "not in time: {what}");
}

fn stall(kubernetes: &Kubernetes, list: &str) {
    kubernetes.fail(&format!("WATCH {list}"), Fault::Hangs);
}

/// Waits until a list was read whose watch stalls: what comes from now on is not brought.
async fn watching(kubernetes: &Kubernetes, list: &str) {
    let watch = format!("WATCH {list}");
    eventually("a watch", || !kubernetes.asked(&watch).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_doorbell_wakes_the_reconcile_of_a_cluster_that_no_watch_has_brought() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let nsqd = Nsqd::start(&certificates);
    stall(&kubernetes, CLUSTERS);
    let _reconciler = Reconciler::start_with(&kubernetes, &certificates, &[&nsqd.argument()]);
    watching(&kubernetes, CLUSTERS).await;
    create_cluster(&kubernetes, "hippo");
    create_cluster(&kubernetes, "zebra");
    let bell = Bell::on(nsqd.server(&certificates, "apiserver.pgo")).unwrap();
    let hippo = kubernetes.get("pgclusters", NS, "hippo").unwrap();
    let rung = of(Kind::Pgcluster, &hippo);
    let there = |name: &str| kubernetes.get("pods", NS, name).is_some();
    ring_until(&bell, "a pod of hippo", &rung, || there("hippo")).await;
    assert!(!there("zebra"), "the watch was to stall");
    kubernetes.heal();
    eventually("a pod of zebra", || there("zebra")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_doorbell_brings_a_task_that_no_watch_has_brought() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let nsqd = Nsqd::start(&certificates);
    stall(&kubernetes, TASKS);
    let _reconciler = Reconciler::start_with(&kubernetes, &certificates, &[&nsqd.argument()]);
    create_cluster(&kubernetes, "hippo");
    eventually("a pod", || kubernetes.get("pods", NS, "hippo").is_some()).await;
    watching(&kubernetes, TASKS).await;
    let owner = json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgcluster", "name": "hippo", "uid": uid(&kubernetes, "hippo"),
    });
    kubernetes.put("pgtasks", NS, json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgtask",
        "metadata": {"name": "hippo-rmdata", "labels": {"pg-cluster": "hippo"}, "ownerReferences": [owner]},
        "spec": {"name": "hippo-rmdata", "tasktype": "delete-data", "parameters": {
            "pg-cluster": "hippo", "delete-data": "true", "delete-backups": "false", "is-replica": "false",
            "is-backup": "false", "replica-name": ""}},
    }));
    let bell = Bell::on(nsqd.server(&certificates, "apiserver.pgo")).unwrap();
    let rung = of(
        Kind::Pgtask,
        &kubernetes.get("pgtasks", NS, "hippo-rmdata").unwrap(),
    );
    let ended = || kubernetes.get("pods", NS, "hippo").is_none();
    ring_until(&bell, "the end of the pod", &rung, ended).await;
    // That the tasks are gone, the watch must tell.
    kubernetes.heal();
    eventually("the end of hippo", || {
        kubernetes.get("pgclusters", NS, "hippo").is_none()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_doorbell_brings_a_pgo_yaml_that_no_watch_has_brought() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let nsqd = Nsqd::start(&certificates);
    stall(&kubernetes, CONFIGURATION);
    let _reconciler = Reconciler::start_with(&kubernetes, &certificates, &[&nsqd.argument()]);
    watching(&kubernetes, CONFIGURATION).await;
    configure(&kubernetes, &PGO_YAML.replace("debian12-15", "debian12-16"));
    let bell = Bell::on(nsqd.server(&certificates, "apiserver.pgo")).unwrap();
    let rung = of(
        Kind::ConfigMap,
        &kubernetes.get("configmaps", "pgo", "pgo-config").unwrap(),
    );
    let lists = || kubernetes.asked(&format!("GET {CONFIGURATION}")).len();
    let before = lists();
    ring_until(&bell, "it is read", &rung, || lists() > before).await;
    for number in 0.. {
        let name = format!("after-{number}");
        create_cluster(&kubernetes, &name);
        eventually("a pod", || kubernetes.get("pods", NS, &name).is_some()).await;
        let pod = kubernetes.get("pods", NS, &name).unwrap();
        let image = pod["spec"]["containers"][0]["image"].as_str().unwrap();
        if image.ends_with(":debian12-16") {
            break;
        }
        assert!(number < 50, "the change is not followed");
    }
}

/// What arrived on `alltopic`, by stream.
type Arrived = Arc<Mutex<BTreeMap<String, BTreeMap<u64, String>>>>;

/// An event service: it confirms what it has, as far as nothing is missing.
async fn store(mut consumer: Consumer, log: FakeEventLog, arrived: Arrived) {
    while let Some(message) = consumer.next().await {
        let event = Event::from_wire(message.body()).unwrap();
        let (stream, seq) = (event.stream.to_string(), event.seq.0);
        let kind = event.event_type().as_str().to_owned();
        let known = {
            let mut arrived = arrived.lock().unwrap();
            let of_stream = arrived.entry(stream.clone()).or_default();
            let former = of_stream.insert(seq, kind.clone());
            assert!(former.is_none_or(|former| former == kind), "a key twice");
            (1..).take_while(|seq| of_stream.contains_key(seq)).last()
        };
        if let Some(seq) = known {
            log.confirm(&stream, seq);
        }
        message.finish();
    }
}

/// Everything works while nsqd is away; what was told meanwhile is told when it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_nsqd_everything_works_and_each_event_arrives_when_it_is_back() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let mut nsqd = Nsqd::prepare(&certificates);
    let log = FakeEventLog::start(&certificates).await;
    let arguments = [&*nsqd.argument(), &*log.argument()];
    let _reconciler = Reconciler::start_with(&kubernetes, &certificates, &arguments);
    create_cluster(&kubernetes, "hippo");
    create_cluster(&kubernetes, "zebra");
    for name in ["hippo", "zebra"] {
        eventually("a pod", || kubernetes.get("pods", NS, name).is_some()).await;
    }
    let (gone, stays) = (uid(&kubernetes, "hippo"), uid(&kubernetes, "zebra"));
    kubernetes.delete("pgclusters", NS, "hippo");
    eventually("the end of hippo", || {
        kubernetes.get("pgclusters", NS, "hippo").is_none()
    })
    .await;
    assert_eq!(
        kubernetes.names("pgeventpages", "pgo"),
        [format!("{gone}-1")]
    );

    nsqd.begin();
    let arrived = Arrived::default();
    let config = ConsumerConfig {
        max_in_flight: 10,
        ..ConsumerConfig::default()
    };
    let (topic, channel) = ("alltopic".parse().unwrap(), "history".parse().unwrap());
    let server = nsqd.server(&certificates, "event.pgo");
    let consumer = Consumer::subscribe(server, topic, channel, config);
    tokio::spawn(store(consumer, log.clone(), arrived.clone()));
    eventually("the end of the page", || {
        kubernetes.names("pgeventpages", "pgo").is_empty()
    })
    .await;
    eventually("an empty outbox of zebra", || {
        let zebra = kubernetes.get("pgclusters", NS, "zebra").unwrap();
        let entries = zebra["status"]["outbox"]["entries"].as_array().cloned();
        entries.is_none_or(|entries| entries.is_empty())
    })
    .await;

    let arrived = arrived.lock().unwrap();
    for stream in [&gone, &stays] {
        let seqs: BTreeSet<u64> = arrived[stream].keys().copied().collect();
        let whole = (1..=u64::try_from(seqs.len()).unwrap()).collect();
        assert_eq!(seqs, whole, "no gap in {stream}");
    }
    let last = arrived[&gone].values().last().unwrap();
    assert_eq!(last, "DeleteClusterCompleted");
}

/// nsqd goes and comes while clusters come and go: nothing waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_nsqd_that_comes_and_goes_delays_nothing_but_its_news() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let mut nsqd = Nsqd::start(&certificates);
    let reconciler = Reconciler::start_with(&kubernetes, &certificates, &[&nsqd.argument()]);
    for number in 0..4 {
        let name = format!("c{number}");
        create_cluster(&kubernetes, &name);
        eventually("a pod", || kubernetes.get("pods", NS, &name).is_some()).await;
        if number % 2 == 0 {
            nsqd.kill();
        } else {
            nsqd.begin();
        }
    }
    nsqd.kill();
    let took = reconciler.stop().await;
    assert!(took < Duration::from_secs(5), "{took:?}");
}
