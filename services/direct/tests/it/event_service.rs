//! An event service that says what the test has it say.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex},
};

use futures::Stream;
use jiff::{SignedDuration, Timestamp};
use pgo_proto::event::{
    CaughtUp, ConfirmationsRequest, ReadRequest, ReadResponse, Record, Watermark,
    WatermarksRequest, WatermarksResponse,
    event_log_server::{EventLog, EventLogServer},
    read_request::From,
    read_response::What,
};
use pgo_tls::{Authority, LeafSpec, TlsFiles};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Request, Response, Status};

type Answer = Result<ReadResponse, Status>;
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// It, with certificates for itself and its reader.
pub struct EventService {
    pub folder: TempDir,
    pub address: SocketAddr,
    readers: mpsc::UnboundedReceiver<Reader>,
}

/// One stream of a reader.
pub struct Reader {
    /// The cursor from which it reads on.
    pub after: Option<String>,
    answers: mpsc::UnboundedSender<Answer>,
}

impl Reader {
    fn say(&self, what: What) {
        self.answers
            .send(Ok(ReadResponse { what: Some(what) }))
            .expect("it reads");
    }

    pub fn caught_up(&self, cursor: &str) {
        let cursor = cursor.to_owned();
        self.say(What::CaughtUp(CaughtUp { cursor }));
    }

    pub fn record(&self, cursor: &str, event: &[u8]) {
        let (cursor, event) = (cursor.to_owned(), event.to_vec());
        self.say(What::Record(Record {
            cursor,
            event,
            appended: None,
        }));
    }
}

impl EventService {
    pub async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let life = SignedDuration::from_hours(1);
        let authority = Authority::generate("test", Timestamp::now(), life).unwrap();
        for name in ["event", "direct"] {
            certify(&authority, name, &folder.path().join(name));
        }
        let files = Arc::new(TlsFiles::open(folder.path().join("event")).unwrap());
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = pgo_tls::grpc::listen(address, files).await.unwrap();
        let address = listener.addr();
        let (opened, readers) = mpsc::unbounded_channel();
        let service = EventLogServer::new(Log(Mutex::new(opened)));
        tokio::spawn(pgo_tls::grpc::server().serve_with_incoming(service, listener));
        Self {
            folder,
            address,
            readers,
        }
    }

    /// The next stream that a reader opens.
    pub async fn reader(&mut self) -> Reader {
        let reader = tokio::time::timeout(crate::broker::SOON, self.readers.recv());
        reader
            .await
            .expect("a reader in time")
            .expect("the service runs")
    }
}

fn certify(authority: &Authority, process: &str, folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let life = SignedDuration::from_hours(1);
    let leaf = LeafSpec::of_identity(format!("{process}.pgo"), life);
    let leaf = authority.issue(&leaf, Timestamp::now()).unwrap();
    fs::write(folder.join("tls.crt"), leaf.certificate_pem).unwrap();
    fs::write(folder.join("tls.key"), leaf.key_pem.as_bytes()).unwrap();
    fs::write(folder.join("ca.crt"), authority.certificate_pem()).unwrap();
}

struct Log(Mutex<mpsc::UnboundedSender<Reader>>);

#[tonic::async_trait]
impl EventLog for Log {
    type ReadStream = Answers<ReadResponse>;
    type ConfirmationsStream = Answers<Watermark>;

    async fn read(
        &self,
        request: Request<ReadRequest>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        let request = request.into_inner();
        assert!(request.follow && request.topics.is_empty());
        let after = match request.from {
            Some(From::Cursor(cursor)) => Some(cursor),
            None => None,
            Some(other) => panic!("{other:?}"),
        };
        let (answers, stream) = mpsc::unbounded_channel();
        self.0
            .lock()
            .unwrap()
            .send(Reader { after, answers })
            .unwrap();
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(
            stream,
        ))))
    }

    async fn watermarks(
        &self,
        _: Request<WatermarksRequest>,
    ) -> Result<Response<WatermarksResponse>, Status> {
        Err(Status::unimplemented("nobody asks"))
    }

    async fn confirmations(
        &self,
        _: Request<ConfirmationsRequest>,
    ) -> Result<Response<Self::ConfirmationsStream>, Status> {
        Err(Status::unimplemented("nobody asks"))
    }
}
