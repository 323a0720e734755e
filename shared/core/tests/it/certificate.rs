//! The agents' certificate: its renewals are told, and that one is late.

use jiff::SignedDuration;
use pgo_core::Fixture;
use pgo_events::Field;

use crate::world::{World, types};

fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * days)
}

fn told_of_certificates(world: &World) -> Vec<&'static str> {
    let all = types(&world.told());
    let about = |name: &&str| name.starts_with("Certificate");
    all.into_iter().filter(about).collect()
}

#[test]
fn the_first_certificate_is_no_news_and_a_renewal_is() {
    let mut world = World::new();
    world.settle();
    assert!(told_of_certificates(&world).is_empty());
    world.now += days(330);
    world.settle();
    assert_eq!(told_of_certificates(&world), ["CertificateRenewed"]);
    let told = world.told();
    let renewed = told.last().expect("an event");
    let secret = renewed.payload.text(Field::Certificate);
    assert_eq!(secret, Some("hippo-agent-tls"));
    let until = world.observed.certificate_until.expect("a certificate");
    let expires = renewed.payload.text(Field::Expires);
    assert_eq!(expires, Some(until.to_string().as_str()));
}

#[test]
fn a_renewal_that_fails_is_told_once_and_long_before_the_end() {
    let mut world = World::new();
    world.settle();
    world.now += days(365 - 17);
    world.observed.refused = Some("cannot write Secret hippo-agent-tls: forbidden".to_owned());
    for _ in 0..3 {
        world.reconcile_cut_off(0);
        world.now += days(1);
    }
    assert_eq!(told_of_certificates(&world), ["CertificateWarning"]);
    let told = world.told();
    let warning = told.last().expect("an event");
    let cause = warning.cause.as_deref().expect("a cause");
    assert!(cause.contains("forbidden"), "{cause}");
    world.observed.refused = None;
    world.settle();
    assert_eq!(
        told_of_certificates(&world),
        ["CertificateWarning", "CertificateRenewed"]
    );
}

#[test]
fn a_certificate_that_was_removed_and_made_again_is_a_renewal() {
    let mut world = World::new();
    world.settle();
    world.now += days(1);
    world.observed.certificate_until = None;
    world.observed.fixtures.remove(&Fixture::Certificate);
    world.settle();
    assert_eq!(told_of_certificates(&world), ["CertificateRenewed"]);
}

/// Otherwise it would be made anew with every look.
#[test]
fn a_certificate_that_ends_with_its_authority_is_not_renewed_until_there_is_a_new_one() {
    let mut world = World::new();
    world.settle();
    let until = world.observed.certificate_until;
    world.observed.authority_until = until;
    world.now += days(365 - 17);
    world.settle();
    assert_eq!(world.observed.certificate_until, until);
    assert_eq!(told_of_certificates(&world), ["CertificateWarning"]);
    let told = world.told();
    let cause = told.last().and_then(|warning| warning.cause.as_deref());
    let cause = cause.expect("a cause");
    assert!(cause.contains("Secret pgo-ca"), "{cause}");

    world.observed.authority_until = Some(world.now + days(3650));
    world.settle();
    assert_eq!(
        told_of_certificates(&world),
        ["CertificateWarning", "CertificateRenewed"]
    );
}
