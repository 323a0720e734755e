//! How long the client waits before it says that nothing comes.

use std::time::Duration;

use pgo_api::KEEP_ALIVE;

/// The limits of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Time to connect; a server further away than that is not there.
    pub connect: Duration,
    /// Time for an answer, connecting included.
    pub request: Duration,
    /// A stream silent for so long is dead.
    pub silence: Duration,
}

impl Default for Limits {
    /// An answer has the time that 4.1.1's client gives it; a stream may miss two of its signs of life.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            request: Duration::from_secs(60),
            silence: Duration::from_secs(3 * KEEP_ALIVE.as_secs()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pgo_api::{Endpoint, EventsQuery, VersionResponse};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpSocket, TcpStream},
        time::timeout,
    };

    use super::*;
    use crate::client::{
        Api, ClientError, Settings,
        credentials::Credentials,
        events::{News, follow},
    };

    const SHORT: Duration = Duration::from_millis(100);
    /// Longer than any test may take.
    const LONG: Duration = Duration::from_secs(20);
    const PATIENT: Limits = Limits {
        connect: LONG,
        request: LONG,
        silence: LONG,
    };

    fn api(port: u16, limits: Limits) -> Arc<Api> {
        let settings = Settings {
            url: format!("http://127.0.0.1:{port}"),
            namespace: "pgouser1".into(),
            namespace_flag: None,
            credentials: Credentials {
                user: "pgoadmin".into(),
                password: "x".into(),
            },
            tls: None,
            debug: false,
            limits,
        };
        Arc::new(Api::new(settings).unwrap())
    }

    /// A server that answers every request with this beginning, and then keeps the connection and says no more.
    async fn silent(beginning: &'static str) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let mut kept = Vec::new();
            while let Ok((mut connection, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(connection.read_u8().await.unwrap());
                }
                connection.write_all(beginning.as_bytes()).await.unwrap();
                kept.push(connection);
            }
        });
        port
    }

    /// A server that takes no connection any more: those that wait to be accepted fill its queue.
    async fn full() -> (TcpListener, Vec<TcpStream>) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let mut waiting = Vec::new();
        while let Ok(connected) = timeout(
            Duration::from_millis(300),
            TcpStream::connect(listener.local_addr().unwrap()),
        )
        .await
        {
            waiting.push(connected.unwrap());
            assert!(waiting.len() < 100, "the queue of one does not get full");
        }
        (listener, waiting)
    }

    #[tokio::test]
    async fn a_request_that_is_not_answered_whole_in_time_says_so() {
        let limits = Limits {
            request: SHORT,
            ..PATIENT
        };
        for beginning in [
            "",
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{",
        ] {
            let api = api(silent(beginning).await, limits);
            let asked = api.get::<VersionResponse>(Endpoint::Version, "");
            let error = timeout(LONG, asked).await.unwrap().err().unwrap();
            assert!(matches!(error, ClientError::Timeout { .. }), "{error}");
            let text = error.to_string();
            assert!(
                text.contains("GET /version was not answered within 100ms"),
                "{text}"
            );
        }
        let api = api(silent("").await, limits);
        let opened = timeout(LONG, api.open(Endpoint::Events, "")).await;
        let error = opened.unwrap().unwrap_err();
        assert!(matches!(error, ClientError::Timeout { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_server_that_takes_no_connection_in_time_is_not_there() {
        let (listener, _waiting) = full().await;
        let limits = Limits {
            connect: SHORT,
            ..PATIENT
        };
        let api = api(listener.local_addr().unwrap().port(), limits);
        let asked = api.get::<VersionResponse>(Endpoint::Version, "");
        let error = timeout(LONG, asked).await.unwrap().err().unwrap();
        assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("no connection within 100ms"), "{text}");
    }

    #[tokio::test]
    async fn a_stream_that_is_silent_for_too_long_is_lost_and_opened_again() {
        let port = silent(
            "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\
             Connection: close\r\n\r\n{\"cursor\":\"c0\"}\n",
        )
        .await;
        let limits = Limits {
            silence: SHORT,
            ..PATIENT
        };
        let mut news = follow(api(port, limits), EventsQuery::default(), None);
        let mut next = async || timeout(LONG, news.recv()).await.unwrap().unwrap();
        assert!(matches!(next().await, News::CaughtUp { .. }));
        match next().await {
            News::Lost(why) => assert!(why.contains("nothing came for 100ms"), "{why}"),
            other => panic!("{other:?}"),
        }
        assert!(matches!(next().await, News::Back));
        assert!(matches!(next().await, News::CaughtUp { .. }));
    }
}
