//! What is in Kubernetes after a request to create clusters.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    harness::{
        cluster_request, create_request, eventually, in_secret, installation, secret, start_plain,
        within,
    },
    kubernetes::{Failure, place},
};

const USER_SECRETS: [&str; 3] = [
    "hippo-postgres-secret",
    "hippo-primaryuser-secret",
    "hippo-testuser-secret",
];

/// The superuser's Secret of hippo's name, with the labels of a cluster's.
fn of_cluster(name: &str) -> Value {
    let data = [("username", "postgres"), ("password", "old")];
    let mut secret = secret(USER_SECRETS[0], &data);
    secret["metadata"]["labels"] = json!({"vendor": "crunchydata", "pg-cluster": name});
    secret
}

fn with_password(password: &str) -> Value {
    let mut request = create_request("hippo");
    request["Password"] = json!(password);
    request
}

#[tokio::test]
async fn the_task_that_follows_a_creation_belongs_to_the_cluster() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    apiserver
        .plain()
        .post("/clusters", create_request("hippo"))
        .await
        .done();
    let cluster = kubernetes.get("pgclusters", "pgouser1", "hippo").unwrap();
    let task = kubernetes
        .get("pgtasks", "pgouser1", "hippo-createcluster")
        .unwrap();
    let owner = &task["metadata"]["ownerReferences"][0];
    assert_eq!(owner["kind"], "Pgcluster");
    assert_eq!(owner["uid"], cluster["metadata"]["uid"]);
    assert_eq!(task["spec"]["tasktype"], "workflow");
    assert_eq!(task["spec"]["parameters"]["pg-cluster"], "hippo");
    let submitted = task["spec"]["parameters"]["task submitted"]
        .as_str()
        .unwrap();
    assert_eq!(submitted.len(), "2019-10-15.10.11.12".len(), "{submitted}");
    assert_eq!(task["metadata"]["labels"]["pgouser"], "pgoadmin");
    assert_eq!(cluster["metadata"]["labels"]["pgouser"], "pgoadmin");
}

#[tokio::test]
async fn secrets_are_made_where_a_password_is_given_and_else_left_to_the_reconciler() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    apiserver
        .plain()
        .post("/clusters", create_request("zebra"))
        .await
        .done();
    assert!(kubernetes.names("secrets", "pgouser1").is_empty());
    apiserver
        .plain()
        .post("/clusters", with_password("s3cret"))
        .await
        .done();
    assert_eq!(kubernetes.names("secrets", "pgouser1"), USER_SECRETS);
    for (name, user) in USER_SECRETS
        .iter()
        .zip(["postgres", "primaryuser", "testuser"])
    {
        let secret = kubernetes.get("secrets", "pgouser1", name).unwrap();
        assert_eq!(in_secret(&secret, "username"), user);
        assert_eq!(in_secret(&secret, "password"), "s3cret");
        assert_eq!(secret["metadata"]["labels"]["pg-cluster"], "hippo");
        assert!(
            secret["metadata"]["ownerReferences"].is_null(),
            "it may outlive the cluster"
        );
    }
    let cluster = kubernetes.get("pgclusters", "pgouser1", "hippo").unwrap();
    assert!(!cluster.to_string().contains("s3cret"));
}

#[tokio::test]
async fn passwords_of_another_cluster_are_copied() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    for (at, user) in ["postgres", "primaryuser", "testuser"].iter().enumerate() {
        let data = [("username", *user), ("password", ["a", "b", "c"][at])];
        kubernetes.put(
            "secrets",
            "pgouser1",
            secret(&format!("zebra-{user}-secret"), &data),
        );
    }
    let mut request = with_password("ignored");
    request["SecretFrom"] = json!("zebra");
    apiserver.plain().post("/clusters", request).await.done();
    for (name, password) in USER_SECRETS.iter().zip(["a", "b", "c"]) {
        let secret = kubernetes.get("secrets", "pgouser1", name).unwrap();
        assert_eq!(in_secret(&secret, "password"), password);
    }
}

#[tokio::test]
async fn secrets_of_a_former_cluster_are_kept_and_that_is_told() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    kubernetes.put("secrets", "pgouser1", of_cluster("hippo"));
    let answer = apiserver
        .plain()
        .post("/clusters", with_password("new"))
        .await
        .done();
    let kept = kubernetes
        .get("secrets", "pgouser1", USER_SECRETS[0])
        .unwrap();
    assert_eq!(in_secret(&kept, "password"), "old");
    let told = answer["Results"][2].as_str().unwrap();
    assert!(
        told.starts_with("kept Secret hippo-postgres-secret"),
        "{told}"
    );
    assert_eq!(answer["Results"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_secret_of_somebody_else_is_refused_by_name_and_nothing_is_made() {
    let owned = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "theirs", "uid": "u"}]);
    let of = |labels: Value, owners: Value| {
        let mut secret = of_cluster("hippo");
        secret["metadata"]["labels"] = labels;
        secret["metadata"]["ownerReferences"] = owners;
        secret
    };
    for (found, whose) in [
        (of_cluster("zebra"), "belongs to cluster zebra"),
        (of(json!({}), owned), "belongs to ConfigMap theirs"),
        (
            of(json!({}), json!([])),
            "does not carry the labels vendor=crunchydata and pg-cluster=hippo, by which it would be used",
        ),
    ] {
        let kubernetes = installation();
        let apiserver = start_plain(&kubernetes).await;
        kubernetes.put("secrets", "pgouser1", found);
        let mut series = create_request("hip");
        series["Series"] = json!(2);
        for request in [create_request("hippo"), with_password("new")] {
            let answer = apiserver.plain().post("/clusters", request).await;
            assert_eq!(
                answer.refusal(),
                format!(
                    "Secret hippo-postgres-secret is there and {whose}; remove it, or name the cluster differently"
                )
            );
            assert_eq!(kubernetes.names("secrets", "pgouser1"), [USER_SECRETS[0]]);
            assert!(kubernetes.names("pgclusters", "pgouser1").is_empty());
            assert!(kubernetes.names("pgtasks", "pgouser1").is_empty());
        }
        apiserver.plain().post("/clusters", series).await.done();
    }
}

#[tokio::test]
async fn of_a_series_no_cluster_is_made_where_one_meets_a_secret_of_somebody_else() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let mut found = of_cluster("zebra");
    found["metadata"]["name"] = json!("hippo1-testuser-secret");
    kubernetes.put("secrets", "pgouser1", found);
    let mut request = with_password("new");
    request["Series"] = json!(3);
    let answer = apiserver.plain().post("/clusters", request).await;
    let refusal = answer.refusal();
    assert!(
        refusal.starts_with("Secret hippo1-testuser-secret is there"),
        "{refusal}"
    );
    assert!(kubernetes.names("pgclusters", "pgouser1").is_empty());
    assert_eq!(kubernetes.names("secrets", "pgouser1").len(), 1);
}

#[tokio::test]
async fn a_secret_of_somebody_else_that_comes_meanwhile_is_refused_too() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    // The look at the tasks is after that at the Secrets.
    let look = format!("GET {}/hippo-rmdata", place("pgtasks", "pgouser1"));
    kubernetes.fail(look.clone(), Failure::Hangs);
    let client = apiserver.plain();
    let asking = tokio::spawn(async move { client.post("/clusters", with_password("new")).await });
    eventually("the tasks are looked at", async || {
        kubernetes.was_asked(&look).then_some(())
    })
    .await;
    let mut found = of_cluster("zebra");
    found["metadata"]["name"] = json!(USER_SECRETS[2]);
    kubernetes.put("secrets", "pgouser1", found);
    kubernetes.heal();
    let refusal = asking.await.unwrap().refusal();
    assert!(
        refusal.starts_with("Secret hippo-testuser-secret is there and belongs to cluster zebra"),
        "{refusal}"
    );
    assert_eq!(kubernetes.names("secrets", "pgouser1"), [USER_SECRETS[2]]);
    assert!(kubernetes.names("pgclusters", "pgouser1").is_empty());
}

#[tokio::test]
async fn secrets_are_taken_back_where_the_cluster_cannot_be_made() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    kubernetes.put("secrets", "pgouser1", of_cluster("hippo"));
    kubernetes.fail(
        format!("POST {}", place("pgclusters", "pgouser1")),
        Failure::Forbidden,
    );
    let answer = apiserver
        .plain()
        .post("/clusters", with_password("new"))
        .await;
    assert_eq!(answer.refusal(), "not for you");
    assert_eq!(kubernetes.names("secrets", "pgouser1"), [USER_SECRETS[0]]);
    assert!(kubernetes.names("pgtasks", "pgouser1").is_empty());
    kubernetes.heal();
    apiserver
        .plain()
        .post("/clusters", with_password("new"))
        .await
        .done();
}

#[tokio::test]
async fn secrets_are_taken_back_where_one_of_them_cannot_be_made() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let third = format!("POST {}/{}", place("secrets", "pgouser1"), USER_SECRETS[2]);
    kubernetes.fail(third.clone(), Failure::Forbidden);
    let answer = apiserver
        .plain()
        .post("/clusters", with_password("new"))
        .await;
    assert_eq!(answer.refusal(), "not for you");
    assert!(kubernetes.was_asked(&third), "the first two were made");
    assert!(kubernetes.names("secrets", "pgouser1").is_empty());
    assert!(kubernetes.names("pgclusters", "pgouser1").is_empty());
}

#[tokio::test]
async fn a_task_that_kubernetes_cannot_take_now_is_tried_again() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let task = format!("POST {}/hippo-createcluster", place("pgtasks", "pgouser1"));
    kubernetes.fail(task.clone(), Failure::Unreachable);
    let (client, body) = (apiserver.plain(), create_request("hippo"));
    let asking = tokio::spawn(async move { client.post("/clusters", body).await });
    eventually("the task was tried", async || {
        kubernetes.was_asked(&task).then_some(())
    })
    .await;
    kubernetes.heal();
    let answer = asking.await.unwrap().done();
    assert_eq!(answer["Results"][0], "created Pgcluster hippo");
    assert_eq!(
        kubernetes.names("pgtasks", "pgouser1"),
        ["hippo-createcluster"]
    );
}

#[tokio::test]
async fn a_task_whose_answer_is_lost_is_found_again() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    let tasks = format!("POST {}", place("pgtasks", "pgouser1"));
    kubernetes.fail(tasks, Failure::AnswerLost);
    let answer = client.post("/clusters", create_request("hippo")).await;
    assert!(
        !answer.done().to_string().contains("could not"),
        "{answer:?}"
    );
    let answer = client
        .post("/clustersdelete", cluster_request("hippo"))
        .await
        .done();
    assert_eq!(answer["Results"], json!(["deleted pgcluster hippo"]));
    assert_eq!(
        kubernetes.names("pgtasks", "pgouser1"),
        ["hippo-createcluster", "hippo-rmdata"]
    );
}

#[tokio::test]
async fn a_task_that_cannot_be_stored_is_told_beside_the_cluster_that_can() {
    for (failure, why) in [
        (Failure::Forbidden, "not for you"),
        (Failure::Unreachable, "no Kubernetes today"),
        (Failure::Hangs, "did not answer within 20 s"),
    ] {
        let kubernetes = installation();
        let apiserver = start_plain(&kubernetes).await;
        kubernetes.fail(format!("POST {}", place("pgtasks", "pgouser1")), failure);
        let client = apiserver.plain();
        let asking = client.post("/clusters", create_request("hippo"));
        let answer = within(Duration::from_secs(30), asking).await.done();
        assert_eq!(answer["Results"][0], "created Pgcluster hippo");
        let told = answer["Results"][2].as_str().unwrap();
        let expected = "the cluster is being created, but pgtask hippo-createcluster, which shows its workflow, could not be made: ";
        assert!(
            told.starts_with(expected) && told.ends_with(why),
            "{failure:?}: {told}"
        );
        assert_eq!(kubernetes.names("pgclusters", "pgouser1"), ["hippo"]);
    }
}

#[tokio::test]
async fn a_creation_whose_answer_is_lost_is_found_again() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    kubernetes.fail(
        format!("POST {}", place("pgclusters", "pgouser1")),
        Failure::AnswerLost,
    );
    let answer = apiserver
        .plain()
        .post("/clusters", with_password("new"))
        .await
        .done();
    assert_eq!(answer["Results"][0], "created Pgcluster hippo");
    assert_eq!(kubernetes.names("secrets", "pgouser1").len(), 3);
    assert_eq!(
        kubernetes.names("pgtasks", "pgouser1"),
        ["hippo-createcluster"]
    );
}

#[tokio::test]
async fn what_a_former_cluster_left_neither_blocks_nor_deletes_the_new_one() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    for name in ["hippo-createcluster", "hippo-rmdata"] {
        kubernetes.put("pgtasks", "pgouser1", json!({
            "metadata": {"name": name, "uid": name, "ownerReferences": [
                {"apiVersion": "crunchydata.com/v1", "kind": "Pgcluster", "name": "hippo", "uid": "former"}]},
            "spec": {"tasktype": "delete-data"},
        }));
    }
    apiserver
        .plain()
        .post("/clusters", create_request("hippo"))
        .await
        .done();
    assert_eq!(
        kubernetes.names("pgtasks", "pgouser1"),
        ["hippo-createcluster"]
    );
    let task = kubernetes
        .get("pgtasks", "pgouser1", "hippo-createcluster")
        .unwrap();
    assert_eq!(task["spec"]["tasktype"], "workflow");
}

#[tokio::test]
async fn of_two_requests_for_one_name_one_succeeds_and_its_passwords_count() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    let requests = ["one", "two", "three", "four"].map(|password| {
        let client = client.clone();
        async move {
            let answer = client
                .post("/clusters", with_password(password))
                .await
                .json();
            (password, answer["Code"] == "ok", answer)
        }
    });
    let answers = futures::future::join_all(requests).await;
    let winners: Vec<_> = answers.iter().filter(|(_, done, _)| *done).collect();
    assert_eq!(winners.len(), 1, "{answers:?}");
    for (_, _, answer) in answers.iter().filter(|(_, done, _)| !done) {
        assert_eq!(
            answer["Msg"],
            "pgcluster hippo was found so we will not create it"
        );
    }
    for name in USER_SECRETS {
        let secret = kubernetes.get("secrets", "pgouser1", name).unwrap();
        assert_eq!(in_secret(&secret, "password"), winners[0].0);
    }
}

#[tokio::test]
async fn a_series_that_breaks_off_tells_what_was_made() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let mut request = create_request("hippo");
    request["Series"] = json!(3);
    let task = format!("GET {}/hippo1-rmdata", place("pgtasks", "pgouser1"));
    kubernetes.fail(task, Failure::Forbidden);
    let answer = apiserver.plain().post("/clusters", request).await;
    assert_eq!(answer.refusal(), "not for you");
    assert_eq!(answer.json()["Results"][0], "created Pgcluster hippo0");
    assert_eq!(kubernetes.names("pgclusters", "pgouser1"), ["hippo0"]);
}

/// The refusal of a cluster beside one that is there; asked for again without that one, it is made.
async fn beside(new: &str, there: &str) -> String {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    client.post("/clusters", create_request(there)).await.done();
    let refused = client
        .post("/clusters", create_request(new))
        .await
        .refusal();
    assert_eq!(kubernetes.names("pgclusters", "pgouser1"), [there]);
    kubernetes.remove("pgclusters", "pgouser1", there);
    client.post("/clusters", create_request(new)).await.done();
    refused
}

#[tokio::test]
async fn a_cluster_is_refused_beside_one_that_needs_the_same_name_for_an_object() {
    for (new, there) in [("hippo-replica", "hippo"), ("hippo", "hippo-replica")] {
        assert_eq!(
            beside(new, there).await,
            format!(
                "cluster {new} cannot stand beside cluster {there}, which is there: both need Service hippo-replica, hippo \
                 for its replicas and hippo-replica for its primary; name the new cluster differently"
            )
        );
    }
    let refused = beside("hippo-upgrade-probe", "hippo").await;
    assert!(
        refused.contains("both need Pod hippo-upgrade-probe"),
        "{refused}"
    );

    // What has only a like name is made.
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    for name in [
        "hippo",
        "hippo-replicas",
        "hippo-primary",
        "rhino-replica",
        "replica",
    ] {
        let made = apiserver
            .plain()
            .post("/clusters", create_request(name))
            .await;
        made.done();
    }
}

#[tokio::test]
async fn a_series_is_refused_where_one_of_it_meets_a_name_that_is_needed() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    let there = create_request("hippo1-replica");
    client.post("/clusters", there).await.done();
    let mut request = create_request("hippo");
    request["Series"] = json!(2);
    let refused = client.post("/clusters", request).await.refusal();
    assert!(
        refused.starts_with("cluster hippo1 cannot stand beside cluster hippo1-replica"),
        "{refused}"
    );
    let made = kubernetes.names("pgclusters", "pgouser1");
    assert_eq!(made, ["hippo1-replica"]);
}

#[tokio::test]
async fn a_cluster_with_the_name_of_a_replica_is_refused() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let replica = json!({"metadata": {"name": "hippo-abcd"}, "spec": {"clustername": "hippo"}});
    kubernetes.put("pgreplicas", "pgouser1", replica);
    let client = apiserver.plain();
    let refused = client.post("/clusters", create_request("hippo-abcd")).await;
    assert_eq!(
        refused.refusal(),
        "pgreplica hippo-abcd is there, and its pod and its volume have the name that those of cluster hippo-abcd would \
         have; name the new cluster differently"
    );
    assert!(kubernetes.names("pgclusters", "pgouser1").is_empty());
    let other = create_request("hippo-abce");
    client.post("/clusters", other).await.done();
}

#[tokio::test]
async fn a_series_makes_each_cluster_with_an_id_of_its_own() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let mut request = create_request("hippo");
    request["Series"] = json!(2);
    let answer = apiserver.plain().post("/clusters", request).await.done();
    let results = answer["Results"].as_array().unwrap();
    assert_eq!(results.len(), 4);
    assert_eq!(results[2], "created Pgcluster hippo1");
    assert_ne!(results[1], results[3]);
    assert_eq!(
        kubernetes.names("pgclusters", "pgouser1"),
        ["hippo0", "hippo1"]
    );
}

#[tokio::test]
async fn what_was_begun_is_finished_when_the_client_goes_away() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    kubernetes.fail(
        format!("POST {}", place("pgtasks", "pgouser1")),
        Failure::Hangs,
    );
    let body = create_request("hippo").to_string();
    let (client, asked) = (apiserver.plain(), &kubernetes);
    let request = tokio::spawn(async move { client.send("POST", "/clusters", body).await });
    eventually("the cluster is there", async || {
        asked.get("pgclusters", "pgouser1", "hippo")
    })
    .await;
    request.abort();
    kubernetes.heal();
    eventually("the task is there, too", async || {
        asked.get("pgtasks", "pgouser1", "hippo-createcluster")
    })
    .await;
}
