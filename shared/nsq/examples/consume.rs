//! Handles several messages at a time until Ctrl-C. A message that says "fail" fails; after the third time it is put away.
//!
//! `cargo run --example consume -- [ADDRESS [TOPIC [CHANNEL]]]`

use std::{env, num::NonZeroU16, time::Duration};

use nsq::{Consumer, ConsumerConfig, DeadLetters, Message, Producer, ProducerConfig, Server};
use tokio::{signal::ctrl_c, time::sleep};

/// The work.
async fn handle(body: &[u8]) -> Result<(), &'static str> {
    sleep(Duration::from_millis(100)).await;
    if body == b"fail" {
        return Err("it says so");
    }
    println!("{}", String::from_utf8_lossy(body));
    Ok(())
}

async fn answer(message: Message) {
    match message.touch_while(handle(message.body())).await {
        Ok(()) => message.finish(),
        Err(reason) => {
            let (id, attempt) = (message.id(), message.attempts());
            eprintln!("{id} failed for the {attempt}. time: {reason}");
            message.requeue(Duration::from_secs(1));
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = env::args().skip(1);
    let address = arguments.next().unwrap_or("127.0.0.1:4150".to_owned());
    let topic = arguments.next().unwrap_or("orders".to_owned());
    let channel = arguments.next().unwrap_or("billing".to_owned());
    let server = Server::new(address);

    let producer = Producer::connect(server.clone(), ProducerConfig::default());
    let three = NonZeroU16::new(3).ok_or("three is not zero")?;
    let dead = format!("{topic}.dead").parse()?;
    let config = ConsumerConfig {
        max_in_flight: 10,
        dead_letters: Some(DeadLetters::to_topic(three, producer.clone(), dead)),
        ..ConsumerConfig::default()
    };
    let mut consumer = Consumer::subscribe(server, topic.parse()?, channel.parse()?, config);

    loop {
        tokio::select! {
            message = consumer.next() => match message {
                Some(message) => drop(tokio::spawn(answer(message))),
                None => break,
            },
            pressed = ctrl_c() => {
                pressed?;
                break;
            }
        }
    }
    let unanswered = consumer.close().await;
    println!("closed; {unanswered} messages were not answered and will come again");
    producer.close().await;
    Ok(())
}
