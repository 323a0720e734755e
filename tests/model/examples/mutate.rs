//! Mutations.
use pgo_ha::Rules;
use pgo_model_tests::{clock::*, explore};
fn main() {
    let b = |terms, crashes, changes, releases, voters| Bounds { terms, crashes, changes, releases, delays: false, voters, k: 0, lost: None };
    let r = Rules::PROTOCOL;
    let only = std::env::args().nth(1);
    let cases: Vec<(&str, Rules, Bounds)> = vec![
        ("timeout", Rules { timeout_is_no_answer: false, ..r }, b(2, 0, 0, 0, 1)),
        ("stored", Rules { term_is_stored: false, ..r }, b(2, 1, 0, 0, 2)),
        ("lower", Rules { lower_terms_are_refused: false, ..r }, b(2, 0, 0, 0, 1)),
        ("grantreq", Rules { grant_counts_from_request: false, ..r }, b(2, 0, 0, 0, 1)),
        ("drift", Rules { granter_allows_for_drift: false, ..r }, b(2, 0, 0, 0, 1)),
        ("restart", Rules { restarted_granter_waits: false, ..r }, b(2, 1, 0, 0, 2)),
        ("startwrites", Rules { start_writes_lease: false, ..r }, b(2, 1, 0, 1, 2)),
        ("startwrites1", Rules { start_writes_lease: false, ..r }, b(2, 1, 0, 1, 1)),
        ("writereq", Rules { write_counts_from_request: false, ..r }, b(2, 0, 0, 0, 1)),
        ("old", Rules { old_membership_holds: false, ..r }, b(2, 0, 1, 0, 1)),
        ("new", Rules { new_membership_holds: false, ..r }, b(2, 0, 1, 0, 1)),
        ("votes", Rules { promotion_needs_votes: false, ..r }, b(2, 0, 0, 0, 2)),
        ("wait", Rules { promotion_needs_wait: false, ..r }, b(2, 0, 0, 0, 2)),
        ("waitreceipt", Rules { wait_counts_from_receipt: false, ..r }, b(2, 0, 0, 0, 1)),
        ("termrises", Rules { term_rises: false, ..r }, b(2, 0, 0, 0, 2)),
        ("voters", Rules { voters_of_that_version: false, ..r }, b(2, 0, 1, 0, 1)),
        ("votegrant", Rules { vote_waits_for_grant: false, ..r }, b(2, 0, 0, 0, 2)),
        ("votestores", Rules { vote_stores_term: false, ..r }, b(2, 0, 0, 0, 2)),
        ("leaves", Rules { promoted_leaves_voters: false, ..r }, b(3, 0, 0, 0, 1)),
        ("joins", Rules { former_primary_joins_voters: false, ..r }, b(3, 0, 0, 0, 1)),
        ("forgets", Rules { releaser_forgets: false, ..r }, b(2, 0, 0, 1, 1)),
        ("stops", Rules { releaser_stops_first: false, ..r }, b(2, 0, 0, 1, 1)),
        ("names", Rules { release_names_version: false, ..r }, b(2, 0, 0, 1, 1)),
        ("again", Rules { releaser_writes_again: false, ..r }, b(2, 0, 0, 1, 2)),
        ("again1", Rules { releaser_writes_again: false, ..r }, b(2, 0, 0, 1, 1)),
    ];
    for (name, rules, bounds) in cases {
        if only.as_ref().is_some_and(|o| o != name) { continue; }
        let begun = std::time::Instant::now();
        match explore::never(Clock::new(bounds, rules)) {
            Ok(size) => println!("NOT {name} {size:?} {:?}", begun.elapsed()),
            Err(wrong) => { println!("ok  {name} {} moves {:?}", wrong.trace.len(), begun.elapsed()); if only.is_some() { for t in wrong.trace { println!("  {}", &t[..t.len().min(140)]); } } }
        }
    }
}
