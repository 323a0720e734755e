//! Runs policies, over gRPC: SQL of users, on the primary, each operation once.
//!
//! ```text
//! asked ─► known? ─► its answer, or its end is waited for
//!            └─ no ─► is it this server, does it serve? ─► its turn ─► run ─► answer, kept
//! ```
//!
//! What was run is remembered for as long as this process lives, which is at least as long as a server of it does; whoever asks
//! names the server, so that another one does not run it again.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use pgo_postgres::{
    Socket,
    policy::{Applied, PolicyError, apply},
};
use pgo_proto::agent::{ApplyPolicyRequest, ApplyPolicyResponse, policies_server::Policies};
use pgo_tls::grpc::require_identity;
use tokio::sync::{Semaphore, watch};
use tonic::{Request, Response, Status};

use crate::state::{Phase, State};

/// Who may have SQL run: who knows what users want.
const CALLERS: [&str; 1] = ["reconciler.pgo"];

/// How long a policy may take. Less than the core waits for the answer.
const DEADLINE: Duration = Duration::from_mins(5);

/// So many operations are remembered; the reconciler asks for one after the other.
const REMEMBERED: usize = 64;

/// What became of a policy.
type Answer = Result<Applied, PolicyError>;

/// What is known of the operations, the oldest first.
type Known = Arc<Mutex<VecDeque<(String, watch::Receiver<Option<Answer>>)>>>;

/// The service `pgo.agent.v1.Policies`.
#[derive(Debug)]
pub struct Service {
    state: watch::Receiver<State>,
    socket: Socket,
    known: Known,
    turn: Arc<Semaphore>,
}

impl Service {
    /// Of the server at `socket`, whose states come through `state`.
    pub fn new(state: watch::Receiver<State>, socket: Socket) -> Self {
        Self {
            state,
            socket,
            known: Known::default(),
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    /// Where the answer to this request will be; it is run unless it was before.
    fn asked(
        &self,
        request: ApplyPolicyRequest,
    ) -> Result<watch::Receiver<Option<Answer>>, Status> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = known.iter();
        if let Some((_, answer)) = all.find(|(operation, _)| *operation == request.operation) {
            return Ok(answer.clone());
        }
        self.is_meant(&request)?;
        let (sender, answer) = watch::channel(None);
        known.push_back((request.operation.clone(), answer.clone()));
        if known.len() > REMEMBERED {
            known.pop_front();
        }
        tokio::spawn(run(
            (self.socket.clone(), self.turn.clone()),
            request,
            self.known.clone(),
            sender,
        ));
        Ok(answer)
    }

    /// Whether this server is the one that is to run it, and can.
    fn is_meant(&self, request: &ApplyPolicyRequest) -> Result<(), Status> {
        let state = self.state.borrow();
        let time = request.started.as_ref();
        let started = time.and_then(|time| Timestamp::new(time.seconds, time.nanos).ok());
        let started = started.ok_or_else(|| {
            Status::invalid_argument("started is missing: it names the server that is to run it")
        })?;
        if state.started != Some(started) {
            return Err(Status::unavailable(format!(
                "the server that was started at {started} is not the one that runs here"
            )));
        }
        match (state.phase, state.replica) {
            (Phase::Running, Some(false)) => Ok(()),
            (Phase::Running, _) => Err(Status::unavailable("this instance is not the primary")),
            (other, _) => Err(Status::unavailable(format!(
                "PostgreSQL does not serve here now ({other:?})"
            ))),
        }
    }
}

/// Runs it when it is its turn, and answers. What was not run at all is forgotten, so that it can be tried again.
async fn run(
    (socket, turn): (Socket, Arc<Semaphore>),
    request: ApplyPolicyRequest,
    known: Known,
    sender: watch::Sender<Option<Answer>>,
) {
    let turn = turn.acquire_owned().await;
    let (operation, sql) = (&request.operation, &request.sql);
    let place = (request.database.as_str(), request.role.as_str());
    let answer = apply(&socket, place, sql, DEADLINE).await;
    drop(turn);
    match &answer {
        Ok(Applied { notices }) => tracing::info!(operation, notices, "a policy was applied"),
        Err(error) => tracing::warn!(operation, %error, "a policy was not applied"),
    }
    if matches!(answer, Err(PolicyError::Unreachable(_))) {
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(other, _)| other != operation);
    }
    // Whoever asked may have gone.
    let _ = sender.send(Some(answer));
}

#[tonic::async_trait]
impl Policies for Service {
    async fn apply(
        &self,
        request: Request<ApplyPolicyRequest>,
    ) -> Result<Response<ApplyPolicyResponse>, Status> {
        require_identity(&request, &CALLERS)?;
        let mut answer = self.asked(request.into_inner())?;
        let answered = answer.wait_for(Option::is_some).await;
        let answered = answered.map(|answer| answer.clone());
        match answered {
            Ok(Some(Ok(Applied { notices }))) => Ok(Response::new(ApplyPolicyResponse { notices })),
            Ok(Some(Err(error @ PolicyError::Unreachable(_)))) => {
                Err(Status::unavailable(error.to_string()))
            }
            Ok(Some(Err(error))) => Err(Status::failed_precondition(error.to_string())),
            Ok(None) | Err(_) => Err(Status::unavailable("this agent ends")),
        }
    }
}
