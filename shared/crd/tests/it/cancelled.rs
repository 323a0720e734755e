//! Pgtasks whose annotation says that what they ask for is to go on no longer.

use pgo_crd::{Pgcluster, Pgtask, cancelled};
use serde_json::{Value, json};

const ID: &str = "25927091-b343-4017-be4b-71575f0b3eb5";

fn cluster(name: &str) -> Pgcluster {
    serde_json::from_value(json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgcluster",
        "metadata": {"name": name, "namespace": "pgouser1", "uid": "uid-1"}, "spec": {},
    }))
    .expect("a Pgcluster")
}

fn task(annotations: &Value) -> Pgtask {
    serde_json::from_value(json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgtask",
        "metadata": {"name": "backrest-backup-hippo", "namespace": "pgouser1", "uid": "uid-2",
            "labels": {"workflowid": ID}, "annotations": annotations},
        "spec": {"tasktype": "backrest", "parameters": {"pg-cluster": "hippo"}},
    }))
    .expect("a Pgtask")
}

#[test]
fn who_cancels_stands_in_the_annotation_also_where_that_is_nobody_and_the_task_is_over() {
    let said = |task: &Pgtask, of: &str| cancelled(std::iter::once(task), &cluster(of));
    let id = ID.parse().expect("an id");
    let mut one = task(&json!({"pgo.crunchydata.com/cancel": "bob"}));
    assert_eq!(said(&one, "hippo"), [(id, "bob".to_owned())].into());
    assert!(said(&one, "rhino").is_empty());
    one.status = serde_json::from_value(json!({
        "conditions": [{"type": "Complete", "status": "False", "reason": "Failed"}],
    }))
    .expect("a status");
    assert_eq!(
        said(&one, "hippo").len(),
        1,
        "its repository may be at it yet"
    );
    let nobody = task(&json!({"pgo.crunchydata.com/cancel": ""}));
    assert_eq!(said(&nobody, "hippo"), [(id, String::new())].into());
    assert!(said(&task(&json!({"other": "bob"})), "hippo").is_empty());
}
