//! The protocol by hand: publishes one message with nothing of this crate but the codec, over a blocking socket.
//!
//! `cargo run --example codec -- [ADDRESS]`

use std::{
    env,
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use bytes::BytesMut;
use nsq::codec::{Command, Frame, MAGIC};

/// The next frame that is no heartbeat.
fn read(
    stream: &mut TcpStream,
    received: &mut BytesMut,
) -> Result<Frame, Box<dyn std::error::Error>> {
    loop {
        match Frame::decode(received, 1 << 20)? {
            Some(frame) if frame.is_heartbeat() => {
                let mut answer = BytesMut::new();
                Command::Nop.encode(&mut answer);
                stream.write_all(&answer)?;
            }
            Some(frame) => return Ok(frame),
            None => {
                let mut chunk = [0; 4096];
                match stream.read(&mut chunk)? {
                    0 => return Err("nsqd closed the connection".into()),
                    length => received.extend_from_slice(&chunk[..length]),
                }
            }
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = env::args().nth(1).unwrap_or("127.0.0.1:4150".to_owned());
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut received = BytesMut::new();

    let mut commands = BytesMut::from(&MAGIC[..]);
    let identity = r#"{"client_id": "by hand", "feature_negotiation": true}"#;
    Command::Identify(identity.into()).encode(&mut commands);
    Command::Publish {
        topic: "orders".parse()?,
        body: "tea".into(),
    }
    .encode(&mut commands);
    stream.write_all(&commands)?;

    println!("to IDENTIFY: {:?}", read(&mut stream, &mut received)?);
    println!("to PUB: {:?}", read(&mut stream, &mut received)?);
    Ok(())
}
