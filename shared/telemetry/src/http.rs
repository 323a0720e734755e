//! How every process serves HTTP/1.1: with a deadline for the head of a request, and with an orderly end.
//!
//! `axum::serve` has no such deadline, so whoever connects and says nothing would hold a connection for ever.

use std::{future::Future, pin::pin, time::Duration};

use axum::{Router, extract::ConnectInfo, serve::Listener};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tower::Service as _;

/// How long the head of a request may take, counted from the connection or from the end of the request before. So it is
/// also how long a connection may be idle, for which a server has a limit (RFC 9112, section 9.5).
pub const HEAD_DEADLINE: Duration = Duration::from_secs(30);

/// Serves `router` to those who come by `listener` until `ending` is there. Requests that are open then may go on for
/// `grace`; the number of connections that were cut off after it is returned.
///
/// `who` makes what handlers extract as [`ConnectInfo`]. Answers may take as long as they like: only the head of a
/// request has a deadline here.
pub async fn serve<L, P>(
    mut listener: L,
    router: Router,
    who: impl Fn(&L::Io, L::Addr) -> P,
    ending: impl Future<Output = ()>,
    grace: Duration,
) -> usize
where
    L: Listener,
    P: Clone + Send + Sync + 'static,
{
    let end = CancellationToken::new();
    let mut connections = JoinSet::new();
    let mut ending = pin!(ending);
    loop {
        tokio::select! {
            () = &mut ending => break,
            (io, addr) = listener.accept() => {
                let peer = who(&io, addr);
                connections.spawn(connection(io, router.clone(), peer, end.clone()));
            }
            // One that has ended is forgotten.
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    end.cancel();
    let all_ended = async { while connections.join_next().await.is_some() {} };
    // Those that do not end in time are counted.
    let _ = tokio::time::timeout(grace, all_ended).await;
    connections.len()
}

/// Serves one connection. At the `end`, the request that is open is answered, and no other is taken.
async fn connection<I, P>(io: I, router: Router, peer: P, end: CancellationToken)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    P: Clone + Send + Sync + 'static,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer.clone()));
        router.clone().call(request)
    });
    let mut serving = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_DEADLINE)
            .serve_connection(TokioIo::new(io), service)
    );
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = end.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
}
