//! One call of Kubernetes.

use std::future::Future;

use crate::{error::Error, write::WRITE_DEADLINE};

/// Calls Kubernetes with a deadline; says what was tried on what.
///
/// # Errors
/// It was refused, failed, or had no answer in time.
pub async fn call<T>(
    what: &'static str,
    on: &str,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Error> {
    tokio::time::timeout(WRITE_DEADLINE, call)
        .await
        .map_err(|_| Error::Deadline(what))?
        .map_err(|source| Error::Kubernetes {
            what: format!("{what} {on}"),
            source: Box::new(source),
        })
}
