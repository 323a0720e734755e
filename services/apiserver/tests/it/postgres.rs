//! A server that speaks as much of PostgreSQL's protocol as a connection and one query need (version 3.0, chapter 54 of the
//! manual).

use std::{net::SocketAddr, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use pgo_tls::{Authority, LeafSpec, pem};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

pub struct Postgres {
    pub addr: SocketAddr,
    serving: JoinHandle<()>,
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Postgres {
    /// With this password for every user, and a certificate of this identity.
    pub async fn start(authority: &Authority, identity: &str, password: &'static str) -> Self {
        Self::start_at("127.0.0.1:0", authority, identity, password).await
    }

    /// As [`Postgres::start`], at this address.
    pub async fn start_at(
        addr: &str,
        authority: &Authority,
        identity: &str,
        password: &'static str,
    ) -> Self {
        let spec = LeafSpec::of_identity(identity, SignedDuration::from_hours(1));
        let leaf = authority.issue(&spec, Timestamp::now()).unwrap();
        let chain = pem::certificates(leaf.certificate_pem.as_bytes(), "test").unwrap();
        let key = pem::private_key(leaf.key_pem.as_bytes(), "test").unwrap();
        let config = ServerConfig::builder_with_provider(pgo_tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(addr).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                // A client that goes away ends its connection, no more.
                tokio::spawn(async move { serve(stream, acceptor, password).await.ok() });
            }
        });
        Self { addr, serving }
    }
}

async fn serve(
    mut stream: TcpStream,
    acceptor: TlsAcceptor,
    password: &str,
) -> std::io::Result<()> {
    let mut request = [0; 8];
    stream.read_exact(&mut request).await?;
    assert_eq!(
        request[4..],
        80_877_103_u32.to_be_bytes(),
        "a request for TLS comes first"
    );
    stream.write_all(b"S").await?;
    let mut stream = acceptor.accept(stream).await?;
    let length = stream.read_u32().await?;
    let mut startup = vec![0; length as usize - 4];
    stream.read_exact(&mut startup).await?;
    // AuthenticationCleartextPassword: TLS protects it.
    stream
        .write_all(&message(b'R', &3_u32.to_be_bytes()))
        .await?;
    let given = read(&mut stream, b'p').await?;
    if given.trim_ascii_end() != password.as_bytes()
        && given != [password.as_bytes(), b"\0"].concat()
    {
        let fields = b"SFATAL\0C28P01\0Mpassword authentication failed\0\0";
        stream.write_all(&message(b'E', fields)).await?;
        return Ok(());
    }
    stream
        .write_all(&message(b'R', &0_u32.to_be_bytes()))
        .await?;
    stream.write_all(&message(b'Z', b"I")).await?;
    let query = read(&mut stream, b'Q').await?;
    assert_eq!(query, b"select now()\0");
    stream.write_all(&message(b'C', b"SELECT 0\0")).await?;
    stream.write_all(&message(b'Z', b"I")).await?;
    stream.flush().await?;
    // Terminate.
    read(&mut stream, b'X').await?;
    Ok(())
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[kind], &length.to_be_bytes()[..], body].concat()
}

async fn read(
    stream: &mut (impl tokio::io::AsyncRead + Unpin),
    kind: u8,
) -> std::io::Result<Vec<u8>> {
    assert_eq!(stream.read_u8().await?, kind);
    let length = stream.read_u32().await?;
    let mut body = vec![0; length as usize - 4];
    stream.read_exact(&mut body).await?;
    Ok(body)
}
