//! Asks all nsqlookupd, again and again.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use super::{
    Discovery, Node,
    directory::Directory,
    query::{LookupError, ask},
};
use crate::{
    backoff::Delays,
    error::ConnectionError,
    name::TopicName,
    server::{Backoff, Server},
};

/// When asked to ask again, not sooner than this after the last time.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// By which part a pause is shortened at most.
const JITTER: f64 = 0.3;

/// What is known now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listing {
    /// How to speak with each nsqd, by its address.
    pub servers: BTreeMap<String, Server>,
    /// Set if none of the nsqlookupd answered the last time.
    pub failure: Option<Arc<ConnectionError>>,
}

/// Tells `listing` what is known, for ever; asks at once when `again` says so.
pub(crate) async fn poll(
    discovery: Discovery,
    topic: TopicName,
    listing: watch::Sender<Listing>,
    again: Arc<Notify>,
) {
    let mut directory = Directory::new(discovery.lookupds.len());
    let mut delays = Delays::new(Backoff::default());
    loop {
        let failure = ask_all(&discovery, &topic, &mut directory).await;
        let pause = if failure.is_some() {
            delays.connection_ended(Duration::ZERO);
            delays.delay(rand::random()).min(discovery.poll_interval)
        } else {
            delays = Delays::new(Backoff::default());
            let shortened = 1.0 - JITTER * rand::random::<f64>();
            discovery.poll_interval.mul_f64(shortened)
        };
        let asked = Instant::now();
        listing.send_replace(Listing {
            servers: servers(&discovery, &directory),
            failure: failure.map(Arc::new),
        });
        tokio::select! {
            () = sleep(pause) => {}
            () = again.notified() => sleep_until(asked + SHORTEST_PAUSE.min(pause)).await,
        }
    }
}

/// Asks all at once; says why, if none of them answered.
async fn ask_all(
    discovery: &Discovery,
    topic: &TopicName,
    directory: &mut Directory,
) -> Option<ConnectionError> {
    let mut questions = JoinSet::new();
    for (at, lookupd) in discovery.lookupds.iter().enumerate() {
        let (lookupd, topic, limit) = (lookupd.clone(), topic.clone(), discovery.timeout);
        questions.spawn(async move { (at, ask(&lookupd, &topic, limit).await) });
    }
    let mut failure = None;
    let mut answered = false;
    while let Some(asked) = questions.join_next().await {
        let Ok((at, answer)) = asked else { continue };
        match answer {
            Ok(nodes) => {
                answered = true;
                directory.hear(at, nodes, Instant::now());
            }
            Err(source) => failure = Some(note(&discovery.lookupds[at], topic, source)),
        }
    }
    failure.filter(|_| !answered)
}

fn note(lookupd: &str, topic: &TopicName, source: LookupError) -> ConnectionError {
    tracing::warn!(%topic, lookupd, error = %source, "cannot ask this nsqlookupd; trying again");
    ConnectionError::Lookup {
        address: lookupd.to_owned(),
        source,
    }
}

fn servers(discovery: &Discovery, directory: &Directory) -> BTreeMap<String, Server> {
    let nodes = directory.nodes();
    nodes
        .into_values()
        .filter_map(|node: &Node| (discovery.choose)(node))
        .map(|server| (server.address.clone(), server))
        .collect()
}
