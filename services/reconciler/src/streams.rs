//! Streams from agents: one for each pod, for as long as that is there, called again whenever it ends.

use std::{
    collections::HashMap,
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use pgo_ids::{ClusterName, Namespace};
use pgo_objects::{AGENT_PORT, agent_identity};
use pgo_tls::TlsFiles;
use tokio::{task::AbortHandle, time::sleep};
use tonic::{Status, Streaming, transport::Channel};

use crate::waker::Waker;

/// First pause before an agent is called again: while a pod comes up, each tenth of a second counts.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// A pod whose agent is to be heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its cluster.
    pub cluster: ClusterName,
    /// What it is in the cluster: an instance's name, or that of the repository.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Its address.
    pub ip: String,
}

/// What agents of a kind tell.
pub trait Told: Clone + Debug + PartialEq + Send + 'static {
    /// The same on the wire.
    type State: Send + 'static;

    /// Begins to listen.
    fn watch(
        channel: Channel,
    ) -> impl Future<Output = Result<Streaming<Self::State>, Status>> + Send;

    /// Uid of the pod that a state is about, and what it says.
    fn read(state: Self::State) -> (String, Self);
}

/// What is heard of an agent.
#[derive(Clone, Debug, PartialEq)]
pub enum Said<T> {
    /// This, last.
    Facts(Box<T>),
    /// Nothing: it is called and does not answer.
    Nothing {
        /// When it was called first, or heard last.
        since: Timestamp,
    },
}

impl<T> Said<T> {
    fn nothing_until_now() -> Self {
        Self::Nothing {
            since: Timestamp::now(),
        }
    }
}

struct Heard<T> {
    pod: Pod,
    said: Said<T>,
    task: AbortHandle,
}

impl<T> Drop for Heard<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What is heard, by namespace and name.
type Everybody<T> = HashMap<(Namespace, String), Heard<T>>;

/// The agents of a kind, of all clusters; clones are handles of the same.
pub struct Streams<T> {
    files: Arc<TlsFiles>,
    waker: Waker,
    heard: Arc<Mutex<Everybody<T>>>,
}

impl<T> Clone for Streams<T> {
    fn clone(&self) -> Self {
        Self {
            files: self.files.clone(),
            waker: self.waker.clone(),
            heard: self.heard.clone(),
        }
    }
}

impl<T: Told> Streams<T> {
    /// Nobody is heard yet.
    pub fn new(files: Arc<TlsFiles>, waker: Waker) -> Self {
        Self {
            files,
            waker,
            heard: Arc::default(),
        }
    }

    /// Hears the agent of this pod from now on, and of no former pod of that name.
    pub fn hear(&self, pod: &Pod) {
        let key = (pod.namespace.clone(), pod.name.clone());
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.get(&key).is_some_and(|known| known.pod == *pod) {
            return;
        }
        let task = tokio::spawn(self.clone().listen(pod.clone())).abort_handle();
        heard.insert(
            key,
            Heard {
                pod: pod.clone(),
                said: Said::nothing_until_now(),
                task,
            },
        );
    }

    /// No longer hears pods of the cluster that are not `present`.
    pub fn forget_others(
        &self,
        namespace: &Namespace,
        cluster: &ClusterName,
        present: impl Fn(&str) -> bool,
    ) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.retain(|_, known| {
            known.pod.namespace != *namespace
                || known.pod.cluster != *cluster
                || present(&known.pod.name)
        });
    }

    /// What is heard of an agent, where it was asked for.
    pub fn said(&self, namespace: &Namespace, name: &str) -> Option<Said<T>> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard
            .get(&(namespace.clone(), name.to_owned()))
            .map(|known| known.said.clone())
    }

    /// A connection to an agent that is heard.
    ///
    /// # Errors
    /// It is not.
    pub fn connection(&self, namespace: &Namespace, name: &str) -> anyhow::Result<Channel> {
        let pod = {
            let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            let known = heard.get(&(namespace.clone(), name.to_owned()));
            known.map(|known| known.pod.clone())
        };
        let pod = pod.ok_or_else(|| anyhow::anyhow!("the agent of {name} is not heard"))?;
        self.channel(&pod)
    }

    fn channel(&self, pod: &Pod) -> anyhow::Result<Channel> {
        let identity = agent_identity(&pod.cluster, &pod.namespace);
        let address = format!("{}:{AGENT_PORT}", pod.ip);
        Ok(pgo_tls::grpc::channel(
            &address,
            &identity,
            self.files.clone(),
        )?)
    }

    async fn listen(self, pod: Pod) {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.listen_once(&pod).await {
                Ok(()) => pause = FIRST_PAUSE,
                Err(error) => {
                    tracing::debug!(
                        cluster = %pod.cluster, name = pod.name, %error,
                        "the agent cannot be reached; trying again"
                    );
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
            self.change(&pod, |said| match said {
                Said::Facts(_) => Said::nothing_until_now(),
                silent @ Said::Nothing { .. } => silent.clone(),
            });
            sleep(pause).await;
        }
    }

    /// Until the stream ends.
    async fn listen_once(&self, pod: &Pod) -> anyhow::Result<()> {
        let mut states = T::watch(self.channel(pod)?).await?;
        while let Some(state) = states.message().await? {
            let (uid, told) = T::read(state);
            if uid == pod.uid {
                self.change(pod, |_| Said::Facts(Box::new(told)));
            }
        }
        Ok(())
    }

    fn change(&self, pod: &Pod, next: impl FnOnce(&Said<T>) -> Said<T>) {
        let key = (pod.namespace.clone(), pod.name.clone());
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = heard.get_mut(&key).filter(|known| known.pod == *pod) else {
            return;
        };
        let next = next(&known.said);
        if known.said != next {
            known.said = next;
            drop(heard);
            self.waker
                .wake(pod.namespace.as_str(), pod.cluster.as_str());
        }
    }
}
