//! A server of the test's own: it decodes commands and sends what the test tells it to.

use bytes::{Bytes, BytesMut};
use nsq::{
    Backoff, Server,
    codec::{Command, Delivery, Frame, MAGIC, MessageId},
};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::soon::soon;

pub struct FakeServer {
    listener: TcpListener,
}

impl FakeServer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener }
    }

    /// How to reach it, with short deadlines and delays.
    pub fn server(&self) -> Server {
        let mut server = Server::new(self.listener.local_addr().unwrap().to_string());
        server.handshake_timeout = Duration::from_millis(500);
        server.backoff = Backoff {
            initial: Duration::from_millis(10),
            max: Duration::from_millis(100),
        };
        server
    }

    /// The next connection, before its first byte.
    pub async fn accept_raw(&self) -> Peer {
        let (stream, _) = soon("a connection", self.listener.accept()).await.unwrap();
        Peer {
            stream,
            input: BytesMut::new(),
        }
    }

    /// The next connection, identified.
    pub async fn accept(&self) -> Peer {
        let mut peer = self.accept_raw().await;
        peer.identify("{}").await;
        peer
    }

    /// The next connection, identified and subscribed, with the window it asks for.
    pub async fn accept_consumer(&self) -> (Peer, u32) {
        let mut peer = self.accept().await;
        assert!(matches!(peer.command().await, Command::Subscribe { .. }));
        peer.ok().await;
        let Command::Ready(window) = peer.command().await else {
            panic!("a window was expected")
        };
        (peer, window)
    }
}

/// One connection, seen from the server.
pub struct Peer {
    pub stream: TcpStream,
    input: BytesMut,
}

impl Peer {
    /// Reads the identification, and answers it with `answer`.
    pub async fn identify(&mut self, answer: &'static str) -> serde_json::Value {
        let mut magic = [0; 4];
        soon("the magic", self.stream.read_exact(&mut magic))
            .await
            .unwrap();
        assert_eq!(&magic, MAGIC);
        let Command::Identify(body) = self.command().await else {
            panic!("IDENTIFY was expected")
        };
        self.send(Frame::Response(answer.into())).await;
        serde_json::from_slice(&body).unwrap()
    }

    /// The next command, which must come soon.
    pub async fn command(&mut self) -> Command {
        soon("a command", self.next()).await.expect("a command")
    }

    /// The next command; `None` when the client closed.
    pub async fn next(&mut self) -> Option<Command> {
        loop {
            if let Some(command) = Command::decode(&mut self.input, 64 << 20).unwrap() {
                return Some(command);
            }
            if self.stream.read_buf(&mut self.input).await.ok()? == 0 {
                return None;
            }
        }
    }

    pub async fn send(&mut self, frame: Frame) {
        let mut bytes = BytesMut::new();
        frame.encode(&mut bytes);
        self.stream.write_all(&bytes).await.unwrap();
    }

    pub async fn ok(&mut self) {
        self.send(Frame::Response("OK".into())).await;
    }

    /// Returns when the client has all that was sent: it has answered a heartbeat behind it.
    pub async fn show_arrival(&mut self) {
        self.send(Frame::Response("_heartbeat_".into())).await;
        assert_eq!(self.command().await, Command::Nop);
    }

    pub async fn deliver(&mut self, number: u8, attempts: u16) {
        self.send(Frame::Message(Delivery {
            timestamp: -1,
            attempts,
            id: id(number),
            body: Bytes::from(number.to_string()),
        }))
        .await;
    }
}

/// The id of the message with this number.
pub fn id(number: u8) -> MessageId {
    MessageId::try_from([b'a' + number; 16]).unwrap()
}
