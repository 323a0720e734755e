//! One identified connection to an nsqd: bytes in and out, heartbeats, deadlines.
//!
//! A session (of the producer or the consumer) owns a connection and loops: take the frames that are there, put commands,
//! then [`Connection::advance`]. No task and no timer of its own: [`Connection::deadline`] tells the session when to look
//! with [`Connection::check`].

mod compression;
mod handshake;

use std::{io, pin::Pin, time::Duration};

use bytes::BytesMut;
use tokio::{
    io::{
        AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf, split,
    },
    time::{Instant, Sleep, timeout},
};

pub(crate) use handshake::Wishes;

use crate::{
    codec::{Command, Frame, OK},
    deadline::countable,
    error::ConnectionError,
    server::Server,
};

/// Room made in the input buffer before each read, in bytes.
const READ_CHUNK: usize = 64 << 10;

/// How much may wait to be written before a session should stop adding to it, in bytes. Enough for one large write.
const OUTPUT_HIGH_WATER: usize = 64 << 10;

/// How long what nsqd said before it closed the connection is waited for, once a write has failed; and how long nsqd may
/// take to close after us.
const LINGER: Duration = Duration::from_secs(1);

/// A byte stream: TCP, or one layered upon another (TLS, compression).
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What nsqd granted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Granted {
    /// Largest value of `RDY`.
    pub max_ready: u32,
    /// After this time an unanswered message is given to another consumer.
    pub message_timeout: Duration,
    /// After this time it is even if it was touched.
    pub max_message_timeout: Duration,
}

/// See the module.
pub(crate) struct Connection {
    address: String,
    granted: Granted,
    reader: ReadHalf<Box<dyn Stream>>,
    writer: WriteHalf<Box<dyn Stream>>,
    input: BytesMut,
    output: BytesMut,
    max_frame: usize,
    /// The stream holds bytes that it took but did not pass on.
    unflushed: bool,
    /// Why writing ended. Reading goes on for a moment: nsqd says why it closed.
    write_failure: Option<io::Error>,
    /// Bytes that the stream took since the connection was made.
    written: u64,
    last_read: Instant,
    /// The last write that took something, or when the output began to wait.
    last_write: Instant,
    silence_limit: Duration,
    write_timeout: Duration,
    handshake_timeout: Duration,
}

impl Connection {
    /// Connects, identifies, and upgrades and authenticates where wanted.
    pub(crate) async fn open(server: &Server, wishes: &Wishes) -> Result<Self, ConnectionError> {
        let (stream, granted) = handshake::open(server, wishes).await?;
        let (reader, writer) = split(stream);
        let now = Instant::now();
        Ok(Self {
            address: server.address.clone(),
            granted,
            reader,
            writer,
            input: BytesMut::new(),
            output: BytesMut::new(),
            max_frame: server.max_frame,
            unflushed: false,
            write_failure: None,
            written: 0,
            last_read: now,
            last_write: now,
            // Two heartbeats missed, as nsqd itself judges its clients, and a second for slow machines.
            silence_limit: countable(server.heartbeat) * 2 + Duration::from_secs(1),
            write_timeout: countable(server.write_timeout),
            handshake_timeout: server.handshake_timeout,
        })
    }

    pub(crate) fn granted(&self) -> Granted {
        self.granted
    }

    /// Adds a command to the output. It goes out with [`advance`](Self::advance).
    pub(crate) fn put(&mut self, command: &Command) {
        if self.output.is_empty() {
            self.last_write = Instant::now();
        }
        command.encode(&mut self.output);
    }

    /// Whether a session may add more; what it holds back waits in its own queue.
    pub(crate) fn has_room(&self) -> bool {
        self.output.len() < OUTPUT_HIGH_WATER && self.write_failure.is_none()
    }

    /// Position in the stream of commands behind the last command that was put.
    pub(crate) fn put_position(&self) -> u64 {
        self.written + self.output.len() as u64
    }

    /// How far the stream of commands was written. What lies behind never left.
    pub(crate) fn written_position(&self) -> u64 {
        self.written
    }

    pub(crate) fn is_flushed(&self) -> bool {
        self.output.is_empty() && !self.unflushed
    }

    /// The next frame that has arrived. Heartbeats are answered here and not shown.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Frame>, ConnectionError> {
        loop {
            let frame = Frame::decode(&mut self.input, self.max_frame).map_err(|source| {
                ConnectionError::Protocol {
                    address: self.address.clone(),
                    source,
                }
            })?;
            match frame {
                Some(frame) if frame.is_heartbeat() => self.put(&Command::Nop),
                other => return Ok(other),
            }
        }
    }

    /// Reads what comes and writes what waits; returns when something came, or when all is written. Dropping the future
    /// loses nothing.
    ///
    /// Reading comes first: what nsqd sends is bounded by what it was asked for, while a busy producer can always write.
    pub(crate) async fn advance(&mut self) -> Result<(), ConnectionError> {
        self.input.reserve(READ_CHUNK);
        let writing = self.write_failure.is_none() && !self.is_flushed();
        tokio::select! {
            biased;
            read = self.reader.read_buf(&mut self.input) => match read {
                Ok(0) => Err(self.ended(None)),
                Ok(_) => {
                    self.last_read = Instant::now();
                    Ok(())
                }
                Err(error) => Err(self.ended(Some(error))),
            },
            written = write_out(
                &mut self.writer,
                &mut self.output,
                &mut self.unflushed,
                &mut self.written,
                &mut self.last_write,
            ), if writing => {
                if let Err(error) = written {
                    self.write_failure = Some(error);
                    self.last_write = Instant::now();
                }
                if self.output.is_empty() && self.output.capacity() > 4 * OUTPUT_HIGH_WATER {
                    self.output = BytesMut::new();
                }
                Ok(())
            }
        }
    }

    /// Why there is nothing more to read. A failed write came first and says more.
    fn ended(&mut self, error: Option<io::Error>) -> ConnectionError {
        let address = self.address.clone();
        match self.write_failure.take().or(error) {
            // Closing TLS without a farewell is how nsqd ends.
            Some(source) if source.kind() != io::ErrorKind::UnexpectedEof => {
                ConnectionError::Io { address, source }
            }
            _ => ConnectionError::Closed { address },
        }
    }

    /// When [`check`](Self::check) should be called, at the latest.
    pub(crate) fn deadline(&self) -> Instant {
        let silence = self.last_read + self.silence_limit;
        if self.write_failure.is_some() {
            silence.min(self.last_write + LINGER)
        } else if self.is_flushed() {
            silence
        } else {
            silence.min(self.last_write + self.write_timeout)
        }
    }

    /// Whether a deadline has passed.
    pub(crate) fn check(&mut self, now: Instant) -> Result<(), ConnectionError> {
        if now < self.deadline() {
            return Ok(());
        }
        if let Some(source) = self.write_failure.take() {
            let address = self.address.clone();
            return Err(ConnectionError::Io { address, source });
        }
        if now >= self.last_read + self.silence_limit {
            return Err(self.timed_out("a sign of life (heartbeat)", self.silence_limit));
        }
        Err(self.timed_out("writing", self.write_timeout))
    }

    pub(crate) fn timed_out(&self, step: &'static str, limit: Duration) -> ConnectionError {
        ConnectionError::Timeout {
            address: self.address.clone(),
            step,
            limit,
        }
    }

    pub(crate) fn refused(&self, error: crate::ServerError) -> ConnectionError {
        ConnectionError::Refused {
            address: self.address.clone(),
            error,
        }
    }

    pub(crate) fn unexpected(&self, frame: &Frame) -> ConnectionError {
        unexpected(&self.address, frame)
    }

    /// Sends one command of the handshake and waits for its `OK`.
    pub(crate) async fn ask(&mut self, command: &Command) -> Result<(), ConnectionError> {
        self.put(command);
        let limit = self.handshake_timeout;
        let answer = timeout(limit, async {
            loop {
                if let Some(frame) = self.next_frame()? {
                    return Ok(frame);
                }
                self.advance().await?;
            }
        })
        .await;
        match answer {
            Err(_) => Err(self.timed_out("the handshake", limit)),
            Ok(Ok(Frame::Response(data))) if data == OK => Ok(()),
            Ok(Ok(Frame::Error(error))) => Err(self.refused(error)),
            Ok(Ok(other)) => Err(self.unexpected(&other)),
            Ok(Err(error)) => Err(error),
        }
    }

    /// Ends the connection so that nsqd still reads all that was written: closing a socket with unread bytes in it would
    /// reset the connection and could take the last commands with it.
    pub(crate) async fn shut_down(mut self) {
        let farewell = async {
            while !self.output.is_empty() {
                self.writer.write_buf(&mut self.output).await?;
            }
            self.writer.shutdown().await?;
            loop {
                self.input.clear();
                self.input.reserve(READ_CHUNK);
                if self.reader.read_buf(&mut self.input).await? == 0 {
                    return Ok::<(), io::Error>(());
                }
            }
        };
        if !matches!(timeout(LINGER, farewell).await, Ok(Ok(()))) {
            tracing::debug!(address = self.address, "nsqd did not close in time");
        }
    }
}

/// Writes and flushes all of `output`. Dropping the future loses nothing.
async fn write_out(
    writer: &mut WriteHalf<Box<dyn Stream>>,
    output: &mut BytesMut,
    unflushed: &mut bool,
    written: &mut u64,
    last_write: &mut Instant,
) -> io::Result<()> {
    while !output.is_empty() {
        let taken = writer.write_buf(output).await?;
        if taken == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        *written += taken as u64;
        *unflushed = true;
        *last_write = Instant::now();
    }
    writer.flush().await?;
    *unflushed = false;
    Ok(())
}

/// Sets a session's timer to `due` if it would fire later. One that fires too early costs a look, and setting it anew for
/// each command would cost more.
pub(crate) fn arm(mut timer: Pin<&mut Sleep>, due: Instant) {
    if due < timer.deadline() || timer.is_elapsed() {
        timer.as_mut().reset(due);
    }
}

fn unexpected(address: &str, frame: &Frame) -> ConnectionError {
    let what = match frame {
        Frame::Response(data) => {
            let start = &data[..data.len().min(80)];
            format!("response {:?}", String::from_utf8_lossy(start))
        }
        Frame::Error(error) => format!("error {error}"),
        Frame::Message(delivery) => format!("message {}", delivery.id),
    };
    ConnectionError::Unexpected {
        address: address.to_owned(),
        what,
    }
}
