//! `pgo.yaml` as it is now: key `pgo.yaml` of ConfigMap `pgo-config`, followed while the process runs. Where there is no such
//! ConfigMap at the start, what is built in goes for it.

use std::sync::Arc;

use k8s_openapi::api::{
    core::v1::{ConfigMap, Node},
    storage::v1::StorageClass,
};
use kube::{Api, Client, ResourceExt as _, api::ListParams};
use pgo_crd::{ConfigError, PgoConfig, quantity};
use tokio::sync::watch;

use crate::mirror::Mirror;

/// Name of the ConfigMap, as in 4.1.
pub(crate) const CONFIG_MAP: &str = "pgo-config";

/// Key in it, as in 4.1.
const KEY: &str = "pgo.yaml";

/// The configuration in use. Clones are handles of the same.
#[derive(Clone)]
pub(crate) struct Configuration(watch::Receiver<Arc<PgoConfig>>);

/// Why there is no configuration to start with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoConfiguration {
    #[error("ConfigMap {CONFIG_MAP} in the operator's namespace is gone; create it")]
    Missing,
    #[error(
        "Error in pgoconfig: ConfigMap {CONFIG_MAP} in the operator's namespace has no key {KEY}; add it, or remove the \
         ConfigMap, so that what is built in goes for it"
    )]
    NoKey,
    #[error(transparent)]
    Wrong(#[from] ConfigError),
    #[error("cannot read the nodes, to look for those that pgo.yaml names: {0}")]
    Nodes(#[from] kube::Error),
    #[error(
        "there is no ConfigMap {CONFIG_MAP} in the operator's namespace, and the storage classes, of which one would be used \
         without it, cannot be read: {0}"
    )]
    StorageClasses(kube::Error),
}

impl Configuration {
    /// Reads and checks what the watch has brought, and follows it; without it, takes what is built in, as 4.1 does.
    ///
    /// # Errors
    /// It is wrong, or missing where nothing can go for it. A later version that is wrong, and that it is gone, is logged, and
    /// the former stays in use.
    pub(crate) async fn start(
        mut texts: Mirror<String>,
        client: Client,
    ) -> Result<Self, NoConfiguration> {
        let first = match read(&texts, &client).await {
            Err(NoConfiguration::Missing) => built_in(&client).await?,
            read => read?,
        };
        warn_of_not_available(&first);
        let (sender, receiver) = watch::channel(Arc::new(first));
        tokio::spawn(async move {
            while texts.changed().await {
                match read(&texts, &client).await {
                    Ok(config) if config == **sender.borrow() => {}
                    Ok(config) => {
                        tracing::info!("pgo.yaml has changed and is in use");
                        warn_of_not_available(&config);
                        sender.send_replace(Arc::new(config));
                    }
                    Err(error) => {
                        tracing::error!(%error, "pgo.yaml has changed and cannot be used; the former stays in use");
                    }
                }
            }
        });
        Ok(Self(receiver))
    }

    /// The configuration in use.
    pub(crate) fn now(&self) -> Arc<PgoConfig> {
        self.0.borrow().clone()
    }
}

/// What is kept of the ConfigMap: the file in it, empty where there is none.
pub(crate) fn text(config_map: &ConfigMap) -> Option<String> {
    let file = config_map.data.as_ref().and_then(|data| data.get(KEY));
    Some(file.cloned().unwrap_or_default())
}

/// What goes for `pgo.yaml` where there is none.
async fn built_in(client: &Client) -> Result<PgoConfig, NoConfiguration> {
    let classes = Api::<StorageClass>::all(client.clone())
        .list(&ListParams::default())
        .await
        .map_err(NoConfiguration::StorageClasses)?;
    let config = PgoConfig::built_in(&classes.items, |name| std::env::var(name).ok())?;
    tracing::warn!(
        storage = ?config.storage,
        "there is no ConfigMap {CONFIG_MAP} in the operator's namespace: what is built in goes for it"
    );
    Ok(config)
}

async fn read(texts: &Mirror<String>, client: &Client) -> Result<PgoConfig, NoConfiguration> {
    let text = texts.get(CONFIG_MAP).ok_or(NoConfiguration::Missing)?;
    if text.is_empty() {
        return Err(NoConfiguration::NoKey);
    }
    let config = PgoConfig::parse(&text)?.with_images(|name| std::env::var(name).ok());
    quantities(&config)?;
    if !node_labels(&config).is_empty() {
        let nodes = Api::<Node>::all(client.clone())
            .list(&ListParams::default())
            .await?;
        nodes_exist(&config, &nodes.items)?;
    }
    Ok(config)
}

fn wrong(key: impl Into<String>, problem: impl Into<String>) -> ConfigError {
    ConfigError::Value {
        key: key.into(),
        problem: problem.into(),
    }
}

/// Sizes and resources must be quantities of Kubernetes.
fn quantities(config: &PgoConfig) -> Result<(), ConfigError> {
    let sizes = config
        .storage
        .iter()
        .map(|(name, storage)| (format!("Storage.{name}.Size"), &storage.size));
    let resources = config.container_resources.iter().flat_map(|(name, entry)| {
        [
            ("RequestsMemory", &entry.requests_memory),
            ("RequestsCPU", &entry.requests_cpu),
            ("LimitsMemory", &entry.limits_memory),
            ("LimitsCPU", &entry.limits_cpu),
        ]
        .map(|(field, value)| (format!("ContainerResources.{name}.{field}"), value))
    });
    for (key, value) in sizes
        .chain(resources)
        .filter(|(_, value)| !value.is_empty())
    {
        quantity::whole(value).map_err(|problem| wrong(key, problem.to_string()))?;
    }
    Ok(())
}

fn node_labels(config: &PgoConfig) -> Vec<(&'static str, &str)> {
    let cluster = &config.cluster;
    [
        (
            "Cluster.PrimaryNodeLabel",
            cluster.primary_node_label.as_str(),
        ),
        (
            "Cluster.ReplicaNodeLabel",
            cluster.replica_node_label.as_str(),
        ),
    ]
    .into_iter()
    .filter(|(_, label)| !label.is_empty())
    .collect()
}

/// Node labels must be on some node.
fn nodes_exist(config: &PgoConfig, nodes: &[Node]) -> Result<(), ConfigError> {
    for (key, label) in node_labels(config) {
        let (name, value) = label.split_once('=').unwrap_or((label, ""));
        let found = nodes
            .iter()
            .any(|node| node.labels().get(name).map(String::as_str) == Some(value));
        if !found {
            return Err(wrong(key, format!("no node has the label {label}")));
        }
    }
    Ok(())
}

/// What this version does not do it goes on without; that is told here, and to those who create a cluster.
fn warn_of_not_available(config: &PgoConfig) {
    let keys = config.not_available();
    if !keys.is_empty() {
        let keys = Vec::from_iter(keys).join(", ");
        tracing::warn!(
            keys,
            "pgo.yaml has settings that there are not, or that are not available in this version yet; clusters are made without them"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use pgo_crd::{ResourcesConfig, StorageConfig};

    use super::*;

    #[test]
    fn a_size_that_is_no_quantity_is_named() {
        let storage = StorageConfig {
            size: "1GB".to_owned(),
            ..StorageConfig::default()
        };
        let config = PgoConfig {
            storage: BTreeMap::from([("fast".to_owned(), storage)]),
            ..PgoConfig::default()
        };
        let error = quantities(&config).expect_err("1GB is none").to_string();
        assert!(
            error.starts_with("Error in pgoconfig: check pgo.yaml: Storage.fast.Size: \"1GB\""),
            "{error}"
        );
    }

    #[test]
    fn a_resource_that_is_no_quantity_is_named() {
        let entry = ResourcesConfig {
            limits_cpu: "much".to_owned(),
            ..ResourcesConfig::default()
        };
        let config = PgoConfig {
            container_resources: BTreeMap::from([("large".to_owned(), entry)]),
            ..PgoConfig::default()
        };
        let error = quantities(&config).expect_err("no quantity").to_string();
        assert!(
            error.contains("ContainerResources.large.LimitsCPU"),
            "{error}"
        );
    }

    #[test]
    fn a_node_label_that_no_node_has_is_named() {
        let mut config = PgoConfig::default();
        config.cluster.primary_node_label = "zone=a".to_owned();
        let mut node = Node::default();
        assert!(nodes_exist(&config, std::slice::from_ref(&node)).is_err());
        node.metadata.labels = Some(BTreeMap::from([("zone".to_owned(), "a".to_owned())]));
        assert!(nodes_exist(&config, &[node]).is_ok());
    }
}
