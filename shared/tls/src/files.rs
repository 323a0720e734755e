//! The certificate, key and authority of a process, in files that may change.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig, client::WebPkiServerVerifier,
    server::WebPkiClientVerifier,
};
use zeroize::Zeroizing;

use crate::{Details, Error, pem, provider};

/// Files of a folder that `PGO_TLS_DIR` names: those of a Secret of type `kubernetes.io/tls`, plus the authority.
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
const AUTHORITY: &str = "ca.crt";

/// The folder with `tls.crt`, `tls.key` and `ca.crt` of this process.
///
/// kubelet replaces the files of a Secret in place; each new connection uses what is there then. If that cannot be
/// used, the former certificates stay in use and the reason is logged.
#[derive(Debug)]
pub struct TlsFiles {
    folder: PathBuf,
    loaded: Mutex<Loaded>,
}

#[derive(Clone, Debug)]
struct Loaded {
    stamps: [Stamp; 3],
    server: Arc<ServerConfig>,
    http: Arc<ServerConfig>,
    open: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    details: Details,
}

/// What changes when a file does: modification time (s, ns), inode, size.
type Stamp = (i64, i64, u64, u64);

impl TlsFiles {
    /// Reads the files in `folder`.
    ///
    /// # Errors
    /// One is missing or of no use, or they do not belong together.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, Error> {
        let folder = folder.into();
        let loaded = Loaded::read(&folder)?;
        Ok(Self {
            folder,
            loaded: Mutex::new(loaded),
        })
    }

    /// For servers: a client must show a certificate of the authority. Offers HTTP/2 to those who ask (gRPC).
    pub fn server_config(&self) -> Arc<ServerConfig> {
        self.current().server
    }

    /// The same for HTTP/1.1.
    pub fn http_config(&self) -> Arc<ServerConfig> {
        self.current().http
    }

    /// For HTTP/1.1 with clients that have no certificate, such as nsqd when it asks whom it may trust.
    pub fn open_config(&self) -> Arc<ServerConfig> {
        self.current().open
    }

    /// For clients: shows our certificate; the server must show one of the authority that carries the name which the
    /// connection is opened with.
    pub fn client_config(&self) -> Arc<ClientConfig> {
        self.current().client
    }

    /// What our own certificate says.
    pub fn details(&self) -> Details {
        self.current().details
    }

    fn current(&self) -> Loaded {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if stamps(&self.folder).is_ok_and(|stamps| stamps == loaded.stamps) {
            return loaded.clone();
        }
        match Loaded::read(&self.folder) {
            Ok(new) => {
                tracing::info!(folder = %self.folder.display(), until = %new.details.validity.not_after,
                    "certificates were read anew");
                *loaded = new;
            }
            Err(error) => {
                tracing::warn!(%error, "changed certificates cannot be used; keeping the former");
            }
        }
        loaded.clone()
    }
}

impl Loaded {
    fn read(folder: &Path) -> Result<Self, Error> {
        // Before the contents: a change in between is seen next time.
        let stamps = stamps(folder)?;
        let read = |name: &str| {
            let path = folder.join(name);
            let origin = path.display().to_string();
            fs::read(&path)
                .map(|text| (Zeroizing::new(text), origin))
                .map_err(|cause| Error::Read { path, cause })
        };
        let (text, origin) = read(CERTIFICATE)?;
        let chain = pem::certificates(&text, &origin)?;
        let details = Details::of(&chain[0])?;
        let (text, origin) = read(KEY)?;
        let key = pem::private_key(&text, &origin)?;
        let (text, origin) = read(AUTHORITY)?;
        let mut roots = RootCertStore::empty();
        for root in pem::certificates(&text, &origin)? {
            roots.add(root).map_err(|error| unusable(folder, &error))?;
        }
        let roots = Arc::new(roots);

        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider())
            .build()
            .map_err(|error| unusable(folder, &error))?;
        let mut server = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(folder, &error))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(|error| unusable(folder, &error))?;
        server.alpn_protocols = vec![b"h2".to_vec()];
        let mut http = server.clone();
        http.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut open = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(folder, &error))?
            .with_no_client_auth()
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(|error| unusable(folder, &error))?;
        open.alpn_protocols = vec![b"http/1.1".to_vec()];

        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider())
            .build()
            .map_err(|error| unusable(folder, &error))?;
        let client = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(folder, &error))?
            .with_webpki_verifier(verifier)
            .with_client_auth_cert(chain, key)
            .map_err(|error| unusable(folder, &error))?;
        Ok(Self {
            stamps,
            server: Arc::new(server),
            http: Arc::new(http),
            open: Arc::new(open),
            client: Arc::new(client),
            details,
        })
    }
}

fn unusable(folder: &Path, reason: &dyn std::fmt::Display) -> Error {
    Error::Unusable {
        origin: folder.display().to_string(),
        reason: reason.to_string(),
    }
}

fn stamps(folder: &Path) -> Result<[Stamp; 3], Error> {
    let stamp = |name: &str| {
        let path = folder.join(name);
        fs::metadata(&path)
            .map(|data| (data.mtime(), data.mtime_nsec(), data.ino(), data.size()))
            .map_err(|cause| Error::Read { path, cause })
    };
    Ok([stamp(CERTIFICATE)?, stamp(KEY)?, stamp(AUTHORITY)?])
}
