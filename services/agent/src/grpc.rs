//! Tells the state over gRPC to those who may know it.

use std::{pin::Pin, time::Duration};

use jiff::Timestamp;
use pgo_ids::SLOT_PREFIX;
use pgo_postgres::{SUPERUSER, Session, Socket, session::SessionError};
use pgo_proto::agent::{
    DropSlotRequest, DropSlotResponse, FailoverRequest, FailoverResponse, InstanceState,
    ReloadRequest, ReloadResponse, RestartRequest, RestartResponse, StayRequest, StayResponse,
    SwitchoverRequest, SwitchoverResponse, WatchRequest, agent_server::Agent,
};
use pgo_tls::grpc::require_identity;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};
use tokio_stream::{Stream, StreamExt as _, wrappers::WatchStream};
use tonic::{Request, Response, Status};

use crate::{
    ha::driver::{Change, Event},
    orders::{self, Reload, Restart},
    state::{Phase, State},
};

/// Who may watch.
pub const CALLERS: [&str; 2] = ["reconciler.pgo", "apiserver.pgo"];

/// Who may take a replica's slot away: who knows which replicas there are to be.
const WHO_REMOVES: [&str; 1] = ["reconciler.pgo"];

/// Who may ask for another primary: who knows what users want.
const WHO_DECIDES: [&str; 1] = ["reconciler.pgo"];

/// How long a primary that is asked to give up may prepare for that until the answer says so. Less than the reconciler waits.
const PREPARES_AFTER: Duration = Duration::from_secs(3);

/// How long the decision whether there can be another primary may take; it waits for nothing.
const CHANGE_DEADLINE: Duration = Duration::from_secs(5);

/// How long a reload may take; one that begins later finds that nobody waits for it.
const RELOAD_DEADLINE: Duration = Duration::from_secs(14);

/// How long it may take until a restart begins.
const RESTART_DEADLINE: Duration = Duration::from_secs(5);

/// How long PostgreSQL may take to remove a slot.
const DROP_DEADLINE: Duration = Duration::from_secs(5);

/// The service `pgo.agent.v1.Agent`.
#[derive(Debug)]
pub struct Service {
    state: watch::Receiver<State>,
    socket: Socket,
    events: mpsc::UnboundedSender<Event>,
    orders: orders::Sender,
}

impl Service {
    /// Tells the states that come through `state`, of the server at `socket`.
    /// Whose slot is removed votes no more: `events` hears of it. What the server itself is to do goes to `orders`.
    pub fn new(
        state: watch::Receiver<State>,
        socket: Socket,
        events: mpsc::UnboundedSender<Event>,
        orders: orders::Sender,
    ) -> Self {
        Self {
            state,
            socket,
            events,
            orders,
        }
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

    async fn switchover(
        &self,
        request: Request<SwitchoverRequest>,
    ) -> Result<Response<SwitchoverResponse>, Status> {
        require_identity(&request, &WHO_DECIDES)?;
        let to = Some(request.into_inner().to).filter(|to| !to.is_empty());
        let decided = self.change(Change::Switchover(to), PREPARES_AFTER).await?;
        let prepares = decided.is_none();
        Ok(Response::new(SwitchoverResponse { prepares }))
    }

    async fn failover(
        &self,
        request: Request<FailoverRequest>,
    ) -> Result<Response<FailoverResponse>, Status> {
        require_identity(&request, &WHO_DECIDES)?;
        let decided = self.change(Change::Failover, CHANGE_DEADLINE).await?;
        decided.ok_or_else(|| Status::deadline_exceeded("the agent does not decide in time"))?;
        Ok(Response::new(FailoverResponse {}))
    }

    async fn stay(&self, request: Request<StayRequest>) -> Result<Response<StayResponse>, Status> {
        require_identity(&request, &WHO_DECIDES)?;
        let sent = self.events.send(Event::Stay);
        sent.map_err(|_| Status::unavailable("this agent ends"))?;
        Ok(Response::new(StayResponse {}))
    }

    async fn reload(
        &self,
        request: Request<ReloadRequest>,
    ) -> Result<Response<ReloadResponse>, Status> {
        require_identity(&request, &WHO_DECIDES)?;
        self.runs()?;
        let (answer, answered) = oneshot::channel();
        self.orders.reload(Reload { answer });
        let pending_restart = within(RELOAD_DEADLINE, answered).await?;
        Ok(Response::new(ReloadResponse { pending_restart }))
    }

    async fn restart(
        &self,
        request: Request<RestartRequest>,
    ) -> Result<Response<RestartResponse>, Status> {
        require_identity(&request, &WHO_DECIDES)?;
        let time = request.into_inner().started;
        let time = time.and_then(|time| Timestamp::new(time.seconds, time.nanos).ok());
        let ends = time.ok_or_else(|| {
            Status::invalid_argument("started is missing: it names the server that is to end")
        })?;
        self.runs()?;
        let (answer, answered) = oneshot::channel();
        self.orders.restart(Restart { ends, answer });
        within(RESTART_DEADLINE, answered).await?;
        Ok(Response::new(RestartResponse {}))
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
        // The driver ends before this only when all ends.
        let _ = self.events.send(Event::Removed(slot.clone()));
        tracing::info!(slot, "no WAL is kept for this replica any more");
        Ok(Response::new(DropSlotResponse {}))
    }
}

/// The answer to an order; it is given up where it takes too long.
async fn within<T>(
    deadline: Duration,
    answered: oneshot::Receiver<Result<T, String>>,
) -> Result<T, Status> {
    match timeout(deadline, answered).await {
        Ok(Ok(Ok(done))) => Ok(done),
        Ok(Ok(Err(reason))) => Err(Status::failed_precondition(reason)),
        Ok(Err(_)) => Err(Status::unavailable("PostgreSQL has ended meanwhile")),
        Err(_) => Err(Status::deadline_exceeded(format!(
            "not done within {} s",
            deadline.as_secs()
        ))),
    }
}

impl Service {
    /// Only a server that serves can be told anything.
    fn runs(&self) -> Result<(), Status> {
        match self.state.borrow().phase {
            Phase::Running => Ok(()),
            other => Err(Status::unavailable(format!(
                "PostgreSQL does not serve here now ({other:?})"
            ))),
        }
    }

    /// Hands a wish for another primary to who decides, and waits for the decision; nothing where none comes within `limit`.
    async fn change(&self, change: Change, limit: Duration) -> Result<Option<()>, Status> {
        let (answer, answered) = oneshot::channel();
        let ends = || Status::unavailable("this agent ends");
        let sent = self.events.send(Event::Change(change, answer));
        sent.map_err(|_| ends())?;
        match timeout(limit, answered).await {
            Ok(Ok(Ok(()))) => Ok(Some(())),
            Ok(Ok(Err(reason))) => Err(Status::failed_precondition(reason)),
            Ok(Err(_)) => Err(ends()),
            Err(_) => Ok(None),
        }
    }
}
