//! Reads a topic from all nsqd that nsqlookupd lists, and tells when they come and go.
//!
//! `cargo run --example discover -- [LOOKUPD [TOPIC]]`

use std::{env, time::Duration};

use nsq::{Consumer, ConsumerConfig, Discovery};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = env::args().skip(1);
    let lookupd = arguments.next().unwrap_or("127.0.0.1:4161".to_owned());
    let topic = arguments.next().unwrap_or("orders".to_owned());

    let mut discovery = Discovery::new([lookupd]);
    discovery.poll_interval = Duration::from_secs(5);
    let config = ConsumerConfig {
        max_in_flight: 50,
        ..ConsumerConfig::default()
    };
    // A channel that is gone with its last reader: to look, without keeping anything for later.
    let channel = "look#ephemeral".parse()?;
    let mut consumer = Consumer::discover(discovery, topic.parse()?, channel, config);

    let mut nodes = consumer.nodes();
    let mut state = consumer.state();
    loop {
        tokio::select! {
            Some(message) = consumer.next() => {
                println!("{}", String::from_utf8_lossy(message.body()));
                message.finish();
            }
            Ok(()) = nodes.changed() => {
                let nodes = nodes.borrow_and_update();
                println!("reading from {:?}", nodes.keys().collect::<Vec<_>>());
            }
            Ok(()) = state.changed() => println!("{:?}", *state.borrow_and_update()),
            else => return Ok(()),
        }
    }
}
