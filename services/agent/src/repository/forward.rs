//! Leads pgBackRest's connections on to an instance: it opens them to a name that leads to this pod and is in the certificate
//! of the cluster's agents, so that it verifies whose instance it speaks with, wherever that is.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream, lookup_host},
    task::JoinSet,
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;

/// How long the instance may take to accept a connection. Less than pgBackRest waits for one.
const CONNECT: Duration = Duration::from_secs(8);

/// How long looking up the name may take; it is in a file of this pod.
const LOOK_UP: Duration = Duration::from_secs(5);

/// Forwards until it is dropped.
#[derive(Debug)]
pub struct Forward {
    port: u16,
    _task: AbortOnDropHandle<()>,
}

impl Forward {
    /// Takes connections to `host` and leads them to `to`.
    ///
    /// # Errors
    /// `host` does not lead to this pod, or nothing can listen there; the text says why.
    pub async fn begin(host: &str, to: SocketAddr) -> Result<Self, String> {
        let found = timeout(LOOK_UP, lookup_host((host, 0))).await;
        let mut found = found
            .map_err(|_| format!("looking up {host} took too long"))?
            .map_err(|error| {
                format!("{host} leads nowhere, and has to lead to this pod (hostAliases): {error}")
            })?;
        let first = found.next().filter(|address| address.ip().is_loopback());
        let address = first.ok_or_else(|| {
            format!(
                "{host} leads to another place than this pod; its hostAliases have to say 127.0.0.1"
            )
        })?;
        let cannot = |error: io::Error| format!("cannot listen on {}: {error}", address.ip());
        let listener = TcpListener::bind((address.ip(), 0)).await.map_err(cannot)?;
        let port = listener.local_addr().map_err(cannot)?.port();
        let task = AbortOnDropHandle::new(tokio::spawn(accept(listener, to)));
        Ok(Self { port, _task: task })
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }
}

async fn accept(listener: TcpListener, to: SocketAddr) {
    // They end with this.
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(lead(stream, to));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection to an instance cannot be taken");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn lead(mut from: TcpStream, to: SocketAddr) {
    let connected = timeout(CONNECT, TcpStream::connect(to)).await;
    let mut there = match connected {
        Ok(Ok(there)) => there,
        Ok(Err(error)) => {
            tracing::warn!(%to, %error, "the instance's pgBackRest server cannot be reached");
            return;
        }
        Err(_) => {
            tracing::warn!(%to, "the instance's pgBackRest server does not answer");
            return;
        }
    };
    // Whose connection breaks tells it to its own side, too.
    let _ = copy_bidirectional(&mut from, &mut there).await;
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn what_comes_is_led_on_and_back_until_it_ends() {
        let there = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a port");
        let to = there.local_addr().expect("an address");
        tokio::spawn(async move {
            let (mut stream, _) = there.accept().await.expect("a connection");
            let mut text = [0; 4];
            stream.read_exact(&mut text).await.expect("read");
            stream.write_all(&text).await.expect("written");
        });
        let forward = Forward::begin("localhost", to).await.expect("it listens");
        let mut stream = TcpStream::connect(("localhost", forward.port()))
            .await
            .expect("connected");
        stream.write_all(b"ping").await.expect("written");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("an end");
        assert_eq!(answer, b"ping");
        drop(forward);
    }

    #[tokio::test]
    async fn a_name_that_leads_elsewhere_is_refused() {
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let error = Forward::begin("192.0.2.7", to)
            .await
            .expect_err("another place");
        assert!(error.contains("another place"), "{error}");
    }
}
