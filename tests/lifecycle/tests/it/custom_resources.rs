//! Nonsense in custom resources: refused by the schema, or Ready=False with the reason.

use serde_json::{Value, json};

use crate::harness::{
    Cluster, Watch,
    cluster::{READY, unique},
    events::{check_stream, fields, types},
    kubectl,
    kubernetes::{apply, condition, get, secret, text},
    namespace, operator,
    programs::{program, run},
    turns::together,
    until,
    until::seen,
};

/// The API server refuses a cluster with this spec, and says this.
#[track_caller]
fn refuses(cluster: &Cluster, spec: &Value, word: &str) {
    let ran = apply(&cluster.manifest(spec.clone()));
    assert!(
        !ran.status.success() && ran.err.contains(word),
        "{spec}: {word:?} is not said: {ran}"
    );
}

#[test]
fn the_schema_refuses_ports_that_cannot_be_had_and_notes_that_mean_nothing() {
    let _turn = together();
    let cluster = Cluster::named("notes");
    for (spec, word) in [
        (
            json!({"port": "99999"}),
            "port is a number from 1024 to 65535",
        ),
        (json!({"port": "80"}), "port is a number from 1024 to 65535"),
        (json!({"nodename": "node1"}), "nodename has no effect"),
        (
            json!({"pswlastupdate": "yesterday"}),
            "pswlastupdate is a time",
        ),
        (json!({"strategy": "seven"}), "strategy is 1"),
        (json!({"pgbadgerport": "abc"}), "pgbadgerport is a number"),
        (json!({"exporterport": "0"}), "exporterport is a number"),
    ] {
        refuses(&cluster, &spec, word);
    }
    assert!(cluster.object().is_none());
}

#[test]
fn the_schema_refuses_what_can_never_be() {
    let _turn = together();
    let cluster = Cluster::named("schema");
    for (spec, word) in [
        (json!({"port": 5432}), "port"),
        (json!({"name": "another"}), "spec.name is the object's name"),
        (
            json!({"clustername": "another"}),
            "spec.clustername is the object's name",
        ),
        (json!({"replicas": "x"}), "replicas is a number"),
        (
            json!({"PrimaryStorage": {"storagetype": "tape"}}),
            "storagetype is",
        ),
        (
            json!({"PrimaryStorage": {"size": "big"}}),
            "size is a quantity",
        ),
        (
            json!({"PrimaryStorage": {"accessmode": "Sometimes"}}),
            "accessmode is",
        ),
        (
            json!({"PrimaryStorage": {"fsgroup": "wheel"}}),
            "fsgroup is a number",
        ),
        (
            json!({"PrimaryStorage": {"fsgroup": "26", "supplementalgroups": "5"}}),
            "fsgroup and supplementalgroups cannot both be set",
        ),
        (
            json!({"ReplicaStorage": {"matchLabels": "disk"}}),
            "matchLabels is key=value",
        ),
        (
            json!({"BackrestStorage": {"supplementalgroups": "wheel"}}),
            "supplementalgroups is a comma list of numbers",
        ),
        (json!({"userlabels": {"a": 1}}), "userlabels"),
        (json!({"user": "my_app"}), "user has a-z, 0-9"),
        (
            json!({"ContainerResources": {"limitsmemory": "lots"}}),
            "limitsmemory is a quantity",
        ),
        (
            json!({"ContainerResources": {"requestscpu": "1 cpu"}}),
            "requestscpu is a quantity",
        ),
    ] {
        refuses(&cluster, &spec, word);
    }
    let mut all = cluster.manifest(json!({}));
    for wrong in ["all", "1abc", "a.b"] {
        all["metadata"]["name"] = json!(wrong);
        assert!(!apply(&all).status.success(), "{wrong}");
    }
    assert!(cluster.object().is_none());
}

/// A manifest of another kind than Pgcluster.
fn other(kind: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "crunchydata.com/v1", "kind": kind,
        "metadata": {"name": name, "namespace": namespace()}, "spec": spec,
    })
}

#[test]
fn the_schema_refuses_requests_that_nobody_would_carry_out() {
    let _turn = together();
    let name = unique("request");
    for (kind, spec, word) in [
        (
            "Pgtask",
            json!({"tasktype": "add-pgbouncer"}),
            "not available in this version yet",
        ),
        (
            "Pgtask",
            json!({"tasktype": "backrest"}),
            "parameters.pg-cluster",
        ),
        (
            "Pgtask",
            json!({"tasktype": "backrest", "parameters": {"pg-cluster": "x", "backrest-command": "expire"}}),
            "backrest-command in parameters is backup",
        ),
        ("Pgtask", json!({}), "tasktype is"),
        (
            "Pgtask",
            json!({"tasktype": "minorupgradecluster"}),
            "parameters.pg-cluster",
        ),
        (
            "Pgtask",
            json!({"tasktype": "delete-data"}),
            "parameters.pg-cluster",
        ),
        (
            "Pgtask",
            json!({"tasktype": "delete-data", "parameters": {"pg-cluster": "x", "delete-data": "yes"}}),
            "are true or false",
        ),
        (
            "Pgtask",
            json!({"tasktype": "delete-data", "parameters": {"pg-cluster": "x", "is-replica": "true"}}),
            "parameters.replica-name",
        ),
        (
            "Pgtask",
            json!({"tasktype": "workflow", "name": "another"}),
            "spec.name is",
        ),
        ("Pgreplica", json!({}), "clustername is"),
        ("Pgpolicy", json!({}), "a policy has SQL"),
        (
            "Pgbackup",
            json!({"backupport": "none"}),
            "backupport is a number",
        ),
    ] {
        let ran = apply(&other(kind, &name, spec.clone()));
        assert!(
            !ran.status.success() && ran.err.contains(word),
            "{kind} {spec}: {word:?} is not said: {ran}"
        );
    }
}

#[test]
fn the_schema_refuses_dumps_that_nobody_would_make() {
    let _turn = together();
    let name = unique("request");
    for (kind, spec, word) in [
        (
            "Pgtask",
            json!({"tasktype": "pgdump"}),
            "parameters.pg-cluster",
        ),
        (
            "Pgtask",
            json!({"tasktype": "pgdump", "parameters": {"pg-cluster": "x", "pgdump-opts": "nonsense"}}),
            "pgdump-opts in parameters are options of pg_dump",
        ),
        (
            "Pgtask",
            json!({"tasktype": "pgrestore"}),
            "parameters.pgrestore-from-cluster",
        ),
    ] {
        let ran = apply(&other(kind, &name, spec.clone()));
        assert!(
            !ran.status.success() && ran.err.contains(word),
            "{kind} {spec}: {word:?} is not said: {ran}"
        );
    }
}

/// What `kubectl get` shows of an object: the heads of the columns, and its line.
fn columns(kind: &str, name: &str, namespace: &str) -> [Vec<String>; 2] {
    let table = kubectl(&["get", kind, name, "-n", namespace]).ok();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
    let lines: Vec<Vec<String>> = table.out.lines().map(words).collect();
    lines
        .try_into()
        .unwrap_or_else(|_| panic!("one object: {table}"))
}

#[test]
fn the_schema_refuses_a_second_installation_and_a_state_that_is_none() {
    let _turn = together();
    for (name, spec, word) in [
        ("other", json!({}), "there is one PgInstallation, named pgo"),
        (
            "pgo",
            json!({"state": "Asleep"}),
            "state is Running or Stopped",
        ),
    ] {
        let mut manifest = other("PgInstallation", name, spec);
        manifest["metadata"]["namespace"] = json!(operator());
        // Nothing comes of it, also where it is not refused.
        let command = program("kubectl", &["apply", "--dry-run=server", "-f", "-"]);
        let ran = run(command, &manifest.to_string());
        assert!(
            !ran.status.success() && ran.err.contains(word),
            "{manifest}: {word:?} is not said: {ran}"
        );
    }
}

#[test]
fn the_columns_of_kubectl_show_how_pgo_is() {
    let _turn = together();
    let [heads, line] = columns("pginstallation", "pgo", &operator());
    assert_eq!(
        heads,
        ["NAME", "PHASE", "VERSION", "READY", "DEGRADED", "AGE"]
    );
    assert_eq!(
        (line.len(), line[0].as_str(), line[2].as_str()),
        (6, "pgo", "4.1.0"),
        "{line:?}"
    );
    for cell in &line[3..5] {
        assert!(["True", "False"].contains(&cell.as_str()), "{line:?}");
    }
}

#[test]
fn requests_that_nothing_is_done_for_say_so() {
    let _turn = together();
    let name = unique("request");
    for (kind, spec, name_of, reason, own) in [
        (
            "Pgreplica",
            json!({"clustername": "x"}),
            "Ready",
            "NoSuchCluster",
            &[("CLUSTER", "x")][..],
        ),
        (
            "Pgbackup",
            json!({"backupstatus": "none"}),
            "Ready",
            "NotAvailable",
            &[("STATUS", "none")],
        ),
        (
            "Pgtask",
            json!({"tasktype": "delete-data", "status": "asked", "parameters": {"pg-cluster": name}}),
            "Complete",
            "NoSuchCluster",
            &[("TYPE", "delete-data"), ("STATUS", "asked")],
        ),
    ] {
        apply(&other(kind, &name, spec)).ok();
        until(&format!("the condition of a {kind}"), READY, || {
            let object = get(kind, &name, &namespace()).ok_or("it is not there")?;
            let told = condition(&object, name_of).unwrap_or_default();
            let is = told["status"] == "False" && told["reason"] == reason;
            seen(is, || object["status"].to_string())
        });
        let condition = name_of.to_uppercase();
        let named = [("NAME", name.as_str())]
            .into_iter()
            .chain(own.iter().copied());
        let wanted: Vec<_> = named.chain([(condition.as_str(), "False")]).collect();
        let [heads, line] = columns(kind, &name, &namespace());
        let shown: Vec<_> = heads
            .iter()
            .map(String::as_str)
            .zip(line.iter().map(String::as_str))
            .collect();
        assert_eq!(shown[..shown.len() - 1], wanted, "{kind}");
        assert_eq!(shown[shown.len() - 1].0, "AGE", "{kind}");
        kubectl(&["delete", kind, &name, "-n", &namespace()]).ok();
    }
}

#[test]
fn what_the_schema_cannot_know_is_told_in_the_condition_and_mended_by_a_change() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = Cluster::named("invalid");
    apply(&cluster.manifest(json!({"userlabels": {"service-type": "Pigeon"}}))).ok();
    let ready = cluster.until_ready_is("False", "Invalid", READY);
    let message = text(&ready, "/message");
    assert!(
        message.contains("service-type") && message.contains("ClusterIP"),
        "{message}"
    );
    let stream = cluster.uid();
    let events = watch.until(&stream, "CreateClusterFailure");
    check_stream(&events);
    assert_eq!(fields(&events, "CreateClusterFailure", "/cause"), [message]);
    assert!(cluster.belongings().is_empty(), "nothing is half-made");

    apply(&cluster.manifest(json!({"userlabels": {"service-type": "ClusterIP"}}))).ok();
    cluster.until_ready();
    let events = watch.until(&stream, "CreateClusterCompleted");
    check_stream(&events);
    let told = types(&events);
    assert_eq!(
        told.iter().filter(|t| *t == "CreateClusterFailure").count(),
        1,
        "{told:?}"
    );
}

#[test]
fn what_does_not_fit_together_names_its_field_and_nothing_is_half_made() {
    let _turn = together();
    for (spec, field) in [
        (
            json!({"ContainerResources": {"requestsmemory": "2Gi", "limitsmemory": "1Gi"}}),
            "spec.ContainerResources.requestsmemory: ",
        ),
        (
            json!({"PrimaryStorage": {"size": "0", "storagetype": "dynamic"}}),
            "spec.PrimaryStorage.size: ",
        ),
        (json!({"namespace": "elsewhere"}), "spec.namespace: "),
        (json!({"usersecretname": "own"}), "spec.usersecretname: "),
        (json!({"primaryhost": "other"}), "spec.primaryhost: "),
        (
            json!({"ReplicaStorage": {"size": "0"}}),
            "spec.ReplicaStorage.size: ",
        ),
        (
            json!({"PrimaryStorage": {"name": "elsewhere"}}),
            "spec.PrimaryStorage.name: ",
        ),
        (
            json!({"userlabels": {"autofail": "banana"}}),
            "spec.userlabels.autofail: ",
        ),
    ] {
        let cluster = Cluster::named("unfit");
        apply(&cluster.manifest(spec.clone())).ok();
        let ready = cluster.until_ready_is("False", "Invalid", READY);
        let message = text(&ready, "/message");
        assert!(message.starts_with(field), "{spec}: {message}");
        assert!(cluster.belongings().is_empty(), "nothing is half-made");
    }
}

#[test]
fn a_cluster_of_a_later_version_is_told_not_ignored() {
    let _turn = together();
    let spec = json!({"userlabels": {"crunchy-pgbouncer": "true"}});
    let cluster = Cluster::named("later");
    apply(&cluster.manifest(spec.clone())).ok();
    let ready = cluster.until_ready_is("False", "Invalid", READY);
    assert!(
        text(&ready, "/message").contains("not available in this version yet"),
        "{spec}: {ready}"
    );
}

#[test]
fn what_4_1s_labels_ask_for_of_a_later_version_is_told_not_ignored() {
    let _turn = together();
    for label in ["crunchy-pgbadger", "crunchy-pgbouncer"] {
        let cluster = Cluster::named("labelled");
        let mut manifest = cluster.manifest(json!({}));
        manifest["metadata"]["labels"] = json!({(label): "true"});
        apply(&manifest).ok();
        let ready = cluster.until_ready_is("False", "Invalid", READY);
        let message = text(&ready, "/message");
        assert!(
            message.starts_with(&format!("metadata.labels.{label}: "))
                && message.contains("not available in this version yet"),
            "{message}"
        );
        assert!(cluster.belongings().is_empty(), "nothing is half-made");
    }
}

#[test]
fn passwords_come_from_the_cluster_that_the_spec_names() {
    let _turn = together();
    let (first, second) = (Cluster::named("source"), Cluster::named("copy"));
    apply(&second.manifest(json!({"secretfrom": first.name}))).ok();
    let ready = second.until_ready_is("False", "SecretNotFound", READY);
    let message = text(&ready, "/message");
    assert!(
        message.contains("spec.secretfrom") && message.contains(&first.name),
        "{message}"
    );
    assert!(second.belongings().is_empty(), "nothing is half-made");

    apply(&first.manifest(json!({}))).ok();
    second.until_ready();
    for user in ["postgres", "primaryuser", "testuser"] {
        let password = |cluster: &Cluster| {
            let name = format!("{}-{user}-secret", cluster.name);
            secret(&name, "password")
        };
        assert_eq!(password(&first), password(&second), "{user}");
    }
    assert_eq!(second.ask("select 1"), "1");
}

#[test]
fn user_and_database_stay_what_they_were() {
    let _turn = together();
    let cluster = Cluster::named("constant");
    apply(&cluster.manifest(json!({"user": "ada", "database": "engine"}))).ok();
    for (spec, word) in [
        (
            json!({"user": "bob", "database": "engine"}),
            "user cannot be changed",
        ),
        (
            json!({"user": "ada", "database": "other"}),
            "database cannot be changed",
        ),
    ] {
        let ran = apply(&cluster.manifest(spec));
        assert!(!ran.status.success() && ran.err.contains(word), "{ran}");
    }
}

#[test]
fn the_documentation_of_the_fields_is_in_the_cluster() {
    let _turn = together();
    let ran = kubectl(&[
        "explain",
        "pgcluster.spec.PrimaryStorage",
        "-n",
        &namespace(),
    ])
    .ok();
    assert!(
        ran.out.contains("storageclass") && ran.out.contains("storagetype"),
        "{ran}"
    );
}
