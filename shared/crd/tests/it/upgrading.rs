//! Pgtasks that ask for an upgrade, and of what.

use pgo_crd::{
    Pgcluster, PgoConfig, Pgtask, asking, requested, upgrade_operation, upgrade_requests,
};
use serde_json::{Value, json};

const BEFORE: &str = "2026-10-15T10:11:11Z";
const TIME: &str = "2026-10-15T10:11:13Z";
const AFTER: &str = "2026-10-15T10:11:14Z";
const ID: &str = "25927091-b343-4017-be4b-71575f0b3eb5";

fn task(tasktype: &str, parameters: Value, labels: Value) -> Pgtask {
    serde_json::from_value(json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgtask",
        "metadata": {"name": "hippo-minor-upgrade", "namespace": "pgouser1", "uid": "uid-2", "creationTimestamp": TIME,
            "labels": labels},
        "spec": {"tasktype": tasktype, "parameters": parameters},
    }))
    .expect("a Pgtask")
}

fn made(at: &str, spec: Value) -> Pgcluster {
    serde_json::from_value(json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgcluster",
        "metadata": {"name": "hippo", "namespace": "pgouser1", "uid": "uid-1", "creationTimestamp": at},
        "spec": spec,
    }))
    .expect("a Pgcluster")
}

fn config() -> PgoConfig {
    let mut config = PgoConfig::default();
    "crunchydata".clone_into(&mut config.cluster.ccp_image_prefix);
    "debian12-15.18".clone_into(&mut config.cluster.ccp_image_tag);
    config
}

/// The image that a task asks for, or why there can be none.
fn image(tag: &str, spec: Value) -> Result<String, String> {
    let asked = task(
        "minorupgradecluster",
        json!({"pg-cluster": "hippo", "CCPImageTag": tag}),
        json!({"pgouser": "ann", "workflowid": ID}),
    );
    let requests = upgrade_requests(std::iter::once(&asked), &made(BEFORE, spec), &config());
    let request = requests.into_iter().next().expect("a request");
    assert_eq!(
        (
            request.actor.as_str(),
            request.operation.to_string().as_str()
        ),
        ("ann", ID)
    );
    assert_eq!(
        request.made.map(|made| made.to_string()).as_deref(),
        Some(TIME)
    );
    request.image.map(|image| image.0)
}

#[test]
fn the_image_is_the_clusters_own_with_the_tag_of_the_task_else_that_of_the_configuration() {
    let own = json!({"ccpimage": "crunchy-postgres-gis", "ccpimagetag": "debian12-15.1"});
    assert_eq!(
        image("debian12-15.20", own.clone()).as_deref(),
        Ok("crunchydata/crunchy-postgres-gis:debian12-15.20")
    );
    assert_eq!(
        image("", own).as_deref(),
        Ok("crunchydata/crunchy-postgres-gis:debian12-15.18")
    );
    assert_eq!(
        image("", json!({})).as_deref(),
        Ok("crunchydata/crunchy-postgres:debian12-15.18")
    );
}

#[test]
fn a_tag_that_is_none_is_a_request_all_the_same_and_says_why_not() {
    let why = image("a:b", json!({})).expect_err("no tag");
    assert!(why.contains("spec.ccpimagetag"), "{why}");
}

#[test]
fn only_a_task_of_the_type_for_this_very_cluster_asks() {
    let operation = |tasktype: &str, cluster: &str, at: &str| {
        let asked = task(
            tasktype,
            json!({"pg-cluster": cluster}),
            json!({"workflowid": ID}),
        );
        upgrade_operation(&asked, &made(at, json!({})))
    };
    let is = operation("minorupgradecluster", "hippo", BEFORE).map(|id| id.to_string());
    assert_eq!(is.as_deref(), Some(ID));
    assert_eq!(operation("minorupgradecluster", "rhino", BEFORE), None);
    assert_eq!(
        operation("minorupgradecluster", "hippo", AFTER),
        None,
        "a former cluster's"
    );
    assert_eq!(operation("workflow", "hippo", BEFORE), None);
}

#[test]
fn a_task_that_came_to_its_end_is_still_that_request_and_asks_for_nothing_any_more() {
    let (cluster, parameters) = (made(BEFORE, json!({})), json!({"pg-cluster": "hippo"}));
    let mut asked = task("minorupgradecluster", parameters, json!({"workflowid": ID}));
    let id = ID.parse().expect("an id");
    let names = |asked: &Pgtask| asking(std::iter::once(asked), &cluster);
    let count =
        |asked: &Pgtask| upgrade_requests(std::iter::once(asked), &cluster, &config()).len();
    let name = "hippo-minor-upgrade".to_owned();
    assert_eq!(names(&asked), [(id, name)].into());
    assert_eq!(count(&asked), 1);
    asked.status = serde_json::from_value(json!({
        "conditions": [{"type": "Complete", "status": "False", "reason": "Failed"}],
    }))
    .expect("a status");
    assert_eq!(requested(&asked, &cluster), Some(id));
    assert!(names(&asked).is_empty());
    assert_eq!(count(&asked), 0);
}

#[test]
fn a_task_without_an_id_has_one_that_follows_from_its_uid() {
    let asked = task(
        "minorupgradecluster",
        json!({"pg-cluster": "hippo"}),
        json!({}),
    );
    let cluster = made(BEFORE, json!({}));
    let id = upgrade_operation(&asked, &cluster).expect("an id");
    assert_eq!(
        upgrade_operation(&asked, &cluster),
        Some(id),
        "the same each time"
    );
    let mut another = asked;
    another.metadata.uid = Some("uid-3".to_owned());
    assert_ne!(upgrade_operation(&another, &cluster), Some(id));
}
