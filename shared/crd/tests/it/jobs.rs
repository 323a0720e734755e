//! Pgtasks that ask for a benchmark or a load.

use pgo_core::{BenchmarkWork, JobKind, JobRequest, JobWish, JobWork, LoadFormat};
use pgo_crd::{Pgcluster, Pgtask, job_operation, job_requests, requested, task_cluster};
use serde_json::{Value, json};

const ID: &str = "25927091-b343-4017-be4b-71575f0b3eb5";

fn hippo() -> Pgcluster {
    serde_json::from_value(json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgcluster",
        "metadata": {"name": "hippo", "namespace": "pgouser1", "uid": "uid-1",
            "creationTimestamp": "2026-10-15T10:11:12Z"},
        "spec": {},
    }))
    .expect("a Pgcluster")
}

fn task(tasktype: &str, parameters: &Value) -> Pgtask {
    serde_json::from_value(json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgtask",
        "metadata": {"name": "it", "namespace": "pgouser1", "uid": "uid-2",
            "creationTimestamp": "2026-10-15T10:11:13Z", "labels": {"pgouser": "ann", "workflowid": ID}},
        "spec": {"tasktype": tasktype, "parameters": parameters},
    }))
    .expect("a Pgtask")
}

fn asked(tasktype: &str, mut all: Value, further: Value) -> JobRequest {
    let (Value::Object(fields), Value::Object(further)) = (&mut all, further) else {
        panic!("objects");
    };
    fields.extend(further);
    let task = task(tasktype, &all);
    assert_eq!(requested(&task, &hippo()), job_operation(&task, &hippo()));
    let parameters = task.spec.parameters.iter();
    let parameters = parameters.map(|(key, value)| (key.as_str(), value.as_str()));
    let cluster = task_cluster(&task.spec.tasktype, parameters);
    assert_eq!(cluster, Some("hippo"), "the cluster that is woken for it");
    let mut requests = job_requests(std::iter::once(&task), &hippo());
    requests.pop().expect("a request")
}

fn benchmark(further: Value) -> JobRequest {
    asked("benchmark", json!({"clusterName": "hippo"}), further)
}

fn load(further: Value) -> JobRequest {
    let all = json!({
        "pg-cluster": "hippo", "DbDatabase": "userdb", "DbUser": "testuser", "DbPort": "5432",
        "TableToLoad": "people", "FilePath": "people.csv", "PVCName": "files",
    });
    asked("load", all, further)
}

#[test]
fn a_task_asks_for_a_benchmark_under_4_1s_names() {
    let request = benchmark(json!({
        "clients": "4", "jobs": "2", "scale": "10", "transactions": "100", "database": "userdb", "port": "5432",
        "initOpts": "-q", "benchmarkOpts": "--select-only", "configmapName": "benchmark-hippo-abcd-tx",
    }));
    assert_eq!(
        (
            request.operation.to_string().as_str(),
            request.actor.as_str()
        ),
        (ID, "ann")
    );
    assert_eq!(request.kind, JobKind::Benchmark);
    let work = BenchmarkWork {
        database: "userdb".to_owned(),
        init: vec!["--quiet".to_owned()],
        options: vec!["--select-only".to_owned()],
        clients: 4,
        threads: 2,
        scale: 10,
        transactions: 100,
        script: Some("benchmark-hippo-abcd-tx".to_owned()),
    };
    let wish = JobWish {
        work: JobWork::Benchmark(work),
        port: Some(5432),
    };
    assert_eq!(request.wanted, Ok(wish));
    // 4.1's values where nothing is said.
    let Ok(JobWish {
        work: JobWork::Benchmark(work),
        port: None,
    }) = benchmark(json!({})).wanted
    else {
        panic!("a benchmark");
    };
    let numbers = (work.clients, work.threads, work.scale, work.transactions);
    assert_eq!(
        (work.database.as_str(), numbers, work.script),
        ("postgres", (1, 1, 1, 1), None)
    );
    let other = task("benchmark", &json!({"clusterName": "rhino"}));
    assert_eq!(job_operation(&other, &hippo()), None);
}

#[test]
fn a_task_asks_for_a_load_under_the_names_of_load_files() {
    let request = load(json!({"FileType": "json", "FSGroup": "", "SupplementalGroup": "65534"}));
    assert_eq!(request.kind, JobKind::Load);
    let Ok(JobWish {
        work: JobWork::Load(work),
        port,
    }) = request.wanted
    else {
        panic!("{request:?}");
    };
    assert_eq!(
        (work.database.as_str(), work.role.as_str(), port),
        ("userdb", "testuser", Some(5432))
    );
    assert_eq!(
        (work.table.as_str(), work.claim.as_str(), work.file.as_str()),
        ("people", "files", "people.csv")
    );
    assert_eq!(
        (work.format, work.fs_group, work.supplemental_group),
        (LoadFormat::Json, None, Some(65534))
    );
    let other = task("load", &json!({"pg-cluster": "rhino"}));
    assert_eq!(job_operation(&other, &hippo()), None);
}

#[test]
fn what_cannot_be_asked_for_is_said() {
    for (request, part) in [
        (
            benchmark(json!({"benchmarkOpts": "--host=x"})),
            "Flag --host is not supported",
        ),
        (
            benchmark(json!({"initOpts": "-S"})),
            "Shorthand flag -S is not supported",
        ),
        (
            benchmark(json!({"clients": "0"})),
            "clients \"0\" is not a number from 1 to 10000",
        ),
        (
            benchmark(json!({"transactions": "many"})),
            "transactions \"many\" is not a number",
        ),
        (benchmark(json!({"port": "http"})), "is no port"),
        (load(json!({"DbUser": ""})), "DbUser is not supplied"),
        (load(json!({"PVCName": ""})), "PVCName is not supplied"),
        (load(json!({"PVCName": "../x"})), "is the name of no claim"),
        (load(json!({"DbPort": "0"})), "is no port"),
        (load(json!({"FileType": "xml"})), "there are csv and json"),
        (
            load(json!({"TableToLoad": "t; DROP TABLE t"})),
            "is the name of no table",
        ),
        (
            load(json!({"FilePath": "../secret"})),
            "is no file of the claim",
        ),
        (
            load(json!({"FSGroup": "wheel"})),
            "is not the number of a group",
        ),
    ] {
        let told = request.wanted.expect_err("a refusal");
        assert!(told.contains(part), "{told}");
    }
}
