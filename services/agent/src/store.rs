//! The two objects in Kubernetes that an agent reads and writes.

use std::time::Duration;

use k8s_openapi::api::{coordination::v1::Lease, discovery::v1::EndpointSlice};
use kube::{
    Api, Client,
    api::{GetParams, PostParams},
};
use pgo_ids::{ClusterName, Namespace};

/// How long one request may take. An answer comes in milliseconds; without one the API server is away.
const DEADLINE: Duration = Duration::from_secs(5);

/// What became of a write.
#[derive(Clone, Debug, PartialEq)]
pub enum Written<T> {
    /// The object as it is now.
    Done(T),
    /// Somebody else wrote since it was read.
    Conflict,
}

/// Why an object could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The API server refuses or cannot be reached.
    #[error("cannot {action} {object} in Kubernetes: {cause}")]
    Api {
        /// What was tried.
        action: &'static str,
        /// Kind and name.
        object: String,
        /// The cause.
        cause: String,
    },
    /// No answer in time: whether a write was done is not known.
    #[error("cannot {action} {object} in Kubernetes: no answer within {} s", DEADLINE.as_secs())]
    Deadline {
        /// What was tried.
        action: &'static str,
        /// Kind and name.
        object: String,
    },
}

/// Where Lease and EndpointSlice of the cluster are. Writes are compare-and-swap on `resourceVersion`.
pub trait Store: Send + Sync + 'static {
    /// The Lease, if there is one.
    fn lease(&self) -> impl Future<Output = Result<Option<Lease>, StoreError>> + Send;

    /// The Lease, which must be there, as the API server has it in memory: not the newest, perhaps. Nothing that the
    /// protocol decides may rest on it.
    fn lease_as_cached(&self) -> impl Future<Output = Result<Option<Lease>, StoreError>> + Send;

    /// Writes the Lease, if it is still as it was read.
    fn write_lease(
        &self,
        lease: &Lease,
    ) -> impl Future<Output = Result<Written<Lease>, StoreError>> + Send;

    /// The EndpointSlice, if there is one.
    fn slice(&self) -> impl Future<Output = Result<Option<EndpointSlice>, StoreError>> + Send;

    /// Writes the EndpointSlice, if it is still as it was read.
    fn write_slice(
        &self,
        slice: &EndpointSlice,
    ) -> impl Future<Output = Result<Written<EndpointSlice>, StoreError>> + Send;
}

/// The objects in Kubernetes.
#[derive(Clone)]
pub struct Kubernetes {
    leases: Api<Lease>,
    slices: Api<EndpointSlice>,
    lease: String,
    slice: String,
}

impl Kubernetes {
    /// The Lease and the EndpointSlice of `cluster`.
    pub fn new(client: Client, namespace: &Namespace, cluster: &ClusterName) -> Self {
        Self {
            leases: Api::namespaced(client.clone(), namespace.as_str()),
            slices: Api::namespaced(client, namespace.as_str()),
            lease: cluster.to_string(),
            slice: format!("{cluster}-primary"),
        }
    }
}

impl Store for Kubernetes {
    async fn lease(&self) -> Result<Option<Lease>, StoreError> {
        let object = || format!("Lease {}", self.lease);
        let found = within("read", object, self.leases.get_opt(&self.lease)).await?;
        Ok(found.flatten())
    }

    async fn lease_as_cached(&self) -> Result<Option<Lease>, StoreError> {
        let object = || format!("Lease {}", self.lease);
        let any = GetParams::any();
        within("read", object, self.leases.get_with(&self.lease, &any)).await
    }

    async fn write_lease(&self, lease: &Lease) -> Result<Written<Lease>, StoreError> {
        let object = || format!("Lease {}", self.lease);
        let params = PostParams::default();
        let write = self.leases.replace(&self.lease, &params, lease);
        within("write", object, write).await.map(written)
    }

    async fn slice(&self) -> Result<Option<EndpointSlice>, StoreError> {
        let object = || format!("EndpointSlice {}", self.slice);
        let found = within("read", object, self.slices.get_opt(&self.slice)).await?;
        Ok(found.flatten())
    }

    async fn write_slice(
        &self,
        slice: &EndpointSlice,
    ) -> Result<Written<EndpointSlice>, StoreError> {
        let object = || format!("EndpointSlice {}", self.slice);
        let params = PostParams::default();
        let write = self.slices.replace(&self.slice, &params, slice);
        within("write", object, write).await.map(written)
    }
}

fn written<T>(object: Option<T>) -> Written<T> {
    object.map_or(Written::Conflict, Written::Done)
}

/// The answer of a request; nothing where it conflicts with what somebody else wrote.
async fn within<T>(
    action: &'static str,
    object: impl Fn() -> String,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<Option<T>, StoreError> {
    match tokio::time::timeout(DEADLINE, request).await {
        Ok(Ok(answer)) => Ok(Some(answer)),
        Ok(Err(kube::Error::Api(status))) if status.is_conflict() => Ok(None),
        Ok(Err(error)) => Err(StoreError::Api {
            action,
            object: object(),
            cause: whole(&error),
        }),
        Err(_) => Err(StoreError::Deadline {
            action,
            object: object(),
        }),
    }
}

/// An error with all its causes. kube's first says little where no connection could be made.
fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}
