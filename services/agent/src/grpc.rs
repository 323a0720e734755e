//! Tells the state over gRPC to those who may know it.

use std::pin::Pin;

use pgo_proto::agent::{InstanceState, WatchRequest, agent_server::Agent};
use pgo_tls::grpc::require_identity;
use tokio::sync::watch;
use tokio_stream::{Stream, StreamExt as _, wrappers::WatchStream};
use tonic::{Request, Response, Status};

use crate::state::State;

/// Who may watch.
pub const CALLERS: [&str; 2] = ["reconciler.pgo", "apiserver.pgo"];

/// The service `pgo.agent.v1.Agent`.
#[derive(Debug)]
pub struct Service {
    state: watch::Receiver<State>,
}

impl Service {
    /// Tells the states that come through `state`.
    pub fn new(state: watch::Receiver<State>) -> Self {
        Self { state }
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
}
