//! Tells the state over gRPC to those who may know it.

use std::{pin::Pin, time::Duration};

use pgo_ids::SLOT_PREFIX;
use pgo_postgres::{SUPERUSER, Session, Socket, session::SessionError};
use pgo_proto::agent::{
    DropSlotRequest, DropSlotResponse, InstanceState, WatchRequest, agent_server::Agent,
};
use pgo_tls::grpc::require_identity;
use tokio::sync::watch;
use tokio_stream::{Stream, StreamExt as _, wrappers::WatchStream};
use tonic::{Request, Response, Status};

use crate::state::State;

/// Who may watch.
pub const CALLERS: [&str; 2] = ["reconciler.pgo", "apiserver.pgo"];

/// Who may take a replica's slot away: who knows which replicas there are to be.
const WHO_REMOVES: [&str; 1] = ["reconciler.pgo"];

/// How long PostgreSQL may take to remove a slot.
const DROP_DEADLINE: Duration = Duration::from_secs(5);

/// The service `pgo.agent.v1.Agent`.
#[derive(Debug)]
pub struct Service {
    state: watch::Receiver<State>,
    socket: Socket,
}

impl Service {
    /// Tells the states that come through `state`, of the server at `socket`.
    pub fn new(state: watch::Receiver<State>, socket: Socket) -> Self {
        Self { state, socket }
    }
}

#[tonic::async_trait]
impl Agent for Service {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<InstanceState, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let caller = require_identity(&request, &CALLERS)?;
        let own = self.state.borrow().term.0;
        let seen = request.get_ref().term;
        // Before the Lease was read there is no term to compare, but failures to tell.
        if own > 0 && seen > own {
            return Err(Status::failed_precondition(format!(
                "this agent's term is {own}, the caller has seen {seen}"
            )));
        }
        tracing::debug!(caller, "watches");
        let states = WatchStream::new(self.state.clone()).map(|state| Ok(state.to_proto()));
        Ok(Response::new(Box::pin(states)))
    }

    async fn drop_slot(
        &self,
        request: Request<DropSlotRequest>,
    ) -> Result<Response<DropSlotResponse>, Status> {
        require_identity(&request, &WHO_REMOVES)?;
        let slot = request.into_inner().slot;
        if !slot.starts_with(SLOT_PREFIX) {
            return Err(Status::invalid_argument(format!(
                "slot {slot:?} is not one of PGO's; those begin with {SLOT_PREFIX}"
            )));
        }
        if self.state.borrow().replica != Some(false) {
            return Err(Status::failed_precondition(
                "this instance is not the primary",
            ));
        }
        let failed = |error: SessionError| Status::unavailable(error.to_string());
        let session = Session::open(&self.socket, SUPERUSER)
            .await
            .map_err(failed)?;
        session
            .drop_slot(&slot, DROP_DEADLINE)
            .await
            .map_err(failed)?;
        tracing::info!(slot, "no WAL is kept for this replica any more");
        Ok(Response::new(DropSlotResponse {}))
    }
}
