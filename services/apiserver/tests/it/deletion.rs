//! What is in Kubernetes after a request to delete clusters.

use serde_json::{Value, json};

use crate::{
    harness::{Answer, cluster_request, create_request, eventually, installation, start_plain},
    kubernetes::{Failure, Kubernetes, place},
};

#[tokio::test]
async fn a_deletion_is_asked_for_by_a_task_that_belongs_to_the_cluster() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    client
        .post("/clusters", create_request("hippo"))
        .await
        .done();
    let mut request = cluster_request("hippo");
    request["DeleteData"] = json!(true);
    client.post("/clustersdelete", request).await.done();

    let cluster = kubernetes.get("pgclusters", "pgouser1", "hippo").unwrap();
    let task = kubernetes
        .get("pgtasks", "pgouser1", "hippo-rmdata")
        .unwrap();
    assert_eq!(
        task["metadata"]["ownerReferences"][0]["uid"],
        cluster["metadata"]["uid"]
    );
    assert_eq!(task["spec"]["tasktype"], "delete-data");
    assert_eq!(
        task["spec"]["parameters"],
        json!({
            "pg-cluster": "hippo", "delete-data": "true", "delete-backups": "false",
            "is-replica": "false", "is-backup": "false", "replica-name": "",
        })
    );
    let labels = &task["metadata"]["labels"];
    assert_eq!(labels["pg-cluster"], "hippo");
    assert_eq!(labels["pgrmdata"], "true");
    assert_eq!(labels["pgouser"], "pgoadmin");
    assert!(
        labels["workflowid"].as_str().unwrap().len() == 36,
        "{labels}"
    );
}

#[tokio::test]
async fn a_task_of_a_former_cluster_makes_way_and_one_that_somebody_made_does_not() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    client
        .post("/clusters", create_request("hippo"))
        .await
        .done();
    let left_over = |owners: serde_json::Value| json!({"metadata": {"name": "hippo-rmdata", "uid": "t1", "ownerReferences": owners}, "spec": {}});
    kubernetes.put("pgtasks", "pgouser1", left_over(json!([])));
    let refused = client
        .post("/clustersdelete", cluster_request("hippo"))
        .await
        .refusal();
    assert_eq!(
        refused,
        "pgtasks.crunchydata.com \"hippo-rmdata\" already exists"
    );
    let owner = json!([{"apiVersion": "crunchydata.com/v1", "kind": "Pgcluster", "name": "hippo", "uid": "former"}]);
    kubernetes.put("pgtasks", "pgouser1", left_over(owner));
    client
        .post("/clustersdelete", cluster_request("hippo"))
        .await
        .done();
}

#[tokio::test]
async fn all_and_a_selector_delete_what_they_name() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    for (name, labels) in [("a", "env=dev"), ("b", "env=prod"), ("c", "env=dev")] {
        let mut request = create_request(name);
        request["UserLabels"] = json!(labels);
        client.post("/clusters", request).await.done();
    }
    let mut request = cluster_request("");
    request["Selector"] = json!("env=dev");
    let answer = client.post("/clustersdelete", request).await.done();
    assert_eq!(
        answer["Results"],
        json!(["deleted pgcluster a", "deleted pgcluster c"])
    );

    // a and c are asked for already: that does not keep b.
    let answer = client.post("/clustersdelete", cluster_request("all")).await;
    assert_eq!(answer.json()["Results"], json!(["deleted pgcluster b"]));
    assert_eq!(
        answer.refusal(),
        "pgtasks.crunchydata.com \"a-rmdata\" already exists; pgtasks.crunchydata.com \"c-rmdata\" already exists"
    );
}

fn with_data() -> Value {
    let mut request = cluster_request("hippo");
    request["DeleteData"] = json!(true);
    request
}

/// Hippo, whose deletion goes on and keeps the data, and what it leaves.
async fn going(kubernetes: &Kubernetes) {
    let apiserver = start_plain(kubernetes).await;
    let creation = create_request("hippo");
    apiserver.plain().post("/clusters", creation).await.done();
    removes(kubernetes, false);
    let labels = json!({"vendor": "crunchydata", "pg-cluster": "hippo"});
    let claim = json!({"metadata": {"name": "hippo", "labels": labels}});
    kubernetes.put("persistentvolumeclaims", "pgouser1", claim);
}

/// The reconciler says what the deletion of hippo removes.
fn removes(kubernetes: &Kubernetes, data: bool) {
    let mut hippo = kubernetes.get("pgclusters", "pgouser1", "hippo").unwrap();
    hippo["metadata"]["deletionTimestamp"] = json!("2026-10-15T10:11:12Z");
    hippo["status"] = json!({"operations": [{
        "id": "25927091-b343-4017-be4b-71575f0b3eb5", "kind": "DeleteCluster", "actor": "kubectl",
        "started": "2026-10-15T10:11:12Z", "delete": {"data": data, "backups": false},
    }]});
    kubernetes.put("pgclusters", "pgouser1", hippo);
}

/// Asks for a deletion with data, and lets something happen while the answer is waited for.
async fn ask_for_more(kubernetes: &Kubernetes, meanwhile: impl FnOnce()) -> Answer {
    let apiserver = start_plain(kubernetes).await;
    let client = apiserver.plain();
    let look = format!("GET {}/hippo", place("pgclusters", "pgouser1"));
    let looks = |kubernetes: &Kubernetes| kubernetes.count(&look);
    let before = looks(kubernetes);
    let asking = tokio::spawn(async move { client.post("/clustersdelete", with_data()).await });
    // The first look is for the cluster itself.
    eventually("a look at what becomes of it", async || {
        (looks(kubernetes) > before + 1).then_some(())
    })
    .await;
    meanwhile();
    asking.await.unwrap()
}

#[tokio::test]
async fn more_that_is_asked_of_a_deletion_that_goes_on_is_told_once_it_is_taken_up() {
    let kubernetes = installation();
    going(&kubernetes).await;
    let answer = ask_for_more(&kubernetes, || removes(&kubernetes, true)).await;
    assert_eq!(answer.done()["Results"], json!(["deleted pgcluster hippo"]));
}

#[tokio::test]
async fn more_that_is_asked_too_late_is_refused_with_what_is_left_and_what_to_do() {
    let kubernetes = installation();
    going(&kubernetes).await;
    let answer = ask_for_more(&kubernetes, || {
        kubernetes.remove("pgclusters", "pgouser1", "hippo");
    })
    .await;
    assert_eq!(
        answer.refusal(),
        "pgcluster hippo was gone before it could be asked to remove what it keeps: PersistentVolumeClaim hippo is still \
         there; unless a new cluster of that name uses it, remove it: kubectl delete persistentvolumeclaims --namespace \
         pgouser1 hippo; passwords that go with data are in the Secrets that kubectl get secrets --namespace pgouser1 \
         --selector vendor=crunchydata,pg-cluster=hippo shows"
    );
    assert_eq!(answer.json()["Results"], json!([]));
}

#[tokio::test]
async fn what_a_cluster_that_is_gone_has_left_is_named_with_what_removes_it() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    let labels = json!({"vendor": "crunchydata", "pg-cluster": "hippo"});
    let owner = json!([{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "1"}]);
    for (plural, metadata) in [
        (
            "persistentvolumeclaims",
            json!({"name": "hippo", "labels": labels}),
        ),
        (
            "secrets",
            json!({"name": "hippo-postgres-secret", "labels": labels}),
        ),
        (
            "secrets",
            json!({"name": "goes-by-itself", "labels": labels, "ownerReferences": owner}),
        ),
    ] {
        kubernetes.put(plural, "pgouser1", json!({ "metadata": metadata }));
    }
    let answer = client.post("/clustersdelete", with_data()).await;
    assert_eq!(
        answer.refusal(),
        "no clusters found; what a former cluster hippo kept is still there, and a new cluster of that name takes it up; to \
         remove it for good: kubectl delete --namespace pgouser1 persistentvolumeclaim/hippo secret/hippo-postgres-secret"
    );
    let other = client.post("/clustersdelete", cluster_request("rhino"));
    assert_eq!(other.await.refusal(), "no clusters found");
}

#[tokio::test]
async fn a_cluster_that_is_gone_with_its_data_is_deleted() {
    let kubernetes = installation();
    going(&kubernetes).await;
    // Nobody asks for its backups.
    let labels = json!({"vendor": "crunchydata", "pg-cluster": "hippo"});
    let repository = json!({"metadata": {"name": "hippo-pgbr-repo", "labels": labels}});
    kubernetes.put("persistentvolumeclaims", "pgouser1", repository);
    let answer = ask_for_more(&kubernetes, || {
        kubernetes.remove("persistentvolumeclaims", "pgouser1", "hippo");
        kubernetes.remove("pgclusters", "pgouser1", "hippo");
    })
    .await;
    answer.done();
}

#[tokio::test]
async fn what_a_first_request_did_not_ask_for_is_asked_for_by_a_further_task() {
    let kubernetes = installation();
    going(&kubernetes).await;
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    let plain = cluster_request("hippo");
    client.post("/clustersdelete", plain.clone()).await.done();
    removes(&kubernetes, true);
    client.post("/clustersdelete", with_data()).await.done();
    let task = |name: &str| kubernetes.get("pgtasks", "pgouser1", name).unwrap();
    let first = task("hippo-rmdata");
    assert_eq!(first["spec"]["parameters"]["delete-data"], "false");
    let further = task("hippo-rmdata-with-data");
    assert_eq!(further["spec"]["parameters"]["delete-data"], "true");
    assert_eq!(further["metadata"]["labels"]["pg-cluster"], "hippo");

    // The same, or less, is asked for already.
    for (request, task) in [
        (with_data(), "hippo-rmdata-with-data"),
        (plain, "hippo-rmdata"),
    ] {
        let refused = client.post("/clustersdelete", request).await.refusal();
        let expected = format!("pgtasks.crunchydata.com \"{task}\" already exists");
        assert_eq!(refused, expected);
    }
}

#[tokio::test]
async fn a_name_that_is_a_path_reaches_nothing_else() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    kubernetes.fail(
        format!("GET {}", place("secrets", "pgo")),
        Failure::Forbidden,
    );
    for target in ["/clustersdelete", "/showclusters"] {
        let name = "../../pgo/secrets/pgouser-pgoadmin";
        let answer = apiserver
            .plain()
            .post(target, cluster_request(name))
            .await
            .json();
        assert_eq!(answer["Results"], json!([]), "{target}");
        assert!(
            !answer.to_string().contains("not for you"),
            "{target}: {answer}"
        );
    }
}
