//! What an agent asks of another one that does not answer.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use pgo_agent::ha::{
    book::{Book, Place},
    calls::Calls,
    driver::Event,
    service::Service,
};
use pgo_ha::{Input, Moment, Version, VoterId};
use pgo_ids::Term;
use pgo_proto::agent::peer_server::PeerServer;
use pgo_tls::{Authority, LeafSpec, TlsFiles, grpc};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    time::timeout,
};
use uuid::Uuid;

use crate::rig::write_leaf;

const IDENTITY: &str = "hippo.pgouser1.agent.pgo";

/// Between two ticks of an agent.
const TICK: Duration = Duration::from_millis(200);

/// For what is under way on this machine.
const DEADLINE: Duration = Duration::from_secs(10);

/// Where another agent is.
fn place(address: SocketAddr) -> Place {
    Place {
        name: format!("hippo-{}", address.port()),
        address,
        port: 5432,
    }
}

/// The requests of an agent for what is at `address`, with what it hears.
struct Asking {
    calls: Calls,
    heard: mpsc::UnboundedReceiver<Event>,
    book: Book,
    of: VoterId,
}

impl Asking {
    fn of(address: SocketAddr, tls: Arc<TlsFiles>) -> Self {
        let (events, heard) = mpsc::unbounded_channel();
        let (me, of) = (Uuid::from_u128(1).into(), Uuid::from_u128(2).into());
        let mut book = Book::default();
        book.learn(of, place(address));
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
        Self {
            calls: Calls::new(me, place(nowhere), IDENTITY.to_owned(), tls, events),
            heard,
            book,
            of,
        }
    }

    /// Asks for a grant.
    fn grant(&mut self, term: u64, sent: Moment) {
        let version = Version::from("7");
        let what = (Term(term), &version);
        self.calls.grant(self.of, &self.book, what, sent);
    }

    /// When the grant was asked for that is given now.
    async fn granted(&mut self) -> Moment {
        match timeout(DEADLINE, self.heard.recv()).await {
            Ok(Some(Event::Input(Input::GrantAnswered { sent, answer, .. }))) => {
                assert_eq!(answer, Ok(()));
                sent
            }
            other => panic!("no grant: {other:?}"),
        }
    }
}

fn certificates() -> (tempfile::TempDir, Arc<TlsFiles>) {
    let folder = tempfile::tempdir().expect("a folder");
    let life = SignedDuration::from_hours(1);
    let authority = Authority::generate("test", Timestamp::now(), life).expect("an authority");
    write_leaf(
        &authority,
        folder.path(),
        &LeafSpec::of_identity(IDENTITY, life),
    );
    let files = TlsFiles::open(folder.path()).expect("certificates");
    (folder, Arc::new(files))
}

/// Another agent's service, with what it is asked.
async fn serve(tls: &Arc<TlsFiles>) -> (SocketAddr, mpsc::UnboundedReceiver<Event>) {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = grpc::listen(any, tls.clone()).await.expect("a port");
    let address = listener.addr();
    let (events, asked) = mpsc::unbounded_channel();
    let service = PeerServer::new(Service::new(IDENTITY.to_owned(), events));
    let server = grpc::server().add_service(service);
    tokio::spawn(server.serve_with_incoming(listener));
    (address, asked)
}

/// The next request for a grant.
async fn asked(
    events: &mut mpsc::UnboundedReceiver<Event>,
) -> (Term, oneshot::Sender<Result<(), Term>>) {
    match timeout(DEADLINE, events.recv()).await {
        Ok(Some(Event::GrantAsked { term, answer, .. })) => (term, answer),
        other => panic!("no grant is asked for: {other:?}"),
    }
}

#[tokio::test]
async fn a_grant_is_asked_for_again_with_the_next_tick_and_counts_also_where_it_comes_late() {
    let (_folder, tls) = certificates();
    let (address, mut events) = serve(&tls).await;
    let mut asking = Asking::of(address, tls);
    let begin = Moment::since_boot(Duration::from_secs(1000));
    asking.grant(1, begin);
    let (first, late) = asked(&mut events).await;
    // Between two ticks it is waited for.
    asking.grant(2, begin.plus(TICK / 2));
    asking.grant(3, begin.plus(TICK));
    let (second, newer) = asked(&mut events).await;
    assert_eq!((first, second), (Term(1), Term(3)));
    newer.send(Ok(())).expect("it is waited for");
    assert_eq!(asking.granted().await, begin.plus(TICK));
    late.send(Ok(())).expect("it is waited for");
    assert_eq!(asking.granted().await, begin);
}

/// A cut leaves connections over which nothing comes before TCP sends again, which may be after T.
#[tokio::test]
async fn a_grant_without_an_answer_is_asked_for_by_another_connection() {
    let (_folder, tls) = certificates();
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut asking = Asking::of(silent.local_addr().expect("its address"), tls);
    let begin = Moment::since_boot(Duration::from_secs(1000));
    let mut connections = Vec::new();
    for tick in 0..3 {
        asking.grant(1, begin.plus(TICK * tick));
        let accepted = timeout(DEADLINE, silent.accept()).await;
        connections.push(accepted.expect("another connection").expect("accepted"));
    }
}
