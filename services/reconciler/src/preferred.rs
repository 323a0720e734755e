//! The nodes that `PreferredFailoverNode` of `pgo.yaml` selects: of instances that are as far, one on such a node becomes
//! primary.

use std::{collections::BTreeSet, future::pending, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client, ResourceExt as _, api::ListParams};
use pgo_crd::PgoConfig;
use tokio::{sync::watch, time::sleep};

use crate::{call::call, context::Context, error::Error};

/// Names of nodes; none where it is not known which are selected.
pub type Nodes = Option<Arc<BTreeSet<String>>>;

/// Time between two looks. Nodes change their labels by hand, and a node that is new has no instance yet.
const PAUSE: Duration = Duration::from_secs(60);

/// What is selected, and what follows `pgo.yaml` and the nodes' labels for as long as `config` is followed.
pub fn follow(
    client: Client,
    config: watch::Receiver<Arc<PgoConfig>>,
) -> (watch::Receiver<Nodes>, impl Future<Output = ()>) {
    let (sender, receiver) = watch::channel(None);
    (receiver, keep_up(client, config, sender))
}

async fn keep_up(
    client: Client,
    mut config: watch::Receiver<Arc<PgoConfig>>,
    sender: watch::Sender<Nodes>,
) {
    loop {
        let selector = config
            .borrow_and_update()
            .pgo
            .preferred_failover_node
            .clone();
        match selected(&client, &selector).await {
            Ok(nodes) => {
                sender.send_if_modified(|known| {
                    let is_news = known.as_deref() != Some(&nodes);
                    if is_news {
                        *known = Some(Arc::new(nodes));
                    }
                    is_news
                });
            }
            Err(error) => tracing::warn!(
                selector, %error,
                "the nodes that PreferredFailoverNode of pgo.yaml selects cannot be listed; is it a label selector such as \
                 zone=a, and may the reconciler list nodes? Until then the instances on those known before are preferred"
            ),
        }
        tokio::select! {
            changed = config.changed() => if changed.is_err() { return },
            () = sleep(PAUSE), if !selector.is_empty() => {}
        }
    }
}

/// Names of the nodes with this label; of none where no label is named.
async fn selected(client: &Client, selector: &str) -> Result<BTreeSet<String>, Error> {
    if selector.is_empty() {
        return Ok(BTreeSet::new());
    }
    let nodes: Api<Node> = Api::all(client.clone());
    let labelled = ListParams::default().labels(selector);
    let found = call("list", "Nodes", nodes.list_metadata(&labelled)).await?;
    Ok(found.iter().map(|node| node.name_any()).collect())
}

/// Has every cluster of a namespace looked at again when other nodes are selected.
pub async fn wake(mut nodes: watch::Receiver<Nodes>, context: &Context) {
    while nodes.changed().await.is_ok() {
        context.wake_all();
    }
    pending::<()>().await;
}
