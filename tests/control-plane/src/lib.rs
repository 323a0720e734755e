//! A control plane of Kubernetes for figures of one service: etcd, and an API server with PGO's resources, namespaces and
//! `pgo.yaml`. Nothing else of Kubernetes runs, so what is made stays as it is.
//!
//! `PGO_BIN` holds kube-apiserver; etcd is on the path.

mod process;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::core::v1::{ConfigMap, Namespace},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Config,
    api::PostParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use pgo_crd::Pgcluster;
use pgo_tls::{Authority, LeafSpec};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub use process::{Process, Usage, free_port};

/// Namespace of the clusters.
pub const NAMESPACE: &str = "pgouser1";

/// How long the API server may take until it answers.
const START: Duration = Duration::from_secs(120);

/// Pause between two questions whether it does.
const PAUSE: Duration = Duration::from_millis(250);

/// How long everything that is issued here lives.
const LIFE: SignedDuration = SignedDuration::from_hours(24 * 400);

/// The administrator's token.
const TOKEN: &str = "administrator-of-a-benchmark";

/// The control plane; it ends with this value.
pub struct Platform {
    /// The API server.
    pub client: Client,
    /// The same, for the service.
    pub kubeconfig: PathBuf,
    /// Of the installation; its files are in the folder's `ca`.
    pub authority: Authority,
    _processes: [Process; 2],
}

/// A certificate of a process, in a folder of its own below `folder`, which it gives.
///
/// # Errors
/// It cannot be made or written.
pub fn issue(authority: &Authority, identity: &str, folder: &Path) -> anyhow::Result<PathBuf> {
    let spec = LeafSpec {
        addresses: vec![[127, 0, 0, 1].into()],
        ..LeafSpec::of_identity(identity, LIFE)
    };
    let leaf = authority.issue(&spec, Timestamp::now())?;
    let own = folder.join(identity);
    fs::create_dir_all(&own)?;
    fs::write(own.join("tls.crt"), &leaf.certificate_pem)?;
    fs::write(own.join("tls.key"), leaf.key_pem.as_bytes())?;
    fs::write(own.join("ca.crt"), authority.certificate_pem())?;
    Ok(own)
}

fn make_authority(folder: &Path) -> anyhow::Result<Authority> {
    let authority = Authority::generate("authority of a benchmark", Timestamp::now(), LIFE)?;
    let own = folder.join("ca");
    fs::create_dir_all(&own)?;
    fs::write(own.join("tls.crt"), authority.certificate_pem())?;
    fs::write(own.join("tls.key"), authority.key_pem().as_bytes())?;
    Ok(authority)
}

impl Platform {
    /// Starts it; its files are below `folder`.
    ///
    /// # Errors
    /// A program is missing, or does not come up.
    pub async fn start(folder: &Path) -> anyhow::Result<Self> {
        let authority = make_authority(folder)?;
        let serving = issue(&authority, "localhost", folder)?;
        let (etcd, etcd_url) = start_etcd(folder)?;
        let (apiserver, url) = start_apiserver(folder, &serving, &etcd_url)?;
        let kubeconfig = write_kubeconfig(folder, &serving, &url)?;
        let options = KubeConfigOptions::default();
        let config =
            Config::from_custom_kubeconfig(Kubeconfig::read_from(&kubeconfig)?, &options).await?;
        let platform = Self {
            client: Client::try_from(config)?,
            kubeconfig,
            authority,
            _processes: [apiserver, etcd],
        };
        platform.until_it_answers().await?;
        platform.install().await?;
        Ok(platform)
    }

    async fn until_it_answers(&self) -> anyhow::Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let begun = Instant::now();
        loop {
            match namespaces.get("default").await {
                Ok(_) => return Ok(()),
                Err(error) if begun.elapsed() > START => {
                    return Err(error).context("the API server does not answer");
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// What the installer makes that services read.
    async fn install(&self) -> anyhow::Result<()> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let definitions: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        for entry in fs::read_dir(root.join("deploy/crds"))? {
            let definition: CustomResourceDefinition =
                serde_saphyr::from_str(&fs::read_to_string(entry?.path())?)?;
            definitions
                .create(&PostParams::default(), &definition)
                .await?;
        }
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        for name in ["pgo", NAMESPACE] {
            let labels = json!({"vendor": "crunchydata", "pgo-installation-name": "bench"});
            let namespace = object(json!({"metadata": {"name": name, "labels": labels}}))?;
            namespaces
                .create(&PostParams::default(), &namespace)
                .await?;
        }
        let yaml = fs::read_to_string(root.join("deploy/install/pgo.yaml"))?;
        // What the installer puts in.
        let yaml = yaml
            .replace("@PGO_STORAGE_CLASS@", "local")
            .replace("@CCP_IMAGE_TAG@", "debian12-15")
            .replace("@PGO_IMAGE_TAG@", "v1")
            .replace("@CCP_IMAGE_PREFIX@", "localhost/pgo")
            .replace("@PGO_IMAGE_PREFIX@", "localhost/pgo");
        let config =
            object(json!({"metadata": {"name": "pgo-config"}, "data": {"pgo.yaml": yaml}}))?;
        let configs: Api<ConfigMap> = Api::namespaced(self.client.clone(), "pgo");
        configs.create(&PostParams::default(), &config).await?;
        let clusters: Api<Pgcluster> = Api::namespaced(self.client.clone(), NAMESPACE);
        let begun = Instant::now();
        while let Err(error) = clusters.list(&kube::api::ListParams::default()).await {
            anyhow::ensure!(
                begun.elapsed() < START,
                "Pgclusters cannot be listed: {error}"
            );
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }
}

/// An object that is written as in a manifest.
///
/// # Errors
/// It is none of this kind.
pub fn object<K: DeserializeOwned>(value: Value) -> anyhow::Result<K> {
    Ok(serde_json::from_value(value)?)
}

fn start_etcd(folder: &Path) -> anyhow::Result<(Process, String)> {
    let (client, peer) = (free_port()?, free_port()?);
    let (client, peer) = (
        format!("http://127.0.0.1:{client}"),
        format!("http://127.0.0.1:{peer}"),
    );
    let mut command = Command::new("etcd");
    command
        .arg("--data-dir")
        .arg(folder.join("etcd"))
        .args(["--unsafe-no-fsync", "--logger=zap", "--log-level=warn"])
        .args([
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
        ])
        .args([
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
        ])
        .arg(format!("--initial-cluster=default={peer}"))
        .stdin(Stdio::null());
    Ok((Process::start(command, &folder.join("etcd.log"))?, client))
}

fn start_apiserver(folder: &Path, serving: &Path, etcd: &str) -> anyhow::Result<(Process, String)> {
    let programs = std::env::var("PGO_BIN").context("PGO_BIN, where kube-apiserver is")?;
    let port = free_port()?;
    let tokens = folder.join("tokens.csv");
    fs::write(&tokens, format!("{TOKEN},administrator,1,system:masters\n"))?;
    let authority = folder.join("ca");
    let mut command = Command::new(Path::new(&programs).join("kube-apiserver"));
    command
        .arg(format!("--etcd-servers={etcd}"))
        .arg(format!("--secure-port={port}"))
        // Nobody reaches it by a Service: its own endpoints are left out.
        .args([
            "--bind-address=127.0.0.1",
            "--advertise-address=10.0.0.1",
            "--endpoint-reconciler-type=none",
        ])
        .arg("--service-cluster-ip-range=10.97.0.0/16")
        .arg("--tls-cert-file")
        .arg(serving.join("tls.crt"))
        .arg("--tls-private-key-file")
        .arg(serving.join("tls.key"))
        .arg("--token-auth-file")
        .arg(&tokens)
        .arg("--service-account-issuer=https://kubernetes.default.svc.cluster.local")
        .arg("--service-account-key-file")
        .arg(authority.join("tls.crt"))
        .arg("--service-account-signing-key-file")
        .arg(authority.join("tls.key"))
        .arg("--authorization-mode=RBAC")
        .stdin(Stdio::null());
    let process = Process::start(command, &folder.join("apiserver.log"))?;
    Ok((process, format!("https://localhost:{port}")))
}

fn write_kubeconfig(folder: &Path, serving: &Path, url: &str) -> anyhow::Result<PathBuf> {
    let path = folder.join("kubeconfig");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "bench",
        "clusters": [{"name": "bench", "cluster": {"server": url, "certificate-authority": serving.join("ca.crt")}}],
        "users": [{"name": "administrator", "user": {"token": TOKEN}}],
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "administrator"}}],
    });
    fs::write(&path, config.to_string())?;
    Ok(path)
}
