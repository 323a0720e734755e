//! A real nsqd for tests: found, started with a folder of its own, killed and started again at the same port, gone when the
//! value is.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod process;

use std::{
    env,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

pub use process::Process;
use tempfile::TempDir;

/// A program of NSQ's, `nsqd` or `nsqlookupd`: they lie beside each other.
///
/// # Panics
/// It is not there.
#[must_use]
pub fn binary(program: &str) -> PathBuf {
    let nsqd = env::var_os("NSQD_BIN").map_or_else(
        || {
            let cache = env::var_os("PGO_CACHE").map_or_else(
                || PathBuf::from(env::var_os("HOME").expect("HOME")).join(".cache/pgo"),
                PathBuf::from,
            );
            cache.join("bin/nsqd")
        },
        PathBuf::from,
    );
    let path = match program {
        "nsqd" => nsqd,
        other => nsqd.with_file_name(other),
    };
    assert!(
        path.is_file(),
        "no {program} at {}. Build it with deploy/local/build/build.sh, or set NSQD_BIN to an nsqd 1.3.0 with its \
         {program} beside it, built in a folder with this go.mod by \
         `go build -o . github.com/nsqio/nsq/apps/{{nsqd,nsqlookupd}}`:\n\n\
         module nsqd\n\
         go 1.22\n\
         require github.com/nsqio/nsq v1.3.0\n\
         replace github.com/judwhite/go-svc => github.com/mreiferson/go-svc v1.2.2-0.20210815184239-7a96e00010f6\n",
        path.display()
    );
    path
}

/// As the product has it: all queues on disk, TLS with certificates only. The folder has `tls.crt`, `tls.key`, `ca.crt`.
#[must_use]
pub fn as_installed(tls: &Path) -> Vec<String> {
    let file = |flag: &str, name: &str| format!("--{flag}={}", tls.join(name).display());
    vec![
        "--mem-queue-size=0".to_owned(),
        "--tls-required=tcp-https".to_owned(),
        "--tls-min-version=tls1.2".to_owned(),
        "--tls-client-auth-policy=require-verify".to_owned(),
        file("tls-cert", "tls.crt"),
        file("tls-key", "tls.key"),
        file("tls-root-ca-file", "ca.crt"),
    ]
}

/// A free port of 127.0.0.1, for an address that is told to others before somebody listens there.
///
/// # Panics
/// There is none.
#[must_use]
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("its address")
}

/// nsqd with a folder of its own.
#[derive(Debug)]
pub struct Nsqd(Process);

impl Nsqd {
    /// One that runs.
    ///
    /// # Panics
    /// It does not listen in time.
    #[must_use]
    pub fn start(arguments: Vec<String>) -> Self {
        let mut nsqd = Self::at(SocketAddr::from(([127, 0, 0, 1], 0)), arguments);
        nsqd.begin();
        nsqd
    }

    /// An address for one, where nobody listens before [`Self::begin`].
    #[must_use]
    pub fn prepare(arguments: Vec<String>) -> Self {
        Self::at(free_address(), arguments)
    }

    fn at(tcp: SocketAddr, mut arguments: Vec<String>) -> Self {
        let folder = TempDir::new().expect("a folder");
        arguments.push("--https-address=".to_owned());
        Self(Process::at(tcp, "nsqd", folder, arguments))
    }

    /// Starts it, again after [`Self::kill`] with what it had, and waits until it listens.
    ///
    /// # Panics
    /// It does not listen in time.
    pub fn begin(&mut self) {
        self.0.begin();
    }

    /// Ends it the hard way.
    pub fn kill(&mut self) {
        self.0.kill();
    }

    /// Where clients reach it.
    #[must_use]
    pub fn tcp(&self) -> SocketAddr {
        self.0.tcp()
    }

    /// Where it tells its numbers.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        self.0.http()
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.0.log()
    }
}
