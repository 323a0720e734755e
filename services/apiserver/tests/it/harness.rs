//! A server of its own for each test, and a client that speaks with it.

use std::{
    fs,
    future::Future,
    net::SocketAddr,
    path::Path,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use clap::Parser as _;
use http::{HeaderMap, Request, StatusCode, header::AUTHORIZATION};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp};
use pgo_api::Permission;
use pgo_apiserver::{Server, Settings};
use pgo_telemetry::{CancellationToken, Telemetry};
use pgo_tls::{Authority, KeyAndCertificate, LeafSpec, rest};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{net::TcpStream, task::JoinHandle};
use tokio_rustls::TlsConnector;

use crate::kubernetes::Kubernetes;

/// Longest wait for what should be there at once; only a failing test reaches it.
pub const SOON: Duration = Duration::from_secs(20);

/// The settings of the recorded conversations.
pub const PGO_YAML: &str = "
Cluster:
  CCPImagePrefix: crunchydata
  CCPImageTag: centos7-11.5-2.4.2
  User: testuser
  Database: userdb
  ArchiveTimeout: 60
  Backrest: true
PrimaryStorage: storageos
BackupStorage: storageos
ReplicaStorage: storageos
BackrestStorage: storageos
Storage:
  storageos: {AccessMode: ReadWriteOnce, Size: 300M, StorageType: dynamic, StorageClass: fast, Fsgroup: 26}
ContainerResources:
  small: {RequestsMemory: 512Mi, RequestsCPU: 0.1, LimitsMemory: 512Mi, LimitsCPU: 0.1}
Pgo:
  PGOImagePrefix: crunchydata
  PGOImageTag: centos7-4.1.0
";

/// Kubernetes with an installation of PGO: users `pgoadmin` (everything, everywhere) and `vic` (reads in pgouser1), target
/// namespaces pgouser1 and pgouser2, and one of another installation.
pub fn installation() -> Kubernetes {
    let kubernetes = Kubernetes::new();
    kubernetes.put("namespaces", "", namespace("pgouser1", "one"));
    kubernetes.put("namespaces", "", namespace("pgouser2", "one"));
    kubernetes.put("namespaces", "", namespace("foreign", "two"));
    kubernetes.put("namespaces", "", json!({"metadata": {"name": "pgo"}}));
    configure(&kubernetes, PGO_YAML);
    let all: Vec<&str> = Permission::ALL.iter().map(|p| p.as_str()).collect();
    role(&kubernetes, "pgoadmin", &all.join(", "));
    role(&kubernetes, "viewer", "ShowCluster,Version");
    user(&kubernetes, "pgoadmin", "examplepassword", "pgoadmin", "");
    user(
        &kubernetes,
        "vic",
        "v1c",
        "nosuch, viewer",
        "pgouser1, gone",
    );
    kubernetes
}

pub fn namespace(name: &str, installation: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {
        "vendor": "crunchydata", "pgo-installation-name": installation}}})
}

pub fn configure(kubernetes: &Kubernetes, pgo_yaml: &str) {
    let config = json!({"metadata": {"name": "pgo-config"}, "data": {"pgo.yaml": pgo_yaml}});
    kubernetes.put("configmaps", "pgo", config);
}

/// A Secret with these texts.
pub fn secret(name: &str, data: &[(&str, &str)]) -> Value {
    let data: serde_json::Map<String, Value> = data
        .iter()
        .map(|(key, value)| ((*key).to_owned(), json!(STANDARD.encode(value))))
        .collect();
    json!({"metadata": {"name": name}, "data": data})
}

/// A text in a Secret.
pub fn in_secret(secret: &Value, key: &str) -> String {
    let encoded = secret["data"][key].as_str().unwrap();
    String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap()
}

pub fn user(kubernetes: &Kubernetes, name: &str, password: &str, roles: &str, namespaces: &str) {
    let data = [
        ("username", name),
        ("password", password),
        ("roles", roles),
        ("namespaces", namespaces),
    ];
    kubernetes.put("secrets", "pgo", secret(&format!("pgouser-{name}"), &data));
}

pub fn role(kubernetes: &Kubernetes, name: &str, permissions: &str) {
    let data = [("rolename", name), ("permissions", permissions)];
    kubernetes.put("secrets", "pgo", secret(&format!("pgorole-{name}"), &data));
}

/// An apiserver that serves, with an authority for its peers.
pub struct Apiserver {
    pub addr: SocketAddr,
    pub kubernetes: Kubernetes,
    shutdown: CancellationToken,
    served: JoinHandle<()>,
    #[allow(dead_code, reason = "the folder is there as long as this is")]
    folder: TempDir,
}

/// Writes the files of a process.
pub fn identity(authority: &Authority, name: &str, folder: &Path) {
    let life = SignedDuration::from_hours(1);
    let spec = LeafSpec::of_identity(name, life);
    let leaf = authority.issue(&spec, Timestamp::now()).unwrap();
    fs::write(folder.join("tls.crt"), &leaf.certificate_pem).unwrap();
    fs::write(folder.join("tls.key"), leaf.key_pem.as_bytes()).unwrap();
    fs::write(folder.join("ca.crt"), authority.certificate_pem()).unwrap();
}

pub fn authority() -> Authority {
    let life = SignedDuration::from_hours(10);
    Authority::generate("test authority", Timestamp::now(), life).unwrap()
}

/// Tries to start with further arguments as on the command line.
pub async fn try_start(
    kubernetes: &Kubernetes,
    authority: Authority,
    arguments: &[&str],
) -> anyhow::Result<Apiserver> {
    pgo_tls::provider();
    let folder = tempfile::tempdir().unwrap();
    identity(&authority, "apiserver.pgo", folder.path());
    let tls_dir = format!("--tls-dir={}", folder.path().display());
    let needed = [
        "apiserver",
        "--operator-namespace=pgo",
        "--installation-name=one",
        "--port=0",
        &tls_dir,
    ];
    let settings = Settings::parse_from(needed.iter().chain(arguments));
    settings.check()?;
    let telemetry = Telemetry::without_logs("apiserver", "test");
    let shutdown = CancellationToken::new();
    let (client, token) = (kubernetes.client(), shutdown.clone());
    let server = Server::start(&settings, client, telemetry, token).await?;
    Ok(Apiserver {
        addr: SocketAddr::from(([127, 0, 0, 1], server.addr().port())),
        kubernetes: kubernetes.clone(),
        shutdown,
        served: tokio::spawn(server.run()),
        folder,
    })
}

/// Starts with TLS.
pub async fn start(kubernetes: &Kubernetes) -> Apiserver {
    try_start(kubernetes, authority(), &[]).await.unwrap()
}

/// Starts without, where a test is about something else.
pub async fn start_plain(kubernetes: &Kubernetes) -> Apiserver {
    try_start(kubernetes, authority(), &["--disable-tls=true"])
        .await
        .unwrap()
}

impl Drop for Apiserver {
    fn drop(&mut self) {
        self.shutdown.cancel();
        self.served.abort();
        if !std::thread::panicking() {
            let without_right = self.kubernetes.without_right();
            assert!(without_right.is_empty(), "no right to {without_right:?}");
        }
    }
}

impl Apiserver {
    /// The certificate in Secret `pgo.tls`.
    pub fn certificate(&self) -> KeyAndCertificate {
        let secret = self.kubernetes.get("secrets", "pgo", "pgo.tls").unwrap();
        KeyAndCertificate {
            certificate_pem: in_secret(&secret, "tls.crt"),
            key_pem: in_secret(&secret, "tls.key").into(),
        }
    }

    /// Asks the process to end, and waits until it has.
    pub async fn stop(mut self) {
        self.shutdown.cancel();
        let served = tokio::time::timeout(SOON, &mut self.served).await;
        served.expect("it ends in time").unwrap();
    }

    /// A client over plain HTTP, as `pgoadmin`.
    pub fn plain(&self) -> Client {
        Client::new(self.addr, None)
    }

    /// A client that shows the certificate, as `pgoadmin`.
    pub fn tls(&self) -> Client {
        let own = self.certificate();
        let config = rest::client_config(&own.certificate_pem, Some(&own)).unwrap();
        Client::new(self.addr, Some(config))
    }
}

/// A client with one user.
#[derive(Clone)]
pub struct Client {
    addr: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    authorization: Option<String>,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// `Msg` of an answer that says `error`.
    pub fn refusal(&self) -> String {
        let json = self.json();
        assert_eq!(json["Code"], "error", "{json}");
        json["Msg"].as_str().unwrap().to_owned()
    }

    /// The answer, which says `ok`.
    pub fn done(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        let json = self.json();
        assert_eq!(json["Code"], "ok", "{json}");
        json
    }
}

impl Client {
    pub fn new(addr: SocketAddr, tls: Option<Arc<ClientConfig>>) -> Self {
        let client = Self {
            addr,
            tls,
            authorization: None,
        };
        client.as_user("pgoadmin", "examplepassword")
    }

    pub fn as_user(&self, name: &str, password: &str) -> Self {
        let pair = STANDARD.encode(format!("{name}:{password}"));
        self.with_authorization(Some(format!("Basic {pair}")))
    }

    pub fn with_authorization(&self, header: Option<String>) -> Self {
        Self {
            authorization: header,
            ..self.clone()
        }
    }

    /// Sends a request; the answer's body may still be coming.
    pub async fn open(
        &self,
        method: &str,
        target: &str,
        body: impl Into<Bytes>,
    ) -> anyhow::Result<http::Response<Incoming>> {
        let stream = TcpStream::connect(self.addr).await?;
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header("host", "localhost");
        if let Some(header) = &self.authorization {
            request = request.header(AUTHORIZATION, header);
        }
        let request = request.body(Full::new(body.into()))?;
        match &self.tls {
            None => exchange(stream, request).await,
            Some(config) => {
                let name = ServerName::try_from("pgo-apiserver")?;
                let stream = TlsConnector::from(config.clone())
                    .connect(name, stream)
                    .await?;
                exchange(stream, request).await
            }
        }
    }

    pub async fn try_send(
        &self,
        method: &str,
        target: &str,
        body: impl Into<Bytes>,
    ) -> anyhow::Result<Answer> {
        let exchange = async {
            let response = self.open(method, target, body).await?;
            let (parts, body) = response.into_parts();
            let bytes = body.collect().await?.to_bytes();
            Ok(Answer {
                status: parts.status,
                headers: parts.headers,
                text: String::from_utf8(bytes.to_vec())?,
            })
        };
        tokio::time::timeout(SOON * 4, exchange).await?
    }

    pub async fn send(&self, method: &str, target: &str, body: impl Into<Bytes>) -> Answer {
        self.try_send(method, target, body).await.unwrap()
    }

    pub async fn get(&self, target: &str) -> Answer {
        self.send("GET", target, "").await
    }

    pub async fn post(&self, target: &str, body: Value) -> Answer {
        self.send("POST", target, body.to_string()).await
    }
}

async fn exchange<S>(
    stream: S,
    request: Request<Full<Bytes>>,
) -> anyhow::Result<http::Response<Incoming>>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?)
}

/// A request to create a cluster, as 4.1's client sends it.
pub fn create_request(name: &str) -> Value {
    json!({
        "Name": name, "Namespace": "pgouser1", "NodeLabel": "", "Password": "", "SecretFrom": "",
        "UserLabels": "", "Policies": "", "CCPImage": "", "CCPImageTag": "", "Series": 1,
        "ReplicaCount": 0, "ServiceType": "", "MetricsFlag": false, "BadgerFlag": false,
        "AutofailFlag": false, "ArchiveFlag": false, "BackrestFlag": "", "BackrestStorageType": "",
        "PgpoolFlag": false, "PgbouncerFlag": false, "PgpoolSecret": "", "PgbouncerSecret": "",
        "PgbouncerPass": "", "PgbouncerUser": "pgbouncer", "CustomConfig": "", "StorageConfig": "",
        "ReplicaStorageConfig": "", "ContainerResources": "", "ClientVersion": "4.1.0",
    })
}

/// A request about one cluster: to show, delete or test it.
pub fn cluster_request(name: &str) -> Value {
    json!({"Clustername": name, "Namespace": "pgouser1", "ClientVersion": "4.1.0"})
}

/// Creates the cluster hippo.
pub async fn with_cluster(client: &Client) {
    client
        .post("/clusters", create_request("hippo"))
        .await
        .done();
}

/// A Pgtask, where it is there.
pub fn task(kubernetes: &Kubernetes, name: &str) -> Option<Value> {
    kubernetes.get("pgtasks", "pgouser1", name)
}

/// Why a command failed, as its answer says.
pub fn words(answer: &Value) -> &str {
    assert_eq!(answer["Code"], "error", "{answer}");
    answer["Msg"].as_str().unwrap()
}

/// Waits for `what` for at most `limit` of a time that runs much faster than that of the world outside, for the server, too.
pub async fn within<T>(limit: Duration, what: impl Future<Output = T>) -> T {
    const STEP: Duration = Duration::from_secs(1);
    let mut what = pin!(what);
    let mut passed = Duration::ZERO;
    loop {
        // Real time, in which connections carry what was sent.
        let moment = tokio::time::timeout(Duration::from_millis(5), what.as_mut()).await;
        if let Ok(output) = moment {
            return output;
        }
        assert!(passed < limit, "not within {} s", limit.as_secs());
        tokio::time::pause();
        tokio::time::advance(STEP).await;
        tokio::time::resume();
        passed += STEP;
    }
}

/// Asks until the answer is `Some`, in time.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, ask: impl Fn() -> F) -> T {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(begin.elapsed() < SOON, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
