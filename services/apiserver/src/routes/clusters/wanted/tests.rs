//! Requests to create clusters: what they become, and why they are refused.

use kube::ResourceExt as _;
use proptest::prelude::*;

use super::*;

/// The settings of the recorded conversations.
const PGO_YAML: &str = "
Cluster:
  CCPImagePrefix: crunchydata
  CCPImageTag: centos7-11.5-2.4.2
  User: testuser
  Database: userdb
  ArchiveTimeout: 60
  Backrest: true
PrimaryStorage: fast
BackupStorage: fast
ReplicaStorage: fast
BackrestStorage: fast
Storage:
  fast: {AccessMode: ReadWriteOnce, Size: 300M, StorageType: dynamic, StorageClass: fast, Fsgroup: 26}
  big: {AccessMode: ReadWriteOnce, Size: 10G, StorageType: dynamic, StorageClass: fast, Fsgroup: 26}
ContainerResources:
  small: {RequestsMemory: 512Mi, RequestsCPU: 0.1, LimitsMemory: 512Mi, LimitsCPU: 0.1}
Pgo:
  PGOImagePrefix: crunchydata
  PGOImageTag: centos7-4.1.0
";

const ID: &str = "25927091-b343-4017-be4b-71575f0b3eb5";

fn config() -> PgoConfig {
    PgoConfig::parse(PGO_YAML).expect("a configuration")
}

fn request() -> CreateClusterRequest {
    CreateClusterRequest {
        name: "hippo".to_owned(),
        namespace: "pgouser1".to_owned(),
        series: 1,
        pgbouncer_user: "pgbouncer".to_owned(),
        ..CreateClusterRequest::default()
    }
}

fn judged(request: &CreateClusterRequest, facts: &Facts) -> Result<Vec<Creation>, String> {
    let now = "2026-11-22T14:23:53.5Z".parse().expect("a time");
    let id = || ID.parse().expect("an id");
    judge(request, &config(), facts, "pgoadmin", now, id)
        .map(|judged| judged.creations)
        .map_err(|Refusal(why)| why)
}

fn created(change: impl FnOnce(&mut CreateClusterRequest)) -> Creation {
    let mut request = request();
    change(&mut request);
    let mut creations = judged(&request, &Facts::default()).expect("accepted");
    creations.pop().expect("one cluster")
}

fn refused(change: impl FnOnce(&mut CreateClusterRequest)) -> String {
    refused_with(&Facts::default(), change)
}

fn refused_with(facts: &Facts, change: impl FnOnce(&mut CreateClusterRequest)) -> String {
    let mut request = request();
    change(&mut request);
    match judged(&request, facts) {
        Err(why) => why,
        Ok(_) => panic!("accepted"),
    }
}

#[test]
fn a_plain_request_gives_4_1s_labels_and_settings() {
    let cluster = created(|_| {}).cluster;
    let labels: Vec<_> = cluster
        .labels()
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    assert_eq!(
        labels,
        [
            "crunchy-pgbadger=false",
            "name=hippo",
            "pgo-backrest=true",
            "pgouser=pgoadmin"
        ]
    );
    let user_labels: Vec<_> = cluster
        .spec
        .userlabels
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    let workflow = format!("workflow-id={ID}");
    assert_eq!(
        user_labels,
        [
            "archive-timeout=60",
            "crunchy_collect=false",
            "pgo-version=4.1.0",
            &workflow
        ]
    );
    assert_eq!(cluster.spec.pswlastupdate, "2026-11-22T14:23:53Z");
    assert_eq!(cluster.spec.primary_storage.size, "300M");
    assert_eq!(cluster.spec.replicas, "0");
}

#[test]
fn a_series_gets_numbers_and_one_cluster_does_not() {
    let mut request = request();
    request.series = 3;
    let names = judged(&request, &Facts::default()).expect("accepted");
    let names: Vec<_> = names
        .iter()
        .map(|creation| creation.name.as_str())
        .collect();
    assert_eq!(names, ["hippo0", "hippo1", "hippo2"]);
    request.series = 0;
    assert!(
        judged(&request, &Facts::default())
            .expect("accepted")
            .is_empty()
    );
    request.series = -1;
    assert!(judged(&request, &Facts::default()).is_err());
    request.series = i64::MAX;
    assert!(judged(&request, &Facts::default()).is_err());
}

#[test]
fn one_name_of_a_series_that_is_taken_refuses_them_all() {
    let facts = Facts {
        taken: BTreeSet::from(["hippo1".to_owned()]),
        ..Facts::default()
    };
    let why = refused_with(&facts, |request| request.series = 3);
    assert_eq!(why, "pgcluster hippo1 was found so we will not create it");
}

#[test]
fn names_are_refused_with_4_1s_texts() {
    let named = |name: &str| refused(|request| request.name = name.to_owned());
    assert_eq!(
        named("all"),
        "invalid cluster name 'all' is not allowed as a cluster name"
    );
    assert!(named("Hippo").starts_with("invalid cluster name format "));
    assert!(named("hippo.1").starts_with("invalid cluster name format "));
    assert!(named("").starts_with("invalid cluster name format "));
}

#[test]
fn a_taken_name_is_told_before_anything_else_that_is_wrong() {
    let facts = Facts {
        taken: BTreeSet::from(["hippo".to_owned()]),
        ..Facts::default()
    };
    let why = refused_with(&facts, |request| {
        request.pgpool_flag = true;
        request.backrest_storage_type = "s3".to_owned();
        request.service_type = "Nope".to_owned();
    });
    assert_eq!(why, "pgcluster hippo was found so we will not create it");
}

#[test]
fn labels_of_the_user_reach_metadata_and_user_labels() {
    let cluster = created(|request| request.user_labels = "env=dev,team=blue".to_owned()).cluster;
    assert_eq!(cluster.labels()["env"], "dev");
    assert_eq!(cluster.spec.userlabels["team"], "blue");
}

#[test]
fn labels_that_are_none_are_refused() {
    let labelled = |text: &str| refused(|request| request.user_labels = text.to_owned());
    assert_eq!(labelled("env"), "invalid labels format");
    assert_eq!(labelled("env=dev,"), "invalid labels format");
    assert!(labelled("env=dev,a=b,env=test").contains("env is given more than once"));
    for text in [
        "e n v=dev",
        "env=a=b",
        "=dev",
        "env=-x",
        "UPPER.com/env=x/y",
        "A_B/c=d",
    ] {
        assert!(
            labelled(text).starts_with("invalid labels format: "),
            "{text}"
        );
    }
    assert!(labelled("pg-cluster=zebra").contains("set by PGO itself"));
    let long = format!("env={}", "x".repeat(64));
    assert!(labelled(&long).starts_with("invalid labels format: "));
}

#[test]
fn what_is_not_in_kubernetes_is_named() {
    assert_eq!(
        refused(|request| request.custom_config = "nosuch".to_owned()),
        "nosuch configmap was not found "
    );
    assert_eq!(
        refused(|request| request.pgpool_secret = "nosuch".to_owned()),
        "--pgpool-secret specified secret nosuch not found"
    );
    assert_eq!(
        refused(|request| request.secret_from = "nosuch".to_owned()),
        "nosuch secret was not found "
    );
}

#[test]
fn what_is_not_in_pgo_yaml_is_named() {
    assert_eq!(
        refused(|request| request.storage_config = "nosuch".to_owned()),
        "nosuch Storage config was not found "
    );
    assert_eq!(
        refused(|request| request.replica_storage_config = "nosuch".to_owned()),
        "nosuch Storage config was not found "
    );
    assert_eq!(
        refused(|request| request.container_resources = "nosuch".to_owned()),
        "nosuch ContainerResource config was not found "
    );
}

#[test]
fn settings_of_the_request_go_before_those_of_pgo_yaml() {
    let cluster = created(|request| {
        request.storage_config = "big".to_owned();
        request.container_resources = "small".to_owned();
        request.ccp_image_tag = "12".to_owned();
        request.ccp_image = "crunchy-postgres-gis".to_owned();
        request.service_type = "NodePort".to_owned();
        request.backrest_flag = "false".to_owned();
    })
    .cluster;
    assert_eq!(cluster.spec.primary_storage.size, "10G");
    assert_eq!(cluster.spec.replica_storage.size, "300M");
    assert_eq!(cluster.spec.container_resources.limitscpu, "0.1");
    assert_eq!(cluster.spec.ccpimagetag, "12");
    assert_eq!(cluster.spec.ccpimage, "crunchy-postgres-gis");
    assert_eq!(cluster.spec.userlabels["service-type"], "NodePort");
    assert_eq!(cluster.labels()["pgo-backrest"], "false");
}

#[test]
fn a_config_map_of_the_namespace_goes_before_that_of_the_request() {
    let facts = Facts {
        custom_config: true,
        global_config: true,
        ..Facts::default()
    };
    let mut request = request();
    request.custom_config = "mine".to_owned();
    let creation = judged(&request, &facts).expect("accepted").remove(0);
    assert_eq!(
        creation.cluster.spec.userlabels["custom-config"],
        "pgo-custom-pg-config"
    );
    assert_eq!(creation.cluster.spec.customconfig, "mine");
}

#[test]
fn a_node_label_must_be_on_a_node() {
    let facts = Facts {
        nodes: vec![BTreeMap::from([("zone".to_owned(), "a".to_owned())])],
        ..Facts::default()
    };
    let labelled =
        |text: &str| refused_with(&facts, |request| request.node_label = text.to_owned());
    assert_eq!(
        labelled("abc"),
        "abc node label does not follow key=value format"
    );
    assert_eq!(
        labelled("a=b=c"),
        "a=b=c node label does not follow key=value format"
    );
    assert!(labelled("rack=a").starts_with("rack=a key was not valid"));
    assert!(labelled("zone=b").starts_with("zone=b node label value was not valid"));
    let mut request = request();
    request.node_label = "zone=a".to_owned();
    let creation = judged(&request, &facts).expect("accepted").remove(0);
    assert_eq!(creation.cluster.spec.userlabels["NodeLabelKey"], "zone");
    assert_eq!(creation.cluster.spec.userlabels["NodeLabelValue"], "a");
}

#[test]
fn backup_settings_are_checked_as_in_4_1() {
    assert_eq!(
        refused(|request| request.backrest_flag = "maybe".to_owned()),
        "valid values for --pgbackrest are true or false"
    );
    let without = refused(|request| {
        request.backrest_flag = "false".to_owned();
        request.backrest_storage_type = "local".to_owned();
    });
    assert_eq!(
        without,
        "pgBackRest storage type is only applicable if pgBackRest is enabled"
    );
    let s3 = refused(|request| request.backrest_storage_type = "s3".to_owned());
    assert!(
        s3.starts_with("Storage type 's3' not allowed.") && s3.contains("BackrestS3Bucket"),
        "{s3}"
    );
    let mut config = config();
    let cluster = &mut config.cluster;
    cluster.backrest_s3_bucket = "backups".to_owned();
    cluster.backrest_s3_endpoint = "s3.example.org".to_owned();
    cluster.backrest_s3_region = "here".to_owned();
    assert_eq!(check_backrest_storage("local,s3", true, &config), Ok(()));
    let other = refused(|request| request.backrest_storage_type = "tape".to_owned());
    assert!(
        other.starts_with("Invalid value provided for pgBackRest storage type."),
        "{other}"
    );
}

#[test]
fn what_needs_replicas_says_so_before_it_says_that_it_is_for_later() {
    assert_eq!(
        refused(|request| request.autofail_flag = true),
        "replica-count of 1 or more is required when autofail is specified"
    );
    assert_eq!(
        refused(|request| request.pgpool_flag = true),
        "--pgpool requires replica-count be >= 1"
    );
}

#[test]
fn backups_can_be_on_a_volume_in_s3_or_in_both() {
    for types in ["", "local", "s3", "local, s3"] {
        assert_eq!(check_storage_types(types), Ok(()));
    }
    assert!(check_storage_types("local,").is_err());
    let labels =
        |types: &str| BTreeMap::from([(pgo_crd::STORAGE_TYPE.to_owned(), types.to_owned())]);
    assert_eq!(check_place("s3", &labels("local,s3")), Ok(()));
    assert_eq!(check_place("", &labels("s3")), Ok(()));
    let told = "Storage type 's3' not allowed. The backups of this cluster are in local";
    for there in [BTreeMap::new(), labels("local")] {
        assert_eq!(check_place("s3", &there), Err(Refusal(told.to_owned())));
    }
    let local = check_place("local", &labels("s3"));
    assert!(local.is_err_and(|Refusal(why)| why.contains("'local' not allowed")));
}

#[test]
fn replicas_are_counted_in_4_1s_text_and_in_a_number() {
    let creation = created(|request| {
        request.replica_count = 2;
        request.replica_storage_config = "big".to_owned();
    });
    let spec = &creation.cluster.spec;
    assert_eq!((spec.replicas.as_str(), spec.replica_count), ("2", Some(2)));
    assert_eq!(spec.replica_storage.size, "10G");
    let refused = refused(|request| request.replica_count = 101);
    assert!(refused.contains("at most 100"), "{refused}");
}

#[test]
fn nothing_of_later_work_is_silently_left_out() {
    type Change = fn(&mut CreateClusterRequest);
    let changes: [(&str, Change); 4] = [
        ("--metrics", |request| request.metrics_flag = true),
        ("--pgbadger", |request| request.badger_flag = true),
        ("--pgbouncer", |request| request.pgbouncer_flag = true),
        ("ArchiveFlag", |request| request.archive_flag = true),
    ];
    for (what, change) in changes {
        assert_eq!(
            refused(change),
            format!("'{what}' is not available in this version yet")
        );
    }
}

#[test]
fn a_password_is_for_all_three_users() {
    let creation = created(|request| request.password = "s3cret".to_owned().into());
    let names: Vec<_> = creation
        .secrets
        .iter()
        .map(|secret| secret.name_any())
        .collect();
    assert_eq!(
        names,
        [
            "hippo-postgres-secret",
            "hippo-primaryuser-secret",
            "hippo-testuser-secret"
        ]
    );
    for secret in &creation.secrets {
        assert_eq!(secret.data.as_ref().expect("data")["password"].0, b"s3cret");
        assert_eq!(secret.labels()["pg-cluster"], "hippo");
    }
    assert!(
        created(|_| {}).secrets.is_empty(),
        "the reconciler draws passwords"
    );
}

#[test]
fn a_weird_password_is_refused_without_being_repeated() {
    for password in [" ", "a\nb", "a\0b", &"x".repeat(256)] {
        let why = refused(|request| request.password = password.to_owned().into());
        assert!(why.starts_with("the password"), "{why}");
        assert!(!why.contains(password) || password == " ", "{why}");
    }
}

#[test]
fn the_passwords_of_another_cluster_go_before_one_for_all() {
    let facts = Facts {
        source: Some(
            UserSecret::ALL
                .map(|which| (which, "copied".to_owned()))
                .into(),
        ),
        ..Facts::default()
    };
    let mut request = request();
    request.password = "given".to_owned().into();
    request.secret_from = "zebra".to_owned();
    let creation = judged(&request, &facts).expect("accepted").remove(0);
    assert_eq!(creation.cluster.spec.secretfrom, "zebra");
    for secret in creation.secrets {
        assert_eq!(secret.data.expect("data")["password"].0, b"copied");
    }
}

proptest! {
    /// Whatever is asked for: refused with a text, or objects that the reconciler takes and Kubernetes' names fit.
    #[test]
    fn no_request_makes_the_checks_panic(
        name in "[a-zA-Z0-9.-]{0,70}",
        labels in "\\PC{0,40}",
        series in -2_i64..5,
        tag in "\\PC{0,20}",
        storage in "(fast|big|\\PC{0,5})",
    ) {
        let mut request = request();
        request.name = name;
        request.user_labels = labels;
        request.series = series;
        request.ccp_image_tag = tag;
        request.storage_config = storage;
        match judged(&request, &Facts::default()) {
            Err(why) => prop_assert!(!why.is_empty()),
            Ok(creations) => for creation in creations {
                prop_assert!(pgo_crd::desired(&creation.cluster, &config()).is_ok());
            }
        }
    }

    #[test]
    fn a_name_that_reaches_a_path_of_kubernetes_has_no_separator(name in "\\PC{0,30}") {
        if is_object_name(&name) {
            prop_assert!(!name.contains(['/', '?', '%', '#']) && !name.contains(".."));
        }
    }
}
