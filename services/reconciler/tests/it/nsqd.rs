//! A real nsqd with an identity, which can be away for a while.

use pgo_nsqd::as_installed;

use crate::harness::Certificates;

pub struct Nsqd(pgo_nsqd::Nsqd);

impl Nsqd {
    /// An address for one, where nobody listens yet.
    pub fn prepare(certificates: &Certificates) -> Self {
        Self(pgo_nsqd::Nsqd::prepare(arguments(certificates)))
    }

    pub fn start(certificates: &Certificates) -> Self {
        Self(pgo_nsqd::Nsqd::start(arguments(certificates)))
    }

    pub fn begin(&mut self) {
        self.0.begin();
    }

    pub fn kill(&mut self) {
        self.0.kill();
    }

    /// How the reconciler finds it.
    pub fn argument(&self) -> String {
        format!("--event-addr={}", self.0.tcp())
    }

    /// How a peer of it finds it, with the certificates of `identity`.
    pub fn server(&self, certificates: &Certificates, identity: &str) -> nsq::Server {
        let files = pgo_tls::TlsFiles::open(certificates.of(identity)).unwrap();
        let config = files.client_config();
        let mut server = pgo_bus::server(&self.0.tcp().to_string(), config.into()).unwrap();
        server.backoff.max = std::time::Duration::from_millis(200);
        server
    }
}

fn arguments(certificates: &Certificates) -> Vec<String> {
    as_installed(&certificates.of("nsqd.pgo"))
}
