//! What stands beside the log, put together: HTTP, nsqd's questions, Kubernetes Events, dead letters.
//!
//! None of them holds up the log, and the log goes on without those that cannot begin.

use std::{env, sync::Arc};

use anyhow::Context as _;
use nsq::{Producer, ProducerConfig, Server};
use pgo_bus::Undertaker;
use pgo_proto::event::dead_letters_server::{DeadLettersServer, SERVICE_NAME};
use pgo_telemetry::CancellationToken;
use pgo_tls::{TlsFiles, TlsListener};
use tonic::body::Body;
use tower::Service as _;

use crate::{
    Settings, auth,
    dead::{self, DeadLetterService, Shelf},
    http::Face,
    log::Log,
    metrics::Metrics,
    mirror::Mirror,
};

/// What all of them need.
pub(crate) struct Faces<'a> {
    pub settings: &'a Settings,
    pub files: &'a Arc<TlsFiles>,
    pub metrics: &'a Metrics,
    pub shutdown: &'a CancellationToken,
}

impl Faces<'_> {
    /// Answers nsqd's questions from now on: whether this process itself may read is one of them.
    pub(crate) async fn auth(&self) -> anyhow::Result<()> {
        let files = self.files.clone();
        let config = Arc::new(move || files.open_config());
        let listener = TlsListener::bind(self.settings.auth_listen, config).await?;
        tracing::info!(addr = %listener.addr(), "answering nsqd");
        let (metrics, shutdown) = (self.metrics.clone(), self.shutdown.clone());
        tokio::spawn(auth::serve(
            listener,
            self.settings.auth_ttl,
            metrics,
            shutdown,
        ));
        Ok(())
    }

    /// Listens for readers over HTTP; the future serves them until the end.
    pub(crate) async fn http(
        &self,
        log: &Arc<Log>,
    ) -> anyhow::Result<impl Future<Output = ()> + use<>> {
        let files = self.files.clone();
        let config = Arc::new(move || files.http_config());
        let listener = TlsListener::bind(self.settings.http_listen, config).await?;
        tracing::info!(addr = %listener.addr(), "serving the log over HTTP");
        let most = usize::try_from(self.settings.http_readers).unwrap_or(usize::MAX);
        let (log, metrics, shutdown) = (log.clone(), self.metrics.clone(), self.shutdown.clone());
        Ok(Face::new(log, metrics, shutdown, most).serve(listener))
    }

    /// Tells Kubernetes what happens, where that is wanted.
    pub(crate) async fn mirror(&self, log: &Arc<Log>) {
        if !self.settings.mirror {
            return;
        }
        pgo_tls::provider();
        match kube::Client::try_default().await {
            Ok(client) => {
                let mirror = Mirror {
                    log: log.clone(),
                    metrics: self.metrics.clone(),
                    shutdown: self.shutdown.clone(),
                    client,
                    folder: self.settings.data.clone(),
                    instance: env::var("HOSTNAME").unwrap_or_else(|_| "event".to_owned()),
                };
                tokio::spawn(mirror.run());
            }
            Err(error) => {
                tracing::error!(%error, "no events are told to Kubernetes: neither KUBECONFIG nor the account of a pod can be used");
            }
        }
    }

    /// nsqd, as this process speaks with it.
    pub(crate) fn nsqd(&self) -> anyhow::Result<Server> {
        let files = self.files.clone();
        let config = nsq::TlsConfig::source(move || files.client_config());
        Ok(pgo_bus::server(&self.settings.event_addr, config)?)
    }

    /// Keeps dead letters from now on; who puts them away, and what shows them to the apiserver.
    pub(crate) fn dead_letters(&self) -> anyhow::Result<(Undertaker, DeadLetterService)> {
        let nsqd = self.nsqd()?;
        let producer = Arc::new(Producer::connect(nsqd.clone(), ProducerConfig::default()));
        let shelf = Arc::new(Shelf::new(&self.settings.data));
        let consumer = pgo_bus::dead_consumer(nsqd).context("read dead letters")?;
        let (metrics, shutdown) = (self.metrics.clone(), self.shutdown.clone());
        tokio::spawn(dead::keep(consumer, shelf.clone(), metrics, shutdown));
        let service = DeadLetterService {
            shelf,
            producer: producer.clone(),
            metrics: self.metrics.clone(),
        };
        Ok((Undertaker::new(producer)?, service))
    }
}

/// What a gRPC service is to the server.
pub(crate) trait Grpc:
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

/// The log and the dead letters on one port: by the path, which begins with the name of the service.
pub(crate) fn both(log: impl Grpc, dead: DeadLetterService) -> impl Grpc {
    let dead = DeadLettersServer::new(dead);
    tower::service_fn(move |request: http::Request<Body>| {
        let (mut log, mut dead) = (log.clone(), dead.clone());
        async move {
            let service = request.uri().path().split('/').nth(1);
            if service == Some(SERVICE_NAME) {
                dead.call(request).await
            } else {
                log.call(request).await
            }
        }
    })
}
