//! A real nsqd with an identity of the authority of a test, and peers of it.

use std::fs;

use pgo_nsqd::as_installed;
use pgo_tls::{Authority, TlsFiles};
use tempfile::TempDir;

use crate::harness::identity;

pub struct Nsqd {
    nsqd: pgo_nsqd::Nsqd,
    identities: TempDir,
}

impl Nsqd {
    pub fn start(authority: &Authority) -> Self {
        let identities = TempDir::new().unwrap();
        for name in ["nsqd.pgo", "peer.pgo"] {
            let folder = identities.path().join(name);
            fs::create_dir(&folder).unwrap();
            identity(authority, name, &folder);
        }
        let arguments = as_installed(&identities.path().join("nsqd.pgo"));
        Self {
            nsqd: pgo_nsqd::Nsqd::start(arguments),
            identities,
        }
    }

    /// How the apiserver finds it.
    pub fn argument(&self) -> String {
        format!("--event-addr={}", self.nsqd.tcp())
    }

    /// How another service finds it.
    pub fn server(&self) -> nsq::Server {
        let files = TlsFiles::open(self.identities.path().join("peer.pgo")).unwrap();
        let config = files.client_config();
        pgo_bus::server(&self.nsqd.tcp().to_string(), config.into()).unwrap()
    }
}
