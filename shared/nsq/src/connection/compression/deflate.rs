//! Deflate as NSQ uses it: one raw stream (RFC 1951, no zlib header), with a sync flush where the peer shall see all.

use std::io;

use bytes::{Buf as _, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::Coder;
use crate::compression::DeflateLevel;

/// The most that one step gives out, in bytes.
const STEP: usize = 16 << 10;

/// Both directions of one connection.
pub(in crate::connection) struct Deflate {
    compress: Compress,
    decompress: Decompress,
    scratch: Box<[u8]>,
}

impl Deflate {
    pub(in crate::connection) fn new(level: DeflateLevel) -> Self {
        Self {
            compress: Compress::new(Compression::new(level.get().into()), false),
            decompress: Decompress::new(false),
            scratch: vec![0; STEP].into(),
        }
    }

    /// Compresses until all is taken and, where `flush` asks for it, until nothing is held back: that is when a step does not
    /// fill its output.
    fn run(
        &mut self,
        mut plain: &[u8],
        flush: FlushCompress,
        wire: &mut BytesMut,
    ) -> io::Result<()> {
        loop {
            let (read, written) = (self.compress.total_in(), self.compress.total_out());
            let status = self
                .compress
                .compress(plain, &mut self.scratch, flush)
                .map_err(io::Error::other)?;
            let read = (self.compress.total_in() - read) as usize;
            let written = (self.compress.total_out() - written) as usize;
            wire.extend_from_slice(&self.scratch[..written]);
            plain = &plain[read..];
            let done = plain.is_empty() && written < STEP;
            if done || status == Status::StreamEnd {
                return Ok(());
            }
        }
    }
}

impl Coder for Deflate {
    fn compress(&mut self, plain: &[u8], wire: &mut BytesMut) -> io::Result<()> {
        self.run(plain, FlushCompress::None, wire)
    }

    fn flush(&mut self, wire: &mut BytesMut) -> io::Result<()> {
        self.run(&[], FlushCompress::Sync, wire)
    }

    fn finish(&mut self, wire: &mut BytesMut) -> io::Result<()> {
        self.run(&[], FlushCompress::Finish, wire)
    }

    fn decompress(&mut self, wire: &mut BytesMut, plain: &mut BytesMut) -> io::Result<()> {
        let (read, written) = (self.decompress.total_in(), self.decompress.total_out());
        let status = self
            .decompress
            .decompress(wire, &mut self.scratch, FlushDecompress::None)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error));
        let read = (self.decompress.total_in() - read) as usize;
        let written = (self.decompress.total_out() - written) as usize;
        plain.extend_from_slice(&self.scratch[..written]);
        wire.advance(read);
        // The peer says farewell; what came before it still counts.
        if status? == Status::StreamEnd && written == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}
