//! No password is anywhere but in its Secret.

use crate::harness::{
    Cluster, Watch, kubectl,
    kubernetes::{list, secret, secret_in, text},
    namespace, operator, pgo,
    turns::together,
};

#[test]
fn no_password_is_in_logs_events_status_or_answers() {
    let _turn = together();
    let watch = Watch::begin();
    let cluster = Cluster::named("secrecy");
    let given = "sesame-open-7431-aladdin";
    let created = cluster.create(&["--wait", "--password", given]).ok();
    let stream = cluster.uid();
    watch.until(&stream, "CreateClusterCompleted");
    let tested = pgo(&["test", &cluster.name]).ok();
    let shown = pgo(&["show", "cluster", &cluster.name, "-o", "json"]).ok();

    let mut secrets = vec![
        given.to_owned(),
        secret_in(&operator(), "pgouser-pgoadmin", "password"),
    ];
    for name in ["postgres", "primaryuser", "testuser"] {
        let password = secret(&format!("{}-{name}-secret", cluster.name), "password");
        assert_eq!(password, given, "{name}");
    }
    let drawn = Cluster::ready("drawn");
    for name in ["postgres", "primaryuser", "testuser"] {
        let password = secret(&format!("{}-{name}-secret", drawn.name), "password");
        assert!(password.len() >= 20, "{name}'s password is short");
        secrets.push(password);
    }

    let mut places = vec![
        ("pgo create".to_owned(), created.out + &created.err),
        ("pgo test".to_owned(), tested.out + &tested.err),
        ("pgo show".to_owned(), shown.out + &shown.err),
        ("events".to_owned(), format!("{:?}", watch.all())),
    ];
    for namespace in [namespace(), operator()] {
        for kind in [
            "pgclusters",
            "pgtasks",
            "pods",
            "configmaps",
            "events",
            "statefulsets",
            "deployments",
        ] {
            let objects = kubectl(&["get", kind, "-n", &namespace, "-o", "json"])
                .ok()
                .out;
            places.push((format!("{kind} in {namespace}"), objects));
        }
    }
    for pod in list("pods", "pgo-process", &operator()) {
        places.push(logs(&text(&pod, "/metadata/name"), &operator()));
    }
    places.push(logs(&cluster.name, &namespace()));
    places.push(logs(&drawn.name, &namespace()));
    for (place, text) in places {
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "a password is in {place}");
        }
    }
}

fn logs(pod: &str, namespace: &str) -> (String, String) {
    let ran = kubectl(&["logs", pod, "-n", namespace, "--all-containers"]);
    (format!("the log of {pod}"), ran.out)
}
