//! `pgo.yaml` of ConfigMap `pgo-config`, read at the start and followed from then on. Where there is no such ConfigMap at the
//! start, what is built in goes for it.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use futures::{Stream, StreamExt as _};
use k8s_openapi::api::{core::v1::ConfigMap, storage::v1::StorageClass};
use kube::{
    Api, Client,
    api::ListParams,
    runtime::{WatchStreamExt as _, watcher},
};
use pgo_crd::PgoConfig;
use pgo_k8s::ahead;
use tokio::sync::watch;

/// How long the API server may take to give it at the start.
const DEADLINE: Duration = Duration::from_secs(30);

/// Name of the ConfigMap.
const NAME: &str = "pgo-config";

/// Key of the file in it.
const KEY: &str = "pgo.yaml";

/// Reads it, and gives what follows its changes, for ever; a change that cannot be used is logged, and what was before
/// stays. `rung` are objects that the watch is to look at, with their versions.
///
/// # Errors
/// It cannot be used; or it is not there, and nothing can go for it.
pub async fn follow<S>(
    client: &Client,
    namespace: &str,
    rung: S,
) -> anyhow::Result<(
    watch::Receiver<Arc<PgoConfig>>,
    impl Future<Output = ()> + use<S>,
)>
where
    S: Stream<Item = (String, String)>,
{
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let map = tokio::time::timeout(DEADLINE, api.get_opt(NAME))
        .await
        .context("the API server did not answer when asked for ConfigMap pgo-config")?
        .with_context(|| format!("cannot read ConfigMap {NAME} in namespace {namespace}"))?;
    let config = match &map {
        Some(map) => parse(map)?,
        None => built_in(client, namespace).await?,
    };
    warn_of_later_work(&config);
    let (sender, receiver) = watch::channel(Arc::new(config));
    let only = watcher::Config::default().fields(&format!("metadata.name={NAME}"));
    let (changes, ahead) = ahead::watch(api, only);
    let following = async move {
        tokio::join!(
            keep_up(changes.applied_objects(), sender),
            ahead.look_at(rung)
        );
    };
    Ok((receiver, following))
}

async fn keep_up(
    changes: impl Stream<Item = watcher::Result<ConfigMap>>,
    sender: watch::Sender<Arc<PgoConfig>>,
) {
    let mut changes = std::pin::pin!(changes);
    while let Some(change) = changes.next().await {
        match change
            .map_err(anyhow::Error::from)
            .and_then(|map| parse(&map))
        {
            Ok(config) => sender.send_if_modified(|now| {
                let changed = **now != config;
                if changed {
                    tracing::info!("pgo.yaml has changed; new clusters follow it");
                    warn_of_later_work(&config);
                    *now = Arc::new(config);
                }
                changed
            }),
            Err(error) => {
                tracing::error!(
                    error = format!("{error:#}"),
                    "pgo.yaml cannot be used as it is now; the former stays in force"
                );
                false
            }
        };
    }
}

/// What goes for it where there is none, as in 4.1.
async fn built_in(client: &Client, namespace: &str) -> anyhow::Result<PgoConfig> {
    let api = Api::<StorageClass>::all(client.clone());
    let classes = tokio::time::timeout(DEADLINE, api.list(&ListParams::default()))
        .await
        .context("the API server did not answer when asked for storage classes")?
        .with_context(|| {
            format!(
                "there is no ConfigMap {NAME} in namespace {namespace}, and the storage classes, of which one would be used \
                 without it, cannot be read"
            )
        })?;
    let config = PgoConfig::built_in(&classes.items, |name| std::env::var(name).ok())?;
    tracing::warn!(
        storage = ?config.storage,
        "there is no ConfigMap {NAME} in namespace {namespace}: what is built in goes for it"
    );
    Ok(config)
}

/// What this version does not do it goes on without, also for clusters that kubectl makes, of which the apiserver does not
/// hear: whoever reads this log learns it here, and everybody by `pgo status`.
fn warn_of_later_work(config: &PgoConfig) {
    let keys = Vec::from_iter(config.later_work()).join(", ");
    if !keys.is_empty() {
        tracing::warn!(
            keys,
            "pgo.yaml asks for what is not available in this version yet; clusters are made without it"
        );
    }
}

fn parse(map: &ConfigMap) -> anyhow::Result<PgoConfig> {
    let text = map
        .data
        .as_ref()
        .and_then(|data| data.get(KEY))
        .with_context(|| format!("ConfigMap {NAME} has no key {KEY}"))?;
    Ok(PgoConfig::parse(text)?.with_images(|name| std::env::var(name).ok()))
}
