//! What other agents of the cluster ask, handed to the driver.

use std::time::Duration;

use pgo_ha::{Timing, Version};
use pgo_ids::Term;
use pgo_proto::agent::{
    GrantRequest, GrantResponse, Granted, ReleaseRequest, ReleaseResponse, ReportRequest,
    ReportResponse, VoteRequest, VoteResponse, grant_response, peer_server::Peer,
};
use pgo_tls::grpc::require_identity;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tonic::{Request, Response, Status};

use crate::ha::{
    driver::Event,
    wire::{self, WireError},
};

/// How long the driver may take, so that nothing is kept for who has given up.
const DEADLINE: Duration = Timing::PROTOCOL.term;

/// The service `pgo.agent.v1.Peer`.
#[derive(Debug)]
pub struct Service {
    identity: String,
    events: mpsc::UnboundedSender<Event>,
}

impl Service {
    /// Hands what agents of `identity`, the cluster's, ask to `events`.
    pub fn new(identity: String, events: mpsc::UnboundedSender<Event>) -> Self {
        Self { identity, events }
    }

    /// Who asks, and for what, if it may.
    fn allowed<T>(&self, request: Request<T>) -> Result<T, Status> {
        require_identity(&request, &[&self.identity])?;
        Ok(request.into_inner())
    }

    fn hand_over(&self, event: Event) -> Result<(), Status> {
        self.events
            .send(event)
            .map_err(|_| Status::unavailable("this agent ends"))
    }
}

#[tonic::async_trait]
impl Peer for Service {
    async fn grant(
        &self,
        request: Request<GrantRequest>,
    ) -> Result<Response<GrantResponse>, Status> {
        let request = self.allowed(request)?;
        let (from, place) = wire::read_instance(request.from.as_ref()).map_err(wrong)?;
        let others = request.instances.iter();
        let others: Result<Vec<_>, _> = others.map(|one| wire::read_instance(Some(one))).collect();
        let (answer, answered) = oneshot::channel();
        self.hand_over(Event::GrantAsked {
            from,
            place,
            term: Term(request.term),
            version: Some(request.version)
                .filter(|version| !version.is_empty())
                .map(|version| Version::from(version.as_str())),
            others: others.map_err(wrong)?,
            answer,
        })?;
        let answer = match within(answered).await? {
            Ok(()) => grant_response::Answer::Granted(Granted {}),
            Err(promised) => grant_response::Answer::Promised(promised.0),
        };
        Ok(Response::new(GrantResponse {
            answer: Some(answer),
        }))
    }

    async fn vote(&self, request: Request<VoteRequest>) -> Result<Response<VoteResponse>, Status> {
        let request = self.allowed(request)?;
        let (from, place) = wire::read_instance(request.from.as_ref()).map_err(wrong)?;
        let release = request.release.as_ref().map(wire::read_release);
        let (answer, answered) = oneshot::channel();
        self.hand_over(Event::VoteAsked {
            from,
            place,
            term: Term(request.term),
            version: Version::from(request.version.as_str()),
            release: release.transpose().map_err(wrong)?,
            answer,
        })?;
        Ok(Response::new(wire::vote(within(answered).await?)))
    }

    async fn release(
        &self,
        request: Request<ReleaseRequest>,
    ) -> Result<Response<ReleaseResponse>, Status> {
        let request = self.allowed(request)?;
        let release = wire::read_release(&request).map_err(wrong)?;
        let words = wire::read_last_words(&request);
        self.hand_over(Event::Released(release, words))?;
        Ok(Response::new(ReleaseResponse {}))
    }

    async fn report(
        &self,
        request: Request<ReportRequest>,
    ) -> Result<Response<ReportResponse>, Status> {
        let request = self.allowed(request)?;
        let (from, place) = wire::read_instance(request.from.as_ref()).map_err(wrong)?;
        self.hand_over(Event::Reported {
            from,
            place,
            streaming: request.streaming,
            promised: Term(request.promised),
            lacks_data: request.lacks_data,
        })?;
        Ok(Response::new(ReportResponse {}))
    }
}

fn wrong(error: WireError) -> Status {
    Status::invalid_argument(error.to_string())
}

async fn within<T>(answered: oneshot::Receiver<T>) -> Result<T, Status> {
    match timeout(DEADLINE, answered).await {
        Ok(Ok(answer)) => Ok(answer),
        // The protocol has no answer for this one now.
        Ok(Err(_)) => Err(Status::unavailable("no answer is possible now; ask again")),
        Err(_) => Err(Status::deadline_exceeded("no answer in time; ask again")),
    }
}
