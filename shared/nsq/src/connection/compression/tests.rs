//! Both coders, and the stream over a pipe that takes and gives a few bytes at a time.

use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use super::*;
use crate::compression::DeflateLevel;

fn coder(deflate: bool) -> Box<dyn Coder + Send + Unpin> {
    if deflate {
        Box::new(Deflate::new(DeflateLevel::default()))
    } else {
        Box::new(Snappy::new())
    }
}

impl Coder for Box<dyn Coder + Send + Unpin> {
    fn compress(&mut self, plain: &[u8], wire: &mut BytesMut) -> io::Result<()> {
        (**self).compress(plain, wire)
    }

    fn flush(&mut self, wire: &mut BytesMut) -> io::Result<()> {
        (**self).flush(wire)
    }

    fn finish(&mut self, wire: &mut BytesMut) -> io::Result<()> {
        (**self).finish(wire)
    }

    fn decompress(&mut self, wire: &mut BytesMut, plain: &mut BytesMut) -> io::Result<()> {
        (**self).decompress(wire, plain)
    }
}

/// What a coder makes of these bytes, and whether it took them for good ones. Each step gives out a bounded part.
fn decompressed(coder: &mut impl Coder, mut wire: BytesMut) -> (BytesMut, io::Result<()>) {
    let mut plain = BytesMut::new();
    loop {
        let before = (wire.len(), plain.len());
        if let Err(error) = coder.decompress(&mut wire, &mut plain) {
            return (plain, Err(error));
        }
        assert!(plain.len() - before.1 <= 64 << 10);
        if (wire.len(), plain.len()) == before {
            return (plain, Ok(()));
        }
    }
}

/// Text that compresses well, and noise that does not.
fn writes() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let text = ("[a-c]{1,3}", 1usize..3000).prop_map(|(word, times)| word.repeat(times).into());
    let noise = prop::collection::vec(any::<u8>(), 1..2000);
    prop::collection::vec(prop_oneof![text, noise], 0..6)
}

proptest! {
    #[test]
    fn after_a_flush_the_peer_has_all(deflate in any::<bool>(), writes in writes()) {
        let (mut ours, mut theirs) = (coder(deflate), coder(deflate));
        for write in writes {
            let mut wire = BytesMut::new();
            ours.compress(&write, &mut wire).unwrap();
            ours.flush(&mut wire).unwrap();
            let (plain, result) = decompressed(&mut theirs, wire);
            prop_assert!(result.is_ok());
            prop_assert_eq!(plain.to_vec(), write);
        }
    }

    #[test]
    fn no_bytes_make_it_panic_or_swell(deflate in any::<bool>(), bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        // The first bytes of snappy must be these, or it looks no further.
        let mut wire = BytesMut::from(if deflate { &b""[..] } else { b"\xff\x06\0\0sNaPpY" });
        wire.extend_from_slice(&bytes);
        // Deflate makes at most 1032 bytes of one.
        let (plain, _) = decompressed(&mut coder(deflate), wire);
        prop_assert!(plain.len() <= 400 * 1032);
    }

    #[test]
    fn damaged_bytes_do_not_make_it_panic(
        deflate in any::<bool>(), writes in writes(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut wire = BytesMut::new();
        let mut ours = coder(deflate);
        for write in &writes {
            ours.compress(write, &mut wire).unwrap();
            ours.flush(&mut wire).unwrap();
        }
        if !wire.is_empty() {
            let at = at.index(wire.len());
            wire[at] = byte;
        }
        let (plain, result) = decompressed(&mut coder(deflate), wire);
        // Snappy has checksums; deflate can only notice what makes no sense. The checksum is of the data alone: a chunk whose type
        // became one of those that are to be skipped (framing format, sections 4.4 and 4.6) is missing, each being a write here.
        if !deflate && result.is_ok() {
            let without = |left_out| {
                let others = writes.iter().enumerate().filter(move |(at, _)| *at != left_out);
                others.flat_map(|(_, write)| write).copied().collect::<Vec<u8>>()
            };
            let is_skipped = (0x80..=0xfe).contains(&byte);
            let with_a_gap = || (0..writes.len()).any(|left_out| without(left_out) == plain[..]);
            prop_assert!(writes.concat().starts_with(&plain[..]) || is_skipped && with_a_gap());
        }
    }

    #[test]
    fn a_stream_carries_all_through_a_narrow_pipe(
        deflate in any::<bool>(), writes in writes(), width in 1usize..300,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (ours, theirs) = duplex(width);
            let mut ours = Compressed::new(ours, coder(deflate));
            let mut theirs = Compressed::new(theirs, coder(deflate));
            let sent = writes.concat();
            let sending = async {
                for write in &writes {
                    ours.write_all(write).await.unwrap();
                    ours.flush().await.unwrap();
                }
                ours.shutdown().await.unwrap();
            };
            let receiving = async {
                let mut received = Vec::new();
                // Deflate says farewell, which is the same to us as the end.
                if let Err(error) = theirs.read_to_end(&mut received).await {
                    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
                }
                received
            };
            let ((), received) = tokio::join!(sending, receiving);
            assert!(received == sent);
        });
    }
}

#[test]
fn a_snappy_chunk_that_is_too_long_is_refused_before_it_is_there() {
    let mut wire = BytesMut::from(&b"\xff\x06\0\0sNaPpY\x00\xff\xff\xff"[..]);
    let mut plain = BytesMut::new();
    let mut snappy = Snappy::new();
    snappy.decompress(&mut wire, &mut plain).unwrap();
    let error = snappy.decompress(&mut wire, &mut plain).unwrap_err();
    assert!(error.to_string().contains("16777215"), "{error}");
}

#[test]
fn deflate_is_understood_without_the_end_of_its_stream() {
    // What a sync flush of other implementations of deflate looks like: a stored block, and an empty one.
    let wire = BytesMut::from(&b"\x00\x02\x00\xfd\xffhi\x00\x00\x00\xff\xff"[..]);
    let (plain, result) = decompressed(&mut coder(true), wire);
    assert!(result.is_ok());
    assert_eq!(&plain[..], b"hi");
}
