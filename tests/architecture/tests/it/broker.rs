//! What nsqd's manifest must have, whatever else is changed in it: nothing that waits is in memory only, and nobody gets to
//! it without a certificate.

use std::fs;

use crate::workspace::root;

const MANIFEST: &str = "deploy/install/manifests/nsqd.yaml";

/// The lines without comments and blanks at their ends.
fn lines() -> Vec<String> {
    let text = fs::read_to_string(root().join(MANIFEST)).expect("the manifest");
    text.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn nsqd_has_the_flags_that_its_safety_rests_on() {
    let lines = lines();
    for flag in [
        // What waits is on the volume.
        "--mem-queue-size=0",
        "--data-path=/data",
        // It knows no users, so it stays in the pod.
        "--http-address=127.0.0.1:4151",
        "--https-address=",
        "--tls-required=tcp-https",
        "--tls-client-auth-policy=require-verify",
        "--tls-min-version=tls1.2",
        "--tls-cert=/etc/pgo/tls/tls.crt",
        "--tls-key=/etc/pgo/tls/tls.key",
        "--tls-root-ca-file=/etc/pgo/tls/ca.crt",
        "--auth-http-address=https://event.@PGO_OPERATOR_NAMESPACE@.svc:8447/auth",
    ] {
        let argument = format!("- {flag}");
        let name = flag.split_inclusive('=').next().unwrap_or(flag);
        let given: Vec<_> = lines.iter().filter(|line| line.contains(name)).collect();
        assert_eq!(given, [&argument], "{MANIFEST}");
    }
}

#[test]
fn nsqd_is_probed_by_its_port_and_stopped_in_peace() {
    let lines = lines();
    let count = |wanted: &str| lines.iter().filter(|line| line.contains(wanted)).count();
    // HTTP cannot be reached from outside of the pod, and a command would need a program in the image.
    assert_eq!(count("tcpSocket: {port: nsqd}"), count("Probe:"));
    assert_eq!(count("Probe:"), 3, "startup, readiness, liveness");
    assert_eq!((count("httpGet"), count("exec:")), (0, 0));
    let grace = lines
        .iter()
        .find_map(|line| line.strip_prefix("terminationGracePeriodSeconds: "));
    let grace: u32 = grace.and_then(|text| text.parse().ok()).unwrap_or(0);
    assert!(grace >= 30, "{grace} s to write what waits");
    // No other signal than SIGTERM, and no other port than that of NSQ.
    assert_eq!(count("preStop"), 0);
    assert_eq!(count("containerPort: "), 1);
    assert_eq!(count("containerPort: 4150"), 1);
}

#[test]
fn what_waits_is_on_a_volume_that_outlives_the_pod() {
    let lines = lines();
    let has = |wanted: &str| lines.iter().any(|line| line == wanted);
    assert!(has("volumeClaimTemplates:") && has("- {name: data, mountPath: /data}"));
    assert!(!lines.iter().any(|line| line.contains("emptyDir")));
}
