//! Shows users what is beside the database, over gRPC: sizes and files.

use std::{sync::Arc, thread, time::Duration};

use pgo_postgres::{SUPERUSER, Session, Socket, session::SessionError};
use pgo_proto::agent::{
    DatabaseSizeRequest, DatabaseSizeResponse, ListFolderRequest, ListFolderResponse,
    ReadFileRequest, ReadFileResponse, inspection_server::Inspection,
};
use pgo_tls::grpc::require_identity;
use tokio::{
    sync::{Semaphore, oneshot},
    time::timeout,
};
use tonic::{Request, Response, Status};

use crate::{
    cli::Settings,
    files::{NotShown, Places},
};

/// Who may look: who knows which user may.
const CALLERS: [&str; 1] = ["apiserver.pgo"];

/// How long PostgreSQL may take to say how large it is: it asks the file system for each file.
const SIZE_DEADLINE: Duration = Duration::from_secs(5);

/// How long the volume may take.
const FILE_DEADLINE: Duration = Duration::from_secs(5);

/// How many may wait for the volume at a time. Who waits for one that hangs cannot be given up.
const AT_ONCE: usize = 2;

/// Bytes of all databases, as text: a sum is `numeric`.
const SIZE: &str =
    "SELECT coalesce(sum(pg_catalog.pg_database_size(oid)), 0)::text FROM pg_catalog.pg_database";

/// The service `pgo.agent.v1.Inspection`.
#[derive(Debug)]
pub struct Service {
    socket: Socket,
    places: Places,
    turns: Arc<Semaphore>,
}

impl Service {
    /// Of the instance with these settings.
    pub fn of(settings: &Settings) -> Self {
        Self {
            socket: settings.socket(),
            places: Places::new(&settings.data, &settings.custom),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// Looks at the volume in a thread of its own: the end of the runtime would wait for one of its own that hangs.
    async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Places) -> Result<T, NotShown> + Send + 'static,
    ) -> Result<Response<T>, Status> {
        let slow = || Status::deadline_exceeded("the volume does not answer in time");
        let looking = async {
            let turn = self.turns.clone().acquire_owned().await;
            let places = self.places.clone();
            let (sender, found) = oneshot::channel();
            let thread = thread::Builder::new().name("files".to_owned());
            let started = thread.spawn(move || {
                // Whoever has asked may have gone.
                let _ = sender.send(look(&places));
                drop(turn);
            });
            started.map_err(|error| Status::resource_exhausted(error.to_string()))?;
            let found = found.await.map_err(|_| slow())?;
            found.map_err(|why| Status::failed_precondition(why.to_string()))
        };
        let found = timeout(FILE_DEADLINE, looking).await.map_err(|_| slow())?;
        found.map(Response::new)
    }

    async fn size(&self) -> Result<u64, SessionError> {
        let session = Session::open(&self.socket, SUPERUSER).await?;
        let found = session.names(SIZE, SIZE_DEADLINE).await?;
        let bytes = found.first().and_then(|bytes| bytes.parse().ok());
        Ok(bytes.unwrap_or_default())
    }
}

#[tonic::async_trait]
impl Inspection for Service {
    async fn database_size(
        &self,
        request: Request<DatabaseSizeRequest>,
    ) -> Result<Response<DatabaseSizeResponse>, Status> {
        require_identity(&request, &CALLERS)?;
        let size = self.size().await;
        let bytes = size.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(Response::new(DatabaseSizeResponse { bytes }))
    }

    async fn list_folder(
        &self,
        request: Request<ListFolderRequest>,
    ) -> Result<Response<ListFolderResponse>, Status> {
        require_identity(&request, &CALLERS)?;
        let path = request.into_inner().path;
        self.look(move |places| places.list(&path)).await
    }

    async fn read_file(
        &self,
        request: Request<ReadFileRequest>,
    ) -> Result<Response<ReadFileResponse>, Status> {
        require_identity(&request, &CALLERS)?;
        let path = request.into_inner().path;
        let read = move |places: &Places| {
            let text = places.read(&path)?;
            Ok(ReadFileResponse { text })
        };
        self.look(read).await
    }
}
