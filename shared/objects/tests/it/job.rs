//! The pod for a benchmark or a load, as Kubernetes will judge it.

use k8s_openapi::api::core::v1::{Pod, PodSpec};
use pgo_core::{BenchmarkWork, JobOrder, JobWork, LoadWork};
use pgo_objects::LogSettings;
use serde_json::{Value, json};

use crate::objects::{desired, runs_once_without_rights, uid, variable};

const ID: &str = "25927091-b343-4017-be4b-71575f0b3eb5";

fn made(work: JobWork) -> Pod {
    let order = JobOrder {
        operation: ID.parse().expect("an id"),
        work,
    };
    pgo_objects::job_pod(&desired(), &uid(), &order, &LogSettings::default())
}

fn benchmark(script: Option<&str>) -> Pod {
    made(JobWork::Benchmark(BenchmarkWork {
        database: "postgres".to_owned(),
        clients: 1,
        script: script.map(str::to_owned),
        ..BenchmarkWork::default()
    }))
}

fn load(fs_group: Option<i64>, supplemental_group: Option<i64>) -> Pod {
    made(JobWork::Load(LoadWork {
        claim: "files".to_owned(),
        file: "people.csv".to_owned(),
        fs_group,
        supplemental_group,
        ..LoadWork::default()
    }))
}

fn spec(pod: &Pod) -> PodSpec {
    pod.spec.clone().expect("a spec")
}

/// What it reads beside the Secrets.
fn input(pod: &Pod) -> (Value, Value) {
    let spec = serde_json::to_value(spec(pod)).expect("JSON");
    let mounts = &spec["containers"][0]["volumeMounts"];
    (spec["volumes"][4].clone(), mounts[6].clone())
}

#[test]
fn the_pod_is_told_what_to_do_and_has_no_more_than_it_needs() {
    let pod = benchmark(None);
    let name = pod.metadata.name.clone().unwrap_or_default();
    assert!(name.starts_with("benchmark-hippo-"), "{name}");
    let labels = pod.metadata.labels.clone().expect("labels");
    assert_eq!(
        (
            labels["pgo-benchmark"].as_str(),
            labels["pg-cluster"].as_str()
        ),
        ("true", "hippo")
    );
    assert_eq!(labels["pgo.crunchydata.com/job"], ID);
    let spec = runs_once_without_rights(&pod);
    assert!(spec.active_deadline_seconds.is_some());
    let security = spec.security_context.as_ref();
    assert_eq!(security.and_then(|security| security.fs_group), None);
    let said = |name: &str| variable(&spec, name);
    let order: Value = serde_json::from_str(&said("PGO_JOB")).expect("JSON");
    assert_eq!(
        (&order["operation"], &order["work"]),
        (&json!(ID), &json!("benchmark"))
    );
    assert_eq!(said("PGO_DATABASE_HOST"), "hippo.pgouser1.svc");
    let volumes = serde_json::to_value(&spec.volumes).expect("JSON");
    assert_eq!(volumes.as_array().map(Vec::len), Some(4), "{volumes}");
    assert_eq!(
        volumes[2]["secret"]["items"],
        json!([{"key": "ca.crt", "path": "ca.crt"}])
    );
    assert_eq!(volumes[3]["secret"]["secretName"], "hippo-postgres-secret");
    // Nobody's group: else uid 26 could not read it.
    assert_eq!(volumes[3]["secret"]["defaultMode"], 0o444);
}

#[test]
fn it_reads_what_the_user_has_made_and_changes_nothing_there() {
    let (volume, mount) = input(&benchmark(Some("benchmark-hippo-abcd-tx")));
    assert_eq!(volume["configMap"]["name"], "benchmark-hippo-abcd-tx");
    assert_eq!(
        (&mount["mountPath"], &mount["readOnly"]),
        (&json!("/pgconf"), &json!(true))
    );
    let pod = load(None, None);
    let name = pod.metadata.name.clone().unwrap_or_default();
    assert!(name.starts_with("pgo-load-hippo-"), "{name}");
    assert_eq!(
        pod.metadata.labels.clone().expect("labels")["pgo-load"],
        "true"
    );
    let (volume, mount) = input(&pod);
    assert_eq!(volume["persistentVolumeClaim"]["claimName"], "files");
    assert_eq!(
        (&mount["mountPath"], &mount["readOnly"]),
        (&json!("/pgdata"), &json!(true))
    );
    let security = spec(&pod).security_context.expect("a security context");
    assert_eq!(
        (security.fs_group, security.supplemental_groups),
        (None, None),
        "its files stay whose they are"
    );
    let security = spec(&load(Some(7), Some(8)))
        .security_context
        .expect("a security context");
    assert_eq!(
        (security.fs_group, security.supplemental_groups),
        (Some(7), Some(vec![8]))
    );
}
