//! Lease and EndpointSlice in memory, with Kubernetes' compare-and-swap.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use k8s_openapi::{
    api::{
        coordination::v1::{Lease, LeaseSpec},
        core::v1::ObjectReference,
        discovery::v1::{Endpoint, EndpointSlice},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use pgo_agent::{
    ha::lease::{AUTOFAIL, FALLBACK, LEASE, PREFERRED, SYNCHRONOUS, TAKE_UP, TERM},
    store::{Store, StoreError, Written},
};

/// Uid of the Lease.
pub const LEASE_UID: &str = "uid-of-the-lease";

/// The objects of a cluster as the reconciler makes them. Clones are handles of the same.
#[derive(Clone, Debug)]
pub struct Fake(Arc<Mutex<Objects>>);

#[derive(Debug)]
struct Objects {
    lease: Lease,
    slice: EndpointSlice,
    version: u64,
    /// Whether the API server is away.
    away: bool,
    /// Whether the EndpointSlice is not there.
    without_slice: bool,
}

impl Fake {
    /// A Lease that names `holder` in term 1, and an empty EndpointSlice.
    pub fn new(holder: &str) -> Self {
        let metadata = |name: &str| ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some("pgouser1".to_owned()),
            resource_version: Some("0".to_owned()),
            ..ObjectMeta::default()
        };
        let lease = Lease {
            metadata: ObjectMeta {
                annotations: Some(BTreeMap::from([
                    (TERM.to_owned(), "1".to_owned()),
                    (AUTOFAIL.to_owned(), "true".to_owned()),
                ])),
                uid: Some(LEASE_UID.to_owned()),
                ..metadata("hippo")
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.to_owned()),
                ..LeaseSpec::default()
            }),
        };
        let slice = EndpointSlice {
            metadata: metadata("hippo-primary"),
            address_type: "IPv4".to_owned(),
            ..EndpointSlice::default()
        };
        Self(Arc::new(Mutex::new(Objects {
            lease,
            slice,
            version: 0,
            away: false,
            without_slice: false,
        })))
    }

    fn with<T>(&self, work: impl FnOnce(&mut Objects) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Names another holder.
    pub fn set_holder(&self, holder: &str) {
        self.with(|objects| {
            objects.version += 1;
            let version = objects.version.to_string();
            objects.lease.metadata.resource_version = Some(version);
            let spec = objects.lease.spec.as_mut().expect("a spec");
            spec.holder_identity = Some(holder.to_owned());
        });
    }

    /// Says whether instances may take over by themselves.
    pub fn set_autofail(&self, autofail: bool) {
        self.annotate(AUTOFAIL, &autofail.to_string());
    }

    /// Says for how many replicas commits are to wait.
    pub fn set_synchronous(&self, k: usize) {
        self.annotate(SYNCHRONOUS, &k.to_string());
    }

    /// Says whether commits go on without those that they wait for.
    pub fn set_fallback(&self, fallback: bool) {
        self.annotate(FALLBACK, &fallback.to_string());
    }

    /// Says which instance becomes primary rather than others that are as far.
    pub fn set_preferred(&self, instance: &str) {
        self.annotate(PREFERRED, instance);
    }

    fn annotate(&self, name: &str, value: &str) {
        self.with(|objects| {
            objects.version += 1;
            let metadata = &mut objects.lease.metadata;
            metadata.resource_version = Some(objects.version.to_string());
            let annotations = metadata.annotations.get_or_insert_default();
            annotations.insert(name.to_owned(), value.to_owned());
        });
    }

    /// Loses the Lease, which is made anew, naming `holder` in `term`.
    pub fn lose_lease(&self, holder: &str, term: u64) {
        self.with(|objects| {
            let annotations = objects.lease.metadata.annotations.get_or_insert_default();
            annotations
                .retain(|name, _| [AUTOFAIL, SYNCHRONOUS, FALLBACK].contains(&name.as_str()));
        });
        self.annotate(TERM, &term.to_string());
        self.set_holder(holder);
    }

    /// Gives a Lease that was made anew to an instance.
    pub fn give_lease(&self, instance: &str) {
        self.annotate(TAKE_UP, instance);
    }

    /// Lets the API server vanish or come back.
    pub fn set_away(&self, away: bool) {
        self.with(|objects| objects.away = away);
    }

    /// Removes the EndpointSlice, or makes it again.
    pub fn set_without_slice(&self, without: bool) {
        self.with(|objects| objects.without_slice = without);
    }

    /// Has the Service lead to another pod, whose instance was primary in `term` of the Lease with this uid.
    pub fn led_to(&self, pod: &str, (lease, term): (&str, u64)) {
        self.with(|objects| {
            objects.version += 1;
            let slice = &mut objects.slice;
            slice.metadata.resource_version = Some(objects.version.to_string());
            slice.metadata.annotations = Some(BTreeMap::from([
                (TERM.to_owned(), term.to_string()),
                (LEASE.to_owned(), lease.to_owned()),
            ]));
            slice.endpoints = vec![Endpoint {
                addresses: vec!["127.0.0.2".to_owned()],
                target_ref: Some(ObjectReference {
                    name: Some(pod.to_owned()),
                    ..ObjectReference::default()
                }),
                ..Endpoint::default()
            }];
        });
    }

    /// The Lease now.
    pub fn lease_now(&self) -> Lease {
        self.with(|objects| objects.lease.clone())
    }

    /// The EndpointSlice now.
    pub fn slice_now(&self) -> EndpointSlice {
        self.with(|objects| objects.slice.clone())
    }

    /// Where the Service leads.
    pub fn addresses(&self) -> Vec<String> {
        let endpoints = self.slice_now().endpoints;
        endpoints
            .into_iter()
            .flat_map(|endpoint| endpoint.addresses)
            .collect()
    }

    /// Writes the Lease if `resourceVersion` is the present one.
    pub fn swap_lease(&self, lease: &Lease) -> Written<Lease> {
        self.with(|objects| {
            let version = &mut objects.version;
            swap(
                &mut objects.lease,
                lease,
                |lease| &mut lease.metadata,
                version,
            )
        })
    }

    /// Writes the EndpointSlice if `resourceVersion` is the present one.
    pub fn swap_slice(&self, slice: &EndpointSlice) -> Written<EndpointSlice> {
        self.with(|objects| {
            let version = &mut objects.version;
            swap(
                &mut objects.slice,
                slice,
                |slice| &mut slice.metadata,
                version,
            )
        })
    }

    fn reachable(&self, action: &'static str) -> Result<(), StoreError> {
        if self.with(|objects| objects.away) {
            return Err(StoreError::Deadline {
                action,
                object: "anything".to_owned(),
            });
        }
        Ok(())
    }
}

fn swap<T: Clone>(
    present: &mut T,
    wanted: &T,
    metadata: impl Fn(&mut T) -> &mut ObjectMeta,
    version: &mut u64,
) -> Written<T> {
    let mut wanted = wanted.clone();
    if metadata(&mut wanted).resource_version != metadata(present).resource_version {
        return Written::Conflict;
    }
    *version += 1;
    metadata(&mut wanted).resource_version = Some(version.to_string());
    *present = wanted.clone();
    Written::Done(wanted)
}

impl Store for Fake {
    async fn lease(&self) -> Result<Option<Lease>, StoreError> {
        self.reachable("read")?;
        Ok(Some(self.lease_now()))
    }

    async fn lease_as_cached(&self) -> Result<Option<Lease>, StoreError> {
        self.lease().await
    }

    async fn write_lease(&self, lease: &Lease) -> Result<Written<Lease>, StoreError> {
        self.reachable("write")?;
        Ok(self.swap_lease(lease))
    }

    async fn slice(&self) -> Result<Option<EndpointSlice>, StoreError> {
        self.reachable("read")?;
        let without = self.with(|objects| objects.without_slice);
        Ok((!without).then(|| self.slice_now()))
    }

    async fn write_slice(
        &self,
        slice: &EndpointSlice,
    ) -> Result<Written<EndpointSlice>, StoreError> {
        self.reachable("write")?;
        Ok(self.swap_slice(slice))
    }
}
