//! Confirmations: they wake whom they are about and cost nobody else anything.

use crate::{
    event_log::FakeEventLog,
    harness::{Certificates, NS, Reconciler, create_cluster, eventually, installation, uid},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn confirmations_of_unknown_streams_ask_kubernetes_for_nothing() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let log = FakeEventLog::start(&certificates).await;
    let _reconciler = Reconciler::start_with(&kubernetes, &certificates, &[&log.argument()]);
    log.heard().await;
    create_cluster(&kubernetes, "hippo");
    eventually("a pod", || kubernetes.get("pods", NS, "hippo").is_some()).await;
    let list = "GET /apis/crunchydata.com/v1/namespaces/pgouser1/pgclusters";
    let looks = "GET /apis/apps/v1/namespaces/pgo/deployments/apiserver";
    let lists = kubernetes.asked(list).len();
    let looked = kubernetes.asked(looks).len();
    for seq in 1..=300 {
        log.confirm("unknown", seq);
        tokio::task::yield_now().await;
    }
    // The reconciler has heard them all when it has heard of the cluster behind them, whose outbox is empty then.
    let stream = uid(&kubernetes, "hippo");
    kubernetes.delete("pgclusters", NS, "hippo");
    let begin = std::time::Instant::now();
    eventually("the end of hippo", || {
        log.confirm(&stream, 100);
        kubernetes.get("pgclusters", NS, "hippo").is_none()
    })
    .await;
    assert_eq!(kubernetes.asked(list).len(), lists);
    // It looks at PGO every 2 s, and once for each event of PGO's own.
    let most = 4 + usize::try_from(begin.elapsed().as_secs()).unwrap();
    let more = kubernetes.asked(looks).len() - looked;
    assert!(more <= most, "{more} looks, at most {most} are needed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_confirmation_of_its_own_event_wakes_the_keeper_of_pgo() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let log = FakeEventLog::start(&certificates).await;
    let _reconciler = Reconciler::start_with(&kubernetes, &certificates, &[&log.argument()]);
    let pgo = || {
        kubernetes
            .get("pginstallations", "pgo", "pgo")
            .unwrap_or_default()
    };
    let unconfirmed = || {
        pgo()["status"]["outbox"]["entries"]
            .as_array()
            .map_or(0, Vec::len)
    };
    eventually("an event of PGO", || unconfirmed() > 0).await;
    log.heard().await;
    let stream = pgo()["metadata"]["uid"].as_str().unwrap().to_owned();
    log.confirm(&stream, 1000);
    eventually("an empty outbox", || unconfirmed() == 0).await;
}
