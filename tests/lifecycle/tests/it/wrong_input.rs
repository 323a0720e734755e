//! Wrong input by `pgo`: an error that names what is wrong and what would be right, an exit status, nothing half-made.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{
    Cluster, Ran,
    cluster::READY,
    kubectl,
    kubernetes::{apply, list, names},
    namespace, operator, pgo,
    programs::{program, run},
    turns::together,
    until,
};

/// The same cluster name was asked for with something wrong; nothing of it is there.
#[track_caller]
fn nothing_is_made(cluster: &Cluster) {
    assert!(cluster.object().is_none(), "a Pgcluster was made");
    let tasks = list(
        "pgtasks",
        &format!("pg-cluster={}", cluster.name),
        &namespace(),
    );
    let left = [names(&cluster.belongings()), names(&tasks)].concat();
    assert!(left.is_empty(), "{left:?} was made");
}

/// `pgo` with some variables changed or, where empty, taken away.
fn pgo_with(variables: &[(&str, &str)], arguments: &[&str]) -> Ran {
    let mut command = program("pgo", arguments);
    for (name, value) in variables {
        if value.is_empty() {
            command.env_remove(name);
        } else {
            command.env(name, value);
        }
    }
    run(command, "")
}

#[test]
fn an_unknown_cluster_is_named() {
    let _turn = together();
    let nobody = Cluster::named("nobody");
    let name = nobody.name.as_str();
    pgo(&["show", "cluster", name]).failed(2, &[name, &namespace()]);
    pgo(&["test", name]).failed(2, &[name]);
    pgo(&["delete", "cluster", name, "--no-prompt"]).failed(2, &["no clusters found", name]);
    nothing_is_made(&nobody);
}

#[test]
fn a_name_that_is_taken_is_refused_and_the_cluster_stays_as_it_is() {
    let _turn = together();
    let cluster = Cluster::ready("taken");
    // 4.1's state comes into the spec after the cluster is ready.
    let before = until("the state in its spec", READY, || {
        let object = cluster.object().ok_or("it is not there")?;
        if object["spec"]["status"] == "completed" {
            Ok(object)
        } else {
            Err(object["spec"].to_string())
        }
    });
    cluster.create(&["--password", "another"]).failed(
        2,
        &[&format!(
            "pgcluster {} was found so we will not create it",
            cluster.name
        )],
    );
    let beside = format!("{}-replica", cluster.name);
    pgo(&["create", "cluster", &beside]).failed(2, &["cannot stand beside", &beside]);
    let after = cluster.object().expect("the cluster");
    assert_eq!(before["spec"], after["spec"]);
    assert_eq!(cluster.ask("select 1"), "1", "the password is the former");
}

#[test]
fn a_name_that_cannot_be_one_says_why() {
    let _turn = together();
    pgo(&["create", "cluster", "Hippo"]).failed(1, &["lowercase"]);
    pgo(&["create", "cluster", "a_b"]).failed(1, &["lowercase"]);
    pgo(&["create", "cluster"]).failed(1, &["CLUSTER"]);
    for wrong in ["1abc", "a.b", "ends-", &"a".repeat(64)] {
        pgo(&["create", "cluster", wrong]).failed(2, &["invalid cluster name"]);
    }
    pgo(&["create", "cluster", "all"]).failed(2, &["'all' is not allowed"]);
}

#[test]
fn a_configuration_that_pgo_yaml_does_not_have_is_named() {
    let _turn = together();
    let cluster = Cluster::named("unknown");
    for (flag, value, why) in [
        (
            "--storage-config",
            "moon",
            "moon Storage config was not found \n--storage-config and --replica-storage-config take a name under Storage \
             in pgo.yaml; kubectl get configmap pgo-config -n pgo -o yaml shows it",
        ),
        (
            "--resources-config",
            "huge",
            "huge ContainerResource config was not found \n--resources-config takes a name under ContainerResources in \
             pgo.yaml; kubectl get configmap pgo-config -n pgo -o yaml shows it",
        ),
        (
            "--custom-config",
            "no-such-map",
            "no-such-map configmap was not found \n--custom-config takes a ConfigMap in the cluster's namespace; \
             kubectl get configmaps shows them",
        ),
        (
            "--secret-from",
            "no-such-cluster",
            "no-such-cluster secret was not found \n--secret-from takes a cluster in the same namespace that has its \
             three Secrets: CLUSTER-postgres-secret, CLUSTER-primaryuser-secret and that of its user; kubectl get secrets \
             shows them",
        ),
        (
            "--service-type",
            "Balancer",
            "error ServiceType should be either ClusterIP or LoadBalancer \n--service-type takes ClusterIP, NodePort \
             or LoadBalancer",
        ),
        (
            "--labels",
            "nothing",
            "invalid labels format\n--labels takes key=value, several with commas: env=prod,team=billing",
        ),
        (
            "--node-label",
            "no-such-key=x",
            "no-such-key=x key was not valid, no node has it; kubectl get nodes --show-labels shows what they have",
        ),
    ] {
        let ran = cluster.create(&[flag, value]);
        assert_eq!(ran.code(), 2, "{flag}: {ran}");
        assert_eq!(ran.err.trim_end(), format!("Error: {why}").trim_end());
        nothing_is_made(&cluster);
    }
}

#[test]
fn a_wrong_password_or_user_is_refused() {
    let _turn = together();
    for (user, password) in [("pgoadmin", "wrong"), ("nobody", "wrong")] {
        let variables = [
            ("PGOUSER", ""),
            ("PGOUSERNAME", user),
            ("PGOUSERPASS", password),
        ];
        let ran =
            pgo_with(&variables, &["version"]).failed(2, &["Authentication Failed: 401", user]);
        assert!(!ran.err.contains(password), "the password is told: {ran}");
    }
}

#[test]
fn a_missing_or_foreign_certificate_is_refused() {
    let _turn = together();
    for variable in ["PGO_CA_CERT", "PGO_CLIENT_CERT", "PGO_CLIENT_KEY"] {
        pgo_with(&[(variable, "")], &["version"]).failed(2, &[variable]);
        pgo_with(&[(variable, "/nowhere/at.all")], &["version"])
            .failed(2, &["/nowhere/at.all", variable]);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (key, certificate) = (path("key"), path("crt"));
    run(
        program(
            "openssl",
            &[
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "1",
                "-subj",
                "/CN=pgo-apiserver",
                "-keyout",
                &key,
                "-out",
                &certificate,
            ],
        ),
        "",
    )
    .ok();
    let foreign = [
        ("PGO_CLIENT_CERT", certificate.as_str()),
        ("PGO_CLIENT_KEY", key.as_str()),
    ];
    pgo_with(&foreign, &["version"]).failed(2, &["PGO_CLIENT_CERT"]);
    pgo_with(&[("PGO_CA_CERT", &certificate)], &["version"]).failed(2, &["PGO_CA_CERT"]);
}

#[test]
fn an_unreachable_server_is_told_with_its_url_and_at_once() {
    let _turn = together();
    let begun = Instant::now();
    pgo_with(
        &[("PGO_APISERVER_URL", "https://127.0.0.1:1")],
        &["version"],
    )
    .failed(2, &["https://127.0.0.1:1", "PGO_APISERVER_URL"]);
    assert!(begun.elapsed() < Duration::from_secs(5));
    pgo_with(&[("PGO_APISERVER_URL", "")], &["version"]).failed(255, &["PGO_APISERVER_URL"]);
}

#[test]
fn a_namespace_that_is_not_ours_is_refused() {
    let _turn = together();
    let cluster = Cluster::named("elsewhere");
    for (elsewhere, text) in [
        (
            "kube-system",
            "namespace [kube-system] is not part of the Operator installation",
        ),
        ("no-such-namespace", "[no-such-namespace]"),
    ] {
        cluster.create(&["-n", elsewhere]).failed(2, &[text]);
        pgo(&["show", "cluster", "--all", "-n", elsewhere]).failed(2, &[text]);
    }
    pgo_with(&[("PGO_NAMESPACE", "")], &["show", "cluster", "--all"])
        .failed(2, &["empty namespace is not valid from pgo clients"]);
    nothing_is_made(&cluster);
}

/// A user with these permissions and namespaces, made as the installer makes one; removed with this value.
struct User {
    name: String,
}

impl User {
    fn with(permissions: &str, namespaces: &str) -> Self {
        let name = crate::harness::cluster::unique("limited");
        let secret = |name: &str, labels: Value, data: Value| {
            let manifest = json!({
                "apiVersion": "v1", "kind": "Secret",
                "metadata": {"name": name, "namespace": operator(), "labels": labels},
                "stringData": data,
            });
            apply(&manifest).ok();
        };
        secret(
            &format!("pgorole-{name}"),
            json!({"vendor": "crunchydata", "pgo-pgorole": "true", "rolename": name}),
            json!({"rolename": name, "permissions": permissions}),
        );
        secret(
            &format!("pgouser-{name}"),
            json!({"vendor": "crunchydata", "pgo-pgouser": "true", "username": name}),
            json!({"username": name, "password": "of a test", "roles": name, "namespaces": namespaces}),
        );
        Self { name }
    }

    fn pgo(&self, arguments: &[&str]) -> Ran {
        let variables = [
            ("PGOUSER", ""),
            ("PGOUSERNAME", self.name.as_str()),
            ("PGOUSERPASS", "of a test"),
        ];
        pgo_with(&variables, arguments)
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let (user, role) = (
            format!("pgouser-{}", self.name),
            format!("pgorole-{}", self.name),
        );
        let mut command = program(
            "kubectl",
            &["delete", "secret", &user, &role, "-n", &operator()],
        );
        let _ = command.output();
    }
}

#[test]
fn a_user_does_what_his_role_permits_and_nothing_else() {
    let _turn = together();
    let user = User::with("Version,ShowCluster", "");
    until("the new user", READY, || {
        let ran = user.pgo(&["version"]);
        if ran.status.success() {
            Ok(())
        } else {
            Err(ran.err)
        }
    });
    user.pgo(&["show", "cluster", "--all"]).ok();
    let cluster = Cluster::named("forbidden");
    user.pgo(&["create", "cluster", &cluster.name])
        .failed(2, &["401", &user.name]);
    nothing_is_made(&cluster);
}

#[test]
fn a_user_reaches_only_his_own_namespaces() {
    let _turn = together();
    let user = User::with("Version,ShowCluster", "somewhere-else");
    until("the new user", READY, || {
        let ran = user.pgo(&["version"]);
        if ran.status.success() {
            Ok(())
        } else {
            Err(ran.err)
        }
    });
    let text = format!(
        "user [{}] is not allowed access to namespace [{}]",
        user.name,
        namespace()
    );
    user.pgo(&["show", "cluster", "--all"]).failed(2, &[&text]);
}

#[test]
fn what_comes_later_says_so_and_does_nothing() {
    let _turn = together();
    let cluster = Cluster::named("later");
    for flags in [
        vec!["--pgbouncer"],
        vec!["--pgpool"],
        vec!["--metrics"],
        vec!["--pgbadger"],
    ] {
        cluster
            .create(&flags)
            .failed(1, &["not available in this version yet"]);
    }
    for command in [vec!["label", "x"], vec!["create", "user", "x"]] {
        pgo(&command).failed(1, &["not available in this version yet"]);
    }
    nothing_is_made(&cluster);
}

#[test]
fn a_wrong_flag_or_command_says_what_is_possible() {
    pgo(&["create", "cluster", "x", "--no-such-flag"]).failed(1, &["--no-such-flag"]);
    pgo(&["conjure"]).failed(1, &["conjure"]);
    pgo(&["show", "cluster", "x", "-o", "yaml"]).failed(2, &["json"]);
    pgo(&["watch", "no-such-topic"]).failed(1, &["no-such-topic", "clustertopic"]);
    assert!(kubectl(&["version", "--client"]).status.success());
}
