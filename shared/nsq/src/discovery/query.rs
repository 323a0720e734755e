//! One question to one nsqlookupd: `GET /lookup?topic=`.

use std::{error::Error, io, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, StatusCode, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::{net::TcpStream, task::JoinSet, time::timeout};

use super::Node;
use crate::name::TopicName;

/// Largest answer that is looked at, in bytes: thousands of nsqd.
const MAX_ANSWER: usize = 4 << 20;

/// The media type of nsqlookupd's answers without an envelope around them.
const ACCEPT: &str = "application/vnd.nsq; version=1.0";

/// What nsqlookupd says with status 404 of a topic that no nsqd has.
const TOPIC_NOT_FOUND: &str = "TOPIC_NOT_FOUND";

/// Why an nsqlookupd did not say which nsqd there are.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// The name was not resolved, or nobody accepted the connection.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// It took too long.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// What came is not HTTP, not all of it, or too much.
    #[error("the exchange failed: {0}")]
    Exchange(Box<dyn Error + Send + Sync>),
    /// It refused to answer.
    #[error("it answers with status {status}: {text}")]
    Status {
        /// The status of HTTP.
        status: u16,
        /// The beginning of the answer.
        text: String,
    },
    /// Its answer does not list nsqds: is it the HTTP port of an nsqlookupd?
    #[error("its answer is not understood: {0}")]
    Answer(serde_json::Error),
}

/// An answer of nsqlookupd, as far as it matters.
#[derive(Deserialize)]
struct Answer {
    producers: Vec<Node>,
}

/// An error of nsqlookupd.
#[derive(Deserialize)]
struct Refusal {
    message: String,
}

/// The nsqds that have the topic; none if it is not known there.
pub(super) async fn ask(
    lookupd: &str,
    topic: &TopicName,
    limit: Duration,
) -> Result<Vec<Node>, LookupError> {
    timeout(limit, exchange(lookupd, topic))
        .await
        .unwrap_or(Err(LookupError::Timeout(limit)))
}

async fn exchange(lookupd: &str, topic: &TopicName) -> Result<Vec<Node>, LookupError> {
    let failed = |error: hyper::Error| LookupError::Exchange(error.into());
    let stream = TcpStream::connect(lookupd)
        .await
        .map_err(LookupError::Connect)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(failed)?;
    // Ends with this function, at the latest.
    let mut driver = JoinSet::new();
    driver.spawn(connection);

    let request = Request::get(path(topic))
        .header(header::HOST, lookupd)
        .header(header::ACCEPT, ACCEPT)
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| LookupError::Exchange(error.into()))?;
    let response = sender.send_request(request).await.map_err(failed)?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_ANSWER)
        .collect()
        .await
        .map_err(LookupError::Exchange)?;
    judge(status, &body.to_bytes())
}

/// Of the characters that a topic's name can have only one means something in a URL.
fn path(topic: &TopicName) -> String {
    format!("/lookup?topic={}", topic.as_str().replace('#', "%23"))
}

fn judge(status: StatusCode, body: &[u8]) -> Result<Vec<Node>, LookupError> {
    if status == StatusCode::OK {
        let answer: Answer = serde_json::from_slice(body).map_err(LookupError::Answer)?;
        return Ok(answer.producers);
    }
    let refusal = serde_json::from_slice::<Refusal>(body);
    if status == StatusCode::NOT_FOUND && refusal.is_ok_and(|r| r.message == TOPIC_NOT_FOUND) {
        return Ok(Vec::new());
    }
    Err(LookupError::Status {
        status: status.as_u16(),
        text: String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_topic_that_is_not_known_yet_is_no_error_but_another_page_that_is_missing_is() {
        let unknown = judge(StatusCode::NOT_FOUND, br#"{"message":"TOPIC_NOT_FOUND"}"#);
        assert_eq!(unknown.unwrap(), []);
        for page in [&br#"{"message":"NOT_FOUND"}"#[..], b"<html>", b""] {
            let error = judge(StatusCode::NOT_FOUND, page).unwrap_err();
            assert!(error.to_string().contains("404"), "{error}");
        }
    }

    #[test]
    fn the_nsqds_of_an_answer_are_read() {
        let answer = br#"{"channels":["billing"],"producers":[{"remote_address":"10.0.0.7:51000","hostname":"q7",
            "broadcast_address":"q7.example","tcp_port":4150,"http_port":4151,"version":"1.3.0"}]}"#;
        let nodes = judge(StatusCode::OK, answer).unwrap();
        assert_eq!(nodes.len(), 1);
        assert_eq!(nodes[0].address(), "q7.example:4150");
        assert_eq!(nodes[0].version, "1.3.0");
    }

    #[test]
    fn the_name_of_an_ephemeral_topic_keeps_its_suffix() {
        let topic: TopicName = "look#ephemeral".parse().unwrap();
        assert_eq!(path(&topic), "/lookup?topic=look%23ephemeral");
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(status in 100u16..1000, body in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = judge(StatusCode::from_u16(status).unwrap(), &body);
        }
    }
}
