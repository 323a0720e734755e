//! What the authority makes.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use jiff::{SignedDuration, Timestamp};
use pgo_tls::{Authority, LeafSpec, common_name};

const DAY: SignedDuration = SignedDuration::from_hours(24);

fn authority(life: SignedDuration) -> Authority {
    Authority::generate("test authority", Timestamp::now(), life).expect("an authority")
}

#[test]
fn a_leaf_names_what_was_asked_for_and_its_identity_first() {
    let spec = LeafSpec {
        identity: "hippo.pgouser1.agent.pgo".to_owned(),
        names: vec!["hippo".to_owned(), "hippo.pgouser1.svc".to_owned()],
        addresses: vec![
            "10.0.0.7".parse().expect("an address"),
            "::1".parse().expect("an address"),
        ],
        life: DAY,
    };
    let leaf = authority(DAY * 10)
        .issue(&spec, Timestamp::now())
        .expect("a leaf");
    let details = leaf.details().expect("details");
    assert_eq!(details.identity(), Some("hippo.pgouser1.agent.pgo"));
    assert_eq!(details.dns_names.len(), 3);
    assert!(spec.is_met_by(&details));
    let mut other = spec;
    other
        .names
        .push("hippo.pgouser1.svc.cluster.local".to_owned());
    assert!(!other.is_met_by(&details));
}

#[test]
fn a_cluster_whose_service_is_called_like_a_process_does_not_get_that_name() {
    let spec = LeafSpec {
        names: vec!["event.pgo".to_owned(), "event.pgo.svc".to_owned()],
        ..LeafSpec::of_identity("event.pgo.agent.pgo", DAY)
    };
    let leaf = authority(DAY)
        .issue(&spec, Timestamp::now())
        .expect("a leaf");
    let details = leaf.details().expect("details");
    assert_eq!(details.dns_names, ["event.pgo.agent.pgo", "event.pgo.svc"]);
    assert!(spec.is_met_by(&details));
}

#[test]
fn a_common_name_is_short_and_different_for_different_identities() {
    let short = "hippo.pgouser1.agent.pgo";
    assert_eq!(common_name(short), short);
    let cluster = "h".repeat(58);
    let [one, other] =
        ["pgouser1", "pgouser2"].map(|namespace| format!("{cluster}.{namespace}.agent.pgo"));
    assert!(common_name(&one).len() <= 64);
    assert_ne!(common_name(&one), common_name(&other));
    let leaf = authority(DAY).issue(&LeafSpec::of_identity(&one, DAY), Timestamp::now());
    let details = leaf.expect("a leaf").details().expect("details");
    assert_eq!(details.common_name, common_name(&one));
    assert_eq!(details.identity(), Some(one.as_str()));
}

#[test]
fn a_leaf_does_not_outlive_its_authority() {
    let authority = authority(DAY);
    let leaf = authority
        .issue(&LeafSpec::of_identity("x.pgo", DAY * 90), Timestamp::now())
        .expect("a leaf");
    let details = leaf.details().expect("details");
    assert_eq!(details.validity.not_after, authority.validity().not_after);
}

#[test]
fn an_authority_that_was_stored_goes_on() {
    let first = authority(DAY);
    let again =
        Authority::from_pem(first.certificate_pem(), &first.key_pem()).expect("the same authority");
    assert_eq!(again.certificate(), first.certificate());
    let spec = LeafSpec::of_identity("event.pgo", DAY);
    assert!(again.issue(&spec, Timestamp::now()).is_ok());
}

#[test]
fn a_leaf_or_a_foreign_key_makes_no_authority() {
    let one = authority(DAY);
    let leaf = one
        .issue(&LeafSpec::of_identity("event.pgo", DAY), Timestamp::now())
        .expect("a leaf");
    let error = Authority::from_pem(&leaf.certificate_pem, &leaf.key_pem).expect_err("a leaf");
    assert!(error.to_string().contains("not an authority's"), "{error}");
    let error = Authority::from_pem(one.certificate_pem(), &authority(DAY).key_pem())
        .expect_err("another's key");
    assert!(error.to_string().contains("another certificate"), "{error}");
}

#[test]
fn no_debug_form_shows_a_key() {
    let authority = authority(DAY);
    let leaf = authority
        .issue(&LeafSpec::of_identity("event.pgo", DAY), Timestamp::now())
        .expect("a leaf");
    assert!(!format!("{authority:?} {leaf:?}").contains("PRIVATE"));
}

#[test]
fn a_name_that_dns_does_not_allow_is_refused_with_its_identity() {
    let spec = LeafSpec::of_identity("é.pgo", DAY);
    let error = authority(DAY)
        .issue(&spec, Timestamp::now())
        .expect_err("no DNS name");
    assert!(error.to_string().contains("é.pgo"), "{error}");
}
