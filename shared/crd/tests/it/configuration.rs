//! What `pgo.yaml` may say, and what is told of one that cannot be used.

use std::collections::BTreeSet;

use pgo_crd::PgoConfig;

use crate::made::PGO_YAML;

#[test]
fn a_pgo_yaml_that_cannot_be_used_says_which_key() {
    for (from, to, key) in [
        (
            "PrimaryStorage: local",
            "PrimaryStorage: nope",
            "PrimaryStorage: ",
        ),
        (
            "StorageType: dynamic",
            "StorageType: magic",
            "Storage.local: ",
        ),
        (
            "AccessMode: ReadWriteOnce",
            "AccessMode: ReadWriteTwice",
            "Storage.local: AccessMode: \"ReadWriteTwice\" is no access mode",
        ),
        ("User: testuser", "User: ''", "Cluster.User: "),
        ("Port: 5432", "Port: http", "Cluster.Port: "),
        (
            "Port: 5432",
            "Port: 80",
            "Cluster.Port: PostgreSQL does not run as root",
        ),
        ("PGOImageTag: v1", "PGOImageTag: ''", "Pgo.PGOImageTag: "),
        ("Pgo:", "BasicAuth: maybe\nPgo:", "BasicAuth: "),
        ("Port: 5432", "ServiceType: Nope", "Cluster.ServiceType: "),
        ("Port: 5432", "LogStatement: loud", "Cluster.LogStatement: "),
        ("Port: 5432", "Replicas: 101", "Cluster.Replicas: "),
        ("Port: 5432", "Replicas: -1", "Cluster.Replicas: "),
        (
            "Port: 5432",
            "BackupStallTimeout: 604801",
            "Cluster.BackupStallTimeout: \"604801\" is not a number from 0 to 604800",
        ),
        (
            "Port: 5432",
            "PasswordLength: many",
            "Cluster.PasswordLength: \"many\" is not a number from 8 to 512",
        ),
        (
            "Port: 5432",
            "PasswordLength: 4",
            "Cluster.PasswordLength: ",
        ),
        (
            "Fsgroup: 26",
            "SupplementalGroups: wheel",
            "Storage.local: ",
        ),
    ] {
        let error = PgoConfig::parse(&PGO_YAML.replace(from, to)).expect_err("refused");
        let expected = format!("Error in pgoconfig: check pgo.yaml: {key}");
        assert!(error.to_string().starts_with(&expected), "{error}");
    }
    assert!(PgoConfig::parse("PrimaryStorage: [").is_err());
}

#[test]
fn resources_of_each_kind_of_container_are_an_entry_or_nothing() {
    for of in [
        "Container",
        "Load",
        "Lspvc",
        "Rmdata",
        "Backup",
        "Badger",
        "Pgpool",
        "Pgbouncer",
    ] {
        let key = format!("Default{of}Resources");
        let with = |value: &str| PgoConfig::parse(&format!("{key}: {value}{PGO_YAML}"));
        for right in ["''", "small"] {
            assert!(with(right).is_ok(), "{key}: {right}");
        }
        let error = with("huge").expect_err("refused").to_string();
        let expected = format!("{key}: \"huge\" is not an entry of ContainerResources");
        assert!(error.contains(&expected), "{error}");
    }
}

#[test]
fn a_key_without_a_value_says_as_little_as_one_that_is_not_there() {
    let without = PgoConfig::parse(PGO_YAML).expect("a pgo.yaml");
    let text = PGO_YAML
        .replace(
            "Cluster:\n",
            "Cluster:\n  PrimaryNodeLabel:\n  Policies: ~\n  Metrics:\n  Database:\n  BackrestPort: null\n  LogStatement:\n",
        )
        .replace("Pgo:\n", "Pgo:\n  PreferredFailoverNode:\n  Audit:\n")
        .replace("    StorageClass: local\n", "    StorageClass: local\n    SupplementalGroups:\n");
    let text = format!("BasicAuth:\nDefaultContainerResources:\n{text}");
    let with = PgoConfig::parse(&text).expect("the same");
    assert_eq!(with, without);
    let nothing = text.replace("User: testuser", "User:");
    let error = PgoConfig::parse(&nothing).expect_err("refused").to_string();
    assert!(error.contains("Cluster.User: "), "{error}");
}

#[test]
fn keys_that_there_are_not_or_that_do_nothing_are_listed() {
    let parse = |text: &str| PgoConfig::parse(text).expect("a pgo.yaml");
    let without = parse(PGO_YAML);
    let older = "Cluster.LSPVCTemplate (no such setting)";
    assert_eq!(without.not_available(), BTreeSet::from([older.to_owned()]));
    let text = PGO_YAML
        .replace(
            "Cluster:\n",
            "Cluster:\n  Databse: app\n  Badger: true\n  ExporterPort: 9187\n  PGBadgerPort: 10001\n  PgmonitorPassword: s3cret\n",
        )
        .replace("Pgo:\n", "Pgo:\n  unknown: [x]\n  AutofailSleepSeconds: 9\n")
        .replace("    StorageClass: local\n", "    StorageClass: local\n    Klass: x\n");
    let text = format!("unknown: 1\nDefaultLoadResources: small\n{text}");
    let config = parse(&text);
    let expected = [
        "Cluster.Badger",
        "Cluster.Databse (no such setting)",
        older,
        "Cluster.PGBadgerPort",
        "Cluster.PgmonitorPassword",
        "DefaultLoadResources",
        "Pgo.AutofailSleepSeconds",
        "Pgo.unknown (no such setting)",
        "Storage.local.Klass (no such setting)",
        "unknown (no such setting)",
    ];
    assert_eq!(config.not_available(), expected.map(str::to_owned).into());
    assert_ne!(
        parse(&format!("Klass: x\n{PGO_YAML}")),
        without,
        "that a file has another key is a change"
    );
}

#[test]
fn an_error_about_pgo_yaml_quotes_nothing_of_it() {
    let text = "Cluster:\n  PgmonitorPassword: s3cret\n  Metrics: perhaps\n";
    let error = PgoConfig::parse(text).expect_err("refused").to_string();
    assert!(!error.contains("s3cret"), "{error}");
    assert!(error.contains("line 3"), "{error}");
}

#[test]
fn images_of_the_environment_go_before_those_of_the_file() {
    let config = PgoConfig::parse(PGO_YAML).expect("a pgo.yaml");
    let config = config.with_images(|name| (name == "CCP_IMAGE_TAG").then(|| "16".to_owned()));
    assert_eq!(config.cluster.ccp_image_tag, "16");
    assert_eq!(config.cluster.ccp_image_prefix, "example.org/pgo");
}
