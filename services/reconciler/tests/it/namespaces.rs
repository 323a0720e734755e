//! Namespaces that cannot be read stop nothing but themselves; those of others are left alone.

use std::time::Duration;

use crate::{
    harness::{
        Certificates, NS, Reconciler, create_cluster, create_cluster_in, eventually, give,
        installation, phase,
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

/// What was written in a namespace so far.
fn writes(kubernetes: &Kubernetes, namespace: &str) -> Vec<String> {
    let asked = kubernetes.asked(&format!("/namespaces/{namespace}/"));
    let lines = asked.into_iter().map(|asked| asked.line);
    lines
        .filter(|line| !line.starts_with("GET ") && !line.starts_with("WATCH "))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_of_another_installation_is_left_alone_until_it_is_given_to_this_one() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    give(&kubernetes, NS, "two");
    create_cluster(&kubernetes, "hippo");
    create_cluster_in(&kubernetes, "gone", "zebra");
    let reconciler = start(&kubernetes, &certificates);
    eventually("a status of zebra", || {
        let zebra = kubernetes.get("pgclusters", "gone", "zebra");
        zebra.is_some_and(|zebra| zebra["status"]["phase"] == "Creating")
    })
    .await;
    let foreign = |namespace: &str| {
        let name = format!("pgo_namespace_foreign{{namespace=\"{namespace}\"}}");
        reconciler.metric(&name)
    };
    eventually("a word of whose it is", || foreign(NS) == Some(1.0)).await;
    assert_eq!(foreign("gone"), Some(0.0));
    assert_eq!(writes(&kubernetes, NS), [""; 0]);
    assert!(kubernetes.asked("/namespaces/pgouser1/").is_empty());

    give(&kubernetes, NS, "one");
    eventually("a status of hippo", || {
        phase(&kubernetes, "hippo") == "Creating"
    })
    .await;
    assert_eq!(foreign(NS), Some(0.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_that_loses_its_labels_is_left_alone_and_one_that_is_not_known_of_is_not() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let reconciler = Reconciler::start(&kubernetes, &certificates);
    create_cluster(&kubernetes, "hippo");
    eventually("a status of hippo", || {
        phase(&kubernetes, "hippo") == "Creating"
    })
    .await;

    let looks = "GET /api/v1/namespaces/pgouser1";
    let of_namespace = |kubernetes: &Kubernetes| {
        let asked = kubernetes.asked(looks);
        asked.iter().filter(|asked| asked.line == looks).count()
    };
    kubernetes.fail("namespaces/pgouser1", Fault::Forbidden);
    let before = of_namespace(&kubernetes);
    eventually("looks that are refused", || {
        of_namespace(&kubernetes) > before + 1
    })
    .await;
    let readable = "pgo_namespace_readable{namespace=\"pgouser1\"}";
    assert_eq!(reconciler.metric(readable), Some(1.0));
    kubernetes.heal();
    create_cluster(&kubernetes, "zebra");
    eventually("a status of zebra", || {
        phase(&kubernetes, "zebra") == "Creating"
    })
    .await;

    kubernetes.edit("namespaces", "", NS, |namespace| {
        namespace["metadata"]["labels"] = serde_json::json!({"vendor": "crunchydata"});
    });
    let foreign = "pgo_namespace_foreign{namespace=\"pgouser1\"}";
    eventually("a word of it", || reconciler.metric(foreign) == Some(1.0)).await;
    eventually("an end", || reconciler.metric(readable) == Some(0.0)).await;
    create_cluster(&kubernetes, "rhino");
    let (seen, written) = (of_namespace(&kubernetes), writes(&kubernetes, NS));
    eventually("another look", || of_namespace(&kubernetes) > seen).await;
    assert_eq!(phase(&kubernetes, "rhino"), "");
    assert_eq!(writes(&kubernetes, NS), written);
}
