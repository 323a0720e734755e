//! Publishes each line of standard input, and says what became of it.
//!
//! `cargo run --example publish -- [ADDRESS [TOPIC]] < lines`

use std::{env, io::BufRead as _};

use nsq::{Producer, ProducerConfig, PublishError, Server, TopicName};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = env::args().skip(1);
    let address = arguments.next().unwrap_or("127.0.0.1:4150".to_owned());
    let topic: TopicName = arguments.next().as_deref().unwrap_or("orders").parse()?;
    let producer = Producer::connect(Server::new(address), ProducerConfig::default());

    // All are under way before the first result is awaited.
    let mut published = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        published.push((line.clone(), producer.publish(&topic, line)));
    }
    for (line, result) in published {
        match result.await {
            Ok(()) => println!("acknowledged  {line}"),
            Err(PublishError::Rejected(error)) => println!("refused       {line}: {error}"),
            Err(PublishError::Unknown(reason)) => println!("unknown       {line}: {reason}"),
            Err(PublishError::NotSent(reason)) => println!("not sent      {line}: {reason}"),
        }
    }
    producer.close().await;
    Ok(())
}
