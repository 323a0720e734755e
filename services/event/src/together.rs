//! Two gRPC services on one port: by the path, which begins with the name of the service.

use tonic::body::Body;

/// What a gRPC service is to the server.
pub trait Grpc:
    tower::Service<
        http::Request<Body>,
        Response = http::Response<Body>,
        Error = std::convert::Infallible,
        Future: Send + 'static,
    > + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> Grpc for S where
    S: tower::Service<
            http::Request<Body>,
            Response = http::Response<Body>,
            Error = std::convert::Infallible,
            Future: Send + 'static,
        > + Clone
        + Send
        + Sync
        + 'static
{
}

/// The service of this name, and one that gets all else.
pub fn together(name: &'static str, named: impl Grpc, other: impl Grpc) -> impl Grpc {
    tower::service_fn(move |request: http::Request<Body>| {
        let (mut named, mut other) = (named.clone(), other.clone());
        async move {
            if request.uri().path().split('/').nth(1) == Some(name) {
                named.call(request).await
            } else {
                other.call(request).await
            }
        }
    })
}
