//! Which topics of nsqd somebody reads.
//!
//! nsqd keeps the messages of a topic without a channel until there is one, in memory and then on disk. So nothing is
//! published there: a topic that nobody reads costs nothing, and who comes is not given what happened days ago.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Uri;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::Deserialize;
use tokio::time::timeout;

/// How long nsqd may take to say.
const DEADLINE: Duration = Duration::from_secs(5);

/// Most bytes of its answer: there are eleven topics, and a channel for each client.
const MOST_BYTES: usize = 4 << 20;

/// Asks nsqd.
#[derive(Debug)]
pub(crate) struct Subscribers {
    http: Client<HttpConnector, Empty<Bytes>>,
    address: SocketAddr,
}

#[derive(Deserialize)]
struct Stats {
    topics: Vec<Topic>,
}

#[derive(Deserialize)]
struct Topic {
    topic_name: String,
    channels: Vec<Channel>,
}

/// That it is there is all that counts.
#[derive(Deserialize)]
struct Channel {}

impl Subscribers {
    /// Of the nsqd with this HTTP address.
    pub(crate) fn of(address: SocketAddr) -> Self {
        let http = Client::builder(TokioExecutor::new()).build_http();
        Self { http, address }
    }

    /// The topics that have a channel now.
    ///
    /// # Errors
    /// nsqd does not say.
    pub(crate) async fn topics(&self) -> anyhow::Result<BTreeSet<String>> {
        timeout(DEADLINE, self.ask())
            .await
            .context("nsqd does not say in time who reads it")?
    }

    async fn ask(&self) -> anyhow::Result<BTreeSet<String>> {
        let uri = Uri::builder()
            .scheme("http")
            .authority(self.address.to_string())
            .path_and_query("/stats?format=json&include_clients=false&include_mem=false")
            .build()?;
        let answer = self.http.get(uri).await.context("ask nsqd who reads it")?;
        anyhow::ensure!(
            answer.status().is_success(),
            "nsqd answers {}",
            answer.status()
        );
        let body = Limited::new(answer.into_body(), MOST_BYTES).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
        let stats: Stats = serde_json::from_slice(&body).context("read nsqd's statistics")?;
        let read = stats
            .topics
            .into_iter()
            .filter(|topic| !topic.channels.is_empty());
        Ok(read.map(|topic| topic.topic_name).collect())
    }
}
