//! A real nsqd with an identity of the authority of a test, and peers of it.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc,
};

use pgo_tls::{Authority, TlsFiles};
use tempfile::TempDir;

use crate::harness::{SOON, identity};

pub struct Nsqd {
    process: Child,
    folder: TempDir,
    addr: String,
}

impl Nsqd {
    pub fn start(authority: &Authority) -> Self {
        let folder = TempDir::new().unwrap();
        for name in ["nsqd.pgo", "peer.pgo"] {
            fs::create_dir(folder.path().join(name)).unwrap();
            identity(authority, name, &folder.path().join(name));
        }
        let file = |flag: &str, name: &str| format!("--{flag}=nsqd.pgo/{name}");
        let mut process = Command::new(binary())
            .current_dir(folder.path())
            .args(["--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0"])
            .args(["--https-address=", "--mem-queue-size=0"])
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
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                // Nobody listens once it is up.
                let _ = sender.send(line);
            }
        });
        let addr = loop {
            let line = lines.recv_timeout(SOON).expect("nsqd listens in time");
            if let Some((_, addr)) = line.split_once("TCP: listening on ") {
                break addr.to_owned();
            }
        };
        Self {
            process,
            folder,
            addr,
        }
    }

    /// How the apiserver finds it.
    pub fn argument(&self) -> String {
        format!("--event-addr={}", self.addr)
    }

    /// How another service finds it.
    pub fn server(&self) -> nsq::Server {
        let files = TlsFiles::open(self.folder.path().join("peer.pgo")).unwrap();
        pgo_bus::server(&self.addr, files.client_config().into()).unwrap()
    }
}

impl Drop for Nsqd {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
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
