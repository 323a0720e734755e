//! What Pgtasks ask for of a cluster.

use pgo_crd::{
    Pgcluster, Pgtask, TaskType, definitions, delete_request, delete_requests, scale_down_request,
};
use serde_json::json;

use crate::made::cluster;

fn task(owner: Option<&str>, made: &str, parameters: serde_json::Value) -> Pgtask {
    let owners = owner.map(|uid| {
        json!([{"apiVersion": "crunchydata.com/v1", "kind": "Pgcluster", "name": "hippo", "uid": uid}])
    });
    serde_json::from_value(json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgtask",
        "metadata": {"name": "hippo-rmdata", "namespace": "pgouser1", "uid": "uid-2",
            "creationTimestamp": made, "ownerReferences": owners.unwrap_or(json!([])),
            "labels": {"pg-cluster": "hippo", "pgouser": "ann"}},
        "spec": {"tasktype": "delete-data", "parameters": parameters},
    }))
    .expect("a Pgtask")
}

fn made(at: &str) -> Pgcluster {
    let mut object = cluster(json!({}));
    object.metadata.creation_timestamp = serde_json::from_value(json!(at)).expect("a time");
    object
}

const BEFORE: &str = "2026-10-15T10:11:11Z";
const AFTER: &str = "2026-10-15T10:11:13Z";

#[test]
fn a_task_of_4_1_asks_for_a_deletion() {
    let whole = json!({
        "pg-cluster": "hippo", "replica-name": "", "is-replica": "false", "is-backup": "false",
        "delete-data": "true", "delete-backups": "false",
    });
    let request = delete_request(&task(None, AFTER, whole), &made(BEFORE)).expect("a request");
    assert_eq!(request.actor, "ann");
    assert!(request.options.data && !request.options.backups);
    let replica = json!({"pg-cluster": "hippo", "is-replica": "true", "delete-data": "true"});
    assert_eq!(
        delete_request(&task(None, AFTER, replica), &made(BEFORE)),
        None
    );
}

#[test]
fn who_asked_by_a_task_without_a_user_is_the_program_that_made_it() {
    let mut asked = task(None, "2026-10-15T10:11:12Z", json!({"pg-cluster": "hippo"}));
    asked.metadata.labels = None;
    asked.metadata.managed_fields = serde_json::from_value(json!([
        {"manager": "kubectl-create", "operation": "Update", "time": "2026-10-15T10:11:12Z"},
    ]))
    .expect("managed fields");
    let request = delete_request(&asked, &made("2026-10-15T10:11:12Z")).expect("a request");
    assert_eq!(request.actor, "kubectl");
}

#[test]
fn a_task_asks_for_the_removal_of_a_replica_in_4_1_s_words() {
    let ask = |more: serde_json::Value| {
        let mut parameters = json!({
            "pg-cluster": "hippo", "is-replica": "true", "replica-name": "hippo-abcd",
        });
        for (key, value) in more.as_object().expect("an object") {
            parameters[key] = value.clone();
        }
        scale_down_request(&task(None, AFTER, parameters), &made(BEFORE))
    };
    let request = ask(json!({"delete-data": "true"})).expect("a request");
    assert_eq!(request.replica.as_str(), "hippo-abcd");
    assert_eq!((request.actor.as_str(), request.data), ("ann", true));
    assert!(!ask(json!({})).expect("a request").data);
    assert_eq!(ask(json!({"is-replica": "false"})), None);
    assert_eq!(ask(json!({"pg-cluster": "rhino"})), None);
    assert_eq!(ask(json!({"replica-name": "Not a name"})), None);
}

#[test]
fn several_requests_are_heard_in_the_order_in_which_they_were_made() {
    let ask = |data: bool| json!({"pg-cluster": "hippo", "delete-data": data.to_string()});
    let mut first = task(None, BEFORE, ask(false));
    let mut later = task(None, AFTER, ask(true));
    later.metadata.name = Some("hippo-rmdata-with-data".to_owned());
    later.metadata.uid = Some("uid-3".to_owned());
    let each = [&first, &later].map(|task| delete_request(task, &made(BEFORE)));
    let each = each.map(|request| request.expect("a request"));
    for _ in 0..2 {
        let requests = delete_requests([&later, &first].into_iter(), &made(BEFORE));
        assert_eq!(requests, each);
        // In whatever order they are seen.
        std::mem::swap(&mut first, &mut later);
    }
}

#[test]
fn a_task_for_a_former_cluster_of_the_same_name_deletes_nothing() {
    let ask = || json!({"pg-cluster": "hippo"});
    let own = task(Some("uid-1"), BEFORE, ask());
    assert!(delete_request(&own, &made(AFTER)).is_some());
    let former = task(Some("uid-0"), AFTER, ask());
    assert_eq!(delete_request(&former, &made(BEFORE)), None);
    let older = task(None, BEFORE, ask());
    assert_eq!(delete_request(&older, &made(AFTER)), None);
    let other = task(None, AFTER, json!({"pg-cluster": "rhino"}));
    assert_eq!(delete_request(&other, &made(BEFORE)), None);
}

#[test]
fn the_schema_has_every_type_that_is_carried_out() {
    let schema = definitions()
        .into_iter()
        .find(|definition| definition.spec.names.kind == "Pgtask")
        .map(|definition| serde_json::to_string(&definition).expect("JSON"))
        .expect("a definition");
    for one in TaskType::ALL {
        let word = format!("'{}'", one.as_str());
        assert!(schema.contains(&word), "{word} is refused by the schema");
    }
}
