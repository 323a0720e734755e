//! Benchmarks and loads: which tasks ask for them, what is shown of them, and what is refused.

use serde_json::{Value, json};

use crate::{
    harness::{Client, create_request, eventually, installation, start_plain},
    kubernetes::Kubernetes,
};

fn benchmark_request(cluster: &str, change: &[(&str, Value)]) -> Value {
    let mut request = json!({
        "Args": [cluster], "BenchmarkOpts": "", "Clients": 2, "ClusterName": cluster, "Database": "postgres", "InitOpts": "",
        "Jobs": 1, "Namespace": "pgouser1", "Policy": "", "Scale": 1, "Selector": "", "Transactions": 10, "User": "",
    });
    for (key, value) in change {
        request[*key] = value.clone();
    }
    request
}

async fn select(client: &Client, path: &str, cluster: &str, selector: &str) -> Value {
    let request =
        json!({"Args": [], "Namespace": "pgouser1", "ClusterName": cluster, "Selector": selector});
    client.post(path, request).await.json()
}

async fn with_cluster(client: &Client, name: &str) {
    client.post("/clusters", create_request(name)).await.done();
}

async fn policy(client: &Client, name: &str, sql: &str, url: &str) {
    let request = json!({
        "Name": name, "URL": url, "SQL": sql, "Namespace": "pgouser1", "ClientVersion": "4.1.0",
    });
    client.post("/policies", request).await.done();
}

/// The reconciler says in a task what became of it.
fn end(kubernetes: &Kubernetes, job: &str, reason: &str, message: &str) {
    let mut task = kubernetes.get("pgtasks", "pgouser1", job).unwrap();
    let status = match reason {
        "Completed" => "True",
        _ => "False",
    };
    task["status"] = json!({"state": "pgtask Processed", "conditions": [
        {"type": "Complete", "status": status, "reason": reason, "message": message}]});
    kubernetes.put("pgtasks", "pgouser1", task);
}

/// Asks for a benchmark of cluster hippo with a transaction of its own.
async fn asked_with_a_policy(client: &Client) -> Value {
    with_cluster(client, "hippo").await;
    policy(client, "tx", "SELECT 1;", "").await;
    let further = [
        ("Policy", json!("tx")),
        ("BenchmarkOpts", json!("--select-only")),
    ];
    let request = benchmark_request("hippo", &further);
    client.post("/benchmark", request).await.done()
}

#[tokio::test]
async fn a_benchmark_is_a_task_of_4_1() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    let answer = asked_with_a_policy(&client).await;
    let asked = &answer["Jobs"][0];
    let (job, id) = (
        asked["Job"].as_str().unwrap(),
        asked["OperationID"].as_str().unwrap(),
    );
    assert_eq!(
        answer["Results"],
        json!([
            "Created benchmark task for hippo",
            format!("workflow id is {id}")
        ])
    );
    let task = kubernetes.get("pgtasks", "pgouser1", job).unwrap();
    assert_eq!(task["spec"]["tasktype"], "benchmark");
    let said = &task["spec"]["parameters"];
    for (key, value) in [
        ("clusterName", "hippo"),
        ("clients", "2"),
        ("transactions", "10"),
        ("benchmarkOpts", "--select-only"),
        ("workflowID", id),
        ("taskName", job),
    ] {
        assert_eq!(said[key], value, "{said}");
    }
    let labels = &task["metadata"]["labels"];
    assert_eq!(
        (&labels["pgo-benchmark"], &labels["pgouser"]),
        (&json!("true"), &json!("pgoadmin"))
    );
    let script = said["configmapName"].as_str().unwrap();
    assert_eq!(script, format!("{job}-tx"));
    let map = kubernetes.get("configmaps", "pgouser1", script).unwrap();
    assert_eq!(map["data"], json!({"transactions.sql": "SELECT 1;"}));
    assert_eq!(map["metadata"]["ownerReferences"][0]["kind"], "Pgcluster");
    let workflow = client
        .get(&format!("/workflow/{id}?version=4.1.0&namespace=pgouser1"))
        .await
        .done();
    assert_eq!(
        (
            &workflow["Results"]["ClusterName"],
            &workflow["Results"]["State"]
        ),
        (&json!("hippo"), &json!("waiting"))
    );
}

#[tokio::test]
async fn its_lines_are_shown_until_it_is_deleted() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    let answer = asked_with_a_policy(&client).await;
    let job = answer["Jobs"][0]["Job"].as_str().unwrap();
    let script = format!("{job}-tx");
    assert!(kubernetes.has("configmaps", "pgouser1", &script));
    let shown = select(&client, "/benchmarkshow", "hippo", "").await;
    assert_eq!(
        shown["Results"],
        json!([format!("Results for {job}:\n\twaiting")])
    );
    end(
        &kubernetes,
        job,
        "Completed",
        "scaling factor: 1\ntps = 85.1\n",
    );
    let lines = json!([format!(
        "Results for {job}:\n\tscaling factor: 1\n\ttps = 85.1"
    )]);
    for (cluster, selector) in [("hippo", ""), ("", "name=hippo"), ("", "")] {
        assert_eq!(
            select(&client, "/benchmarkshow", cluster, selector).await["Results"],
            lines
        );
    }
    end(&kubernetes, job, "Failed", "no such database");
    let shown = select(&client, "/benchmarkshow", "hippo", "").await;
    assert_eq!(
        shown["Benchmarks"][0]["Cause"], "no such database",
        "{shown}"
    );

    let none = select(&client, "/benchmarkdelete", "zebra", "").await;
    assert_eq!(none["Msg"], "no benchmark jobs found");
    let gone = select(&client, "/benchmarkdelete", "hippo", "").await;
    assert_eq!(gone["Results"], json!([format!("deleted benchmark {job}")]));
    assert!(
        !kubernetes.has("pgtasks", "pgouser1", job)
            && !kubernetes.has("configmaps", "pgouser1", &script)
    );
    let none = select(&client, "/benchmarkshow", "hippo", "").await;
    assert_eq!(
        none,
        json!({"Results": [], "Code": "error", "Msg": "no benchmark jobs found"})
    );
}

#[tokio::test]
async fn what_cannot_be_measured_is_refused_and_nothing_is_made() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    with_cluster(&client, "hippo").await;
    policy(&client, "empty", "", "https://example.com/x.sql").await;
    for (key, value, why) in [
        ("Policy", json!("nosuch"), "Policy not found: nosuch"),
        ("Policy", json!("empty"), "Policy contained no SQL: empty"),
        (
            "BenchmarkOpts",
            json!("--host=evil"),
            "Flag --host is not supported for use with PGO",
        ),
        (
            "InitOpts",
            json!("--frobnicate"),
            "unknown flag: --frobnicate",
        ),
        (
            "Clients",
            json!(-1),
            "clients \"-1\" is not a number from 1 to 10000",
        ),
        (
            "User",
            json!("alice"),
            "'User' is not available in this version yet",
        ),
    ] {
        let answer = client
            .post("/benchmark", benchmark_request("hippo", &[(key, value)]))
            .await;
        assert_eq!(answer.refusal(), why);
    }
    let nobody = client
        .post("/benchmark", benchmark_request("nosuch", &[]))
        .await
        .json();
    assert_eq!(
        nobody,
        json!({"Results": [], "Code": "ok", "Msg": ""}),
        "4.1's answer"
    );
    let made = kubernetes.names("pgtasks", "pgouser1");
    assert_eq!(made, ["hippo-createcluster"]);
    assert!(kubernetes.names("configmaps", "pgouser1").is_empty());
}

const FILE: &str = "PGOImagePrefix: crunchydata\nPGOImageTag: centos7-4.1.0\nDbDatabase: userdb\nDbUser: testuser\nDbPort: 5432\n\
                    TableToLoad: people\nFilePath: people.csv\nFileType: csv\nPVCName: files\n";

async fn load(client: &Client, args: &[&str], config: &str, policies: &str) -> Value {
    let request = json!({
        "Args": args, "Selector": "", "Namespace": "pgouser1", "LoadConfig": config, "Policies": policies, "ClientVersion": "4.1.0",
    });
    client.post("/load", request).await.json()
}

fn with_claim(kubernetes: &Kubernetes) {
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "files"}, "spec": {}});
    kubernetes.put("persistentvolumeclaims", "pgouser1", claim);
}

#[tokio::test]
async fn a_load_is_a_task_with_the_keys_of_its_file() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    for name in ["hippo", "zebra"] {
        with_cluster(&client, name).await;
    }
    with_claim(&kubernetes);
    let answer = load(&client, &["hippo", "zebra"], FILE, "").await;
    assert_eq!(answer["Code"], "ok", "{answer}");
    let jobs = answer["Jobs"].as_array().unwrap();
    assert_eq!(jobs.len(), 2);
    for (asked, result) in jobs.iter().zip(answer["Results"].as_array().unwrap()) {
        let job = asked["Job"].as_str().unwrap();
        assert_eq!(*result, format!("created Job {job}"));
        let task = kubernetes.get("pgtasks", "pgouser1", job).unwrap();
        assert_eq!(task["spec"]["tasktype"], "load");
        assert_eq!(
            task["spec"]["parameters"],
            json!({
                "pg-cluster": asked["Cluster"], "DbDatabase": "userdb", "DbUser": "testuser", "DbPort": "5432",
                "TableToLoad": "people", "FilePath": "people.csv", "FileType": "csv", "PVCName": "files",
            })
        );
        assert_eq!(
            task["metadata"]["labels"]["workflowid"],
            asked["OperationID"]
        );
    }
}

#[tokio::test]
async fn policies_are_applied_before_and_one_that_fails_keeps_the_load_away() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    with_cluster(&client, "hippo").await;
    with_claim(&kubernetes);
    policy(&client, "gold", "select 1", "").await;
    for outcome in ["Failed", "Completed"] {
        let (answer, ()) = tokio::join!(load(&client, &["hippo"], FILE, "gold"), async {
            let task = eventually("its task", async || {
                kubernetes.get("pgtasks", "pgouser1", "hippo-apply-gold")
            })
            .await;
            assert!(
                kubernetes
                    .names("pgtasks", "pgouser1")
                    .iter()
                    .all(|name| !name.starts_with("pgo-load"))
            );
            let mut object = kubernetes.get("pgclusters", "pgouser1", "hippo").unwrap();
            object["status"] = json!({"phase": "Ready", "instances": [], "conditions": [], "outbox": {"last": 0, "entries": []},
            "operations": [{
                "id": task["metadata"]["labels"]["workflowid"], "kind": "ApplyPolicy", "actor": "pgoadmin", "policy": "gold",
                "started": "2026-10-15T10:11:12Z", "finished": "2026-10-15T10:11:13Z", "outcome": outcome, "cause": "line 1: no",
            }]});
            kubernetes.put("pgclusters", "pgouser1", object);
        });
        kubernetes.remove("pgtasks", "pgouser1", "hippo-apply-gold");
        match outcome {
            "Failed" => assert_eq!(
                answer["Msg"],
                "cluster hippo: policy gold was not applied: line 1: no; nothing was loaded"
            ),
            _ => assert_eq!(answer["Jobs"].as_array().map(Vec::len), Some(1), "{answer}"),
        }
    }
}

#[tokio::test]
async fn what_cannot_be_loaded_is_refused_and_nothing_is_made() {
    let kubernetes = installation();
    let apiserver = start_plain(&kubernetes).await;
    let client = apiserver.plain();
    with_cluster(&client, "hippo").await;
    let missing = load(&client, &["hippo"], FILE, "").await;
    assert_eq!(missing["Msg"], "persistentvolumeclaims \"files\" not found");
    with_claim(&kubernetes);
    let without = |key: &str| {
        let lines = FILE.lines().filter(|line| !line.starts_with(key));
        lines.map(|line| format!("{line}\n")).collect::<String>()
    };
    for (args, config, policies, why) in [
        (&[][..], FILE.to_owned(), "", "args or --selector required"),
        (
            &["nosuch"],
            FILE.to_owned(),
            "",
            "nosuch was not found, verify cluster name",
        ),
        (
            &["hippo"],
            FILE.to_owned(),
            "nosuch",
            "policy nosuch is not found, cancelling request",
        ),
        (
            &["hippo"],
            without("TableToLoad"),
            "",
            "TableToLoad is not supplied",
        ),
        (&["hippo"], without("DbUser"), "", "DbUser is not supplied"),
        (
            &["hippo"],
            FILE.replace("csv\n", "xml\n"),
            "",
            "FileType \"xml\" is none; there are csv and json",
        ),
    ] {
        let answer = load(&client, args, &config, policies).await;
        assert_eq!(
            (&answer["Code"], &answer["Msg"]),
            (&json!("error"), &json!(why)),
            "{answer}"
        );
    }
    assert_eq!(
        kubernetes.names("pgtasks", "pgouser1"),
        ["hippo-createcluster"]
    );
}
