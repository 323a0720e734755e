//! What stands beside the log, put together: HTTP, nsqd's questions, Kubernetes Events, dead letters.
//!
//! None of them holds up the log, and the log goes on without those that cannot begin.

use std::{env, sync::Arc};

use nsq::{Producer, ProducerConfig, Server};
use pgo_bus::Undertaker;
use pgo_telemetry::CancellationToken;
use pgo_tls::{TlsFiles, TlsListener};

use crate::{
    Settings, auth,
    dead::{DeadLetterService, Shelf},
    http::Face,
    log::Log,
    metrics::Metrics,
    mirror::Mirror,
    replication::Turn,
    withdrawn::Withdrawn,
};

/// What all of them need.
pub(crate) struct Faces<'a> {
    settings: &'a Settings,
    files: &'a Arc<TlsFiles>,
    metrics: &'a Metrics,
    shutdown: &'a CancellationToken,
}

impl<'a> Faces<'a> {
    pub(crate) fn new(
        settings: &'a Settings,
        files: &'a Arc<TlsFiles>,
        metrics: &'a Metrics,
        shutdown: &'a CancellationToken,
    ) -> Self {
        Self {
            settings,
            files,
            metrics,
            shutdown,
        }
    }

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
            self.withdrawn(),
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
        let face = Face::new(log, self.withdrawn(), metrics, shutdown, most);
        Ok(face.serve(listener))
    }

    fn withdrawn(&self) -> Withdrawn {
        Withdrawn::in_folder(self.settings.withdrawn_dir.clone())
    }

    /// Who tells Kubernetes what happens, where that is wanted.
    pub(crate) async fn mirror(&self, log: &Arc<Log>) -> Option<Mirror> {
        if !self.settings.mirror {
            return None;
        }
        pgo_tls::provider();
        match kube::Client::try_default().await {
            Ok(client) => Some(Mirror {
                log: log.clone(),
                metrics: self.metrics.clone(),
                shutdown: self.shutdown.clone(),
                client,
                folder: self.settings.data.clone(),
                instance: env::var("HOSTNAME").unwrap_or_else(|_| "event".to_owned()),
            }),
            Err(error) => {
                tracing::error!(%error, "no events are told to Kubernetes: neither KUBECONFIG nor the account of a pod can be used");
                None
            }
        }
    }

    /// nsqd, as this process speaks with it.
    pub(crate) fn nsqd(&self) -> anyhow::Result<Server> {
        let files = self.files.clone();
        let config = nsq::TlsConfig::source(move || files.client_config());
        Ok(pgo_bus::server(&self.settings.event_addr, config)?)
    }

    /// Who puts dead letters away, and what shows those that are kept to the apiserver.
    pub(crate) fn dead_letters(
        &self,
        turn: &Turn,
    ) -> anyhow::Result<(Undertaker, DeadLetterService)> {
        let producer = Producer::connect(self.nsqd()?, ProducerConfig::default());
        let producer = Arc::new(producer);
        let service = DeadLetterService {
            shelf: Arc::new(Shelf::new(&self.settings.data, turn.subscribe())),
            producer: producer.clone(),
            metrics: self.metrics.clone(),
        };
        Ok((Undertaker::new(producer)?, service))
    }
}
