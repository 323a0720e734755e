//! What is taken for a cluster's own, and what is read of it.

use k8s_openapi::api::core::v1::Secret;
use kube::{
    core::PartialObjectMeta,
    runtime::{reflector, watcher},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;

fn cluster() -> Cluster {
    Cluster {
        name: "hippo".parse().expect("a name"),
        namespace: "pgouser1".parse().expect("a namespace"),
        stream: "uid-1".parse().expect("a uid"),
        generation: 1,
        deleting: false,
        actor: String::new(),
        workflow: None,
        delete_requests: Vec::new(),
        replicas: Vec::new(),
        replica_count: 0,
        scale_down: Vec::new(),
        failover: Vec::new(),
        reloads: Vec::new(),
        restarts: Vec::new(),
        upgrades: Vec::new(),
        dumps: Vec::new(),
        removals: Vec::new(),
        backups: Vec::new(),
        restores: Vec::new(),
        drills: Vec::new(),
        jobs: Vec::new(),
        policies: Vec::new(),
        policies_at_creation: Vec::new(),
        tasks: BTreeMap::new(),
        cancelled: BTreeMap::new(),
        notes: pgo_core::Notes::default(),
        changed_by: pgo_core::ChangedBy::default(),
        image_said: String::new(),
        // A cluster that nobody understands has its objects all the same.
        desired: Err("spec.port: wrong".to_owned()),
    }
}

fn object(name: &str, of: &str, owner: Option<&str>) -> Value {
    let owners = owner.map(|uid| {
        json!([{"apiVersion": "crunchydata.com/v1", "kind": "Pgcluster", "name": of, "uid": uid}])
    });
    json!({
        "metadata": {"name": name, "namespace": "pgouser1", "uid": format!("uid of {name}"),
            "labels": {"vendor": "crunchydata", "pg-cluster": of}, "ownerReferences": owners.unwrap_or(json!([]))},
    })
}

fn store<K>(objects: impl IntoIterator<Item = Value>) -> Store<K>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + 'static,
{
    let (store, mut writer) = reflector::store();
    for object in objects {
        let object = serde_json::from_value(object).expect("an object");
        writer.apply_watcher_event(&watcher::Event::Apply(object));
    }
    store
}

type Secrets = Store<PartialObjectMeta<Secret>>;

#[test]
fn passwords_are_found_by_label_whatever_users_the_cluster_ever_had() {
    let mut of_backups = object("hippo-backrest-repo-config", "hippo", None);
    of_backups["metadata"]["labels"][OF_BACKUPS] = json!("true");
    let mut lent = object("hippo-testuser-secret", "hippo", Some("another"));
    lent["metadata"]["ownerReferences"][0]["kind"] = json!("ExternalSecret");
    let secrets: Secrets = store([
        object("hippo-postgres-secret", "hippo", None),
        object("hippo-former-secret", "hippo", None),
        object("hippo-rhino-secret", "hippo-rhino", None),
        object("hippo-agent-tls", "hippo", Some("uid-1")),
        lent,
        of_backups,
    ]);
    let found = uids(&of_cluster(&secrets.state(), &cluster()), opens_data);
    let names: Vec<_> = found.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "hippo-former-secret",
            "hippo-postgres-secret",
            "hippo-testuser-secret"
        ]
    );
    assert_eq!(found["hippo-former-secret"], "uid of hippo-former-secret");
}

#[test]
fn a_claim_holds_data_or_backups_or_neither() {
    let mut named = object("old-primary", "hippo", None);
    named["metadata"]["labels"]["deployment-name"] = json!("old-primary");
    let claims: Store<PersistentVolumeClaim> = store([
        object("hippo", "hippo", None),
        object("hippo-abcd", "hippo", None),
        named,
        object("hippo-pgbr-repo", "hippo", None),
        object("hippo-backup", "hippo", None),
        object("backup-hippo-pgdump-pvc", "hippo", None),
        object("hippo-notes", "hippo", None),
        object("hippo-abcd-pgbr-repo", "hippo-abcd", None),
    ]);
    let secrets: Secrets = store([
        object("hippo-backrest-repo-config", "hippo", None),
        object("hippo-postgres-secret", "hippo", None),
    ]);
    let claims = of_cluster(&claims.state(), &cluster());
    let mut data: Vec<_> = claims
        .iter()
        .filter(|claim| holds(claim.meta(), &cluster().name) == Some(Holds::Data))
        .map(|claim| claim.name_any())
        .collect();
    data.sort();
    assert_eq!(data, ["hippo", "hippo-abcd", "old-primary"]);
    let secrets = of_cluster(&secrets.state(), &cluster());
    let backups = backups(&claims, &secrets, &cluster());
    let backups: Vec<_> = backups
        .iter()
        .map(|((backup, name), uid)| (*backup, name.as_str(), uid.as_str()))
        .collect();
    assert_eq!(
        backups,
        [
            (
                Backup::Claim,
                "backup-hippo-pgdump-pvc",
                "uid of backup-hippo-pgdump-pvc"
            ),
            (Backup::Claim, "hippo-backup", "uid of hippo-backup"),
            (Backup::Claim, "hippo-pgbr-repo", "uid of hippo-pgbr-repo"),
            (
                Backup::Secret,
                "hippo-backrest-repo-config",
                "uid of hippo-backrest-repo-config"
            ),
        ]
    );
}

#[test]
fn a_fixture_is_the_clusters_own_and_not_a_former_ones_or_anybody_elses() {
    let of = |found: Value| {
        let secrets: Secrets = store([found]);
        fixture(&secrets, &cluster(), Fixture::Certificate).is_some()
    };
    assert!(of(object("hippo-agent-tls", "hippo", Some("uid-1"))));
    assert!(!of(object("hippo-agent-tls", "hippo", Some("uid-0"))));
    assert!(!of(object("hippo-agent-tls", "hippo", None)));
    assert!(!of(object("hippo-agent-tls", "rhino", Some("uid-2"))));
}

#[test]
fn endpoints_are_read_with_their_family_and_only_those_that_are_ready() {
    let slice: EndpointSlice = serde_json::from_value(json!({
        "metadata": {}, "addressType": "IPv6", "endpoints": [
            {"addresses": ["fd00::7"]},
            {"addresses": ["fd00::8"], "conditions": {"ready": false}},
        ],
    }))
    .expect("an EndpointSlice");
    let endpoints = endpoints(&slice);
    assert_eq!(endpoints.family, Some(AddressFamily::V6));
    assert_eq!(endpoints.addresses, ["fd00::7"]);
}

#[test]
fn a_pod_is_placed_since_it_was_scheduled() {
    let pod = |node: Value, scheduled: &str| -> PodFacts {
        let pod = json!({
            "metadata": {"name": "hippo", "annotations": {"pgo.crunchydata.com/made-for": "{\"port\":\"5432\"}"}},
            "spec": {"containers": [], "nodeName": node},
            "status": {"phase": "Pending", "conditions": [
                {"type": "PodScheduled", "status": scheduled, "lastTransitionTime": "2026-10-15T10:11:12Z"}]},
        });
        pod_facts(&serde_json::from_value(pod).expect("a Pod"))
    };
    let at: Timestamp = "2026-10-15T10:11:12Z".parse().expect("a time");
    let placed = pod(json!("node1"), "True");
    assert_eq!(
        (placed.placed, placed.unschedulable.is_none()),
        (Some(at), true)
    );
    assert!(placed.is_slow(at + jiff::SignedDuration::from_secs(60)) && !placed.is_slow(at));
    assert!(placed.form.is_some());
    let waits = pod(Value::Null, "False");
    assert_eq!((waits.placed, waits.unschedulable.is_some()), (None, true));
}

#[test]
fn a_container_that_ends_again_and_again_says_how_it_ended_and_what_is_waited_for() {
    let said = |ended: Value| {
        let status = json!({
            "name": "database", "image": "x", "imageID": "", "ready": false, "restartCount": 2,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
            "lastState": ended,
        });
        let status = serde_json::from_value(status).expect("a status");
        waiting(&status).expect("it waits").message
    };
    let ended = json!({"terminated": {"exitCode": 137, "message": "no memory\n"}});
    assert_eq!(said(ended), "ended with 137: no memory; back-off 10s");
    let silent = json!({"terminated": {"exitCode": 1}});
    assert_eq!(said(silent), "ended with 1; back-off 10s");
    assert_eq!(said(json!({})), "back-off 10s");
}
