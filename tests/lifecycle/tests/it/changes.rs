//! Changes of a cluster that is ready: in force at once, or told by name.

use serde_json::{Value, json};

use crate::harness::{
    Cluster,
    cluster::READY,
    kubectl,
    kubernetes::{apply, condition, get, list, names, secret, text},
    namespace, pgo,
    programs::{program, run},
    turns::together,
    until,
    until::seen,
};

/// Waits for the condition that says whether everything asked for is in force.
fn until_up_to_date_is(cluster: &Cluster, reason: &str) -> Value {
    until(&format!("UpToDate for reason {reason}"), READY, || {
        let object = cluster.object().ok_or("it is not there")?;
        let told = condition(&object, "UpToDate").unwrap_or_default();
        if told["reason"] == reason {
            Ok(told)
        } else {
            Err(told.to_string())
        }
    })
}

#[test]
fn a_service_follows_its_spec_and_leads_to_the_database_all_the_time() {
    let _turn = together();
    let cluster = Cluster::named("service");
    apply(&cluster.manifest(json!({"userlabels": {"team": "day"}}))).ok();
    cluster.until_ready();
    let service = || get("service", &cluster.name, &namespace()).expect("its Service");
    let address = text(&service(), "/spec/clusterIP");
    let spec = json!({"userlabels": {"team": "night", "service-type": "NodePort"}});
    apply(&cluster.manifest(spec)).ok();
    until("a NodePort", READY, || {
        let service = service();
        let is = text(&service, "/spec/type") == "NodePort"
            && text(&service, "/metadata/labels/team") == "night";
        seen(is, || service.to_string())
    });
    assert_eq!(text(&service(), "/spec/clusterIP"), address);
    assert_eq!(cluster.ask("select 1"), "1");

    // The port of the Service changes at once, and leads to that of the pod.
    let spec = json!({"port": "6543", "userlabels": {"team": "night"}});
    apply(&cluster.manifest(spec)).ok();
    until("the port", READY, || {
        let service = service();
        let ports: Vec<&Value> = service["spec"]["ports"]
            .as_array()
            .into_iter()
            .flatten()
            .collect();
        let is = ports.len() == 1 && ports[0]["port"] == 6543;
        seen(is && text(&service, "/spec/type") == "ClusterIP", || {
            service.to_string()
        })
    });
    let password = secret(&format!("{}-testuser-secret", cluster.name), "password");
    let arguments = [
        "--host",
        &address,
        "--port",
        "6543",
        "--dbname",
        "userdb",
        "--command",
        "select 1",
    ];
    until("an answer at the new port", READY, || {
        let mut command = program("psql", &arguments);
        command
            .env("PGUSER", "testuser")
            .env("PGPASSWORD", &password)
            .env("PGSSLMODE", "require")
            .env("PGCONNECT_TIMEOUT", "10");
        let ran = run(command, "");
        seen(ran.status.success(), || ran.to_string())
    });
    let told = until_up_to_date_is(&cluster, "RestartNeeded");
    assert!(text(&told, "/message").contains("port"), "{told}");
}

#[test]
fn what_needs_a_restart_is_told_by_name_and_in_force_after_one() {
    let _turn = together();
    let cluster = Cluster::named("restart");
    apply(&cluster.manifest(json!({}))).ok();
    cluster.until_ready();
    until_up_to_date_is(&cluster, "AsWanted");
    let uid = text(&cluster.pod(), "/metadata/uid");
    let spec = json!({"ContainerResources": {"requestsmemory": "300Mi", "limitsmemory": "600Mi"}});
    apply(&cluster.manifest(spec)).ok();
    let told = until_up_to_date_is(&cluster, "RestartNeeded");
    let message = text(&told, "/message");
    assert!(message.contains("ContainerResources"), "{message}");
    assert_eq!(
        text(&cluster.pod(), "/metadata/uid"),
        uid,
        "the database was interrupted"
    );
    cluster.until_ready_is("True", "", READY);

    // As the message says.
    kubectl(&["delete", "pod", &cluster.name, "-n", &namespace()]).ok();
    until_up_to_date_is(&cluster, "AsWanted");
    cluster.until_ready();
    let limits = &cluster.pod()["spec"]["containers"][0]["resources"]["limits"];
    assert_eq!(limits["memory"], "600Mi");
    assert_eq!(cluster.ask("select 1"), "1");
}

#[test]
fn a_spec_that_cannot_be_understood_leaves_a_database_that_serves_ready() {
    let _turn = together();
    let cluster = Cluster::ready("misunderstood");
    let patch = json!({"spec": {"userlabels": {"service-type": "Pigeon"}}}).to_string();
    let name = cluster.name.as_str();
    let arguments = [
        "patch",
        "pgcluster",
        name,
        "-n",
        &namespace(),
        "--type=merge",
    ];
    kubectl(&[&arguments[..], &["--patch", &patch]].concat()).ok();
    let told = until_up_to_date_is(&cluster, "Invalid");
    let message = text(&told, "/message");
    assert!(message.contains("service-type"), "{message}");
    cluster.until_ready_is("True", "Serving", READY);
    assert_eq!(
        text(&cluster.object().expect("the cluster"), "/status/phase"),
        "Ready"
    );
    assert_eq!(cluster.ask("select 1"), "1");
    let shown = pgo(&["show", "cluster", name]).ok();
    assert!(
        shown.out.contains("\tnot in force : Invalid: ") && !shown.out.contains("not ready : "),
        "{shown}"
    );
    let patch = json!({"spec": {"userlabels": {"service-type": "ClusterIP"}}}).to_string();
    kubectl(&[&arguments[..], &["--patch", &patch]].concat()).ok();
    until_up_to_date_is(&cluster, "AsWanted");
}

#[test]
fn a_cluster_that_is_made_says_so_in_4_1s_fields() {
    let _turn = together();
    let cluster = Cluster::ready("fields");
    until("4.1's fields", READY, || {
        let object = cluster.object().ok_or("it is not there")?;
        let is = text(&object, "/spec/status") == "completed"
            && text(&object, "/spec/PrimaryStorage/name") == cluster.name;
        seen(is, || object["spec"].to_string())
    });
    let name = format!("{}-createcluster", cluster.name);
    kubectl(&[
        "wait",
        "--for=condition=Complete",
        &format!("pgtask/{name}"),
        "-n",
        &namespace(),
        "--timeout=60s",
    ])
    .ok();
    let task = get("pgtask", &name, &namespace()).expect("its task");
    assert_eq!(text(&task, "/status/state"), "pgtask Processed");
}

/// Waits until `pgo test` gets in everywhere with what the Secrets say.
fn until_let_in(cluster: &Cluster, why: &str) {
    // Whatever changes in a pod has kubelet look at its volumes at once.
    let note = format!("pgo.crunchydata.com/test={}", why.len());
    let namespace = namespace();
    let pod = ["annotate", "pod", &cluster.name, &note, "-n", &namespace];
    kubectl(&[&pod[..], &["--overwrite"]].concat()).ok();
    until(why, READY, || {
        let tested = pgo(&["test", &cluster.name]);
        seen(tested.code() == 0, || tested.to_string())
    });
}

#[test]
fn the_password_that_a_secret_says_is_the_one_that_postgresql_has() {
    let _turn = together();
    let cluster = Cluster::ready("passwords");
    let pod = format!("Pod/{}", cluster.name);
    let selected = list("pods", &format!("name={}", cluster.name), &namespace());
    assert_eq!(names(&selected), [pod]);

    let lost = format!("{}-testuser-secret", cluster.name);
    let former = secret(&lost, "password");
    kubectl(&["delete", "secret", &lost, "-n", &namespace()]).ok();
    until("another Secret", READY, || {
        let there = get("secret", &lost, &namespace()).is_some();
        seen(there, || "none".to_owned())
    });
    assert_ne!(secret(&lost, "password"), former);
    until_let_in(&cluster, "a lost Secret's new password");

    let edited = format!("{}-postgres-secret", cluster.name);
    let patch = json!({"stringData": {"password": "chosen by hand"}}).to_string();
    let arguments = [
        "patch",
        "secret",
        &edited,
        "-n",
        &namespace(),
        "--type=merge",
    ];
    kubectl(&[&arguments[..], &["--patch", &patch]].concat()).ok();
    until_let_in(&cluster, "the password of an edited Secret");
}
