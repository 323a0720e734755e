//! What is in Kubernetes after a request to delete clusters.

use serde_json::json;

use crate::{
    harness::{cluster_request, create_request, installation, start_plain},
    kubernetes::{Failure, place},
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
