//! Last events of clusters that are gone: copied to pages in the operator's namespace, relayed from there.

use std::{sync::Arc, time::Duration};

use futures::TryStreamExt as _;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ObjectMeta, PostParams},
    runtime::{WatchStreamExt as _, watcher},
};
use pgo_bus::Relay;
use pgo_crd::{PgEventPage, PgEventPageSpec, Pgcluster};
use pgo_events::Event;

use crate::{context::Context, error::Error, write::WRITE_DEADLINE};

/// How often a page is looked at for whether its events are confirmed.
const LOOK: Duration = Duration::from_secs(2);

/// Copies the unconfirmed events of a cluster to a page. Copying again changes nothing.
pub async fn copy(object: &Arc<Pgcluster>, context: &Context) -> Result<(), Error> {
    let outbox = object
        .status
        .as_ref()
        .map(|status| status.0.journal.outbox.clone())
        .unwrap_or_default();
    let Some(first) = outbox.entries.first() else {
        return Ok(());
    };
    let name = format!("{}-{}", first.stream, first.seq);
    let page = PgEventPage {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            ..ObjectMeta::default()
        },
        spec: PgEventPageSpec {
            stream: first.stream.to_string(),
            events: outbox
                .entries
                .iter()
                .filter_map(|event| serde_json::to_string(event).ok())
                .collect(),
        },
    };
    let api: Api<PgEventPage> =
        Api::namespaced(context.client.clone(), context.operator_namespace.as_str());
    let parameters = PostParams::default();
    let created = tokio::time::timeout(WRITE_DEADLINE, api.create(&parameters, &page))
        .await
        .map_err(|_| Error::Deadline("copy the last events to a page"))?;
    match created {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(source) => Err(Error::Kubernetes {
            what: format!("copy the last events to PgEventPage {name}"),
            source: Box::new(source),
        }),
    }
}

/// Relays the pages there are and those that come, and removes each when its events are confirmed.
pub async fn relay(api: Api<PgEventPage>, relay: Relay) {
    loop {
        let pages = watcher(api.clone(), watcher::Config::default())
            .default_backoff()
            .applied_objects()
            .try_for_each(|page| {
                let (api, relay) = (api.clone(), relay.clone());
                tokio::spawn(async move { relay_one(&page, &api, &relay).await });
                std::future::ready(Ok(()))
            });
        if let Err(error) = pages.await {
            tracing::warn!(%error, "the watch of event pages was interrupted; it begins again");
        }
    }
}

async fn relay_one(page: &PgEventPage, api: &Api<PgEventPage>, relay: &Relay) {
    let name = page.name_any();
    let events: Vec<Event> = page
        .spec
        .events
        .iter()
        .filter_map(|event| Event::from_wire(event.as_bytes()).ok())
        .collect();
    if let Some(last) = events.last() {
        while relay.confirmed(&last.stream) < Some(last.seq) {
            relay.offer(&last.stream, events.clone());
            tokio::time::sleep(LOOK).await;
        }
        relay.forget(&last.stream);
    }
    match api.delete(&name, &DeleteParams::default()).await {
        Ok(_) => tracing::info!(page = name, "the last events of a stream are stored"),
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        Err(error) => {
            tracing::warn!(page = name, %error, "cannot remove an event page; it is relayed again");
        }
    }
}
