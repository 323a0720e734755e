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
    warn_of_not_available(&config);
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
                    warn_of_not_available(&config);
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
fn warn_of_not_available(config: &PgoConfig) {
    let keys = Vec::from_iter(config.not_available()).join(", ");
    if !keys.is_empty() {
        tracing::warn!(
            keys,
            "pgo.yaml has settings that there are not, or that are not available in this version yet; clusters are made without them"
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

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _};

    use super::*;

    #[test]
    fn keys_that_do_nothing_are_in_the_log_without_their_values() {
        // The installer replaces @NAME@ by values; here the names do for them.
        let text = include_str!("../../../deploy/install/pgo.yaml")
            .replace('@', "")
            .replace(
                "  Database: userdb\n",
                "  Databse: typo\n  PgmonitorPassword: s3cret\n",
            );
        let mut log = tempfile::tempfile().expect("a file");
        let writer = Arc::new(log.try_clone().expect("the same file"));
        let subscriber = tracing_subscriber::fmt().with_writer(writer).finish();
        let config = PgoConfig::parse(&text).expect("a pgo.yaml");
        tracing::subscriber::with_default(subscriber, || warn_of_not_available(&config));
        let mut told = String::new();
        log.rewind().expect("the begin");
        log.read_to_string(&mut told).expect("text");
        let keys = "Cluster.Databse (no such setting), Cluster.PgmonitorPassword";
        assert!(told.contains("WARN") && told.contains(keys), "{told}");
        assert!(!told.contains("s3cret"), "{told}");
    }
}
