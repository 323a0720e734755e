//! Policies that specs and Pgtasks name.

use pgo_core::PolicyPlace;
use pgo_crd::{
    Pgcluster, PgclusterSpec, PgoConfig, Pgtask, policies_at_creation, policy_request, requested,
};
use serde_json::json;

const ID: &str = "25927091-b343-4017-be4b-71575f0b3eb5";

fn task(parameters: serde_json::Value) -> Pgtask {
    serde_json::from_value(json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgtask",
        "metadata": {"name": "hippo-it", "namespace": "pgouser1", "uid": "uid-2",
            "creationTimestamp": "2026-10-15T10:11:13Z", "labels": {"pgouser": "ann", "workflowid": ID}},
        "spec": {"tasktype": "applypolicy", "parameters": parameters},
    }))
    .expect("a Pgtask")
}

fn hippo() -> Pgcluster {
    serde_json::from_value(json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgcluster",
        "metadata": {"name": "hippo", "namespace": "pgouser1", "uid": "uid-1",
            "creationTimestamp": "2026-10-15T10:11:12Z"},
        "spec": {},
    }))
    .expect("a Pgcluster")
}

#[test]
fn a_task_asks_for_a_policy_of_its_own_cluster() {
    let asked = task(json!({"pg-cluster": "hippo", "policy": "gold"}));
    let request = policy_request(&asked, &hippo()).expect("a request");
    assert_eq!(request.operation.to_string(), ID);
    assert_eq!(
        (request.actor.as_str(), request.policy),
        ("ann", Ok("gold".to_owned()))
    );
    assert_eq!(request.place, PolicyPlace::default());
    assert_eq!(requested(&asked, &hippo()), Some(request.operation));
    let elsewhere =
        task(json!({"pg-cluster": "hippo", "policy": "gold", "database": "userdb", "secret": ""}));
    let place = policy_request(&elsewhere, &hippo())
        .expect("a request")
        .place;
    let database = Some("userdb".to_owned());
    assert_eq!((place.database, place.secret), (database, None));
    let other = task(json!({"pg-cluster": "rhino", "policy": "gold"}));
    assert_eq!(policy_request(&other, &hippo()), None);
}

#[test]
fn a_name_that_would_be_a_label_of_ours_or_none_is_told_as_wrong() {
    for (name, word) in [
        ("pg-cluster", "is a label that PGO sets"),
        ("pgouser", "is a label that PGO sets"),
        ("Gold", "cannot be a policy"),
        ("", "cannot be a policy"),
        ("1st", "cannot be a policy"),
        ("gold-", "cannot be a policy"),
        ("a.b", "cannot be a policy"),
    ] {
        let asked = task(json!({"pg-cluster": "hippo", "policy": name}));
        let request = policy_request(&asked, &hippo()).expect("a request");
        let why = request.policy.expect_err(name);
        assert!(why.contains(word), "{name}: {why}");
    }
}

#[test]
fn a_spec_names_policies_in_order_and_pgo_yaml_where_it_names_none() {
    let mut config = PgoConfig::default();
    let named = |list: &str, config: &PgoConfig| {
        let spec = PgclusterSpec {
            policies: list.to_owned(),
            ..PgclusterSpec::default()
        };
        policies_at_creation(&spec, config)
    };
    assert_eq!(named("", &config), Ok(Vec::new()));
    assert_eq!(
        named("two, one,two,", &config),
        Ok(vec!["two".to_owned(), "one".to_owned()])
    );
    config.cluster.policies = "usual".to_owned();
    assert_eq!(named("", &config), Ok(vec!["usual".to_owned()]));
    assert_eq!(named("one", &config), Ok(vec!["one".to_owned()]));
    let many: Vec<String> = (0..33).map(|number| format!("p{number}")).collect();
    for wrong in ["One", "name", &many.join(",")] {
        let error = named(wrong, &config).expect_err(wrong);
        assert_eq!(error.field, "spec.policies");
    }
}
