//! A stream whose bytes are compressed on their way, over any other stream.
//!
//! ```text
//! plain ─► Coder::compress ─► to_send ─► inner stream
//! plain ◄─ arrived ◄─ Coder::decompress ◄─ received ◄─ inner stream
//! ```
//!
//! The coders do no I/O. Each buffer is bounded, whatever the peer sends.

mod deflate;
mod snappy;

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub(super) use deflate::Deflate;
pub(super) use snappy::Snappy;

/// Bytes taken from the inner stream at once.
const READ_CHUNK: usize = 16 << 10;

/// Plain bytes compressed at once.
const WRITE_CHUNK: usize = 64 << 10;

/// As long as this many compressed bytes wait for the inner stream, no more are made.
const SEND_HIGH_WATER: usize = 64 << 10;

/// A way to compress, with the state of both directions.
pub(super) trait Coder {
    /// Takes all of `plain`, and appends to `wire` what has become of it so far.
    fn compress(&mut self, plain: &[u8], wire: &mut BytesMut) -> io::Result<()>;

    /// Appends what is still held back, so that the peer can decompress all that was taken.
    fn flush(&mut self, wire: &mut BytesMut) -> io::Result<()>;

    /// Appends what ends the stream.
    fn finish(&mut self, wire: &mut BytesMut) -> io::Result<()>;

    /// Appends to `plain` a bounded part of what `wire` stands for, and takes that part off `wire`. If it does neither, more
    /// of `wire` is needed.
    fn decompress(&mut self, wire: &mut BytesMut, plain: &mut BytesMut) -> io::Result<()>;
}

/// See the module.
pub(super) struct Compressed<S, C> {
    inner: S,
    coder: C,
    scratch: Box<[u8]>,
    received: BytesMut,
    arrived: BytesMut,
    to_send: BytesMut,
    /// The coder holds something back.
    unflushed: bool,
    finished: bool,
}

impl<S, C> Compressed<S, C> {
    pub(super) fn new(inner: S, coder: C) -> Self {
        Self {
            inner,
            coder,
            scratch: vec![0; READ_CHUNK].into(),
            received: BytesMut::new(),
            arrived: BytesMut::new(),
            to_send: BytesMut::new(),
            unflushed: false,
            finished: false,
        }
    }
}

impl<S: AsyncWrite + Unpin, C> Compressed<S, C> {
    /// Gives the inner stream what waits for it, down to `left` bytes.
    fn poll_send(&mut self, context: &mut Context<'_>, left: usize) -> Poll<io::Result<()>> {
        while self.to_send.len() > left {
            let taken = ready!(Pin::new(&mut self.inner).poll_write(context, &self.to_send))?;
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.to_send.advance(taken);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin, C: Coder + Unpin> AsyncRead for Compressed<S, C> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if !this.arrived.is_empty() {
                let length = this.arrived.len().min(buffer.remaining());
                buffer.put_slice(&this.arrived[..length]);
                this.arrived.advance(length);
                return Poll::Ready(Ok(()));
            }
            let before = this.received.len();
            this.coder
                .decompress(&mut this.received, &mut this.arrived)?;
            if !this.arrived.is_empty() || this.received.len() < before {
                continue;
            }
            let mut chunk = ReadBuf::new(&mut this.scratch);
            ready!(Pin::new(&mut this.inner).poll_read(context, &mut chunk))?;
            if chunk.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.received.extend_from_slice(chunk.filled());
        }
    }
}

impl<S: AsyncWrite + Unpin, C: Coder + Unpin> AsyncWrite for Compressed<S, C> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        plain: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_send(context, SEND_HIGH_WATER))?;
        let length = plain.len().min(WRITE_CHUNK);
        this.coder.compress(&plain[..length], &mut this.to_send)?;
        this.unflushed = true;
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if std::mem::take(&mut this.unflushed) {
            this.coder.flush(&mut this.to_send)?;
        }
        ready!(this.poll_send(context, 0))?;
        Pin::new(&mut this.inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !std::mem::replace(&mut this.finished, true) {
            this.coder.flush(&mut this.to_send)?;
            this.coder.finish(&mut this.to_send)?;
        }
        ready!(this.poll_send(context, 0))?;
        Pin::new(&mut this.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
