//! From Pgcluster and pgo.yaml to what the core decides on.

use std::collections::BTreeMap;

use pgo_core::{NodePreference, ServiceType, StorageKind};
use pgo_crd::{Pgcluster, PgclusterSpec, PgoConfig, Pgreplica, Requests, autofail, desired, label};
use serde_json::json;

use crate::made::{PGO_YAML, cluster, config};

#[test]
fn an_empty_spec_takes_everything_from_pgo_yaml() {
    let desired = desired(&cluster(json!({})), &config()).expect("a cluster");
    assert_eq!(
        desired.image.0,
        "example.org/pgo/crunchy-postgres:debian12-15"
    );
    assert_eq!(desired.agent_image.0, "example.org/pgo/pgo-agent:v1");
    assert_eq!((desired.port, desired.database.as_str()), (5432, "userdb"));
    assert_eq!(desired.user.as_str(), "testuser");
    assert_eq!(desired.storage.kind, StorageKind::Dynamic);
    assert_eq!(desired.storage.class.as_deref(), Some("local"));
    assert_eq!(desired.storage.fs_group, Some(26));
    assert_eq!(desired.service_type, ServiceType::ClusterIp);
}

#[test]
fn a_volume_for_one_pod_alone_can_be_asked_for() {
    let mode = |spec, pgo_yaml: &str| {
        let config = PgoConfig::parse(pgo_yaml).expect("a configuration");
        let desired = desired(&cluster(spec), &config).expect("a cluster");
        desired.storage.access_mode
    };
    let alone = PGO_YAML.replace("ReadWriteOnce", "ReadWriteOncePod");
    assert_eq!(mode(json!({}), PGO_YAML), "ReadWriteOnce");
    assert_eq!(mode(json!({}), &alone), "ReadWriteOncePod");
    let said = json!({"PrimaryStorage": {"size": "1Gi", "accessmode": "ReadWriteOncePod"}});
    assert_eq!(mode(said, PGO_YAML), "ReadWriteOncePod");
}

#[test]
fn what_the_spec_says_goes_before_pgo_yaml() {
    let spec = json!({
        "ccpimage": "my-postgres", "ccpimagetag": "16", "port": "6000", "user": "app",
        "PrimaryStorage": {"storagetype": "emptydir"},
        "userlabels": {"service-type": "NodePort", "env": "dev", "pgbouncer-password": "x"},
    });
    let desired = desired(&cluster(spec), &config()).expect("a cluster");
    assert_eq!(desired.image.0, "example.org/pgo/my-postgres:16");
    assert_eq!(desired.port, 6000);
    assert_eq!(desired.storage.kind, StorageKind::EmptyDir);
    assert_eq!(desired.service_type, ServiceType::NodePort);
    assert_eq!(desired.labels.get("env").map(String::as_str), Some("dev"));
    assert!(!desired.labels.contains_key("pgbouncer-password"));
}

#[test]
fn names_that_pgo_gives_itself_may_be_said() {
    let spec = json!({
        "namespace": "pgouser1", "primaryhost": "hippo", "strategy": "1", "user": "app",
        "usersecretname": "hippo-app-secret", "rootsecretname": "hippo-postgres-secret",
        "primarysecretname": "hippo-primaryuser-secret", "collectSecretName": "hippo-collect-secret",
        "pswlastupdate": "2026-11-22T14:23:53Z", "nodename": "", "port": "1024",
        "ContainerResources": {"requestsmemory": "1024Mi", "limitsmemory": "1Gi", "requestscpu": "0.1"},
    });
    let desired = desired(&cluster(spec), &config()).expect("a cluster");
    assert_eq!(desired.resources.requests_memory, "1024Mi");
}

#[test]
fn a_user_that_no_secret_can_be_named_after_is_refused_in_pgo_yaml_too() {
    for (former, wrong, key) in [
        ("User: testuser", "User: my_app", "Cluster.User: "),
        (
            "User: testuser",
            "User: testuser\n  Strategy: 7",
            "Cluster.Strategy: ",
        ),
    ] {
        let text = PGO_YAML.replace(former, wrong);
        assert_ne!(text, PGO_YAML);
        let error = PgoConfig::parse(&text)
            .expect_err("it is wrong")
            .to_string();
        assert!(error.contains(key), "{error}");
    }
}

#[test]
fn labels_by_which_pgo_knows_its_objects_are_never_the_users() {
    let taken = [
        "crunchy-pgbouncer",
        "crunchy-pgpool-pod",
        "deployment-name",
        "name",
        "pg-cluster",
        "pgbackup",
        "pgo-backrest-job",
        "pgo-backrest-repo",
        "pgo-backrest-restore",
        "pgremove",
        "pgrmdata",
        "service-name",
        "vendor",
        "workflowid",
    ];
    let userlabels: BTreeMap<&str, &str> = taken.into_iter().map(|key| (key, "x")).collect();
    let mut spec = json!({"userlabels": userlabels});
    spec["userlabels"]["env"] = json!("dev");
    spec["userlabels"]["workflow-id"] = json!("id");
    let desired = desired(&cluster(spec), &config()).expect("a cluster");
    let passed_on: Vec<&str> = desired.labels.keys().map(String::as_str).collect();
    assert_eq!(passed_on, ["env", "workflow-id"]);
    for key in taken {
        assert!(label::is_reserved(key), "{key}");
    }
    assert!(label::is_reserved("workflow-id") && !label::is_reserved("env"));
}

/// Fails unless each of these specs is refused with its field.
fn refused(specs: impl IntoIterator<Item = (serde_json::Value, &'static str)>) {
    for (spec, field) in specs {
        let error = desired(&cluster(spec.clone()), &config()).expect_err("refused");
        assert!(error.to_string().starts_with(field), "{spec}: {error}");
    }
}

#[test]
fn what_kubernetes_would_refuse_is_refused_with_its_field() {
    refused([
        (json!({"user": "my_app"}), "spec.user: "),
        (json!({"user": "Ann"}), "spec.user: "),
        (json!({"user": "ann-"}), "spec.user: "),
        (json!({"namespace": "elsewhere"}), "spec.namespace: "),
        (json!({"primaryhost": "other"}), "spec.primaryhost: "),
        (json!({"usersecretname": "own"}), "spec.usersecretname: "),
        (json!({"rootsecretname": "own"}), "spec.rootsecretname: "),
        (
            json!({"primarysecretname": "own"}),
            "spec.primarysecretname: ",
        ),
        (
            json!({"collectSecretName": "own"}),
            "spec.collectSecretName: ",
        ),
        (
            json!({"pswlastupdate": "yesterday"}),
            "spec.pswlastupdate: ",
        ),
        (
            json!({"nodename": "node1"}),
            "spec.nodename: it has no effect",
        ),
        (
            json!({"PrimaryStorage": {"size": "0"}}),
            "spec.PrimaryStorage.size: ",
        ),
        (
            json!({"PrimaryStorage": {"size": "big"}}),
            "spec.PrimaryStorage.size: ",
        ),
        (
            json!({"ContainerResources": {"limitsmemory": "lots"}}),
            "spec.ContainerResources.limitsmemory: ",
        ),
        (
            json!({"ContainerResources": {"requestscpu": "1 cpu"}}),
            "spec.ContainerResources.requestscpu: ",
        ),
        (
            json!({"ContainerResources": {"requestsmemory": "2Gi", "limitsmemory": "1Gi"}}),
            "spec.ContainerResources.requestsmemory: ",
        ),
        (
            json!({"ContainerResources": {"requestscpu": "1500m", "limitscpu": "1"}}),
            "spec.ContainerResources.requestscpu: ",
        ),
    ]);
}

#[test]
fn what_cannot_be_made_is_refused_with_its_field() {
    refused([
        (json!({"port": "seventy"}), "spec.port: "),
        (
            json!({"port": "1023"}),
            "spec.port: PostgreSQL does not run as root and cannot listen on port 1023; give one from 1024 to 65535",
        ),
        (json!({"user": "pg_me"}), "spec.user: "),
        (json!({"policies": "P1"}), "spec.policies: "),
        (json!({"ccpimage": "Crunchy"}), "spec.ccpimage: "),
        (json!({"ccpimage": "a//b"}), "spec.ccpimage: "),
        (json!({"ccpimagetag": "a:b"}), "spec.ccpimagetag: "),
        (
            json!({"userlabels": {"service-type": "Nope"}}),
            "spec.userlabels.service-type: ",
        ),
        (
            json!({"userlabels": {"crunchy_collect": "true"}}),
            "spec.userlabels.crunchy_collect: ",
        ),
        (
            json!({"userlabels": {"NodeLabelKey": "disk"}}),
            "spec.userlabels: ",
        ),
        (json!({"secretfrom": "Zebra"}), "spec.secretfrom: "),
        (json!({"secretfrom": "hippo"}), "spec.secretfrom: "),
        (
            json!({"PrimaryStorage": {"storagetype": "existing"}}),
            "spec.PrimaryStorage.storagetype: ",
        ),
        (
            json!({"PrimaryStorage": {"storagetype": "dynamic"}}),
            "spec.PrimaryStorage.size: ",
        ),
        (
            json!({"PrimaryStorage": {"size": "1Gi", "fsgroup": "x"}}),
            "spec.PrimaryStorage.fsgroup: ",
        ),
        (
            json!({"PrimaryStorage": {"size": "1Gi", "accessmode": "ReadWriteTwice"}}),
            "spec.PrimaryStorage.accessmode: ",
        ),
        (
            json!({"PrimaryStorage": {"size": "1Gi", "fsgroup": "26", "supplementalgroups": "5"}}),
            "spec.PrimaryStorage: fsgroup and supplementalgroups cannot both be set",
        ),
    ]);
}

#[test]
fn work_of_later_versions_that_a_label_of_the_cluster_asks_for_is_refused_by_that_label() {
    for key in [
        "crunchy-pgbadger",
        "crunchy-pgbouncer",
        "crunchy-pgpool",
        "crunchy_collect",
    ] {
        let with = |value: &str| {
            let mut object = cluster(json!({}));
            object.metadata.labels = Some([(key.to_owned(), value.to_owned())].into());
            desired(&object, &config())
        };
        let refused = with("true").expect_err(key).to_string();
        let expected = format!("metadata.labels.{key}: this is not available in this version yet");
        assert!(refused.starts_with(&expected), "{refused}");
        assert!(with("false").is_ok(), "{key}");
    }
}

#[test]
fn the_cluster_that_passwords_come_from_is_read() {
    let from = |spec| {
        desired(&cluster(spec), &config())
            .expect("a cluster")
            .secret_from
    };
    assert_eq!(from(json!({})), None);
    let zebra = from(json!({"secretfrom": "zebra"}));
    assert_eq!(zebra.as_ref().map(|name| name.as_str()), Some("zebra"));
}

#[test]
fn who_made_a_cluster_is_the_pgouser_or_the_program() {
    let mut object = cluster(json!({}));
    object.metadata.managed_fields = serde_json::from_value(json!([
        {"manager": "pgo-reconciler", "operation": "Update", "time": "2026-10-15T10:11:13Z"},
        {"manager": "kubectl-client-side-apply", "operation": "Update", "time": "2026-10-15T10:11:12Z"},
    ]))
    .expect("managed fields");
    let made = |object: &Pgcluster| {
        pgo_crd::cluster(object, &config(), Requests::default()).expect("a cluster")
    };
    assert_eq!(made(&object).actor, "kubectl");
    let user = ("pgouser".to_owned(), "ann".to_owned());
    object.metadata.labels = Some([user].into());
    assert_eq!(made(&object).actor, "ann");
}

/// A Pgreplica of cluster `hippo`.
fn replica(name: &str, spec: serde_json::Value) -> Pgreplica {
    let mut spec = spec;
    spec["clustername"] = json!("hippo");
    serde_json::from_value(json!({
        "apiVersion": "crunchydata.com/v1", "kind": "Pgreplica",
        "metadata": {"name": name, "namespace": "pgouser1", "uid": "uid-3", "labels": {"pgouser": "ann"}},
        "spec": spec,
    }))
    .expect("a Pgreplica")
}

#[test]
fn a_replica_has_its_own_settings_before_those_of_the_cluster_and_of_pgo_yaml() {
    let object = cluster(json!({
        "ReplicaStorage": {"storagetype": "dynamic", "size": "2Gi"},
        "ContainerResources": {"limitscpu": "1"},
        "userlabels": {"NodeLabelKey": "disk", "NodeLabelValue": "fast"},
    }));
    let found = pgo_crd::replica(&replica("hippo-abcd", json!({})), &object, &config());
    let found = found.expect("its replica");
    assert_eq!((found.actor.as_str(), found.derived), ("ann", false));
    let wanted = found.wanted.expect("understood");
    assert_eq!(wanted.storage.size, "2Gi");
    assert_eq!(wanted.resources.limits_cpu, "1");
    let without = NodePreference::Without("disk".to_owned(), "fast".to_owned());
    assert_eq!(wanted.node, Some(without));

    let own = json!({
        "replicastorage": {"storagetype": "emptydir"},
        "containerresources": {"limitscpu": "2"},
        "userlabels": {
            "NodeLabelKey": "zone", "NodeLabelValue": "b", "ccp-image-tag": "debian12-15.20", "service-type": "NodePort",
        },
    });
    let found = pgo_crd::replica(&replica("hippo-abcd", own), &object, &config());
    let wanted = found
        .and_then(|found| found.wanted.ok())
        .expect("understood");
    assert_eq!(wanted.storage.kind, StorageKind::EmptyDir);
    assert_eq!(wanted.resources.limits_cpu, "2");
    let with = NodePreference::With("zone".to_owned(), "b".to_owned());
    assert_eq!(wanted.node, Some(with));
    assert!(
        wanted.image.0.ends_with(":debian12-15.20"),
        "{}",
        wanted.image.0
    );
}

#[test]
fn a_replica_that_cannot_be_made_says_which_field_is_wrong() {
    for (name, spec, words) in [
        ("hippo", json!({}), "metadata.name: "),
        (
            "hippo-abcd",
            json!({"replicastorage": {"storagetype": "dynamic"}}),
            "spec.replicastorage.size: ",
        ),
        (
            "hippo-abcd",
            json!({"userlabels": {"NodeLabelKey": "disk"}}),
            "spec.userlabels: ",
        ),
    ] {
        let object = cluster(json!({}));
        let found = pgo_crd::replica(&replica(name, spec), &object, &config());
        let error = found.expect("its replica").wanted.expect_err("refused");
        assert!(error.starts_with(words), "{error}");
    }
}

#[test]
fn a_spec_of_4_1_keeps_its_field_names() {
    let spec = PgclusterSpec {
        collect_secret_name: "hippo-collect-secret".to_owned(),
        ..PgclusterSpec::default()
    };
    let json = serde_json::to_value(&spec).expect("JSON");
    for key in [
        "namespace",
        "name",
        "clustername",
        "policies",
        "ccpimage",
        "ccpimagetag",
        "port",
        "pgbadgerport",
        "exporterport",
        "nodename",
        "PrimaryStorage",
        "ArchiveStorage",
        "ReplicaStorage",
        "BackrestStorage",
        "ContainerResources",
        "primaryhost",
        "user",
        "database",
        "replicas",
        "strategy",
        "secretfrom",
        "usersecretname",
        "rootsecretname",
        "primarysecretname",
        "collectSecretName",
        "status",
        "pswlastupdate",
        "customconfig",
        "userlabels",
    ] {
        assert!(json.get(key).is_some(), "{key} is missing");
    }
}

#[test]
fn what_cannot_be_a_label_or_a_selector_is_refused_by_its_field() {
    for (spec, field) in [
        (json!({"userlabels": {"env": "a b"}}), "userlabels"),
        (json!({"userlabels": {"-env": "dev"}}), "userlabels"),
        (
            json!({"PrimaryStorage": {"storagetype": "dynamic", "size": "1Gi", "matchLabels": "disk"}}),
            "PrimaryStorage.matchLabels",
        ),
        (
            json!({"PrimaryStorage": {"name": "elsewhere"}}),
            "PrimaryStorage.name",
        ),
        (
            json!({"ReplicaStorage": {"matchLabels": "disk"}}),
            "ReplicaStorage.matchLabels",
        ),
        (
            json!({"BackrestStorage": {"supplementalgroups": "wheel"}}),
            "BackrestStorage.supplementalgroups",
        ),
        (
            json!({"ArchiveStorage": {"size": "0"}}),
            "ArchiveStorage.size",
        ),
        (
            json!({"userlabels": {"autofail": "banana"}}),
            "userlabels.autofail",
        ),
    ] {
        let refused = desired(&cluster(spec.clone()), &config()).expect_err("nonsense");
        assert_eq!(refused.field, format!("spec.{field}"), "{spec}");
    }
}

#[test]
fn commits_wait_for_as_many_replicas_as_the_cluster_says_else_by_the_configuration() {
    let with = |spec: serde_json::Value, default: bool| {
        let mut config = config();
        config.cluster.sync_replication = default;
        desired(&cluster(spec), &config).map(|desired| desired.synchronous)
    };
    assert_eq!(with(json!({}), true), Ok(0), "no replica");
    assert_eq!(with(json!({"replicaCount": 2}), true), Ok(1));
    let off = json!({"replicaCount": 2, "syncReplication": false});
    assert_eq!(with(off, true), Ok(0));
    let on = json!({"replicas": "1", "syncReplication": true});
    assert_eq!(with(on, false), Ok(1));
    let any = json!({"replicaCount": 2, "syncReplication": true, "synchronousStandbys": 2});
    assert_eq!(with(any, false), Ok(2));
    for (field, spec) in [
        ("syncReplication", json!({"syncReplication": true})),
        (
            "synchronousStandbys",
            json!({"replicaCount": 1, "synchronousStandbys": 2}),
        ),
    ] {
        let refused = with(spec, false).expect_err("too many");
        assert_eq!(refused.field, format!("spec.{field}"));
        assert!(refused.problem.contains("fewer answers"), "{refused}");
    }
}

#[test]
fn what_happens_without_enough_replicas_and_when_a_volume_hangs_is_the_clusters_to_say_else_by_the_configuration()
 {
    let with = |spec: serde_json::Value, (fallback, deadline): (bool, &str)| {
        let mut config = config();
        config.cluster.sync_fallback = fallback;
        deadline.clone_into(&mut config.cluster.volume_deadline);
        let desired = desired(&cluster(spec), &config).expect("valid");
        (desired.sync_fallback, desired.volume_deadline)
    };
    assert_eq!(with(json!({}), (false, "20")), (false, 20));
    assert_eq!(with(json!({}), (true, "")), (true, 20));
    assert_eq!(with(json!({}), (true, "45")), (true, 45));
    let own = json!({"syncFallback": false, "volumeDeadline": 0});
    assert_eq!(with(own, (true, "45")), (false, 0));
    let own = json!({"syncFallback": true});
    assert_eq!(with(own, (false, "45")), (true, 45));
}

#[test]
fn who_takes_over_by_itself_is_said_by_4_1s_label_else_by_the_configuration() {
    let with = |label: Option<&str>, default: bool| {
        let mut object = cluster(json!({}));
        object.metadata.labels =
            label.map(|value| [("autofail".to_owned(), value.to_owned())].into());
        let mut config = config();
        config.cluster.autofail = default;
        desired(&object, &config).map(|desired| desired.autofail)
    };
    assert_eq!((with(None, false), with(None, true)), (Ok(false), Ok(true)));
    assert_eq!(with(Some("true"), false), Ok(true));
    assert_eq!(with(Some("false"), true), Ok(false));
    // What the apiserver asks for is the same.
    let asked = |label: Option<&str>, user: Option<&str>, default: bool| {
        let labels =
            |value: Option<&str>| value.map(|value| ("autofail".to_owned(), value.to_owned()));
        let mut object = cluster(json!({}));
        object.metadata.labels = Some(labels(label).into_iter().collect());
        object.spec.userlabels = labels(user).into_iter().collect();
        let mut config = config();
        config.cluster.autofail = default;
        let told = autofail(&object, &config);
        let counts = desired(&object, &config).map(|desired| desired.autofail);
        assert_eq!(told, counts);
        told
    };
    assert_eq!(asked(None, None, true), Ok(true));
    assert_eq!(asked(None, Some("true"), false), Ok(true));
    assert_eq!(asked(Some(""), Some("false"), true), Ok(false));
    assert_eq!(asked(Some("false"), Some("true"), true), Ok(false));
    let refused = with(Some("banana"), true)
        .expect_err("nonsense")
        .to_string();
    assert_eq!(
        refused,
        "metadata.labels.autofail: \"banana\" is not true or false"
    );
}

#[test]
fn the_configuration_that_a_cluster_names_goes_before_that_of_its_namespace() {
    let of = |spec| {
        desired(&cluster(spec), &config())
            .expect("valid")
            .custom_config
    };
    let noted = json!({"custom-config": "pgo-custom-pg-config"});
    let both = json!({"customconfig": "mine", "userlabels": noted});
    assert_eq!(of(both).as_deref(), Some("mine"));
    let label = of(json!({"userlabels": noted}));
    assert_eq!(label.as_deref(), Some("pgo-custom-pg-config"));
    assert_eq!(of(json!({})), None);
}

#[test]
fn replicas_that_nobody_counts_are_those_of_pgo_yaml_at_the_creation() {
    let count = |object: &Pgcluster, default: &str| {
        let mut config = config();
        config.cluster.replicas = default.to_owned();
        let cluster = pgo_crd::cluster(object, &config, Requests::default());
        cluster.expect("a cluster").replica_count
    };
    let mut object = cluster(json!({}));
    assert_eq!((count(&object, "2"), count(&object, "")), (2, 0));
    for said in [json!({"replicas": "0"}), json!({"replicaCount": 0})] {
        assert_eq!(count(&cluster(said.clone()), "2"), 0, "{said}");
    }
    let counted = json!({"replicaCount": {"asked": 2, "wanted": 3, "made": 2}});
    object.status = Some(serde_json::from_value(counted).expect("a status"));
    assert_eq!(count(&object, "5"), 2, "it was made with those of then");
}
