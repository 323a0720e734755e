//! What the event service has on disk, told to the relay.

use std::time::Duration;

use pgo_ids::{Seq, StreamId};
use pgo_proto::event::{
    ConfirmationsRequest, Watermark, WatermarksRequest, event_log_client::EventLogClient,
};
use tokio::time::{sleep, timeout};
use tonic::{Status, transport::Channel};

use crate::Relay;

/// How long the event service may take for an answer that is one message.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Pause after a lost connection; doubles up to the second value.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Most streams that are asked for at once, so that a request stays far below gRPC's limit of 4 MiB.
const STREAMS_PER_REQUEST: usize = 10_000;

/// Tells the relay each watermark of the event service behind `channel`, and calls `on` with it too, for ever: connects
/// anew whenever the connection is lost. Drop the future to end it.
///
/// Ends at once with a relay that is off.
pub async fn follow_confirmations(
    channel: Channel,
    relay: Relay,
    on: impl Fn(&StreamId, Seq) + Send,
) {
    let mut pause = PAUSE.0;
    while !relay.is_off() {
        let mut heard = false;
        let ended = follow(channel.clone(), &relay, &on, &mut heard).await;
        if heard {
            pause = PAUSE.0;
        }
        let reason = match ended {
            Ok(()) => "it ended the stream".to_owned(),
            Err(status) => format!("{:?}: {}", status.code(), status.message()),
        };
        tracing::warn!(
            reason,
            "no confirmations from the event service; connecting anew"
        );
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}

/// One connection. The stream comes first and the question second, so that no watermark falls between the two.
async fn follow(
    channel: Channel,
    relay: &Relay,
    on: &(impl Fn(&StreamId, Seq) + Send),
    heard: &mut bool,
) -> Result<(), Status> {
    let mut client = EventLogClient::new(channel);
    let opening = client.confirmations(ConfirmationsRequest {});
    let mut confirmations = in_time(opening).await?.into_inner();
    relay.expect_confirmations();
    let streams: Vec<String> = relay
        .unconfirmed_streams()
        .into_iter()
        .map(String::from)
        .collect();
    for part in streams.chunks(STREAMS_PER_REQUEST) {
        let streams = part.to_vec();
        let asked = client.watermarks(WatermarksRequest { streams });
        for watermark in in_time(asked).await?.into_inner().watermarks {
            take(&watermark, relay, on);
        }
    }
    *heard = true;
    while let Some(watermark) = confirmations.message().await? {
        take(&watermark, relay, on);
    }
    Ok(())
}

pub(crate) async fn in_time<T>(call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    timeout(ANSWER_WITHIN, call)
        .await
        .unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in 5 s")))
}

pub(crate) fn take(watermark: &Watermark, relay: &Relay, on: &(impl Fn(&StreamId, Seq) + Send)) {
    match watermark.stream.parse::<StreamId>() {
        Ok(stream) => {
            let seq = Seq(watermark.seq);
            relay.confirm(&stream, seq);
            on(&stream, seq);
        }
        Err(error) => tracing::warn!(%error, "a confirmation that is none"),
    }
}
