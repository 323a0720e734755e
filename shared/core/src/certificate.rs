//! The agents' certificate: told when it was renewed, and when that is late.

use jiff::{SignedDuration, Timestamp};
use pgo_events::{EventType, Field};
use serde::{Deserialize, Serialize};

use crate::{
    Journal, Observed,
    journal::{Notice, Subject},
    plan::RENEW_BEFORE,
};

/// A renewal is late when half of the time for it is over.
fn is_late(until: Timestamp, now: Timestamp) -> bool {
    let left = until.duration_since(now);
    left < SignedDuration::from_secs(RENEW_BEFORE.as_secs() / 2)
}

/// What was told of the certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// End of its validity.
    pub until: Timestamp,
    /// Whether it was told that its renewal is late.
    #[serde(default)]
    pub late: bool,
}

/// Tells what changed, and gives what is remembered.
pub(crate) fn tell(
    journal: &mut Journal,
    subject: Subject<'_>,
    (known, observed): (Option<&Certificate>, &Observed),
    now: Timestamp,
) -> Option<Certificate> {
    let Some(until) = observed.certificate_until else {
        return known.cloned();
    };
    let mut notice = |event_type, cause| {
        let name = subject.cluster.map(ToString::to_string).unwrap_or_default();
        let notice = Notice {
            event_type,
            about: format!("certificate until {until}"),
            time: None,
            cause,
            since: None,
            details: vec![
                (Field::Certificate, format!("{name}-agent-tls").into()),
                (Field::Expires, until.to_string().into()),
            ],
        };
        journal.tell(subject, notice, now);
    };
    let renewed = known.is_some_and(|known| known.until < until);
    if renewed {
        let cause = format!("valid until {until}");
        notice(EventType::CertificateRenewed, cause);
    }
    let was_late = known.is_some_and(|known| known.late && known.until == until);
    let late = is_late(until, now);
    if late && !was_late {
        let of_authority = observed.authority_until.is_some_and(|end| end <= until);
        let why = match &observed.refused {
            _ if of_authority => {
                "so does the authority in Secret pgo-ca, which it comes from; delete that Secret and run the installer \
                 again to get a new one"
            }
            Some(refused) => refused,
            None => "it was not renewed in time; see the log of the reconciler",
        };
        notice(
            EventType::CertificateWarning,
            format!("ends {until}: {why}"),
        );
    }
    Some(Certificate { until, late })
}
