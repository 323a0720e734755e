//! Who may do what in Kubernetes, and how little that is.

use crate::harness::{
    Cluster, kubectl, namespace, operator,
    programs::{program, run},
    turns::together,
};

/// Whether an account may.
fn may(account: &str, verb: &str, what: &str, namespace: &str) -> bool {
    let (object, sub) = what
        .split_once('#')
        .map_or((what, ""), |(object, sub)| (object, sub));
    let as_account = format!("--as=system:serviceaccount:{account}");
    let subresource = format!("--subresource={sub}");
    let mut arguments = vec!["auth", "can-i", verb, object, "-n", namespace, &as_account];
    if !sub.is_empty() {
        arguments.push(&subresource);
    }
    let ran = kubectl(&arguments);
    assert!(["yes", "no"].contains(&ran.out.trim()), "{ran}");
    ran.out.trim() == "yes"
}

#[test]
fn an_agent_reaches_its_own_lease_and_slice_and_nothing_else() {
    let _turn = together();
    let (ours, other) = (Cluster::ready("ours"), Cluster::named("other"));
    let (name, namespace) = (&ours.name, namespace());
    let agent = format!("{namespace}:{name}-agent");
    for (verb, what) in [("get", "leases"), ("update", "leases")] {
        assert!(
            may(&agent, verb, &format!("{what}/{name}"), &namespace),
            "{verb} {what}"
        );
        assert!(
            !may(&agent, verb, &format!("{what}/{}", other.name), &namespace),
            "{verb} {what} of another"
        );
    }
    for verb in ["get", "update"] {
        assert!(
            may(
                &agent,
                verb,
                &format!("endpointslices/{name}-primary"),
                &namespace
            ),
            "{verb}"
        );
        assert!(
            !may(
                &agent,
                verb,
                &format!("endpointslices/{}-primary", other.name),
                &namespace
            ),
            "{verb}"
        );
    }
    for (verb, what) in [
        ("list", "leases"),
        ("create", "leases"),
        ("delete", "leases"),
        ("list", "endpointslices"),
        ("create", "endpointslices"),
        ("get", "secrets"),
        ("list", "secrets"),
        ("get", "pods"),
        ("create", "pods"),
        ("create", "pods#exec"),
        ("get", "configmaps"),
        ("get", "pgclusters.crunchydata.com"),
        ("update", "pgclusters.crunchydata.com#status"),
        ("get", "services"),
    ] {
        assert!(!may(&agent, verb, what, &namespace), "{verb} {what}");
        assert!(
            !may(&agent, verb, what, &operator()),
            "{verb} {what} in the operator's namespace"
        );
    }
}

#[test]
fn services_of_pgo_have_just_what_they_use() {
    let _turn = together();
    let (target, own) = (namespace(), operator());
    let of = |process: &str| format!("{own}:pgo-{process}");
    for (process, verb, what, namespace) in [
        // The status has one writer.
        (
            "apiserver",
            "update",
            "pgclusters.crunchydata.com#status",
            target.as_str(),
        ),
        ("apiserver", "create", "pods", &target),
        ("apiserver", "create", "pods#exec", &target),
        ("apiserver", "delete", "persistentvolumeclaims", &target),
        ("apiserver", "create", "rolebindings", &target),
        ("apiserver", "list", "secrets", "kube-system"),
        ("reconciler", "get", "secrets", &own),
        ("reconciler", "list", "secrets", "kube-system"),
        ("reconciler", "create", "pods#exec", &target),
        ("reconciler", "create", "pods", &own),
        (
            "reconciler",
            "create",
            "pgclusters.crunchydata.com",
            &target,
        ),
        ("scheduler", "get", "secrets", &target),
        ("scheduler", "get", "secrets", &own),
        ("scheduler", "create", "pods", &target),
        ("event", "get", "secrets", &own),
        ("event", "get", "pods", &own),
        ("event", "get", "pgclusters.crunchydata.com", &target),
        ("nsqd", "get", "secrets", &own),
        ("nsqd", "get", "pods", &own),
    ] {
        assert!(
            !may(&of(process), verb, what, namespace),
            "{process} may {verb} {what} in {namespace}"
        );
    }
    for (process, verb, what, namespace) in [
        ("apiserver", "create", "pgclusters.crunchydata.com", &target),
        (
            "reconciler",
            "update",
            "pgclusters.crunchydata.com#status",
            &target,
        ),
        ("reconciler", "create", "pods", &target),
    ] {
        assert!(
            may(&of(process), verb, what, namespace),
            "{process} may not {verb} {what} in {namespace}"
        );
    }
}

#[test]
fn every_pod_meets_pod_security_restricted() {
    let _turn = together();
    let _cluster = Cluster::ready("restricted");
    for namespace in [namespace(), operator()] {
        let labels = kubectl(&[
            "get",
            "namespace",
            &namespace,
            "-o",
            "jsonpath={.metadata.labels}",
        ])
        .ok();
        assert!(
            labels
                .out
                .contains("\"pod-security.kubernetes.io/enforce\":\"restricted\""),
            "{labels}"
        );
        // Kubernetes warns of pods that are there and would not be let in.
        let ran = kubectl(&[
            "label",
            "--dry-run=server",
            "--overwrite",
            "namespace",
            &namespace,
            "pod-security.kubernetes.io/enforce=baseline",
        ])
        .ok();
        assert!(!ran.err.contains("violate"), "{ran}");
        let ran = kubectl(&[
            "label",
            "--dry-run=server",
            "--overwrite",
            "namespace",
            &namespace,
            "pod-security.kubernetes.io/enforce=restricted",
            "pod-security.kubernetes.io/enforce-version=latest",
        ])
        .ok();
        assert!(!ran.err.contains("violate"), "{ran}");
        let pod = run(
            program(
                "kubectl",
                &[
                    "run",
                    "intruder",
                    "--image=x",
                    "--privileged",
                    "--dry-run=server",
                    "-n",
                    &namespace,
                ],
            ),
            "",
        );
        assert!(
            !pod.status.success() && pod.err.contains("PodSecurity"),
            "{pod}"
        );
    }
}
