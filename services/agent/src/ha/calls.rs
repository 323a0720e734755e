//! What is asked of other agents. Nothing but a release is repeated here: the protocol asks again with its ticks.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use pgo_ha::{Input, Moment, Promise, Release, Timing, Version, VoterId};
use pgo_ids::Term;
use pgo_proto::agent::{
    GrantRequest, ReportRequest, VoteRequest, grant_response, peer_client::PeerClient,
};
use pgo_tls::TlsFiles;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tonic::transport::Channel;

use crate::ha::{
    book::{Book, Place},
    driver::Event,
    wire::{self, LastWords},
};

/// How long an answer may take. What comes later than T is worth nothing to who asked for a grant.
const DEADLINE: Duration = Timing::PROTOCOL.term;

/// How long an answer is waited for before the same is asked again, by another connection: the one before may be one over
/// which nothing comes any more. TCP repeats after a cut later and later, so that a new one gets through sooner.
const PATIENCE: Duration = Duration::from_secs(1);

/// The same for a grant: less than a tick, so that the first one after a cut goes by a connection that knows nothing of it. A
/// replica waits no longer for it ([`Timing::patience`]).
const PATIENCE_FOR_GRANT: Duration = Duration::from_millis(150);

/// Pause before a release that did not arrive is sent again.
const RELEASE_PAUSE: Duration = Duration::from_millis(50);

/// What is asked; one request of each kind is under way to each instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Grant,
    Vote,
    Release,
    Report,
}

impl Kind {
    fn patience(self) -> Duration {
        match self {
            Self::Grant => PATIENCE_FOR_GRANT,
            Self::Vote | Self::Release | Self::Report => PATIENCE,
        }
    }
}

/// The requests of one agent.
#[derive(Debug)]
pub struct Calls {
    me: VoterId,
    place: Place,
    identity: String,
    tls: Arc<TlsFiles>,
    channels: HashMap<SocketAddr, Channel>,
    under_way: HashMap<(VoterId, Kind), (Moment, JoinHandle<()>)>,
    events: mpsc::UnboundedSender<Event>,
}

impl Calls {
    /// Asks as `me`, which is at `place`, and hands answers to `events`. All agents of the cluster have the same
    /// `identity`.
    pub fn new(
        me: VoterId,
        place: Place,
        identity: String,
        tls: Arc<TlsFiles>,
        events: mpsc::UnboundedSender<Event>,
    ) -> Self {
        Self {
            me,
            place,
            identity,
            tls,
            channels: HashMap::new(),
            under_way: HashMap::new(),
            events,
        }
    }

    /// Asks for a grant, and tells where the instances are.
    pub fn grant(
        &mut self,
        of: VoterId,
        book: &Book,
        (term, version): (Term, &Version),
        sent: Moment,
    ) {
        let request = GrantRequest {
            from: Some(wire::instance(self.me, &self.place)),
            term: term.0,
            instances: wire::instances(book),
            version: version.as_str().to_owned(),
        };
        let events = self.events.clone();
        self.begin(of, book, Kind::Grant, sent, move |mut peer| async move {
            let answer = match peer.grant(request).await?.into_inner().answer {
                Some(grant_response::Answer::Granted(_)) => Ok(()),
                Some(grant_response::Answer::Promised(term)) => Err(Term(term)),
                None => return Ok(()),
            };
            let by = of;
            let _ = events.send(Event::Input(Input::GrantAnswered {
                by,
                term,
                sent,
                answer,
            }));
            Ok(())
        });
    }

    /// Asks for a vote.
    pub fn vote(
        &mut self,
        of: VoterId,
        book: &Book,
        (term, version): (Term, Version),
        release: Option<&Release>,
        now: Moment,
    ) {
        let request = VoteRequest {
            from: Some(wire::instance(self.me, &self.place)),
            term: term.0,
            version: version.as_str().to_owned(),
            release: release.map(|release| wire::release(release, &LastWords::default())),
        };
        let events = self.events.clone();
        self.begin(of, book, Kind::Vote, now, move |mut peer| async move {
            let answer = peer.vote(request).await?.into_inner();
            match wire::read_vote(answer, term) {
                Ok(answer) => {
                    let _ = events.send(Event::Input(Input::VoteAnswered {
                        by: of,
                        term,
                        version,
                        answer,
                    }));
                }
                Err(error) => tracing::warn!(%error, by = %of, "an answer to a candidate"),
            }
            Ok(())
        });
    }

    /// Says that this primary has stopped; again where that fails, since it is said once and writes wait for it. Who hears it
    /// twice has heard it once.
    pub fn release(
        &mut self,
        to: VoterId,
        book: &Book,
        (release, words): (&Release, &LastWords),
        now: Moment,
    ) {
        let request = wire::release(release, words);
        self.begin(to, book, Kind::Release, now, move |mut peer| async move {
            while let Err(error) = peer.release(request.clone()).await {
                tracing::info!(%to, %error, "a release did not arrive; trying again");
                sleep(RELEASE_PAUSE).await;
            }
            Ok(())
        });
    }

    /// Tells the primary that this replica is there, whether it streams, and what it has promised.
    pub fn report(
        &mut self,
        to: VoterId,
        book: &Book,
        (streaming, promise): (bool, Promise),
        now: Moment,
    ) {
        let request = ReportRequest {
            from: Some(wire::instance(self.me, &self.place)),
            streaming,
            promised: promise.term.0,
            lacks_data: promise.no_vote.is_some(),
        };
        self.begin(to, book, Kind::Report, now, move |mut peer| async move {
            peer.report(request).await.map(|_| ())
        });
    }

    /// Waits until what is under way has its answer, or has none in time.
    pub async fn finish(&mut self, limit: Duration) {
        let all = self.under_way.drain().map(|(_, (_, task))| task);
        let _ = timeout(limit, futures::future::join_all(all)).await;
    }

    fn begin<F, A>(&mut self, to: VoterId, book: &Book, kind: Kind, now: Moment, ask: F)
    where
        F: FnOnce(PeerClient<Channel>) -> A + Send + 'static,
        A: Future<Output = Result<(), tonic::Status>> + Send,
    {
        let Some(address) = book.place(&to).map(|place| place.address) else {
            return tracing::debug!(%to, ?kind, "nobody knows where this instance is");
        };
        if let Some((since, task)) = self.under_way.get(&(to, kind))
            && !task.is_finished()
        {
            if now.since(*since) < kind.patience() {
                return;
            }
            // A grant counts from its request, whenever the answer comes.
            if kind != Kind::Grant {
                task.abort();
            }
            self.channels.remove(&address);
        }
        let Some(channel) = self.channel(address) else {
            return;
        };
        let task = tokio::spawn(async move {
            match timeout(DEADLINE, ask(PeerClient::new(channel))).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::debug!(%to, ?kind, %address, %error, "another agent does not answer");
                }
                Err(_) => {
                    tracing::debug!(%to, ?kind, %address, "another agent did not answer in time");
                }
            }
        });
        self.under_way.insert((to, kind), (now, task));
    }

    fn channel(&mut self, address: SocketAddr) -> Option<Channel> {
        if let Some(channel) = self.channels.get(&address) {
            return Some(channel.clone());
        }
        match pgo_tls::grpc::channel(&address.to_string(), &self.identity, self.tls.clone()) {
            Ok(channel) => {
                self.channels.insert(address, channel.clone());
                Some(channel)
            }
            Err(error) => {
                tracing::warn!(%address, %error, "another agent cannot be asked");
                None
            }
        }
    }
}
