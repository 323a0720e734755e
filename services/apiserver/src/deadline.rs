//! A deadline for each call of Kubernetes, so that one that hangs holds neither a request nor a lock for ever.

use std::time::Duration;

use http::{Request, Response, Uri};
use kube::{Client, client::Body};

/// How long Kubernetes may take to answer a call, with all of its body; of a watch, until its answer begins. Two that hang
/// one after the other fit into what a handler may take.
pub(crate) const CALL_DEADLINE: Duration = Duration::from_secs(20);

/// Kubernetes did not answer.
#[derive(Debug, thiserror::Error)]
#[error("no answer to {call} within {} s", CALL_DEADLINE.as_secs())]
struct NoAnswer {
    /// Method and path.
    call: String,
}

/// `client`, with the deadline for each of its calls.
pub(crate) fn for_calls(client: Client) -> Client {
    let namespace = client.default_namespace().to_owned();
    let service = tower::service_fn(move |request| answer(client.clone(), request));
    Client::new(service, namespace)
}

async fn answer(client: Client, request: Request<Body>) -> Result<Response<Body>, kube::Error> {
    let call = format!("{} {}", request.method(), request.uri().path());
    let goes_on = is_watch(request.uri());
    let answered = async {
        let response = client.send(request).await?;
        if goes_on {
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        let body = Body::from(body.collect_bytes().await?);
        Ok(Response::from_parts(parts, body))
    };
    match tokio::time::timeout(CALL_DEADLINE, answered).await {
        Ok(answer) => answer,
        Err(_) => Err(kube::Error::Service(Box::new(NoAnswer { call }))),
    }
}

/// Whether the body of the answer goes on for as long as there are changes; the watcher has a deadline of its own for
/// one that falls silent.
fn is_watch(uri: &Uri) -> bool {
    let mut parameters = uri.query().unwrap_or_default().split('&');
    parameters.any(|parameter| parameter == "watch=true")
}
