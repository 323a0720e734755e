//! From an address to an identified stream: connect, `IDENTIFY`, then the upgrades that nsqd granted, in its order (TLS,
//! then compression), then `AUTH` where nsqd asks for it.

use std::{io, time::Duration};

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{
    Granted, Stream,
    compression::{Compressed, Deflate, Snappy},
    unexpected,
};
use crate::{
    codec::{Command, Frame, MAGIC, OK},
    compression::{Compression, DeflateLevel},
    consumer::SampleRate,
    error::ConnectionError,
    server::{OutputBuffer, Server, Tls},
};

/// What a session asks for beyond what the [`Server`] says. A producer asks for nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wishes {
    pub message_timeout: Option<Duration>,
    pub output_buffer: OutputBuffer,
    pub sample_rate: Option<SampleRate>,
}

/// nsqd's shortest time for gathering messages (`--min-output-buffer-timeout`), as it has by default.
const SHORTEST_GATHERING: Duration = Duration::from_millis(25);

/// Body of `IDENTIFY`. Durations are milliseconds; what is absent or 0 is left to nsqd.
#[derive(Serialize)]
struct Identify<'a> {
    client_id: &'a str,
    hostname: &'a str,
    user_agent: &'a str,
    feature_negotiation: bool,
    tls_v1: bool,
    snappy: bool,
    deflate: bool,
    deflate_level: u8,
    heartbeat_interval: u64,
    output_buffer_size: i64,
    output_buffer_timeout: u64,
    msg_timeout: u64,
    sample_rate: u8,
}

/// nsqd's answer to it. An nsqd that does not negotiate says `OK`.
#[derive(Deserialize)]
#[serde(default)]
struct Answer {
    tls_v1: bool,
    snappy: bool,
    deflate: bool,
    auth_required: bool,
    max_rdy_count: u64,
    msg_timeout: u64,
    max_msg_timeout: u64,
}

impl Default for Answer {
    /// nsqd's defaults.
    fn default() -> Self {
        Self {
            tls_v1: false,
            snappy: false,
            deflate: false,
            auth_required: false,
            max_rdy_count: 2500,
            msg_timeout: 60_000,
            max_msg_timeout: 900_000,
        }
    }
}

impl From<Answer> for Granted {
    fn from(answer: Answer) -> Self {
        Self {
            max_ready: answer.max_rdy_count.try_into().unwrap_or(u32::MAX),
            message_timeout: Duration::from_millis(answer.msg_timeout),
            max_message_timeout: Duration::from_millis(answer.max_msg_timeout),
        }
    }
}

pub(super) async fn open(
    server: &Server,
    wishes: &Wishes,
) -> Result<(Box<dyn Stream>, Granted), ConnectionError> {
    let late = |step, limit| ConnectionError::Timeout {
        address: server.address.clone(),
        step,
        limit,
    };
    let limit = server.connect_timeout;
    let tcp = timeout(limit, connect(server))
        .await
        .map_err(|_| late("connecting", limit))??;
    let limit = server.handshake_timeout;
    timeout(limit, identify(Box::new(tcp), server, wishes))
        .await
        .map_err(|_| late("the handshake", limit))?
}

async fn connect(server: &Server) -> Result<TcpStream, ConnectionError> {
    let failed = |source| ConnectionError::Connect {
        address: server.address.clone(),
        source,
    };
    let tcp = TcpStream::connect(&server.address).await.map_err(failed)?;
    // Commands are small and answers are waited for.
    tcp.set_nodelay(true).map_err(failed)?;
    Ok(tcp)
}

async fn identify(
    mut stream: Box<dyn Stream>,
    server: &Server,
    wishes: &Wishes,
) -> Result<(Box<dyn Stream>, Granted), ConnectionError> {
    let mut hello = BytesMut::from(&MAGIC[..]);
    Command::Identify(identify_body(server, wishes)?).encode(&mut hello);
    let broke = |source| broke(server, source);
    stream.write_all(&hello).await.map_err(broke)?;
    stream.flush().await.map_err(broke)?;

    let answer = read_response(&mut stream, server).await?;
    let answer = if answer == OK {
        Answer::default()
    } else {
        serde_json::from_slice(&answer)
            .map_err(|_| unexpected(&server.address, &Frame::Response(answer)))?
    };
    if let Some(tls) = &server.tls {
        if !answer.tls_v1 {
            let address = server.address.clone();
            return Err(ConnectionError::TlsNotOffered { address });
        }
        stream = upgrade_to_tls(stream, tls, server).await?;
    }
    stream = compress(stream, &answer, server).await?;
    if answer.auth_required {
        authenticate(&mut stream, server).await?;
    }
    Ok((stream, answer.into()))
}

fn identify_body(server: &Server, wishes: &Wishes) -> Result<Bytes, ConnectionError> {
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let deflate_level = match server.compression {
        Compression::Deflate(level) => Some(level),
        Compression::None | Compression::Snappy => None,
    };
    let (output_buffer_size, output_buffer_timeout) = match wishes.output_buffer {
        OutputBuffer::Server => (0, 0),
        // nsqd's deflate has a buffer of its own behind the one that is switched off, and it is flushed by the same timer:
        // without it a message could stay there until the next heartbeat.
        OutputBuffer::Off if deflate_level.is_some() => (0, milliseconds(SHORTEST_GATHERING)),
        OutputBuffer::Off => (-1, 0),
        OutputBuffer::Gather { bytes, timeout } => (bytes.into(), milliseconds(timeout)),
    };
    serde_json::to_vec(&Identify {
        client_id: &server.client_id,
        hostname: &server.client_id,
        user_agent: &server.user_agent,
        feature_negotiation: true,
        tls_v1: server.tls.is_some(),
        snappy: server.compression == Compression::Snappy,
        deflate: deflate_level.is_some(),
        deflate_level: deflate_level.map_or(0, DeflateLevel::get),
        heartbeat_interval: milliseconds(server.heartbeat),
        output_buffer_size,
        output_buffer_timeout,
        msg_timeout: wishes.message_timeout.map_or(0, milliseconds),
        sample_rate: wishes.sample_rate.map_or(0, SampleRate::get),
    })
    .map(Bytes::from)
    .map_err(|error| broke(server, error.into()))
}

async fn upgrade_to_tls(
    stream: Box<dyn Stream>,
    tls: &Tls,
    server: &Server,
) -> Result<Box<dyn Stream>, ConnectionError> {
    let failed = |source| ConnectionError::Tls {
        address: server.address.clone(),
        source,
    };
    let mut stream = TlsConnector::from(tls.config.current())
        .connect(tls.server_name.clone(), stream)
        .await
        .map_err(failed)?;
    // With TLS 1.3 a refused client certificate shows only here.
    let answer = read_response(&mut stream, server)
        .await
        .map_err(|error| match error {
            ConnectionError::Io { source, .. } => failed(source),
            other => other,
        })?;
    expect_ok(answer, server)?;
    Ok(Box::new(stream))
}

/// Compresses where both want it; nsqd may decline.
async fn compress(
    stream: Box<dyn Stream>,
    answer: &Answer,
    server: &Server,
) -> Result<Box<dyn Stream>, ConnectionError> {
    let mut stream: Box<dyn Stream> = match server.compression {
        Compression::None => return Ok(stream),
        Compression::Snappy if answer.snappy => Box::new(Compressed::new(stream, Snappy::new())),
        Compression::Deflate(level) if answer.deflate => {
            Box::new(Compressed::new(stream, Deflate::new(level)))
        }
        Compression::Snappy | Compression::Deflate(_) => {
            let (address, wanted) = (&server.address, server.compression);
            tracing::info!(address, ?wanted, "nsqd does not offer this compression");
            return Ok(stream);
        }
    };
    expect_ok(read_response(&mut stream, server).await?, server)?;
    Ok(stream)
}

/// Shows the secret, to an nsqd that asks for it and to no other.
async fn authenticate(
    stream: &mut Box<dyn Stream>,
    server: &Server,
) -> Result<(), ConnectionError> {
    let Some(secret) = &server.secret else {
        let address = server.address.clone();
        return Err(ConnectionError::SecretRequired { address });
    };
    let mut command = BytesMut::new();
    Command::Auth(secret.clone()).encode(&mut command);
    let broke = |source| broke(server, source);
    stream.write_all(&command).await.map_err(broke)?;
    stream.flush().await.map_err(broke)?;

    let answer = read_response(stream, server).await?;
    let Ok(granted) = serde_json::from_slice::<Authenticated>(&answer) else {
        return Err(unexpected(&server.address, &Frame::Response(answer)));
    };
    tracing::debug!(
        address = server.address,
        identity = granted.identity,
        permissions = granted.permission_count,
        "nsqd knows this client"
    );
    Ok(())
}

/// nsqd's answer to `AUTH`.
#[derive(Deserialize)]
struct Authenticated {
    #[serde(default)]
    identity: String,
    permission_count: u64,
}

fn expect_ok(answer: Bytes, server: &Server) -> Result<(), ConnectionError> {
    if answer == OK {
        return Ok(());
    }
    Err(unexpected(&server.address, &Frame::Response(answer)))
}

/// Reads one response and not one byte more: what follows may belong to another layer.
async fn read_response(
    stream: &mut (impl Stream + ?Sized),
    server: &Server,
) -> Result<Bytes, ConnectionError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::UnexpectedEof => ConnectionError::Closed {
            address: server.address.clone(),
        },
        _ => broke(server, source),
    };
    loop {
        let mut buffer = BytesMut::zeroed(4);
        stream.read_exact(&mut buffer).await.map_err(failed)?;
        let size = u32::from_be_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]) as usize;
        // Decoding checks the size before anything of that size is allocated.
        let protocol = |source| ConnectionError::Protocol {
            address: server.address.clone(),
            source,
        };
        Frame::decode(&mut buffer, server.max_frame).map_err(protocol)?;
        buffer.resize(4 + size, 0);
        stream.read_exact(&mut buffer[4..]).await.map_err(failed)?;
        match Frame::decode(&mut buffer, server.max_frame).map_err(protocol)? {
            // The answer to it would have to go in between; nsqd forgives a missed one.
            Some(frame) if frame.is_heartbeat() => {}
            Some(Frame::Response(data)) => return Ok(data),
            Some(Frame::Error(error)) => {
                let address = server.address.clone();
                return Err(ConnectionError::Refused { address, error });
            }
            Some(other) => return Err(unexpected(&server.address, &other)),
            None => {}
        }
    }
}

fn broke(server: &Server, source: io::Error) -> ConnectionError {
    ConnectionError::Io {
        address: server.address.clone(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::duplex;

    use super::*;
    use crate::secret::Secret;

    /// What a server could say: answers as nsqd's, damaged ones, and anything else.
    fn answers() -> impl Strategy<Value = Vec<u8>> {
        let flags = prop::collection::vec(any::<bool>(), 4);
        let json = (flags, any::<u64>()).prop_map(|(flags, number)| {
            format!(
                r#"{{"tls_v1": {}, "snappy": {}, "deflate": {}, "auth_required": {}, "msg_timeout": {number}}}"#,
                flags[0], flags[1], flags[2], flags[3]
            )
            .into_bytes()
        });
        let texts = prop::sample::select(vec![
            "OK",
            "_heartbeat_",
            "E_INVALID",
            r#"{"permission_count": 1}"#,
        ]);
        let framed = (
            0u32..4,
            prop_oneof![json, texts.prop_map(|text| text.as_bytes().to_vec())],
        )
            .prop_map(|(kind, data)| {
                let size = (data.len() as u32 + 4).to_be_bytes();
                [&size[..], &kind.to_be_bytes(), &data].concat()
            });
        let noise = prop::collection::vec(any::<u8>(), 0..40);
        prop::collection::vec(prop_oneof![4 => framed, 1 => noise], 0..5)
            .prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn no_server_makes_it_panic_or_wait_for_ever(
            said in answers(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
            damaged in any::<bool>(), compression in 0..3,
        ) {
            let mut said = said;
            if damaged && !said.is_empty() {
                let at = at.index(said.len());
                said[at] = byte;
            }
            let mut server = Server::new("peer")
                .with_secret(Secret::new("s3cret").unwrap())
                .with_compression(match compression {
                    0 => Compression::None,
                    1 => Compression::Snappy,
                    _ => Compression::Deflate(DeflateLevel::default()),
                });
            server.max_frame = 4096;
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let (ours, mut theirs) = duplex(1 << 16);
                theirs.write_all(&said).await.unwrap();
                theirs.shutdown().await.unwrap();
                // Whatever it makes of it, it comes to an end.
                let _ = identify(Box::new(ours), &server, &Wishes::default()).await;
            });
        }
    }
}
