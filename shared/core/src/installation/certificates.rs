//! The certificates of PGO's own services: that they end is told 30 days, 7 days and a day before, each once, and that one
//! was renewed.
//!
//! Who renews them is the installer, not PGO: so all that can be done here is to say it early enough, and to whom it concerns.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use pgo_events::{EventType, Field};
use serde::{Deserialize, Serialize};

use crate::{
    Condition, ConditionStatus, Journal,
    journal::{Notice, Subject},
    status::set_condition,
};

/// Name of the condition that says whether a certificate of PGO's own services ends soon.
pub const RESULT_CERTIFICATES: &str = "CertificateWarning";

/// So many days before its end a certificate is told of, the latest first. A month leaves time for whoever plans changes, a
/// week for who was away, a day for who is on call.
const WARN_DAYS: [u8; 3] = [1, 7, 30];

/// How a certificate is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The installer makes a new one when the old one is in the last third of its life.
    ByInstaller,
    /// The installer makes a new one only where there is none: others have to be told of it.
    ByRemoval,
}

/// A certificate of the installation, as its Secret has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Name of the Secret.
    pub secret: String,
    /// End of its validity.
    pub until: Timestamp,
    /// How a later end is had.
    pub renewal: Renewal,
}

/// What was told of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToldCertificate {
    /// End of its validity.
    pub until: Timestamp,
    /// The last warning of this end: of so many days before it. None where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warned_days: Option<u8>,
}

impl CertificateFacts {
    /// The warning that is due: so many days before the end.
    fn due(&self, now: Timestamp) -> Option<u8> {
        let left = self.until.duration_since(now);
        let within = |days: &u8| left <= SignedDuration::from_hours(24 * i64::from(*days));
        WARN_DAYS.into_iter().find(within)
    }

    fn end(&self, now: Timestamp) -> String {
        let verb = if self.until <= now { "ended" } else { "ends" };
        format!("Secret {} {verb} {}", self.secret, self.until)
    }

    fn remedy(&self) -> &'static str {
        match self.renewal {
            Renewal::ByInstaller => "run the installer again, which renews it",
            Renewal::ByRemoval => {
                "delete that Secret and run the installer again, which makes a new one"
            }
        }
    }
}

/// Tells what changed of those that are there, and gives what is remembered; also of those that are gone meanwhile, so that
/// one that is made anew counts as renewed.
pub(super) fn tell(
    journal: &mut Journal,
    subject: Subject<'_>,
    (known, found): (&BTreeMap<String, ToldCertificate>, &[CertificateFacts]),
    now: Timestamp,
) -> BTreeMap<String, ToldCertificate> {
    let mut remembered = known.clone();
    for facts in found {
        let told = known.get(&facts.secret);
        let mut notice = |event_type, cause| {
            let notice = Notice {
                event_type,
                about: format!("certificate {} until {}", facts.secret, facts.until),
                time: None,
                cause,
                since: None,
                details: vec![
                    (Field::Certificate, facts.secret.clone().into()),
                    (Field::Expires, facts.until.to_string().into()),
                ],
            };
            journal.tell(subject, notice, now);
        };
        if told.is_some_and(|told| told.until < facts.until) {
            let cause = format!("valid until {}", facts.until);
            notice(EventType::CertificateRenewed, cause);
        }
        let same = told.filter(|told| told.until == facts.until);
        let warned_days = same.and_then(|told| told.warned_days);
        let due = facts.due(now);
        let new = due.is_some_and(|days| warned_days.is_none_or(|warned| days < warned));
        if new {
            let cause = format!("{}: {}", facts.end(now), facts.remedy());
            notice(EventType::CertificateWarning, cause);
        }
        let told = ToldCertificate {
            until: facts.until,
            warned_days: if new { due } else { warned_days },
        };
        remembered.insert(facts.secret.clone(), told);
    }
    remembered
}

/// The condition that says which of them end soon.
pub(super) fn describe(
    conditions: &mut Vec<Condition>,
    found: &[CertificateFacts],
    generation: i64,
    now: Timestamp,
) {
    let mut ending: Vec<&CertificateFacts> =
        found.iter().filter(|f| f.due(now).is_some()).collect();
    ending.sort_by_key(|facts| facts.until);
    let text = |facts: &&CertificateFacts| format!("{}: {}", facts.end(now), facts.remedy());
    let message: Vec<String> = ending.iter().map(text).collect();
    let (status, reason, message) = if message.is_empty() {
        let good = "no certificate of PGO's services ends soon".to_owned();
        (ConditionStatus::False, "NoneEnds", good)
    } else {
        (ConditionStatus::True, "EndsSoon", message.join("; "))
    };
    let condition = (RESULT_CERTIFICATES, status);
    set_condition(conditions, condition, reason, &message, (generation, now));
}
