//! Fetches the SQL of a policy that is kept elsewhere, when it is applied, as 4.1 does. Of an address only the host is told: the
//! rest may hold a password.

use std::{sync::Arc, time::Duration};

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, StatusCode, Uri, body::Bytes, header::LOCATION};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{ClientConfig, RootCertStore};
use tokio::time::timeout;

/// How long all of it may take, redirections included.
const DEADLINE: Duration = Duration::from_secs(10);

/// Largest text, in bytes: what a Pgpolicy itself may hold.
const LIMIT: usize = 524_288;

/// So many redirections are followed.
const REDIRECTIONS: usize = 5;

type Https = hyper_rustls::HttpsConnector<HttpConnector>;

/// The authorities by which servers are believed: those that are public, and those of `SSL_CERT_FILE` and `SSL_CERT_DIR`.
pub fn roots() -> RootCertStore {
    let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    // What cannot be read there is none that anything could be believed by.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// The text at an address.
///
/// # Errors
/// Why there is none, for people.
pub async fn text(url: &str, roots: RootCertStore) -> Result<String, String> {
    within(DEADLINE, url, roots).await
}

async fn within(limit: Duration, url: &str, roots: RootCertStore) -> Result<String, String> {
    let fetched = timeout(limit, follow(url, roots)).await;
    fetched.unwrap_or_else(|_| {
        let limit = limit.as_secs();
        Err(format!("the SQL at its url did not come within {limit} s"))
    })
}

async fn follow(url: &str, roots: RootCertStore) -> Result<String, String> {
    let client = client(roots)?;
    let mut at = address(url)?;
    for _ in 0..=REDIRECTIONS {
        let host = at.host().unwrap_or_default().to_owned();
        let failed =
            |why: String| format!("the SQL at its url cannot be fetched from {host}: {why}");
        let request = Request::get(at.clone()).body(Empty::<Bytes>::new());
        let request = request.map_err(|error| failed(error.to_string()))?;
        let answer = client.request(request).await;
        let answer = answer.map_err(|error| failed(causes(&error)))?;
        match answer.status() {
            StatusCode::OK => {
                let body = Limited::new(answer.into_body(), LIMIT).collect().await;
                let body =
                    body.map_err(|error| failed(format!("{error} ({LIMIT} bytes at most)")))?;
                let text = String::from_utf8(body.to_bytes().into());
                return text.map_err(|_| failed("it is no text in UTF-8".to_owned()));
            }
            status if status.is_redirection() => {
                let to = answer.headers().get(LOCATION);
                let to = to.and_then(|to| to.to_str().ok());
                let to =
                    to.ok_or_else(|| failed(format!("it answers {status} without a Location")))?;
                at = redirected(&at, to).map_err(failed)?;
            }
            status => return Err(failed(format!("it answers {status}"))),
        }
    }
    Err(format!(
        "the SQL at its url cannot be fetched: more than {REDIRECTIONS} redirections"
    ))
}

/// An address that can be asked.
fn address(url: &str) -> Result<Uri, String> {
    let wrong =
        || "its url is none that begins with http:// or https:// and names a host".to_owned();
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    match uri.host() {
        Some(host) if is_http && !host.is_empty() => Ok(uri),
        _ => Err(wrong()),
    }
}

/// Where a redirection leads: another address, or a path of the same host. What was asked for with TLS stays so.
fn redirected(from: &Uri, to: &str) -> Result<Uri, String> {
    let scheme = from.scheme_str().unwrap_or_default();
    let authority = from.authority().map(|of| of.as_str()).unwrap_or_default();
    let next = match to.starts_with('/') && !to.starts_with("//") {
        true => address(&format!("{scheme}://{authority}{to}")),
        false => address(to),
    };
    let next = next.map_err(|_| "it leads to no address that can be asked".to_owned())?;
    if scheme == "https" && next.scheme_str() != Some("https") {
        return Err("it leads from https to http".to_owned());
    }
    Ok(next)
}

fn client(roots: RootCertStore) -> Result<Client<Https, Empty<Bytes>>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?;
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_or_http()
        .enable_http1()
        .build();
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}

/// An error with what it is from; none of them has more of an address than the host.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
