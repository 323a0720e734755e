//! A connection on which a test says what it wants, with nothing of the client but the codec.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use bytes::BytesMut;
use nsq::{
    ServerError,
    codec::{Command, Frame, MAGIC},
};

use super::harness::SOON;

pub struct Raw {
    stream: TcpStream,
    received: BytesMut,
}

impl Raw {
    pub fn connect(address: SocketAddr) -> Self {
        Self::connect_with(address, MAGIC)
    }

    /// With the first bytes that the test wants.
    pub fn connect_with(address: SocketAddr, magic: &[u8]) -> Self {
        let stream = TcpStream::connect_timeout(&address, SOON).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let mut raw = Self {
            stream,
            received: BytesMut::new(),
        };
        raw.write(magic);
        raw
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub fn send(&mut self, command: &Command) {
        let mut bytes = BytesMut::new();
        command.encode(&mut bytes);
        self.write(&bytes);
    }

    /// The next frame but heartbeats; `None` if nsqd has closed the connection.
    pub fn next(&mut self) -> Option<Frame> {
        loop {
            match Frame::decode(&mut self.received, 1 << 20).unwrap() {
                Some(frame) if frame.is_heartbeat() => {}
                Some(frame) => return Some(frame),
                None if !self.fill() => return None,
                None => {}
            }
        }
    }

    fn fill(&mut self) -> bool {
        let mut chunk = [0; 4096];
        match self.stream.read(&mut chunk) {
            Ok(0) => false,
            Ok(length) => {
                self.received.extend_from_slice(&chunk[..length]);
                true
            }
            // It closed with bytes of ours unread.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("nothing more from nsqd: {error}"),
        }
    }

    pub fn response(&mut self) -> String {
        match self.next() {
            Some(Frame::Response(data)) => String::from_utf8(data.to_vec()).unwrap(),
            other => panic!("a response was expected: {other:?}"),
        }
    }

    pub fn ok(&mut self) {
        assert_eq!(self.response(), "OK");
    }

    pub fn error(&mut self) -> ServerError {
        match self.next() {
            Some(Frame::Error(error)) => error,
            other => panic!("an error was expected: {other:?}"),
        }
    }

    /// Whether nsqd closes the connection now: it does not answer any more.
    pub fn is_closed(&mut self) -> bool {
        // Both writes may meet a connection that is closed.
        let late = b"TOUCH 0123456789abcdef\n";
        self.stream.write_all(late).is_err() || self.next().is_none()
    }
}
