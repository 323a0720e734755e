//! Takes orders and tells the state over gRPC, from and to those who may.

use std::{pin::Pin, sync::Arc, time::Duration};

use pgo_postgres::backrest::output;
use pgo_proto::agent::{
    BeginRequest, BeginResponse, CancelRequest, CancelResponse, InfoRequest, InfoResponse,
    RepositoryState, WatchRepositoryRequest, repository_server::Repository,
};
use pgo_tls::grpc::require_identity;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};
use tokio_stream::{Stream, StreamExt as _, wrappers::WatchStream};
use tonic::{Request, Response, Status};

use super::{Surroundings, keeper::Order, work::Job};
use crate::{backrest::command, grpc::CALLERS};

/// Who may order work: who knows what users want.
const WHO_DECIDES: [&str; 1] = ["reconciler.pgo"];

/// How long it may take until work has begun, which is written down on the volume, or is told to end.
const ORDER_DEADLINE: Duration = Duration::from_secs(10);

/// The service `pgo.agent.v1.Repository`.
#[derive(Debug)]
pub struct Service {
    state: watch::Receiver<RepositoryState>,
    orders: mpsc::Sender<Order>,
    /// Nothing before the repository is open.
    around: watch::Receiver<Option<Arc<Surroundings>>>,
}

impl Service {
    /// Tells the states that come through `state`; orders go to `orders`.
    pub fn new(
        state: watch::Receiver<RepositoryState>,
        orders: mpsc::Sender<Order>,
        around: watch::Receiver<Option<Arc<Surroundings>>>,
    ) -> Self {
        Self {
            state,
            orders,
            around,
        }
    }

    /// Gives an order, and waits for the answer.
    async fn order<T>(&self, order: Order, answered: oneshot::Receiver<T>) -> Result<T, Status> {
        let ends = || Status::unavailable("this agent ends");
        let answer = async {
            self.orders.send(order).await.map_err(|_| ends())?;
            answered.await.map_err(|_| ends())
        };
        timeout(ORDER_DEADLINE, answer).await.map_err(|_| {
            let seconds = ORDER_DEADLINE.as_secs();
            Status::deadline_exceeded(format!("not taken within {seconds} s; ask again"))
        })?
    }

    /// Why nothing can be begun now.
    fn obstacle(&self) -> Option<String> {
        let state = self.state.borrow();
        match (state.ready, state.error.as_str()) {
            (true, _) => None,
            (false, "") => Some("pgBackRest's server does not answer yet".to_owned()),
            (false, error) => Some(error.to_owned()),
        }
    }
}

#[tonic::async_trait]
impl Repository for Service {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<RepositoryState, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<WatchRepositoryRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let caller = require_identity(&request, &CALLERS)?;
        tracing::debug!(caller, "watches");
        let states = WatchStream::new(self.state.clone()).map(Ok);
        Ok(Response::new(Box::pin(states)))
    }

    async fn begin(
        &self,
        request: Request<BeginRequest>,
    ) -> Result<Response<BeginResponse>, Status> {
        require_identity(&request, &WHO_DECIDES)?;
        let job = Job::read(request.get_ref()).map_err(Status::invalid_argument)?;
        let is_done = self
            .state
            .borrow()
            .done
            .iter()
            .any(|done| done.operation == job.operation);
        if let Some(obstacle) = self.obstacle().filter(|_| !is_done) {
            return Err(Status::failed_precondition(obstacle));
        }
        let (answer, answered) = oneshot::channel();
        let begun = self
            .order(
                Order::Begin {
                    job: Box::new(job),
                    answer,
                },
                answered,
            )
            .await?;
        begun.map_err(Status::failed_precondition)?;
        Ok(Response::new(BeginResponse {}))
    }

    async fn cancel(
        &self,
        request: Request<CancelRequest>,
    ) -> Result<Response<CancelResponse>, Status> {
        require_identity(&request, &WHO_DECIDES)?;
        let operation = request.into_inner().operation;
        if operation.is_empty() {
            return Err(Status::invalid_argument("the operation has no id"));
        }
        let (answer, answered) = oneshot::channel();
        let order = Order::Cancel { operation, answer };
        self.order(order, answered).await?;
        Ok(Response::new(CancelResponse {}))
    }

    async fn info(&self, request: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        require_identity(&request, &CALLERS)?;
        let around = self.around.borrow().clone();
        let Some(around) = around else {
            let obstacle = self.obstacle().unwrap_or_default();
            return Err(Status::failed_precondition(obstacle));
        };
        let InfoRequest { json, storage } = request.get_ref();
        let storage = match storage.as_str() {
            "" => None,
            name => {
                let mut storages = around.storages().iter();
                let found = storages.find(|storage| storage.name() == name);
                let nothing = || format!("the repository keeps nothing in {name:?}");
                Some(found.ok_or_else(|| Status::failed_precondition(nothing()))?)
            }
        };
        let said = command::info(&around.backrest, &around.conf(), *json, storage).await;
        let text = said.map_err(|error| Status::failed_precondition(error.to_string()))?;
        let text = match *json {
            true => text,
            false => output::without_requests(&text),
        };
        Ok(Response::new(InfoResponse { text }))
    }
}
