//! A real nsqd with an identity, which can be away for a while.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc,
};

use tempfile::TempDir;

use crate::harness::{Certificates, SOON};

pub struct Nsqd {
    process: Option<Child>,
    folder: TempDir,
    tls: PathBuf,
    addr: SocketAddr,
}

impl Nsqd {
    /// An address for one, where nobody listens yet.
    pub fn prepare(certificates: &Certificates) -> Self {
        // Held for a moment, so that nobody else is given it.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            process: None,
            folder: TempDir::new().unwrap(),
            tls: certificates.of("nsqd.pgo"),
            addr: free.local_addr().unwrap(),
        }
    }

    pub fn start(certificates: &Certificates) -> Self {
        let mut nsqd = Self::prepare(certificates);
        nsqd.begin();
        nsqd
    }

    /// Starts it, with its queues on disk as in the product.
    pub fn begin(&mut self) {
        let file = |flag: &str, name: &str| format!("--{flag}={}", self.tls.join(name).display());
        let mut process = Command::new(binary())
            .arg(format!("--data-path={}", self.folder.path().display()))
            .arg(format!("--tcp-address={}", self.addr))
            .args([
                "--http-address=127.0.0.1:0",
                "--https-address=",
                "--mem-queue-size=0",
            ])
            .args(["--tls-required=tcp-https", "--tls-min-version=tls1.2"])
            .arg("--tls-client-auth-policy=require-verify")
            .arg(file("tls-cert", "tls.crt"))
            .arg(file("tls-key", "tls.key"))
            .arg(file("tls-root-ca-file", "ca.crt"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(process.stderr.take().unwrap());
        self.process = Some(process);
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                // Nobody listens once it is up.
                let _ = sender.send(line);
            }
        });
        while !lines
            .recv_timeout(SOON)
            .expect("nsqd listens in time")
            .contains("TCP: listening on ")
        {}
    }

    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// How the reconciler finds it.
    pub fn argument(&self) -> String {
        format!("--event-addr={}", self.addr)
    }

    /// How a peer of it finds it, with the certificates of `identity`.
    pub fn server(&self, certificates: &Certificates, identity: &str) -> nsq::Server {
        let files = pgo_tls::TlsFiles::open(certificates.of(identity)).unwrap();
        let config = files.client_config();
        let mut server = pgo_bus::server(&self.addr.to_string(), config.into()).unwrap();
        server.backoff.max = std::time::Duration::from_millis(200);
        server
    }
}

impl Drop for Nsqd {
    fn drop(&mut self) {
        self.kill();
    }
}

fn binary() -> PathBuf {
    let path = std::env::var_os("NSQD_BIN").map_or_else(
        || {
            let cache = std::env::var_os("PGO_CACHE").map_or_else(
                || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/pgo"),
                PathBuf::from,
            );
            cache.join("bin/nsqd")
        },
        PathBuf::from,
    );
    let text = path.display();
    assert!(
        path.is_file(),
        "no nsqd at {text}: build it with deploy/local/build/build.sh, or set NSQD_BIN"
    );
    path
}
