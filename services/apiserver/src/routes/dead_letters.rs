//! `POST /deadlettershow`, `/deadletterrequeue`, `/deadletterdelete`: messages that nobody could handle, which the event
//! service keeps. They are no namespace's: a message that cannot be read does not say whose it is.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use pgo_api::{
    DeadLetterDetail, DeadLetterRequest, DeadLetterResponse, Outcome, ShowDeadLetterResponse,
};
use pgo_proto::event::{
    DeadLetter, DeadLetterIds, DeadLetterOutcomes, dead_letters_client::DeadLettersClient,
};
use tonic::{Response, Status, transport::Channel};

use crate::{app::App, refusal::Refusal, request::Call};

/// How long the event service may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

pub(super) async fn show(
    call: Arc<Call>,
    request: DeadLetterRequest,
) -> Result<ShowDeadLetterResponse, Refusal> {
    let mut client = client(&call.app)?;
    let ids = DeadLetterIds { ids: request.ids };
    let list = in_time(client.list(ids)).await?;
    let letters = list.letters.into_iter();
    Ok(ShowDeadLetterResponse {
        results: letters.map(detail).collect(),
        dropped: list.dropped,
        outcome: Outcome::ok(),
    })
}

pub(super) async fn requeue(
    call: Arc<Call>,
    request: DeadLetterRequest,
) -> Result<DeadLetterResponse, Refusal> {
    let mut client = client(&call.app)?;
    let ids = chosen(&mut client, request).await?;
    tracing::info!(user = %call.caller.name, ?ids, "dead letters are to go to their topics again");
    let outcomes = in_time(client.requeue(DeadLetterIds { ids })).await?;
    Ok(told(outcomes, |id, topic| {
        format!("requeued dead letter {id} to {topic}")
    }))
}

pub(super) async fn delete(
    call: Arc<Call>,
    request: DeadLetterRequest,
) -> Result<DeadLetterResponse, Refusal> {
    let mut client = client(&call.app)?;
    let ids = chosen(&mut client, request).await?;
    tracing::info!(user = %call.caller.name, ?ids, "dead letters are to be forgotten");
    let outcomes = in_time(client.delete(DeadLetterIds { ids })).await?;
    Ok(told(outcomes, |id, _| format!("deleted dead letter {id}")))
}

fn client(app: &App) -> Result<DeadLettersClient<Channel>, Refusal> {
    app.dead_letters.clone().ok_or_else(|| {
        Refusal("no event service is configured; set EVENT_SERVICE of the apiserver".to_owned())
    })
}

/// The letters that are meant: those named, or all there are now.
async fn chosen(
    client: &mut DeadLettersClient<Channel>,
    request: DeadLetterRequest,
) -> Result<Vec<String>, Refusal> {
    match (request.ids.is_empty(), request.all_flag) {
        (false, false) => Ok(request.ids),
        (true, true) => {
            let all = in_time(client.list(DeadLetterIds::default())).await?;
            Ok(all.letters.into_iter().map(|letter| letter.id).collect())
        }
        _ => Err(Refusal(
            "name dead letters by their ids (IDs), or all of them (AllFlag)".to_owned(),
        )),
    }
}

async fn in_time<T>(
    asking: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Refusal> {
    match tokio::time::timeout(ANSWER_WITHIN, asking).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(Refusal(format!("the event service: {}", status.message()))),
        Err(_) => Err(Refusal(format!(
            "the event service does not answer within {} s; what was begun may still be done",
            ANSWER_WITHIN.as_secs()
        ))),
    }
}

fn told(outcomes: DeadLetterOutcomes, done: impl Fn(&str, &str) -> String) -> DeadLetterResponse {
    let (mut results, mut problems) = (Vec::new(), Vec::new());
    for outcome in outcomes.outcomes {
        match outcome.problem.as_str() {
            "" => results.push(done(&outcome.id, &outcome.topic)),
            problem => problems.push(format!("{}: {problem}", outcome.id)),
        }
    }
    let outcome = match problems.is_empty() {
        true => Outcome::ok(),
        false => Outcome::error(problems.join("; ")),
    };
    DeadLetterResponse { results, outcome }
}

fn detail(letter: DeadLetter) -> DeadLetterDetail {
    let time = letter.time.unwrap_or_default();
    DeadLetterDetail {
        id: letter.id,
        topic: letter.topic,
        channel: letter.channel,
        attempts: letter.attempts,
        time: Timestamp::new(time.seconds, time.nanos)
            .unwrap_or_default()
            .to_string(),
        reason: letter.reason,
        body: String::from_utf8_lossy(&letter.body).into_owned(),
        size: letter.size,
    }
}
