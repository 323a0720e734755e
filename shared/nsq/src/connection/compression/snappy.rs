//! Snappy as NSQ uses it: the framing format, a chunk for each write.
//!
//! The library's decoder reads from something that blocks, so it is given whole chunks only.

use std::io::{self, Read as _, Write as _};

use bytes::{Buf as _, BytesMut};
use snap::{read::FrameDecoder, write::FrameEncoder};

use super::Coder;

/// Type (1) and length (3, little-endian) of a chunk (framing format, section 4).
const CHUNK_HEADER: usize = 4;

/// A chunk stands for at most this many plain bytes (framing format, section 4.2).
const MAX_PLAIN: usize = 64 << 10;

/// A compressed chunk is never longer than its checksum and the worst that snappy makes of [`MAX_PLAIN`] bytes. What can be
/// skipped (types 0x80 to 0xfe) could be longer, and no encoder that is known to speak with NSQ makes it.
const MAX_CHUNK: usize = 4 + 32 + MAX_PLAIN + MAX_PLAIN / 6;

/// Both directions of one connection.
pub(in crate::connection) struct Snappy {
    encoder: FrameEncoder<Vec<u8>>,
    decoder: FrameDecoder<Chunks>,
    scratch: Box<[u8]>,
}

impl Snappy {
    pub(in crate::connection) fn new() -> Self {
        Self {
            encoder: FrameEncoder::new(Vec::new()),
            decoder: FrameDecoder::new(Chunks::default()),
            scratch: vec![0; MAX_PLAIN].into(),
        }
    }

    fn drain(&mut self, wire: &mut BytesMut) {
        let encoded = self.encoder.get_mut();
        wire.extend_from_slice(encoded);
        encoded.clear();
    }
}

impl Coder for Snappy {
    fn compress(&mut self, plain: &[u8], wire: &mut BytesMut) -> io::Result<()> {
        self.encoder.write_all(plain)?;
        self.drain(wire);
        Ok(())
    }

    fn flush(&mut self, wire: &mut BytesMut) -> io::Result<()> {
        self.encoder.flush()?;
        self.drain(wire);
        Ok(())
    }

    /// The format has no end.
    fn finish(&mut self, _wire: &mut BytesMut) -> io::Result<()> {
        Ok(())
    }

    fn decompress(&mut self, wire: &mut BytesMut, plain: &mut BytesMut) -> io::Result<()> {
        if self.decoder.get_ref().is_empty() {
            let Some(length) = chunk_length(wire)? else {
                return Ok(());
            };
            self.decoder.get_mut().0 = wire.split_to(length);
        }
        let length = self.decoder.read(&mut self.scratch)?;
        plain.extend_from_slice(&self.scratch[..length]);
        Ok(())
    }
}

/// Length of the chunk that `wire` begins with, header included, once all of it is there.
fn chunk_length(wire: &[u8]) -> io::Result<Option<usize>> {
    let Some([_, low, middle, high]) = wire.first_chunk::<CHUNK_HEADER>() else {
        return Ok(None);
    };
    let length = u32::from_le_bytes([*low, *middle, *high, 0]) as usize;
    if length > MAX_CHUNK {
        let text = format!("a snappy chunk has {length} bytes; at most {MAX_CHUNK} are possible");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let whole = CHUNK_HEADER + length;
    Ok((wire.len() >= whole).then_some(whole))
}

/// Whole chunks for the decoder to read. Their end is not the end of the stream.
#[derive(Default)]
struct Chunks(BytesMut);

impl Chunks {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl io::Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(self.0.len());
        buffer[..length].copy_from_slice(&self.0[..length]);
        self.0.advance(length);
        Ok(length)
    }
}
