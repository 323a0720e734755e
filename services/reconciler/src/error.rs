//! Why a reconcile did not get to its end; it is tried again.

use pgo_ids::{ClusterName, OperationId};

/// Why a reconcile did not get to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Kubernetes refused or failed.
    #[error("cannot {what}: {}", said(source))]
    Kubernetes {
        /// What was tried, on what.
        what: String,
        /// Its answer.
        source: Box<kube::Error>,
    },
    /// Kubernetes did not answer.
    #[error("the API server did not answer in time when asked to {0}")]
    Deadline(&'static str),
    /// An event has no JSON.
    #[error("cannot write an event as JSON: {0}")]
    Event(#[from] serde_json::Error),
    /// An event in a page is one of a later version.
    #[error(
        "cannot read all events of PgEventPage {page}: {source}; run the version of PGO that wrote it, or delete the page to give them up"
    )]
    UnreadablePage {
        /// Its name.
        page: String,
        /// What is wrong with the first that cannot be read.
        source: pgo_events::DecodeError,
    },
    /// A name is taken by an object that is not the cluster's.
    #[error(
        "cannot make {on}: one of that name is there and {whose}; remove it, or name the cluster or its user differently"
    )]
    Foreign {
        /// Kind and name.
        on: String,
        /// Whose it is, as a clause.
        whose: String,
    },
    /// A name is still taken by an object that is about to be gone.
    #[error("cannot make {0} yet: the former one of that name is being removed")]
    Leaving(String),
    /// A Secret that a password is to be copied from has gone since it was looked for.
    #[error("cannot copy the password in Secret {0}: it is not there any more, or has none")]
    NoPassword(String),
    /// There is no key for the bucket of a cluster.
    #[error(
        "cannot make Secret {secret}, with the key of s3: {why}; put it into Secret {from} of namespace {namespace}, or make \
         {secret} yourself"
    )]
    NoBucketKey {
        /// The Secret that the repository reads.
        secret: String,
        /// The one that it is copied from.
        from: &'static str,
        /// The namespace of that.
        namespace: String,
        /// What is missing.
        why: String,
    },
    /// A request to a cluster that goes has not been taken up.
    #[error("cannot let {0} go yet: operation {1} was asked for a moment ago, which is told first")]
    Unheard(ClusterName, OperationId),
    /// An agent did not do what it was asked to.
    #[error("cannot {what}: {why}")]
    Agent {
        /// What it was asked to do.
        what: String,
        /// The cause.
        why: String,
    },
    /// No certificate could be made.
    #[error("cannot make a certificate for the agents: {0}")]
    Certificate(#[from] pgo_tls::Error),
}

/// What Kubernetes says, in its own words where it answered.
fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        kube::Error::Api(status) => format!("Kubernetes answers {} {}", status.code, status.reason),
        other => other.to_string(),
    }
}

impl Error {
    /// A stable word for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Kubernetes { .. } if self.is_conflict() => "conflict",
            Self::Kubernetes { .. } => "kubernetes",
            Self::Deadline(_) => "deadline",
            Self::Event(_) => "event",
            Self::UnreadablePage { .. } => "unreadable_page",
            Self::Foreign { .. } => "foreign",
            Self::Leaving(_) => "leaving",
            Self::NoPassword(_) => "no_password",
            Self::NoBucketKey { .. } => "no_bucket_key",
            Self::Unheard(..) => "unheard",
            Self::Agent { .. } => "agent",
            Self::Certificate(_) => "certificate",
        }
    }

    /// Whether another write was first.
    pub fn is_conflict(&self) -> bool {
        self.code() == Some(409)
    }

    /// Whether what was asked for is not there.
    pub fn is_missing(&self) -> bool {
        self.code() == Some(404)
    }

    /// Whether the same again would be refused again: the request itself is what Kubernetes does not want, its name is taken, or
    /// somebody has to give a key first.
    pub fn is_refusal(&self) -> bool {
        let is_the_users = matches!(self, Self::Foreign { .. } | Self::NoBucketKey { .. });
        is_the_users || matches!(self.code(), Some(400 | 403 | 422))
    }

    fn code(&self) -> Option<u16> {
        let Self::Kubernetes { source, .. } = self else {
            return None;
        };
        match source.as_ref() {
            kube::Error::Api(status) => Some(status.code),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubernetes_refuses_is_told_in_its_own_words() {
        let status: kube::core::Status = serde_json::from_value(serde_json::json!({
            "status": "Failure", "code": 422, "reason": "Invalid",
            "message": "Secret \"hippo-a_b-secret\" is invalid: metadata.name: Invalid value",
        }))
        .expect("a status");
        let error = Error::Kubernetes {
            what: "make Secret hippo-a_b-secret".to_owned(),
            source: Box::new(kube::Error::Api(Box::new(status))),
        };
        assert_eq!(
            error.to_string(),
            "cannot make Secret hippo-a_b-secret: Secret \"hippo-a_b-secret\" is invalid: metadata.name: Invalid value"
        );
    }
}
