//! Namespaces that cannot be read: they stop nothing but themselves.

use std::time::Duration;

use crate::{
    harness::{
        Certificates, NS, Reconciler, create_cluster, create_cluster_in, eventually, installation,
        phase,
    },
    kubernetes::{Fault, Kubernetes},
};

/// Reconcilers under way have nothing to finish in these tests.
const AT_ONCE: Duration = Duration::from_secs(5);

fn is_led(kubernetes: &Kubernetes) -> bool {
    let lease = kubernetes.get("leases", "pgo", "pgo-reconciler");
    lease.is_some_and(|lease| {
        let holder = lease["spec"]["holderIdentity"].as_str();
        holder.is_some_and(|holder| !holder.is_empty())
    })
}

fn start(kubernetes: &Kubernetes, certificates: &Certificates) -> Reconciler {
    Reconciler::start_with(
        kubernetes,
        certificates,
        &["--namespaces=gone,pgouser1", "--disable-eventing=true"],
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_that_is_forbidden_stops_no_other_and_not_pgo_itself() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    kubernetes.fail("/namespaces/gone/", Fault::Forbidden);
    create_cluster(&kubernetes, "hippo");
    let reconciler = start(&kubernetes, &certificates);
    eventually("a status of hippo", || {
        phase(&kubernetes, "hippo") == "Creating"
    })
    .await;
    eventually("a status of PGO", || {
        let pgo = kubernetes.get("pginstallations", "pgo", "pgo");
        pgo.is_some_and(|pgo| !pgo["status"]["phase"].is_null())
    })
    .await;
    let readable = |namespace: &str| {
        let name = format!("pgo_namespace_readable{{namespace=\"{namespace}\"}}");
        reconciler.metric(&name)
    };
    assert_eq!((readable("gone"), readable(NS)), (Some(0.0), Some(1.0)));
    assert!(is_led(&kubernetes));
    let took = reconciler.stop().await;
    assert!(took < AT_ONCE, "{took:?}");
    assert!(!is_led(&kubernetes), "the Lease is given back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_whose_lists_hang_stops_no_other() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    kubernetes.fail("GET /api/v1/namespaces/gone/pods", Fault::Hangs);
    create_cluster(&kubernetes, "hippo");
    let reconciler = start(&kubernetes, &certificates);
    eventually("a status of hippo", || {
        phase(&kubernetes, "hippo") == "Creating"
    })
    .await;
    assert!(reconciler.stop().await < AT_ONCE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reconciler_that_may_not_list_the_clusters_ends_when_it_is_asked_to() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let clusters = "GET /apis/crunchydata.com/v1/namespaces/pgouser1/pgclusters";
    kubernetes.fail(clusters, Fault::Forbidden);
    let reconciler = Reconciler::start(&kubernetes, &certificates);
    eventually("an attempt", || !kubernetes.asked(clusters).is_empty()).await;
    assert!(reconciler.stop().await < AT_ONCE);
    assert!(!is_led(&kubernetes), "the Lease is given back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reconciler_that_gets_no_configuration_ends_when_it_is_asked_to() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    kubernetes.fail("configmaps/pgo-config", Fault::Hangs);
    let reconciler = Reconciler::start(&kubernetes, &certificates);
    eventually("an attempt", || {
        !kubernetes.asked("configmaps/pgo-config").is_empty()
    })
    .await;
    assert!(reconciler.stop().await < AT_ONCE);
    assert!(!is_led(&kubernetes), "the Lease is given back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_that_can_be_read_again_is_looked_after() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    kubernetes.fail("/namespaces/gone/", Fault::Forbidden);
    create_cluster_in(&kubernetes, "gone", "hippo");
    let _reconciler = start(&kubernetes, &certificates);
    let lists = "GET /api/v1/namespaces/gone/pods";
    eventually("an attempt", || !kubernetes.asked(lists).is_empty()).await;
    kubernetes.heal();
    eventually("a status of hippo", || {
        let hippo = kubernetes.get("pgclusters", "gone", "hippo");
        hippo.is_some_and(|hippo| hippo["status"]["phase"] == "Creating")
    })
    .await;
}
