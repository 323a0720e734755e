//! A replica's life: follow until it is this one's turn, lead until it is not.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kube::Client;
use pgo_k8s::lease::{Election, LeaseSettings};
use pgo_proto::event::{
    CopyLettersRequest, CopyLettersResponse, CopyRequest, CopyResponse, FetchRequest,
    FetchResponse, event_replica_client::EventReplicaClient, event_replica_server::EventReplica,
};
use pgo_telemetry::{CancellationToken, Condition};
use pgo_tls::{TlsFiles, grpc};
use tokio::{
    sync::{broadcast, watch},
    time::{Instant, sleep, timeout},
};
use tonic::{Request, Response, Status, transport::Channel};

use super::{
    following::{self, Following, Other, StepError},
    leading::{self, CannotLead, Change, Leading, PATIENCE, Reach},
    register::{InKubernetes, Register, Roster},
};
use crate::{
    consume::Confirmation,
    dead::{self, Shelf, copy},
    identity::{Deed, require},
    log::Log,
    metrics::Metrics,
};

/// Name of the Lease.
pub const LEASE: &str = "pgo-event";

/// Identity of the other replica.
const OTHER: &str = "event.pgo";

/// How long a Lease is the holder's without a renewal, and the time between renewals. Shorter than those of other processes:
/// events are not confirmed from the end of a leader until another has taken over, which is this long, and twice half of the
/// time between renewals, in which the other one looks. Not shorter, so that an answer of the API server may be late by a
/// second. It is safe at any length: the register guards what is confirmed.
const LEASE_TIMES: (Duration, Duration) = (Duration::from_secs(3), Duration::from_millis(750));

/// Pause after a step that failed, and between a turn that could not be used and the next.
const PAUSE: Duration = Duration::from_millis(500);
const NEXT_TURN: Duration = Duration::from_secs(2);

/// How long the other replica may take for an answer; it waits a second for news.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Between looks at how many replicas have everything.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// Between attempts to get damaged records back, where no reader asks for them.
const MEND_EVERY: Duration = Duration::from_secs(30);

/// How long one attempt may take; what came until then is kept.
const MEND_WITHIN: Duration = Duration::from_secs(60);

/// How the replica that leads is reached by one that follows; none where that is not known.
pub type Way = watch::Sender<Option<Channel>>;

/// Who leads here: this process, in a leadership, or not.
pub type Turn = watch::Sender<Option<Arc<Leading>>>;

/// What a replica is and has.
#[derive(Clone)]
pub struct Replica {
    /// The log.
    pub log: Arc<Log>,
    /// The dead letters.
    pub shelf: Arc<Shelf>,
    /// Name of this process among its like.
    pub me: String,
    /// Where the other replica can ask it, host:port.
    pub address: String,
    /// Namespace of Lease and register.
    pub namespace: String,
    /// Kubernetes.
    pub client: Client,
    /// The leadership of this process, for those who answer the other replica.
    pub turn: Turn,
    /// How the one that leads is reached, while this one follows.
    pub way: Way,
    /// Told of what counts, while this one follows.
    pub confirmations: broadcast::Sender<Confirmation>,
    /// Certificates.
    pub files: Arc<TlsFiles>,
    /// Whether this replica has what readers want.
    pub condition: Condition,
    /// Who leads, and how many have everything.
    pub metrics: Metrics,
    /// After this time without the other replica, which had more, this one goes on without it.
    pub gone_after: Duration,
}

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica")
            .field("me", &self.me)
            .finish_non_exhaustive()
    }
}

impl Replica {
    /// Follows and leads until `shutdown`; `lead` is what is done while it leads, until its token is cancelled.
    ///
    /// # Errors
    /// What is done while it leads ended by itself, with an error.
    pub async fn run<F: Future<Output = anyhow::Result<()>>>(
        &self,
        lead: impl Fn(Arc<Leading>, CancellationToken) -> F,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        self.log.set_follows(true);
        self.log.set_mendable();
        let mending = tokio::spawn(mend(self.clone(), shutdown.clone()));
        let heard: Mutex<Instant> = Mutex::new(Instant::now());
        let mut ended = Ok(());
        while !shutdown.is_cancelled() && ended.is_ok() {
            self.let_the_first_begin(&heard, &shutdown).await;
            let over = CancellationToken::new();
            let mut settings = LeaseSettings::new(&self.namespace, LEASE, &self.me);
            (settings.duration, settings.renew) = LEASE_TIMES;
            let election = Election::new(self.client.clone(), settings);
            let mut leadership = election.leadership();
            let elected = tokio::spawn(election.run(over.clone().cancelled_owned()));

            let following = shutdown.child_token();
            let follow = self.follow(&heard, &following);
            let await_turn = async {
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    // The sender goes only when the election is over.
                    _ = leadership.wait_for(|now| now.is_leading()) => {}
                }
                following.cancel();
            };
            tokio::join!(follow, await_turn);
            if !shutdown.is_cancelled() {
                let gone = heard
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .elapsed()
                    >= self.gone_after;
                if let Some(leading) = self.take_over(gone).await {
                    let stop = shutdown.child_token();
                    let lost = async {
                        let _ = leadership.wait_for(|now| !now.is_leading()).await;
                        stop.cancel();
                        std::future::pending::<()>().await;
                    };
                    let counting = self.count(leading.clone());
                    let work = lead(leading.clone(), stop.clone());
                    let work = self.once_it_has_all(&leading, &stop, work);
                    tokio::select! {
                        done = work => ended = done,
                        () = lost => {}
                        () = counting => {}
                    }
                    self.step_down(&heard);
                }
            }
            over.cancel();
            // It ends with its token.
            let _ = elected.await;
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = sleep(NEXT_TURN) => {}
            }
        }
        mending.abort();
        ended
    }

    /// Waits while nobody has led yet and another replica is the one that begins.
    ///
    /// This one is ready meanwhile: it has all there is, and an update, which begins with the last replica, goes on to the first
    /// only once this one is ready. Callers are told to ask again, which the first one answers.
    async fn let_the_first_begin(&self, heard: &Mutex<Instant>, shutdown: &CancellationToken) {
        let register = InKubernetes::new(self.client.clone(), &self.namespace);
        while leading::is_for_the_first(&self.log, &self.me)
            && matches!(register.read().await, Ok(None))
        {
            self.condition.met();
            *heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = sleep(PAUSE) => {}
            }
        }
    }

    async fn take_over(&self, gone: bool) -> Option<Arc<Leading>> {
        let register = Arc::new(InKubernetes::new(self.client.clone(), &self.namespace));
        let me = (self.me.clone(), self.address.clone());
        match Leading::take_over(self.log.clone(), register, me, gone, PATIENCE).await {
            Ok(leading) => {
                let leading = Arc::new(leading);
                self.turn.send_replace(Some(leading.clone()));
                Some(leading)
            }
            Err(error) => {
                self.condition.not_met(error.to_string());
                let level = matches!(error, CannotLead::Behind(_));
                tracing::warn!(%error, waits_for_the_other = level, "it is this replica's turn, but it cannot lead");
                None
            }
        }
    }

    /// Gets from the other replica what this one may have lost, and works then.
    async fn once_it_has_all(
        &self,
        leading: &Leading,
        stop: &CancellationToken,
        work: impl Future<Output = anyhow::Result<()>>,
    ) -> anyhow::Result<()> {
        let gathered = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            gathered = leading.gather(&self.files) => gathered,
        };
        match gathered {
            Ok(()) => {
                self.condition.met();
                self.metrics.leads(true);
                work.await
            }
            Err(error) => {
                tracing::warn!(%error, "this replica cannot lead");
                Ok(())
            }
        }
    }

    /// Tells how many replicas have everything, for ever.
    async fn count(&self, leading: Arc<Leading>) {
        loop {
            self.metrics.in_sync(1 + leading.in_sync().len());
            sleep(COUNT_EVERY).await;
        }
    }

    fn step_down(&self, heard: &Mutex<Instant>) {
        // Whoever asks from now on is sent to the other one.
        self.log.set_follows(true);
        self.turn.send_replace(None);
        self.metrics.leads(false);
        *heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        tracing::info!("this replica does not lead the log any more");
    }

    /// Copies what the one in the roster has, until it is told to stop.
    async fn follow(&self, heard: &Mutex<Instant>, stop: &CancellationToken) {
        let following = Following {
            log: self.log.clone(),
            shelf: self.shelf.clone(),
            me: self.me.clone(),
            address: self.address.clone(),
        };
        let mut leader: Option<Leader> = None;
        while !stop.is_cancelled() {
            let asked = tokio::select! {
                () = stop.cancelled() => return,
                asked = self.ask(&following, &mut leader) => asked,
            };
            let done = match asked {
                Ok((leader, Answer::Letters(answer))) => {
                    self.take_letters(&following, leader, answer).await;
                    Ok(())
                }
                Ok((leader, Answer::Records(answer))) => {
                    let applied = following.apply(answer).await;
                    applied.map(|step| {
                        *heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
                        leader.letters.are_at(step.letters);
                        self.took(step);
                    })
                }
                Err(error) => Err(error),
            };
            if let Err(error) = done {
                leader = None;
                self.cannot_follow(&error);
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = sleep(PAUSE) => {}
                }
            }
        }
    }

    /// That the other one is away shows there and passes; a disk that is full here shows nowhere else.
    fn cannot_follow(&self, error: &StepError) {
        match error {
            StepError::Other(_) | StepError::Answer => tracing::debug!(%error, "cannot follow"),
            StepError::Log(_) | StepError::Letters(_) => {
                tracing::warn!(%error, "the copy cannot be written; it is tried again, and the other replica goes on alone");
                self.metrics.append_failed();
                self.log.set_stale(true);
                self.condition.not_met(error.to_string());
            }
        }
    }

    /// Asks for dead letters where they may differ, else for records. The log goes on without dead letters that cannot be had;
    /// this replica does not have everything then.
    async fn ask<'a>(
        &self,
        following: &Following,
        known: &'a mut Option<Leader>,
    ) -> Result<(&'a mut Leader, Answer), StepError> {
        let leader = match known {
            Some(leader) => leader,
            None => known.insert(self.find_leader().await?),
        };
        let late = |_| StepError::Other(Status::deadline_exceeded("no answer in 5 s"));
        if std::mem::take(&mut leader.letters.differ) {
            let asking = following.ask_letters(&leader.client, leader.roster.term);
            let asked = timeout(ANSWER_WITHIN, asking).await.map_err(late)?;
            match asked {
                Ok(answer) => return Ok((leader, Answer::Letters(answer))),
                Err(error) => {
                    leader.letters.here = 0;
                    self.cannot_follow(&error);
                }
            }
        }
        let asking = following.ask(&leader.client, leader.roster.term, leader.letters.here);
        let answer = timeout(ANSWER_WITHIN, asking).await.map_err(late)??;
        Ok((leader, Answer::Records(answer)))
    }

    async fn take_letters(
        &self,
        following: &Following,
        leader: &mut Leader,
        answer: CopyLettersResponse,
    ) {
        match following.apply_letters(answer).await {
            Ok(0) => leader.letters.differ = true,
            Ok(change) => leader.letters.here = change,
            Err(error) => {
                leader.letters.here = 0;
                self.cannot_follow(&error);
            }
        }
        dead::count(&self.shelf, &self.metrics).await;
    }

    async fn find_leader(&self) -> Result<Leader, StepError> {
        self.way.send_replace(None);
        let roster = self.roster().await?;
        if !roster.in_sync.contains(&self.me) {
            self.has_not_everything();
        }
        let channel = self.channel(&roster.address)?;
        self.way.send_replace(Some(channel.clone()));
        Ok(Leader {
            roster,
            client: EventReplicaClient::new(channel),
            letters: Copied {
                here: 0,
                differ: true,
            },
        })
    }

    /// That another replica leads.
    async fn roster(&self) -> Result<Roster, StepError> {
        let register = InKubernetes::new(self.client.clone(), &self.namespace);
        let found = register.read().await;
        let found = found.map_err(|error| Status::unavailable(error.to_string()))?;
        let (roster, _) = found.ok_or_else(|| Status::unavailable("nobody has led yet"))?;
        if roster.leader == self.me {
            Err(Status::unavailable("this replica led last"))?;
        }
        Ok(roster)
    }

    fn channel(&self, address: &str) -> Result<Channel, StepError> {
        let channel = grpc::channel(address, OTHER, self.files.clone());
        Ok(channel.map_err(|error| Status::unavailable(error.to_string()))?)
    }

    /// Readers are sent to the one that leads.
    fn has_not_everything(&self) {
        self.log.set_stale(true);
        self.condition
            .not_met("it has not everything yet that the other replica has");
    }

    fn took(&self, step: following::Step) {
        if step.in_sync {
            self.log.set_stale(false);
            self.condition.met();
        } else {
            self.has_not_everything();
        }
        for key in step.committed {
            // Without listeners there is nobody to tell.
            let _ = self.confirmations.send((key.stream, key.seq));
        }
    }
}

impl Reach for Arc<TlsFiles> {
    fn at(&self, address: &str) -> Option<Box<dyn Other>> {
        let channel = grpc::channel(address, OTHER, self.clone()).ok()?;
        Some(Box::new(EventReplicaClient::new(channel)))
    }
}

/// The replica that is followed.
struct Leader {
    roster: Roster,
    client: EventReplicaClient<Channel>,
    letters: Copied,
}

/// How far the dead letters here are those of the one that leads.
struct Copied {
    /// Up to this change; 0: it is not known.
    here: Change,
    /// Whether they are to be compared.
    differ: bool,
}

impl Copied {
    /// The one that leads has made this change last.
    fn are_at(&mut self, newest: Change) {
        self.differ |= self.here < newest;
    }
}

/// What the one that leads said.
enum Answer {
    Records(CopyResponse),
    Letters(CopyLettersResponse),
}

/// Gets back from the other replica what is damaged here.
async fn mend(replica: Replica, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = sleep(MEND_EVERY) => {}
            () = replica.log.mending_wanted() => {}
        }
        if replica.log.damaged() > 0 && timeout(MEND_WITHIN, mend_now(&replica)).await.is_err() {
            tracing::warn!("the other replica does not give damaged records back in time");
        }
        replica.log.mending_tried();
    }
}

/// What is copied meanwhile, and who is sent to the one that leads, does not notice it.
async fn mend_now(replica: &Replica) {
    let leading = replica.turn.borrow().clone();
    let address = match leading {
        Some(leading) => leading.other(),
        None => replica.roster().await.ok().map(|roster| roster.address),
    };
    let channel = address.and_then(|address| replica.channel(&address).ok());
    let Some(other) = channel.map(EventReplicaClient::new) else {
        return;
    };
    match following::mend(&replica.log, &other).await {
        Ok(0) => {}
        Ok(records) => tracing::info!(
            records,
            "damaged records were got back from the other replica"
        ),
        Err(error) => {
            tracing::warn!(%error, "damaged records cannot be got back from the other replica");
        }
    }
}

/// What the other replica may ask.
#[derive(Debug)]
pub struct ReplicaService {
    /// The log.
    pub log: Arc<Log>,
    /// The dead letters.
    pub shelf: Arc<Shelf>,
    /// The leadership of this process.
    pub turn: watch::Receiver<Option<Arc<Leading>>>,
}

impl ReplicaService {
    fn leading(&self) -> Result<Arc<Leading>, Status> {
        let leading = self.turn.borrow().clone();
        leading.ok_or_else(does_not_lead)
    }
}

fn does_not_lead() -> Status {
    Status::failed_precondition("this replica does not lead")
}

#[tonic::async_trait]
impl EventReplica for ReplicaService {
    async fn copy(&self, request: Request<CopyRequest>) -> Result<Response<CopyResponse>, Status> {
        require(&request, Deed::Copy)?;
        let answer = self.leading()?.answer(request.into_inner()).await?;
        Ok(Response::new(answer))
    }

    async fn copy_letters(
        &self,
        request: Request<CopyLettersRequest>,
    ) -> Result<Response<CopyLettersResponse>, Status> {
        require(&request, Deed::Copy)?;
        let (leading, request) = (self.leading()?, request.into_inner());
        if leading.term() != request.term {
            return Err(does_not_lead());
        }
        // Before the letters are read: what changes meanwhile is compared again.
        let (change, shelf) = (leading.letters(), self.shelf.clone());
        let answering = move || copy::answer(&*shelf.letters()?, request, change);
        let answer = tokio::task::spawn_blocking(answering).await;
        let answer = answer.map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(
            answer.map_err(|error| Status::internal(error.to_string()))?,
        ))
    }

    async fn fetch(
        &self,
        request: Request<FetchRequest>,
    ) -> Result<Response<FetchResponse>, Status> {
        require(&request, Deed::Copy)?;
        let (log, request) = (self.log.clone(), request.into_inner());
        let read = tokio::task::spawn_blocking(move || following::fetch(&log, request)).await;
        let read = read.map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(
            read.map_err(|error| Status::internal(error.to_string()))?,
        ))
    }
}
