//! nsqd's question what a client may do (`--auth-http-address`), answered by the client's identity.
//!
//! ```text
//! client ─AUTH─► nsqd ─GET /auth?common_name=…&tls=true─► policy ─► topics, channels, permissions ─► kept by nsqd for the TTL
//! ```
//!
//! nsqd has verified the client's certificate before it asks, and it shows none of its own when it asks. So this port
//! asks for none: what it answers is no secret. It is up before the reader of nsqd, which waits for this very answer.

pub mod policy;

use std::time::Duration;

use axum::{Json, Router, extract::Query, extract::State, routing::get};
use pgo_telemetry::CancellationToken;
use pgo_tls::{Connection, TlsListener};
use policy::{Authorization, authorizations};
use serde::{Deserialize, Serialize};

use crate::{identity::Identity, metrics::Metrics, withdrawn::Withdrawn};

/// Answers are short.
const GRACE: Duration = Duration::from_secs(1);

/// What nsqd sends (its `internal/auth` of 1.3.0).
#[derive(Debug, Deserialize)]
struct Question {
    /// Common name of the client's certificate.
    #[serde(default)]
    common_name: String,
    /// Whether the client came by TLS.
    #[serde(default)]
    tls: String,
    #[serde(default)]
    remote_ip: String,
}

/// What nsqd reads.
#[derive(Debug, Serialize)]
struct Answer {
    /// Seconds after which nsqd asks again, when the client next publishes or subscribes.
    ttl: u32,
    authorizations: Vec<Authorization>,
    /// For nsqd's statistics.
    identity: String,
    identity_url: &'static str,
}

#[derive(Clone)]
struct Answering {
    ttl: u32,
    withdrawn: Withdrawn,
    metrics: Metrics,
}

/// Answers until `shutdown`. What is answered holds for `ttl` seconds.
pub async fn serve(
    listener: TlsListener,
    ttl: u32,
    withdrawn: Withdrawn,
    metrics: Metrics,
    shutdown: CancellationToken,
) {
    let router = Router::new()
        .route("/auth", get(answer))
        .with_state(Answering {
            ttl,
            withdrawn,
            metrics,
        });
    let ending = shutdown.cancelled_owned();
    let who = |connection: &Connection, _| connection.peer().addr;
    pgo_telemetry::serve(listener, router, who, ending, GRACE).await;
}

async fn answer(
    State(answering): State<Answering>,
    Query(question): Query<Question>,
) -> Json<Answer> {
    let identity = match question.tls.as_str() {
        "true" => answering.withdrawn.identity(&question.common_name),
        _ => Identity::Other,
    };
    let granted = authorizations(identity);
    if granted.is_empty() {
        answering.metrics.nsq_client_refused();
        // Both are shortened: this port answers to whoever asks.
        tracing::warn!(
            name = %short(&question.common_name),
            from = %short(&question.remote_ip),
            "a client of nsqd may do nothing there"
        );
    }
    Json(Answer {
        ttl: answering.ttl,
        authorizations: granted,
        identity: question.common_name,
        identity_url: "",
    })
}

fn short(text: &str) -> String {
    text.chars().take(80).collect()
}
