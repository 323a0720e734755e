//! tokio-nsq, flushing every 5 ms where its default of 250 ms would be all that is measured. Its shortest time is what a
//! publish takes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use tokio_nsq::{
    NSQChannel, NSQConfigShared, NSQConsumerConfig, NSQConsumerConfigSources, NSQEvent,
    NSQProducer, NSQProducerConfig, NSQTopic,
};

use super::{CHANNEL, IN_FLIGHT, SIZE, TOPIC, WINDOW, What, median};

/// How often it flushes.
const FLUSH: Duration = Duration::from_millis(5);

/// Messages that are published one by one: each waits for a flush.
const ONE_BY_ONE: usize = 400;

pub async fn measure(what: What, address: &str) -> anyhow::Result<f64> {
    match what {
        What::Publish => publish(address).await,
        What::Pipeline => pipeline(address, what.count()).await,
        What::Consume => consume(address, what.count()).await,
    }
}

fn shared() -> NSQConfigShared {
    NSQConfigShared::new().set_flush_interval(FLUSH)
}

async fn connect(address: &str) -> anyhow::Result<(NSQProducer, Arc<NSQTopic>)> {
    let config = NSQProducerConfig::new(address).set_shared(shared());
    let mut producer = config.build();
    let Some(NSQEvent::Healthy()) = producer.consume().await else {
        bail!("no connection");
    };
    Ok((producer, NSQTopic::new(TOPIC).context("a topic")?))
}

async fn acknowledged(producer: &mut NSQProducer) -> anyhow::Result<()> {
    match producer.consume().await {
        Some(NSQEvent::Ok()) => Ok(()),
        other => bail!("no acknowledgement but {other:?}"),
    }
}

async fn send(producer: &mut NSQProducer, topic: &Arc<NSQTopic>) -> anyhow::Result<()> {
    let sent = producer.publish(topic, vec![b'x'; SIZE]).await;
    sent.map_err(|error| anyhow::anyhow!("not published: {error}"))
}

async fn publish(address: &str) -> anyhow::Result<f64> {
    let (mut producer, topic) = connect(address).await?;
    let mut times = Vec::with_capacity(ONE_BY_ONE);
    for _ in 0..ONE_BY_ONE {
        let begun = Instant::now();
        send(&mut producer, &topic).await?;
        acknowledged(&mut producer).await?;
        times.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    Ok(median(times))
}

async fn pipeline(address: &str, count: usize) -> anyhow::Result<f64> {
    let (mut producer, topic) = connect(address).await?;
    let begun = Instant::now();
    for sent in 0..count {
        if sent >= WINDOW {
            acknowledged(&mut producer).await?;
        }
        send(&mut producer, &topic).await?;
    }
    for _ in 0..count.min(WINDOW) {
        acknowledged(&mut producer).await?;
    }
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}

async fn consume(address: &str, count: usize) -> anyhow::Result<f64> {
    let topic = NSQTopic::new(TOPIC).context("a topic")?;
    let channel = NSQChannel::new(CHANNEL).context("a channel")?;
    let mut consumer = NSQConsumerConfig::new(topic, channel)
        .set_max_in_flight(u32::from(IN_FLIGHT))
        .set_sources(NSQConsumerConfigSources::Daemons(vec![address.to_owned()]))
        .set_shared(shared())
        .build();
    let mut begun = None;
    for _ in 0..count {
        let message = consumer.consume_filtered().await.context("the end")?;
        begun.get_or_insert_with(Instant::now);
        message.finish().await;
    }
    let begun = begun.context("nothing came")?;
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}
