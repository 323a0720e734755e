//! Our own client.

use std::{collections::VecDeque, time::Instant};

use anyhow::Context as _;
use nsq::{Consumer, ConsumerConfig, OutputBuffer, Producer, ProducerConfig, Server, TopicName};

use super::{CHANNEL, IN_FLIGHT, SIZE, TOPIC, WINDOW, What, median};

/// Messages of one command when a channel is filled.
const FILL: usize = 1000;

pub async fn measure(what: What, address: &str) -> anyhow::Result<f64> {
    match what {
        What::Publish => publish(address, what.count()).await,
        What::Pipeline => pipeline(address, what.count()).await,
        What::Consume => consume(address, what.count()).await,
    }
}

async fn connect(address: &str) -> anyhow::Result<(Producer, TopicName)> {
    let producer = Producer::connect(Server::new(address), ProducerConfig::default());
    let mut state = producer.state();
    state.wait_for(nsq::State::is_connected).await?;
    Ok((producer, TOPIC.parse()?))
}

/// Fills the topic.
pub async fn fill(address: &str, count: usize) -> anyhow::Result<()> {
    let (producer, topic) = connect(address).await?;
    let body = bytes::Bytes::from(vec![b'x'; SIZE]);
    for _ in 0..count / FILL {
        let bodies = std::iter::repeat_n(body.clone(), FILL);
        producer.publish_many(&topic, bodies).await?;
    }
    producer.close().await;
    Ok(())
}

async fn publish(address: &str, count: usize) -> anyhow::Result<f64> {
    let (producer, topic) = connect(address).await?;
    let body = bytes::Bytes::from(vec![b'x'; SIZE]);
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let begun = Instant::now();
        producer.publish(&topic, body.clone()).await?;
        times.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    Ok(median(times))
}

async fn pipeline(address: &str, count: usize) -> anyhow::Result<f64> {
    let (producer, topic) = connect(address).await?;
    let body = bytes::Bytes::from(vec![b'x'; SIZE]);
    let mut under_way = VecDeque::with_capacity(WINDOW);
    let begun = Instant::now();
    for _ in 0..count {
        if under_way.len() == WINDOW
            && let Some(oldest) = under_way.pop_front()
        {
            oldest.await?;
        }
        under_way.push_back(producer.publish(&topic, body.clone()));
    }
    for publication in under_way {
        publication.await?;
    }
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}

async fn consume(address: &str, count: usize) -> anyhow::Result<f64> {
    let config = ConsumerConfig {
        max_in_flight: usize::from(IN_FLIGHT),
        // As the others do: nsqd gathers.
        output_buffer: OutputBuffer::Server,
        ..ConsumerConfig::default()
    };
    let (topic, channel) = (TOPIC.parse()?, CHANNEL.parse()?);
    let mut consumer = Consumer::subscribe(Server::new(address), topic, channel, config);
    let mut begun = None;
    for _ in 0..count {
        let message = consumer.next().await.context("the consumer ended")?;
        begun.get_or_insert_with(Instant::now);
        message.finish();
    }
    let begun = begun.context("nothing came")?;
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}
