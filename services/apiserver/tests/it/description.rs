//! `docs/openapi.json` is what the route table and the types say. `UPDATE=1 cargo test -p pgo-apiserver` writes it anew.

use std::{collections::BTreeSet, env, fs, path::Path, time::Duration};

use futures::future::join_all;
use http::StatusCode;
use pgo_api::{
    ClusterTestResult, CreateClusterResponse, ROUTES, ShowClusterDetail, StatusCluster,
    StatusDetail, VersionResponse,
};
use pgo_tls::rest;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::harness::{Apiserver, Client, installation, start, start_plain, within};

#[test]
fn the_description_is_generated_from_the_routes_and_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let generated = pgo_apiserver::openapi();
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, format!("{generated:#}\n")).expect("docs can be written");
    }
    let stored = fs::read(&path).unwrap_or_default();
    let stored: Value = serde_json::from_slice(&stored).unwrap_or_default();
    assert!(
        stored == generated,
        "docs/openapi.json is not what the code says; run UPDATE=1 cargo test -p pgo-apiserver"
    );
}

#[test]
fn every_route_is_described_and_every_reference_leads_somewhere() {
    let document = pgo_apiserver::openapi();
    for route in ROUTES {
        assert!(document["paths"][route.path].is_object(), "{}", route.path);
    }
    let text = document.to_string();
    let references = text.split("\"$ref\":\"#").skip(1);
    for reference in references.map(|rest| rest.split('"').next().unwrap()) {
        assert!(document.pointer(reference).is_some(), "{reference}");
    }
    let create = &document["components"]["schemas"]["CreateClusterRequest"];
    assert_eq!(create["properties"]["Name"]["type"], "string");
    assert!(
        create["required"].is_null(),
        "a missing field has the zero value"
    );
    assert!(create["properties"]["Series"]["description"].is_string());
}

/// What an empty answer has on the wire.
fn empty<T: Serialize + Default>() -> Value {
    json!(T::default())
}

#[test]
fn what_is_left_out_of_an_answer_where_it_is_empty_need_not_be_there() {
    let document = pgo_apiserver::openapi();
    for (name, empty) in [
        ("StatusDetail", empty::<StatusDetail>()),
        ("StatusCluster", empty::<StatusCluster>()),
        ("ClusterTestResult", empty::<ClusterTestResult>()),
        ("ShowClusterDetail", empty::<ShowClusterDetail>()),
        ("CreateClusterResponse", empty::<CreateClusterResponse>()),
        ("VersionResponse", empty::<VersionResponse>()),
    ] {
        let schema = &document["components"]["schemas"][name];
        let required = schema["required"]
            .as_array()
            .expect("some are always there");
        for field in required.iter().map(|field| field.as_str().unwrap()) {
            assert!(empty.get(field).is_some(), "{name}.{field} is left out");
        }
    }
    let status = &document["components"]["schemas"]["StatusDetail"]["properties"];
    for new in [
        "PendingRestart",
        "FallenBack",
        "ClustersNotReady",
        "SettingsNotAvailable",
        "Clusters",
    ] {
        assert!(status[new].is_object(), "{new}");
    }
}

/// A status that needs a server that is not ready: `src/routes/service.rs` tests it.
const SEEN_ELSEWHERE: (&str, &str) = ("/readyz", "503");

/// One operation of the description.
#[derive(Debug)]
struct Operation {
    method: String,
    path: String,
    what: Value,
}

impl Operation {
    fn all() -> Vec<Self> {
        let document = pgo_apiserver::openapi();
        let paths = document["paths"].as_object().expect("there are paths");
        let of_path = |(path, methods): (&String, &Value)| {
            let methods = methods.as_object().expect("there are methods").clone();
            let operation = |(method, what): (String, Value)| Self {
                method: method.to_uppercase(),
                path: path.clone(),
                what,
            };
            methods.into_iter().map(operation).collect::<Vec<_>>()
        };
        paths.iter().flat_map(of_path).collect()
    }

    /// A path that is of this operation.
    fn target(&self) -> String {
        self.path.replace("{name}", "hippo").replace("{id}", "17")
    }

    /// Whether a scheme is demanded; the document's own demands count where the operation has none.
    fn demands(&self, scheme: &str) -> bool {
        match self.what["security"].as_array() {
            Some(ways) => !ways.is_empty() && ways.iter().all(|way| way[scheme].is_array()),
            None => true,
        }
    }

    fn described(&self) -> BTreeSet<String> {
        let responses = self.what["responses"].as_object().expect("there are some");
        let elsewhere = |status: &&String| SEEN_ELSEWHERE == (self.path.as_str(), status.as_str());
        responses
            .keys()
            .filter(|status| !elsewhere(status))
            .cloned()
            .collect()
    }
}

/// Asks with a body that is announced and does not come, up to where the server waits for it.
async fn ask_without_body(apiserver: &Apiserver, operation: &Operation) -> TcpStream {
    let mut stream = TcpStream::connect(apiserver.addr).await.unwrap();
    let head = format!(
        "{} {} HTTP/1.1\r\nhost: x\r\nauthorization: Basic cGdvYWRtaW46ZXhhbXBsZXBhc3N3b3Jk\r\n\
         content-length: 9\r\nexpect: 100-continue\r\n\r\n",
        operation.method,
        operation.target()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(status(&mut stream).await, StatusCode::CONTINUE);
    let mut rest = [0; " Continue\r\n\r\n".len()];
    stream.read_exact(&mut rest).await.unwrap();
    stream
}

/// The status with which the next answer begins.
async fn status(stream: &mut TcpStream) -> StatusCode {
    let mut begin = [0; "HTTP/1.1 200".len()];
    stream.read_exact(&mut begin).await.unwrap();
    StatusCode::from_bytes(&begin[9..]).unwrap()
}

#[tokio::test]
async fn what_is_described_is_how_the_server_answers() {
    let kubernetes = installation();
    let (tls, plain) = tokio::join!(start(&kubernetes), start_plain(&kubernetes));
    let certificate = tls.certificate().certificate_pem;
    let without = rest::client_config(&certificate, None).unwrap();
    let (stranger, client) = (Client::new(tls.addr, Some(without)), plain.plain());
    let nobody = client.with_authorization(None);
    let all = Operation::all();
    let waiting = all.iter().filter(|one| one.what["requestBody"].is_object());
    let mut waiting = join_all(waiting.map(|one| ask_without_body(&plain, one))).await;
    let slow = join_all(waiting.iter_mut().map(status));
    let mut slow = within(Duration::from_secs(35), slow).await.into_iter();
    for operation in &all {
        let (method, target) = (operation.method.as_str(), operation.target());
        let twice = format!("{target}?version=4.1.0&version=4.1.0");
        let query = format!("{target}?version=4.1.0&namespace=pgouser1");
        let answers = [
            stranger.send(method, &target, "").await,
            nobody.send(method, &target, "").await,
            client.send(method, &query, "{}").await,
            client.send(method, &twice, "{").await,
            client
                .send(method, &target, vec![b' '; (1 << 20) + 1])
                .await,
        ];
        let [uncertified, unnamed, ..] = &answers;
        assert_eq!(
            (
                uncertified.status == StatusCode::FORBIDDEN,
                unnamed.status == StatusCode::UNAUTHORIZED
            ),
            (operation.demands("certificate"), operation.demands("basic")),
            "{method} {target} demands a certificate, a user"
        );
        let slow = operation.what["requestBody"]
            .is_object()
            .then(|| slow.next().unwrap());
        let statuses = answers.iter().map(|answer| answer.status).chain(slow);
        let seen: BTreeSet<String> = statuses.map(|status| status.as_str().to_owned()).collect();
        assert_eq!(seen, operation.described(), "{method} {target}");
    }
}

#[test]
fn each_operation_says_what_it_does_and_has_a_body_only_where_the_method_takes_one() {
    let mut sentences = BTreeSet::new();
    for Operation { method, path, what } in Operation::all() {
        let summary = what["summary"].as_str().unwrap_or_default().to_owned();
        assert!(
            summary.ends_with('.') && summary.contains(' '),
            "{method} {path}: {summary:?}"
        );
        assert!(
            sentences.insert(summary),
            "{method} {path} says what another says"
        );
        // A GET has none (RFC 9110, section 9.3.1).
        assert!(
            method != "GET" || what["requestBody"].is_null(),
            "{method} {path}"
        );
    }
}
