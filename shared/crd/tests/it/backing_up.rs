//! Which clusters have backups by pgBackRest, where they lie, and Pgtasks that ask for one.

use pgo_core::{Backups, Bucket, DrillPolicy, KeptBy, Places, Retention};
use pgo_crd::{
    Pgcluster, PgoConfig, Pgtask, asking, backup_request, backup_requests, desired, requested,
};
use serde_json::{Value, json};

use crate::made::{PGO_YAML, cluster, config};

fn labelled(value: &str, spec: Value) -> Pgcluster {
    let mut object = cluster(spec);
    object.metadata.labels = Some([("pgo-backrest".to_owned(), value.to_owned())].into());
    object
}

fn backups(object: &Pgcluster, config: &PgoConfig) -> Option<Backups> {
    desired(object, config).expect("a cluster").backups
}

fn refused(object: &Pgcluster) -> String {
    let refused = desired(object, &config()).expect_err("it cannot be");
    refused.to_string()
}

/// `pgo.yaml` with further lines.
fn with(cluster: &str, top: &str) -> PgoConfig {
    let text = PGO_YAML.replace("  Port: 5432", &format!("  Port: 5432\n{cluster}"));
    let big = "  big:\n    AccessMode: ReadWriteOnce\n    Size: 9Gi\n    StorageType: dynamic\n";
    let text = text.replace("Storage:\n  local", &format!("Storage:\n{big}  local"));
    PgoConfig::parse(&format!("{top}\n{text}")).expect("a pgo.yaml")
}

#[test]
fn a_cluster_has_backups_where_its_label_says_so_and_else_where_pgo_yaml_does() {
    let every = with("  Backrest: true", "");
    let none = cluster(json!({}));
    assert_eq!(backups(&none, &config()), None);
    assert!(backups(&none, &every).is_some());
    assert!(backups(&labelled("true", json!({})), &config()).is_some());
    assert_eq!(backups(&labelled("false", json!({})), &every), None);
    // Else its user labels do.
    let user = |value: &str| json!({"userlabels": {"pgo-backrest": value}});
    assert!(backups(&cluster(user("true")), &config()).is_some());
    assert_eq!(backups(&cluster(user("false")), &every), None);
    assert_eq!(backups(&labelled("false", user("true")), &every), None);
    let told = refused(&labelled("maybe", json!({})));
    assert!(
        told.contains("metadata.labels.pgo-backrest: \"maybe\""),
        "{told}"
    );
}

#[test]
fn backups_lie_where_the_spec_says_else_pgo_yaml() {
    let size = |spec: Value, config: &PgoConfig| {
        let backups = backups(&labelled("true", spec), config);
        backups.expect("backups").storage.size
    };
    assert_eq!(size(json!({}), &config()), "1Gi");
    assert_eq!(size(json!({}), &with("", "BackrestStorage: big")), "9Gi");
    let own = json!({"BackrestStorage": {"size": "3Gi"}});
    assert_eq!(size(own, &with("", "BackrestStorage: big")), "3Gi");
}

#[test]
fn the_time_after_which_wal_is_archived_has_a_default() {
    let timeout = |labels: Value, config: &PgoConfig| {
        let object = labelled("true", json!({"userlabels": labels}));
        backups(&object, config).expect("backups").archive_timeout
    };
    let of_all = with("  ArchiveTimeout: 30", "");
    assert_eq!(timeout(json!({}), &config()), 60);
    assert_eq!(timeout(json!({}), &of_all), 30);
    assert_eq!(timeout(json!({"archive-timeout": "90"}), &of_all), 90);
    let told = refused(&labelled(
        "true",
        json!({"userlabels": {"archive-timeout": "soon"}}),
    ));
    assert!(
        told.contains("userlabels.archive-timeout: \"soon\""),
        "{told}"
    );
}

#[test]
fn which_backups_are_tried_the_spec_says_and_else_pgo_yaml() {
    let policy = |spec: Value, config: &PgoConfig| {
        let backups = backups(&labelled("true", spec), config);
        backups.expect("backups").drills
    };
    let every = with("  RestoreDrills: each", "");
    assert_eq!(policy(json!({}), &config()), DrillPolicy::Daily);
    assert_eq!(policy(json!({}), &every), DrillPolicy::Each);
    let never = json!({"restoreDrills": "never"});
    assert_eq!(policy(never, &every), DrillPolicy::Never);
    let text = PGO_YAML.replace("  Port: 5432", "  Port: 5432\n  RestoreDrills: weekly");
    let error = PgoConfig::parse(&text).expect_err("refused").to_string();
    assert!(error.contains("Cluster.RestoreDrills"), "{error}");
}

#[test]
fn backups_lie_in_the_places_that_the_user_label_names() {
    let bucket = "  BackrestS3Bucket: backups\n  BackrestS3Endpoint: s3.example.org:9000\n  BackrestS3Region: here\n  \
                  BackrestS3URIStyle: path";
    let config = with(bucket, "");
    let places = |kinds: &str| {
        let object = labelled(
            "true",
            json!({"userlabels": {"backrest-storage-type": kinds}}),
        );
        backups(&object, &config).expect("backups").places
    };
    let bucket = || Bucket {
        name: "backups".to_owned(),
        endpoint: "s3.example.org:9000".to_owned(),
        region: "here".to_owned(),
        in_path: true,
    };
    assert_eq!(places(""), Places::Local);
    assert_eq!(places("s3"), Places::S3(bucket()));
    assert_eq!(places("s3, local"), Places::Both(bucket()));
}

#[test]
fn how_many_backups_stay_the_cluster_says_or_pgo_yaml() {
    let retention = |spec: Value, config: &PgoConfig| {
        let backups = backups(&labelled("true", spec), config);
        backups.expect("backups").retention
    };
    assert_eq!(retention(json!({}), &config()), Retention::default());
    let of_all = "  BackrestRetentionFull: 14\n  BackrestRetentionFullType: time\n  BackrestRetentionDiff: 3";
    let of_all = with(of_all, "");
    let expected = Retention {
        full: Some(14),
        by: KeptBy::Days,
        diff: Some(3),
    };
    assert_eq!(retention(json!({}), &of_all), expected);
    let own = json!({"backrestRetention": {"full": 2}});
    let expected = Retention {
        full: Some(2),
        by: KeptBy::Count,
        diff: None,
    };
    assert_eq!(retention(own, &of_all), expected);
    for wrong in [
        "  BackrestRetentionFull: \"0\"",
        "  BackrestRetentionDiff: few",
        "  BackrestRetentionFullType: days",
        "  BackrestS3URIStyle: other",
        "  BackrestS3Endpoint: https://s3.example.org",
    ] {
        let text = PGO_YAML.replace("  Port: 5432", &format!("  Port: 5432\n{wrong}"));
        let key = wrong.trim().split(':').next().expect("a key");
        let error = PgoConfig::parse(&text).expect_err("refused").to_string();
        assert!(error.contains(key), "{error}");
    }
}

#[test]
fn what_a_repository_cannot_be_is_refused() {
    let kinds = |kinds: &str| {
        labelled(
            "true",
            json!({"userlabels": {"backrest-storage-type": kinds}}),
        )
    };
    assert!(desired(&kinds("local"), &config()).is_ok());
    let told = refused(&kinds("local,s3"));
    assert!(
        told.contains("Cluster.BackrestS3Bucket is not set in pgo.yaml"),
        "{told}"
    );
    let told = refused(&kinds("tape"));
    assert!(told.contains("\"tape\" is not local or s3"), "{told}");
    let mut long = labelled("true", json!({}));
    long.metadata.name = Some("h".repeat(43));
    let told = refused(&long);
    assert!(told.contains("at most 42"), "{told}");
    // Without a repository the name is as good as another.
    long.metadata.labels = None;
    assert!(desired(&long, &config()).is_ok());
}

fn task(parameters: Value) -> Pgtask {
    let mut all = json!({"pg-cluster": "hippo"});
    for (key, value) in parameters.as_object().expect("an object") {
        all[key] = value.clone();
    }
    serde_json::from_value(json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgtask",
        "metadata": {"name": "backrest-backup-hippo", "namespace": "pgouser1", "uid": "uid-2",
            "labels": {"pgouser": "ann", "workflowid": "25927091-b343-4017-be4b-71575f0b3eb5"}},
        "spec": {"tasktype": "backrest", "parameters": all},
    }))
    .expect("a Pgtask")
}

/// The arguments that a task asks for, or why it cannot be.
fn asked(parameters: Value) -> Result<Vec<String>, String> {
    let request = backup_request(&task(parameters), &cluster(json!({})));
    let options = request.expect("a request").options?;
    Ok(options.arguments())
}

#[test]
fn a_task_of_4_1_asks_for_a_backup() {
    let request = backup_request(&task(json!({})), &cluster(json!({}))).expect("a request");
    assert_eq!(
        (
            request.actor.as_str(),
            request.operation.to_string().as_str()
        ),
        ("ann", "25927091-b343-4017-be4b-71575f0b3eb5")
    );
    assert_eq!(asked(json!({"backrest-command": "backup"})), Ok(Vec::new()));
    // As 4.1's scheduler writes it.
    let scheduled =
        json!({"backrest-opts": "--stanza=db --type=full", "backrest-storage-type": "local"});
    let there = ["--type=full", "--repo=1"].map(str::to_owned);
    assert_eq!(asked(scheduled), Ok(there.to_vec()));
    let wherever = json!({"backrest-opts": "--type=full", "backrest-storage-type": "local,s3"});
    assert_eq!(asked(wherever), Ok(vec!["--type=full".to_owned()]));
    let of_another = task(json!({"pg-cluster": "rhino"}));
    assert_eq!(backup_request(&of_another, &cluster(json!({}))), None);
}

#[test]
fn a_task_that_came_to_its_end_is_still_that_request_and_asks_for_nothing_any_more() {
    let (cluster, mut asked) = (cluster(json!({})), task(json!({})));
    let id = backup_request(&asked, &cluster)
        .expect("a request")
        .operation;
    let names = |asked: &Pgtask| asking(std::iter::once(asked), &cluster);
    let count = |asked: &Pgtask| backup_requests(std::iter::once(asked), &cluster).len();
    assert_eq!(
        names(&asked),
        [(id, "backrest-backup-hippo".to_owned())].into()
    );
    assert_eq!(count(&asked), 1);
    asked.status = serde_json::from_value(json!({
        "conditions": [{"type": "Complete", "status": "True"}],
    }))
    .expect("a status");
    assert_eq!(requested(&asked, &cluster), Some(id));
    assert!(names(&asked).is_empty());
    assert_eq!(count(&asked), 0);
}

#[test]
fn what_a_task_cannot_ask_for_is_told_with_the_request() {
    for (parameters, told) in [
        (
            json!({"backrest-command": "expire"}),
            "parameters.backrest-command: \"expire\" is nothing that a task can ask for; give backup",
        ),
        (
            json!({"backrest-storage-type": "tape"}),
            "parameters.backrest-storage-type: \"tape\" is not local or s3",
        ),
        (
            json!({"backrest-opts": "--stanza=other"}),
            "Flag --stanza is not supported for use with PGO",
        ),
        (
            json!({"backrest-opts": "--stanza=dbx"}),
            "Flag --stanza is not supported for use with PGO",
        ),
    ] {
        assert_eq!(asked(parameters), Err(told.to_owned()));
    }
}
