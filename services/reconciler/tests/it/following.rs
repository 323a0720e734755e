//! What is followed while a leader leads: `pgo.yaml`, and what 4.1 keeps beside the status.

use serde_json::json;

use crate::{
    agent::FakeAgent,
    harness::{
        Certificates, NS, PGO_YAML, Reconciler, configure, create_cluster, eventually, installation,
    },
    kubernetes::Kubernetes,
};

/// The image of a cluster's database.
async fn image(kubernetes: &Kubernetes, name: &str) -> String {
    eventually("a pod", || kubernetes.get("pods", NS, name).is_some()).await;
    let pod = kubernetes.get("pods", NS, name).unwrap();
    let image = pod["spec"]["containers"][0]["image"].as_str();
    image.unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_clusters_follow_a_changed_pgo_yaml_and_a_broken_one_changes_nothing() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let _reconciler = Reconciler::start(&kubernetes, &certificates);
    create_cluster(&kubernetes, "before");
    let before = image(&kubernetes, "before").await;
    assert!(before.ends_with(":debian12-15"), "{before}");

    let watches = || {
        kubernetes
            .asked("WATCH /api/v1/namespaces/pgo/configmaps")
            .len()
    };
    eventually("a watch of pgo-config", || watches() > 0).await;
    let pgo = || kubernetes.get("pginstallations", "pgo", "pgo");
    let pgo_status = || pgo().map(|pgo| pgo["status"].clone()).unwrap_or_default();
    eventually("what is in force is noted", || {
        pgo_status()["config"].is_string()
    })
    .await;
    let before_it = pgo_status();
    configure(&kubernetes, &PGO_YAML.replace("debian12-15", "debian12-16"));
    // The change is told before the cluster is, but to another watch.
    for number in 0.. {
        let name = format!("after-{number}");
        create_cluster(&kubernetes, &name);
        if image(&kubernetes, &name).await.ends_with(":debian12-16") {
            break;
        }
        assert!(number < 50, "the change is not followed");
    }
    // Without an nsqd what is told has its seq and goes no further.
    eventually("the change is told and noted", || {
        let now = pgo_status();
        let told = now["outbox"]["last"].as_u64() > before_it["outbox"]["last"].as_u64();
        told && now["config"] != before_it["config"]
    })
    .await;

    configure(&kubernetes, "Cluster: [");
    create_cluster(&kubernetes, "broken");
    let broken = image(&kubernetes, "broken").await;
    assert!(broken.ends_with(":debian12-16"), "{broken}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_completion_of_a_creation_is_noted_in_the_task_of_its_workflow() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let task = json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgtask",
        "metadata": {"name": "hippo-createcluster", "labels": {"pg-cluster": "hippo"}},
        "spec": {"tasktype": "workflow", "status": "", "parameters": {"pg-cluster": "hippo"}},
    });
    kubernetes.put("pgtasks", NS, task);
    let _reconciler = Reconciler::start(&kubernetes, &certificates);
    let mut agent = FakeAgent::new("hippo", &certificates);
    create_cluster(&kubernetes, "hippo");
    agent.bring_up(&kubernetes).await;
    eventually("a note in the task", || {
        let task = kubernetes
            .get("pgtasks", NS, "hippo-createcluster")
            .unwrap();
        let parameters = &task["spec"]["parameters"];
        task["spec"]["status"] == "completed"
            && parameters["task completed"].is_string()
            && parameters["pg-cluster"] == "hippo"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_secrets_nothing_but_the_metadata_is_read() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    let _reconciler = Reconciler::start(&kubernetes, &certificates);
    create_cluster(&kubernetes, "hippo");
    eventually("a pod", || kubernetes.get("pods", NS, "hippo").is_some()).await;
    let reads = ["GET", "WATCH"].map(|verb| {
        let line = format!("{verb} /api/v1/namespaces/pgouser1/secrets");
        kubernetes.asked(&line)
    });
    for read in reads.iter().flatten() {
        assert!(read.accept.contains("as=PartialObjectMetadata"), "{read:?}");
    }
    assert!(reads.iter().all(|reads| !reads.is_empty()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_config_map_what_is_built_in_goes_for_pgo_yaml() {
    let (kubernetes, certificates) = (installation(), Certificates::new());
    kubernetes.delete("configmaps", "pgo", "pgo-config");
    let class = json!({"metadata": {"name": "fast"}, "provisioner": "x"});
    kubernetes.put("storageclasses", "", class);
    let _reconciler = Reconciler::start(&kubernetes, &certificates);
    create_cluster(&kubernetes, "hippo");
    let claim = || kubernetes.get("persistentvolumeclaims", NS, "hippo");
    eventually("a claim", || claim().is_some()).await;
    let spec = claim().unwrap()["spec"].clone();
    assert_eq!(spec["storageClassName"], "fast");
    assert_eq!(spec["resources"]["requests"]["storage"], "1G");
}
