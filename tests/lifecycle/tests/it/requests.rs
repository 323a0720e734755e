//! Wrong requests to the apiserver itself, from something else than `pgo`.

use std::{fs, path::Path};

use crate::harness::{
    Ran,
    programs::{program, run, setting},
    turns::together,
};

/// `curl` with client certificate and password; the status comes last on standard output.
fn curl(path: &str, arguments: &[&str], body: &str) -> Ran {
    let (ca, certificate, key) = (
        setting("PGO_CA_CERT"),
        setting("PGO_CLIENT_CERT"),
        setting("PGO_CLIENT_KEY"),
    );
    let url = format!("{}{path}", setting("PGO_APISERVER_URL"));
    let folder = tempfile::tempdir().expect("a folder");
    let (config, data) = (folder.path().join("config"), folder.path().join("body"));
    write(
        &config,
        &format!(
            "user = \"{}\"\n",
            fs::read_to_string(setting("PGOUSER"))
                .expect("pgouser")
                .trim()
        ),
    );
    write(&data, body);
    let config = config.to_string_lossy().into_owned();
    let body = format!("@{}", data.to_string_lossy());
    let mut all = vec![
        "--silent",
        "--show-error",
        "--max-time",
        "60",
        "--config",
        &config,
        "--cacert",
        &ca,
        "--cert",
        &certificate,
        "--key",
        &key,
        "--write-out",
        "\n%{http_code}",
        &url,
    ];
    if body.len() > 1 && !arguments.contains(&"--get") {
        all.extend([
            "--data-binary",
            &body,
            "--header",
            "Content-Type: application/json",
        ]);
    }
    all.extend(arguments);
    run(program("curl", &all), "").ok()
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("a file");
}

#[track_caller]
fn refused(ran: &Ran, status: &str, words: &[&str]) {
    assert!(ran.out.ends_with(&format!("\n{status}")), "{ran}");
    for word in words {
        assert!(ran.out.contains(word), "{word:?} is not said: {ran}");
    }
}

#[test]
fn malformed_json_says_where() {
    let _turn = together();
    refused(&curl("/clusters", &[], "{\"Name\": "), "400", &["line 1"]);
    let body = "{\"Name\": 7, \"ClientVersion\": \"4.1.0\", \"Namespace\": \"pgouser1\"}";
    refused(&curl("/clusters", &[], body), "400", &["Name"]);
}

#[test]
fn an_oversize_body_says_the_limit() {
    let _turn = together();
    let body = format!("{{\"Name\": \"{}\"}}", "x".repeat(2 << 20));
    refused(&curl("/clusters", &[], &body), "413", &["1048576"]);
}

#[test]
fn an_unknown_route_or_method_is_refused() {
    let _turn = together();
    refused(&curl("/no/such/route", &["--get"], ""), "404", &[]);
    refused(
        &curl("/clusters", &["--request", "PATCH"], "{}"),
        "405",
        &["POST"],
    );
}

#[test]
fn another_version_of_the_client_is_refused() {
    let _turn = together();
    let body = "{\"Clustername\": \"all\", \"AllFlag\": true, \"ClientVersion\": \"3.5.4\", \"Namespace\": \"pgouser1\"}";
    refused(
        &curl("/showclusters", &[], body),
        "200",
        &["pgo client and server version mismatch"],
    );
}

#[test]
fn health_and_metrics_answer() {
    let _turn = together();
    refused(&curl("/health", &["--get"], ""), "200", &[]);
    refused(&curl("/healthz", &["--get"], ""), "200", &[]);
    refused(&curl("/readyz", &["--get"], ""), "200", &[]);
    refused(&curl("/metrics", &["--get"], ""), "200", &["# TYPE"]);
}
