//! Pgtasks that ask for a restore by pgBackRest, with 4.1's parameters.

use pgo_core::RestoreRequest;
use pgo_crd::{Pgcluster, Pgtask, asking, restore_request, restore_requests};
use serde_json::{Value, json};

fn cluster() -> Pgcluster {
    let object = json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgcluster",
        "metadata": {"name": "hippo", "namespace": "pgouser1", "uid": "uid-1"}, "spec": {},
    });
    serde_json::from_value(object).expect("a Pgcluster")
}

fn task(parameters: Value) -> Pgtask {
    let mut all = json!({
        "backrest-restore-from-cluster": "hippo", "backrest-restore-to-pvc": "hippo-abcd", "backrest-restore-opts": "",
        "backrest-pitr-target": "", "pgbackrest-stanza": "db", "backrest-storage-type": "", "NodeLabelKey": "",
        "NodeLabelValue": "",
    });
    for (key, value) in parameters.as_object().expect("an object") {
        all[key] = value.clone();
    }
    serde_json::from_value(json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgtask",
        "metadata": {"name": "backrest-restore-hippo-to-hippo-abcd", "namespace": "pgouser1", "uid": "uid-2",
            "labels": {"pgouser": "ann", "workflowid": "25927091-b343-4017-be4b-71575f0b3eb5"}},
        "spec": {"tasktype": "restore", "parameters": all},
    }))
    .expect("a Pgtask")
}

fn asked(parameters: Value) -> RestoreRequest {
    restore_request(&task(parameters), &cluster()).expect("a request")
}

#[test]
fn a_task_of_4_1_asks_for_a_restore() {
    let request = asked(json!({}));
    assert_eq!(
        (
            request.actor.as_str(),
            request.operation.to_string().as_str()
        ),
        ("ann", "25927091-b343-4017-be4b-71575f0b3eb5")
    );
    assert_eq!(request.to.as_deref(), Some("hippo-abcd"));
    assert_eq!(request.node_label, None);
    assert_eq!(request.options.expect("options").arguments(), [""; 0]);
    let to_a_time = json!({
        "backrest-restore-opts": "--type=time", "backrest-pitr-target": "2019-10-15 10:00:00.000000+00",
        "NodeLabelKey": "zone", "NodeLabelValue": "a", "backrest-storage-type": "local",
    });
    let request = asked(to_a_time);
    assert_eq!(request.node_label.as_deref(), Some("zone=a"));
    assert_eq!(
        request.options.expect("options").arguments(),
        [
            "--type=time",
            "--target=2019-10-15 10:00:00.000000+00",
            "--repo=1"
        ]
    );
    let of_another = task(json!({"backrest-restore-from-cluster": "rhino"}));
    assert_eq!(restore_request(&of_another, &cluster()), None);
}

#[test]
fn what_it_cannot_ask_for_is_said() {
    for (parameters, part) in [
        (
            json!({"backrest-restore-opts": "--type=xid"}),
            "needs a target",
        ),
        (json!({"backrest-pitr-target": "soon"}), "is no time"),
        (
            json!({"backrest-storage-type": "tape"}),
            "parameters.backrest-storage-type: \"tape\"",
        ),
    ] {
        let told = asked(parameters).options.expect_err("a refusal");
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn a_task_that_came_to_its_end_asks_for_nothing_any_more() {
    let mut one = task(json!({}));
    let count = |one: &Pgtask| restore_requests(std::iter::once(one), &cluster()).len();
    let names = |one: &Pgtask| asking(std::iter::once(one), &cluster()).len();
    assert_eq!((count(&one), names(&one)), (1, 1));
    one.status = serde_json::from_value(json!({
        "conditions": [{"type": "Complete", "status": "True"}],
    }))
    .expect("a status");
    assert_eq!((count(&one), names(&one)), (0, 0));
}
