//! Creation, by `pgo` and by `kubectl`.

use serde_json::json;

use crate::harness::{
    Cluster, Watch,
    cluster::READY,
    events::{check_stream, fields, types},
    kubectl,
    kubernetes::{ConfigMap, apply, get, list, names, secret, text},
    namespace, operator, pgo,
    turns::together,
    until,
    until::seen,
};

/// The events of a creation that goes well, in order.
const CREATION: [&str; 6] = [
    "CreateCluster",
    "CreateClusterProgress",
    "CreateClusterProgress",
    "CreateClusterProgress",
    "CreateClusterProgress",
    "CreateClusterCompleted",
];

/// What is told between start and end.
const STEPS: [&str; 4] = [
    "secrets, certificate and service made",
    "volume bound and pod placed",
    "agent started",
    "data directory initialized",
];

#[test]
fn a_cluster_made_by_pgo_is_ready_and_every_step_of_it_is_told_in_order() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = Cluster::named("made");
    let ran = cluster.create(&["--wait"]).ok();
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines[0], format!("created Pgcluster {}", cluster.name));
    let operation = lines[1]
        .strip_prefix("workflow id ")
        .expect("4.1's second line");
    assert!(lines[lines.len() - 1].ends_with("ready"), "{ran}");
    for step in STEPS {
        assert!(ran.out.contains(step), "{step:?} is not told by {ran}");
    }

    let events = watch.until(&cluster.uid(), "CreateClusterCompleted");
    assert_eq!(types(&events), CREATION);
    check_stream(&events);
    assert_eq!(fields(&events, "CreateClusterProgress", "/step"), STEPS);
    for event in &events {
        assert_eq!(text(event, "/operationid"), operation);
        assert_eq!(text(event, "/eventheader/username"), "pgoadmin");
        assert_eq!(text(event, "/eventheader/namespace"), namespace());
        assert_eq!(text(event, "/clustername"), cluster.name);
        assert_eq!(event["eventheader"]["topic"], json!(["clustertopic"]));
        assert!(event.pointer("/eventheader/timestamp").is_some());
    }
    // 4.1's own fields of these types.
    assert_eq!(fields(&events, "CreateCluster", "/workflowid"), [operation]);
    assert!(events[5]["durationms"].as_u64().is_some_and(|ms| ms > 0));
}

#[test]
fn a_cluster_made_by_kubectl_is_ready_with_nothing_but_a_name() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = Cluster::named("applied");
    apply(&cluster.manifest(json!({}))).ok();
    let by_label = format!("name={}", cluster.name);
    until("a selector finds it", READY, || {
        let ran = pgo(&["show", "cluster", "--selector", &by_label]);
        let found = ran.out.contains(&format!("cluster : {}", cluster.name));
        seen(found, || ran.to_string())
    });
    let seconds = READY.as_secs();
    kubectl(&[
        "wait",
        "--for=condition=Ready",
        &format!("pgcluster/{}", cluster.name),
        "-n",
        &namespace(),
        &format!("--timeout={seconds}s"),
    ])
    .ok();
    assert_eq!(cluster.ask("select 40 + 2"), "42");
    let events = watch.until(&cluster.uid(), "CreateClusterCompleted");
    assert_eq!(types(&events), CREATION);
    check_stream(&events);
}

#[test]
fn a_new_cluster_has_checksums_utf8_tls_and_scram() {
    let _turn = together();
    let cluster = Cluster::ready("settings");
    let settings = "select current_setting('data_checksums'), current_setting('server_encoding'), \
                    current_setting('password_encryption'), current_setting('ssl')";
    assert_eq!(cluster.ask(settings), "on|UTF8|scram-sha-256|on");
    assert_eq!(
        cluster.ask("select ssl from pg_stat_ssl where pid = pg_backend_pid()"),
        "t"
    );
    let scram = "select count(*) from pg_authid where rolpassword is not null and rolpassword not like 'SCRAM-SHA-256$%'";
    assert_eq!(cluster.psql_as_superuser(scram).ok().out.trim(), "0");
    let refused = cluster.psql_as("testuser", "not the password", "select 1");
    assert!(
        refused.err.contains("password authentication failed"),
        "{refused}"
    );
    let mut plain = crate::harness::programs::program(
        "psql",
        &[
            "--host",
            &cluster.address(),
            "--dbname",
            "userdb",
            "--command",
            "select 1",
        ],
    );
    plain
        .env("PGUSER", "testuser")
        .env(
            "PGPASSWORD",
            secret(&format!("{}-testuser-secret", cluster.name), "password"),
        )
        .env("PGSSLMODE", "disable")
        .env("PGCONNECT_TIMEOUT", "10");
    let plain = crate::harness::programs::run(plain, "");
    assert!(plain.code() != 0, "accepted without TLS: {plain}");
}

#[test]
fn events_leave_the_outbox_once_they_are_stored() {
    let _turn = together();
    let cluster = Cluster::ready("outbox");
    until("an empty outbox", READY, || {
        let object = cluster.object().ok_or("no cluster")?;
        let outbox = object
            .pointer("/status/outbox")
            .cloned()
            .unwrap_or_default();
        let entries = outbox["entries"].as_array().map_or(0, Vec::len);
        let backlog = crate::harness::kubernetes::condition(&object, "EventBacklog");
        seen(
            entries == 0 && backlog.is_none_or(|backlog| backlog["status"] == "False"),
            || outbox.to_string(),
        )
    });
}

#[test]
fn every_object_of_a_cluster_has_the_name_it_has_in_the_documentation() {
    let _turn = together();
    let cluster = Cluster::ready("objects");
    let name = &cluster.name;
    let found = names(&cluster.belongings());
    for wanted in [
        format!("Pod/{name}"),
        format!("PersistentVolumeClaim/{name}"),
        format!("Secret/{name}-postgres-secret"),
        format!("Secret/{name}-primaryuser-secret"),
        format!("Secret/{name}-testuser-secret"),
        format!("Secret/{name}-agent-tls"),
        format!("Service/{name}"),
        format!("EndpointSlice/{name}-primary"),
        format!("Lease/{name}"),
        format!("ServiceAccount/{name}-agent"),
        format!("Role/{name}-agent"),
        format!("RoleBinding/{name}-agent"),
    ] {
        assert!(found.contains(&wanted), "{wanted} is not among {found:?}");
    }
    let service = get("service", name, &namespace()).expect("its Service");
    assert!(
        service.pointer("/spec/selector").is_none(),
        "the agent writes the endpoints: {service}"
    );
}

#[test]
fn flags_of_create_become_what_they_say() {
    let _turn = together();
    let cluster = Cluster::named("flags");
    let config = format!("{}-config", cluster.name);
    let conf = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": config, "namespace": namespace(), "labels": {"pg-cluster": cluster.name}},
        "data": {"postgresql.conf": "work_mem = '7MB'\n"},
    });
    apply(&conf).ok();
    let password = "a pass:word's ünusual \"form\"";
    cluster
        .create(&[
            "--wait",
            "--labels",
            "team=night,env=dev",
            "--storage-config",
            "emptydir",
            "--service-type",
            "NodePort",
            "--password",
            password,
            "--custom-config",
            &config,
        ])
        .ok();
    kubectl(&["delete", "configmap", &config, "-n", &namespace()]).ok();
    let pod = cluster.pod();
    assert_eq!(text(&pod, "/metadata/labels/team"), "night");
    let service = get("service", &cluster.name, &namespace()).expect("its Service");
    assert_eq!(text(&service, "/spec/type"), "NodePort");
    assert!(
        get("pvc", &cluster.name, &namespace()).is_none(),
        "emptydir needs no claim"
    );
    let answer = cluster.psql_as("testuser", password, "show work_mem").ok();
    assert_eq!(answer.out.trim(), "7MB");
}

#[test]
fn the_configuration_of_the_namespace_is_for_clusters_that_name_none() {
    let _turn = together();
    let says = |name: &str, text: &str| {
        let config = ConfigMap(name.to_owned());
        // A setting that nothing reads: other tests make clusters meanwhile.
        let line = format!("lifecycle.configured_by = '{text}'\n");
        config.with(json!({"postgresql.conf": line}));
        config
    };
    let (silent, naming) = (Cluster::named("global"), Cluster::named("naming"));
    let own = says(&format!("{}-config", naming.name), "itself");
    let _of_the_namespace = says("pgo-custom-pg-config", "the namespace");
    apply(&silent.manifest(json!({}))).ok();
    naming.create(&["--custom-config", &own.0, "--wait"]).ok();
    silent.until_ready();
    let asked = "show lifecycle.configured_by";
    assert_eq!(naming.ask(asked), "itself");
    assert_eq!(silent.ask(asked), "the namespace");
}

#[test]
fn the_image_has_the_extensions_that_it_is_said_to_have() {
    let _turn = together();
    let cluster = Cluster::ready("extensions");
    let made = "begin;
        create extension plpython3u;
        create extension pgcrypto;
        create function pg_temp.two() returns int language plpython3u as 'return 1 + 1';
        select pg_temp.two(), length(gen_random_bytes(8));
        rollback;";
    let answer = cluster.psql_as_superuser(made).ok();
    assert!(answer.out.lines().any(|line| line == "2|8"), "{answer}");
}

#[test]
fn resources_of_a_profile_reach_the_pod() {
    let _turn = together();
    let cluster = Cluster::named("resources");
    // Not waited for: a tenth of a processor is slow.
    cluster.create(&["--resources-config", "small"]).ok();
    let resources = until("a pod", READY, || {
        let pod = get("pod", &cluster.name, &namespace()).ok_or("none")?;
        Ok(pod["spec"]["containers"][0]["resources"].clone())
    });
    assert_eq!(
        resources["limits"],
        json!({"cpu": "100m", "memory": "512Mi"})
    );
}

#[test]
fn passwords_can_be_taken_from_another_cluster() {
    let _turn = together();
    let first = Cluster::ready("first");
    let second = Cluster::named("second");
    second
        .create(&["--wait", "--secret-from", &first.name])
        .ok();
    let of = |cluster: &Cluster| secret(&format!("{}-testuser-secret", cluster.name), "password");
    assert_eq!(of(&first), of(&second));
    assert_eq!(second.ask("select 1"), "1");
}

#[test]
fn a_series_is_made_with_numbers_at_the_end() {
    let _turn = together();
    let base = Cluster::named("series");
    let both: Vec<Cluster> = (0..2)
        .map(|number| Cluster {
            name: format!("{}{number}", base.name),
        })
        .collect();
    base.create(&["--wait", "--series", "2"]).ok();
    for cluster in &both {
        assert_eq!(cluster.ask("select 1"), "1");
    }
}

#[test]
fn the_start_of_pgo_itself_is_in_the_history() {
    let _turn = together();
    let watch = crate::harness::programs::program(
        "timeout",
        &[
            "5", "pgo", "watch", "pgotopic", "--last", "100", "-o", "json",
        ],
    );
    let ran = crate::harness::programs::run(watch, "");
    let events: Vec<serde_json::Value> = ran
        .out
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .map(|line| line["event"].clone())
        .collect();
    let told = types(&events);
    assert!(told.contains(&"PGOStart".to_owned()), "{told:?}\n{ran}");
    assert!(
        told.contains(&"PGOStartCompleted".to_owned()),
        "{told:?}\n{ran}"
    );
    let installation = get("pginstallation", "pgo", &operator()).expect("PgInstallation pgo");
    assert_eq!(text(&installation, "/status/phase"), "Running");
    assert_eq!(
        text(&events[0], "/stream"),
        text(&installation, "/metadata/uid")
    );
}

#[test]
fn the_pgtask_of_a_creation_tells_4_1s_state() {
    let _turn = together();
    let cluster = Cluster::ready("task");
    let tasks = list(
        "pgtasks",
        &format!("pg-cluster={}", cluster.name),
        &namespace(),
    );
    assert_eq!(
        names(&tasks),
        [format!("Pgtask/{}-createcluster", cluster.name)]
    );
    until("its end in the task", READY, || {
        let task = get(
            "pgtask",
            &format!("{}-createcluster", cluster.name),
            &namespace(),
        )
        .ok_or("no task")?;
        let ended = text(&task, "/spec/status").contains("completed");
        seen(ended, || task["spec"].to_string())
    });
    assert!(
        pgo(&["show", "cluster", &cluster.name])
            .ok()
            .out
            .contains(&cluster.name)
    );
}
