//! What a Pgcluster says beside what is wanted: who changed it, and which of its fields are wrong.

use pgo_crd::{Pgcluster, Requests, desired};
use serde_json::json;

use crate::made::{cluster, config};

#[test]
fn who_changed_a_cluster_is_the_program_that_kubernetes_noted_last_for_the_field() {
    let mut object = cluster(json!({}));
    let noted = |manager: &str, subresource: &str, second: u32, fields: serde_json::Value| {
        json!({"manager": manager, "operation": "Update", "subresource": subresource, "fieldsType": "FieldsV1",
               "time": format!("2026-10-15T10:11:{second}Z"), "fieldsV1": fields})
    };
    object.metadata.managed_fields = serde_json::from_value(json!([
        noted(
            "unknown",
            "",
            10,
            json!({"f:spec": {"f:ccpimagetag": {}, "f:replicas": {}}})
        ),
        noted(
            "argocd-controller",
            "",
            11,
            json!({"f:metadata": {"f:labels": {"f:autofail": {}}}})
        ),
        noted(
            "kubectl-patch",
            "",
            12,
            json!({"f:spec": {"f:ccpimagetag": {}}})
        ),
        noted(
            "kubectl",
            "scale",
            13,
            json!({"f:spec": {"f:replicaCount": {}}})
        ),
    ]))
    .expect("managed fields");
    let by = |object: &Pgcluster| {
        let made = pgo_crd::cluster(object, &config(), Requests::default());
        made.expect("a cluster").changed_by
    };
    let found = by(&object);
    assert_eq!(found.settings, "argocd");
    assert_eq!(found.image, "kubectl");
    assert_eq!(found.replicas, "kubectl");
    // Kubernetes notes whole seconds: of two in the same one it is who has a name.
    let same = noted(
        "unknown",
        "",
        11,
        json!({"f:spec": {"f:userlabels": {"f:autofail": {}}}}),
    );
    let same = serde_json::from_value(same).expect("managed fields");
    let entries = object.metadata.managed_fields.as_mut().expect("some");
    entries.push(same);
    assert_eq!(by(&object).settings, "argocd");
    // What the reconciler wrote down was asked for by others, and nobody is known by no name.
    let entries = object.metadata.managed_fields.as_mut().expect("some");
    entries[3].manager = Some(pgo_crd::RECONCILER.to_owned());
    entries.remove(2);
    let found = by(&object);
    assert_eq!((found.image.as_str(), found.replicas.as_str()), ("", ""));
}

#[test]
fn every_field_that_is_wrong_is_named() {
    let spec = json!({
        "policies": "Gold", "user": "Ann", "port": "80", "secretfrom": "hippo", "nodename": "n1", "primaryhost": "n2",
        "PrimaryStorage": {"size": "0", "fsgroup": "a"}, "ArchiveStorage": {"size": "0"},
        "ContainerResources": {"limitscpu": "x", "requestsmemory": "2Gi", "limitsmemory": "1Gi"},
        "syncReplication": true,
        "userlabels": {"service-type": "Pigeon", "NodeLabelKey": "disk", "autofail": "banana", "a b": "c", "archive": "true"},
    });
    let error = desired(&cluster(spec), &config()).expect_err("refused");
    let mut fields: Vec<_> = error.further.iter().map(|one| one.field.as_str()).collect();
    fields.push(&error.field);
    fields.sort_unstable();
    assert_eq!(
        fields,
        [
            "spec.ArchiveStorage.size",
            "spec.ContainerResources.limitscpu",
            "spec.ContainerResources.requestsmemory",
            "spec.PrimaryStorage.fsgroup",
            "spec.PrimaryStorage.size",
            "spec.nodename",
            "spec.policies",
            "spec.port",
            "spec.primaryhost",
            "spec.secretfrom",
            "spec.syncReplication",
            "spec.user",
            "spec.userlabels",
            "spec.userlabels",
            "spec.userlabels.archive",
            "spec.userlabels.autofail",
            "spec.userlabels.service-type",
        ]
    );
    let text = error.to_string();
    assert!(
        text.starts_with("spec.policies: ") && text.contains("; spec.port: "),
        "{text}"
    );
}
