//! Both compressions, in plain and within TLS.

use std::time::{Duration, Instant};

use futures::future::join_all;
use nsq::{
    Compression, Consumer, ConsumerConfig, DeflateLevel, OutputBuffer, Producer, ProducerConfig,
    Server,
};

use super::{
    harness::{Nsqd, channel, next_body, soon, topic},
    tls::Secured,
};

fn deflate() -> Compression {
    Compression::Deflate(DeflateLevel::default())
}

/// What nsqd says of a connection's compression: snappy, deflate.
fn flags(compression: Compression) -> (bool, bool) {
    match compression {
        Compression::Snappy => (true, false),
        Compression::Deflate(_) => (false, true),
        _ => (false, false),
    }
}

fn reader(server: Server, max_in_flight: usize) -> Consumer {
    let config = ConsumerConfig {
        max_in_flight,
        ..ConsumerConfig::default()
    };
    Consumer::subscribe(server, topic(), channel(), config)
}

/// A text of this length that repeats itself, and is different from others.
fn text(length: usize) -> String {
    (0..)
        .map(|n| format!("{length} and {n}, "))
        .take(length / 4 + 1)
        .collect::<String>()[..length]
        .to_owned()
}

/// Messages of all sizes there and back, one by one and in a stream.
async fn round_trips(nsqd: &Nsqd, server: Server) {
    let compression = server.compression;
    let producer = Producer::connect(server.clone(), ProducerConfig::default());
    let mut consumer = reader(server, 50);
    for size in [1, 100, 1 << 14, (1 << 16) + 1, 1 << 20] {
        let body = text(size);
        soon(
            "the acknowledgement",
            producer.publish(&topic(), body.clone()),
        )
        .await
        .unwrap();
        assert!(next_body(&mut consumer).await == body, "{size} bytes");
    }
    let noise: Vec<u8> = (0..1 << 18_u32)
        .scan(1_u32, |state, _| {
            *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            Some((*state >> 24) as u8)
        })
        .collect();
    soon(
        "the acknowledgement",
        producer.publish(&topic(), noise.clone()),
    )
    .await
    .unwrap();
    let message = soon("the noise", consumer.next()).await.unwrap();
    assert!(message.body() == &noise);
    message.finish();

    let publications = (0..2000).map(|n| producer.publish(&topic(), text(n % 300 + 1)));
    for result in soon("the acknowledgements", join_all(publications)).await {
        result.unwrap();
    }
    let mut lengths = vec![0; 301];
    for _ in 0..2000 {
        let body = next_body(&mut consumer).await;
        assert!(body == text(body.len()));
        lengths[body.len()] += 1;
    }
    assert!(lengths[1..].iter().all(|count| [6, 7].contains(count)));

    let client = &nsqd.channel_stats(&topic(), &channel())["clients"][0];
    let (snappy, deflate) = flags(compression);
    assert_eq!(client["snappy"], snappy);
    assert_eq!(client["deflate"], deflate);
    assert_eq!(soon("closing", consumer.close()).await, 0);
    soon("closing", producer.close()).await;
}

#[tokio::test]
async fn snappy_carries_messages_of_all_sizes() {
    let nsqd = Nsqd::start(&[]);
    let server = nsqd.server().with_compression(Compression::Snappy);
    round_trips(&nsqd, server).await;
}

#[tokio::test]
async fn deflate_carries_messages_of_all_sizes() {
    let nsqd = Nsqd::start(&[]);
    let server = nsqd.server().with_compression(deflate());
    round_trips(&nsqd, server).await;
}

#[tokio::test]
async fn deflate_of_all_levels_is_understood() {
    let nsqd = Nsqd::start(&["--max-deflate-level=9"]);
    for level in 1..=9 {
        let level = DeflateLevel::try_from(level).unwrap();
        let server = nsqd.server().with_compression(Compression::Deflate(level));
        let producer = Producer::connect(server.clone(), ProducerConfig::default());
        let mut consumer = reader(server, 1);
        soon(
            "the acknowledgement",
            producer.publish(&topic(), text(5000)),
        )
        .await
        .unwrap();
        assert!(next_body(&mut consumer).await == text(5000));
        soon("closing", consumer.close()).await;
    }
}

#[tokio::test]
async fn both_work_within_tls() {
    let secured = Secured::start();
    for compression in [Compression::Snappy, deflate()] {
        let server = secured
            .server(true, "nsqd.test")
            .with_compression(compression);
        round_trips(&secured.nsqd, server).await;
    }
}

#[tokio::test]
async fn an_nsqd_that_does_not_compress_is_spoken_with_all_the_same() {
    let nsqd = Nsqd::start(&["--snappy=false", "--deflate=false"]);
    for compression in [Compression::Snappy, deflate()] {
        let server = nsqd.server().with_compression(compression);
        let producer = Producer::connect(server.clone(), ProducerConfig::default());
        let mut consumer = reader(server, 1);
        soon("the acknowledgement", producer.publish(&topic(), "tea"))
            .await
            .unwrap();
        assert_eq!(next_body(&mut consumer).await, "tea");
        let client = &nsqd.channel_stats(&topic(), &channel())["clients"][0];
        assert_eq!(
            (&client["snappy"], &client["deflate"]),
            (&false.into(), &false.into())
        );
        soon("closing", consumer.close()).await;
    }
}

#[tokio::test]
async fn compressed_messages_do_not_wait_in_nsqd() {
    let nsqd = Nsqd::start(&[]);
    for compression in [Compression::Snappy, deflate()] {
        let server = nsqd.server().with_compression(compression);
        let producer = Producer::connect(server.clone(), ProducerConfig::default());
        // With more than one place nsqd has no reason to flush before its timer says so, if there is one.
        let mut consumer = reader(server, 100);
        let start = Instant::now();
        for _ in 0..20 {
            soon("the acknowledgement", producer.publish(&topic(), "tea"))
                .await
                .unwrap();
            assert_eq!(next_body(&mut consumer).await, "tea");
        }
        // The timer of deflate is 25 ms: 0.5 s in all. With nsqd's own 250 ms it would be 5 s.
        assert!(
            start.elapsed() < Duration::from_secs(3),
            "{compression:?}: {:?}",
            start.elapsed()
        );
        soon("closing", consumer.close()).await;
    }
}

#[tokio::test]
async fn gathering_goes_with_compression() {
    let nsqd = Nsqd::start(&[]);
    for compression in [Compression::Snappy, deflate()] {
        let server = nsqd.server().with_compression(compression);
        let producer = Producer::connect(server.clone(), ProducerConfig::default());
        let config = ConsumerConfig {
            max_in_flight: 100,
            output_buffer: OutputBuffer::Gather {
                bytes: 64 << 10,
                timeout: Duration::from_millis(25),
            },
            ..ConsumerConfig::default()
        };
        let mut consumer = Consumer::subscribe(server, topic(), channel(), config);
        let bodies = (0..500).map(|n| n.to_string());
        soon(
            "the acknowledgement",
            producer.publish_many(&topic(), bodies),
        )
        .await
        .unwrap();
        for _ in 0..500 {
            next_body(&mut consumer).await;
        }
        soon("closing", consumer.close()).await;
    }
}

#[tokio::test]
async fn a_compressed_stream_goes_on_after_a_restart() {
    let mut nsqd = Nsqd::start(&[]);
    let server = nsqd.server().with_compression(deflate());
    let producer = Producer::connect(server.clone(), ProducerConfig::default());
    let mut consumer = reader(server, 10);
    for _ in 0..3 {
        soon("the acknowledgement", producer.publish(&topic(), "tea"))
            .await
            .unwrap();
        assert_eq!(next_body(&mut consumer).await, "tea");
        let mut states = [producer.state(), consumer.state()];
        nsqd.kill();
        for state in &mut states {
            let lost = state.wait_for(|state| !state.is_connected());
            soon("the loss", lost).await.unwrap();
        }
        nsqd.restart();
    }
}
