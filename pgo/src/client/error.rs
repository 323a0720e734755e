//! What can go wrong between client and apiserver.

use std::{path::PathBuf, time::Duration};

use crate::output::plain;

/// Why a request could not be made or was not done.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No URL.
    #[error(
        "the URL of the apiserver is not known; set PGO_APISERVER_URL or give --apiserver-url, for example https://127.0.0.1:8443"
    )]
    NoUrl,
    /// A URL that cannot be used.
    #[error("the URL of the apiserver, {url:?}, cannot be used: {why}")]
    Url { url: String, why: String },
    /// One of the two variables without the other.
    #[error("{missing} is not set, but {present} is; set both, or neither to use a pgouser file")]
    HalfOfCredentials {
        missing: &'static str,
        present: &'static str,
    },
    /// No file with user and password.
    #[error(
        "could not find pgouser file; looked for {looked}. Set PGOUSERNAME and PGOUSERPASS, or PGOUSER to the path of a file with one line user:password"
    )]
    NoCredentials { looked: String },
    /// A file that cannot be read.
    #[error("cannot read {what} {path}: {cause}; it is named by {named_by}")]
    Unreadable {
        what: &'static str,
        path: PathBuf,
        named_by: &'static str,
        cause: std::io::Error,
    },
    /// A credentials file of another form.
    #[error(
        "unable to parse credentials in pgouser file {path}: it must hold one line user:password"
    )]
    Credentials { path: PathBuf },
    /// No certificate or key.
    #[error(
        "no {what} was given; set {variable} or give {flag} (or DISABLE_TLS=true where the apiserver runs without TLS)"
    )]
    NoTlsFile {
        what: &'static str,
        variable: &'static str,
        flag: &'static str,
    },
    /// A certificate or key that cannot be used.
    #[error("cannot use {what} {path}: {why}; it is named by {named_by}")]
    TlsFile {
        what: &'static str,
        path: PathBuf,
        named_by: &'static str,
        why: String,
    },
    /// The server shows a certificate we do not trust.
    #[error(
        "the certificate of {url} is neither in the CA file {ca} nor issued by one in it: {cause}; set PGO_CA_CERT or --pgo-ca-cert to the apiserver's own certificate or its issuer"
    )]
    ServerCertificate {
        url: String,
        ca: PathBuf,
        cause: String,
    },
    /// The server ended the handshake.
    #[error(
        "{url} refused the TLS connection: {cause}; PGO_CLIENT_CERT and PGO_CLIENT_KEY must be a certificate it trusts and its key"
    )]
    ClientCertificate { url: String, cause: String },
    /// The server does not speak TLS.
    #[error(
        "{url} does not answer in TLS: {cause}; where the apiserver runs without TLS, use http:// and set DISABLE_TLS=true (or --disable-tls), else try again"
    )]
    NotTls { url: String, cause: String },
    /// No connection, or it broke.
    #[error(
        "cannot reach the apiserver at {url}: {cause}; is it running, and is PGO_APISERVER_URL (or --apiserver-url) right?"
    )]
    Unreachable { url: String, cause: String },
    /// No answer in time.
    #[error(
        "{request} was not answered within {limit:?}; the apiserver may be overloaded or cut off, try again"
    )]
    Timeout { request: String, limit: Duration },
    /// Wrong user, password or permission.
    #[error("Authentication Failed: {status}: {text} (user {user}, {request})")]
    Authentication {
        status: u16,
        text: String,
        user: String,
        request: String,
    },
    /// Another status than 200.
    #[error("Invalid Status Code: {status}: {text} ({request})")]
    Status {
        status: u16,
        text: String,
        request: String,
    },
    /// An answer that is not what the route answers.
    #[error(
        "{request} was answered with something else than expected: {why}; does {url} name an apiserver of this version?"
    )]
    Answer {
        request: String,
        url: String,
        why: String,
    },
    /// `Code` `error`.
    #[error("{0}")]
    Refused(String),
}

impl ClientError {
    /// A refusal with the apiserver's words, on one line.
    pub fn refused(why: &str) -> Self {
        Self::Refused(plain(why))
    }

    /// Whether the same request may succeed in a moment without anybody changing anything.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Timeout { .. } | Self::NotTls { .. } => true,
            Self::Status { status, .. } => *status >= 500,
            _ => false,
        }
    }
}
