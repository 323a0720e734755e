//! Each sentence of the protocol that is there because of the model: left out, the model finds what goes wrong.

mod data;
mod time;

use std::{collections::BTreeSet, fs, path::Path};

use pgo_ha::Rules;
use pgo_model_tests::explore::Wrong;

/// What leaving out a sentence leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Harm {
    TwoPrimaries,
    LostCommit,
    LostGrant,
    Stuck,
}

const ALL: Rules = Rules::PROTOCOL;

fn found(sentence: &str, harm: Harm, wrong: Option<Wrong>) {
    let wrong = wrong.unwrap_or_else(|| panic!("without {sentence} nothing goes wrong"));
    println!(
        "without {sentence}: {harm:?} after {} moves",
        wrong.trace.len()
    );
    let what = match harm {
        Harm::TwoPrimaries => "at most one serves",
        Harm::LostCommit => "no acknowledged commit is lost",
        Harm::LostGrant => "an API server that stalls costs no grant",
        Harm::Stuck => "nothing can go on from here",
    };
    assert_eq!(wrong.what, what, "{sentence}: {:#?}", wrong.trace);
}

/// Names of all sentences, as the type has them.
fn sentences() -> BTreeSet<String> {
    format!("{ALL:?}")
        .split(['{', ',', '}'])
        .filter_map(|part| part.split_once(": true"))
        .map(|(name, _)| name.trim().to_owned())
        .collect()
}

#[test]
fn every_sentence_is_left_out_by_a_test_and_told_in_the_documentation() {
    let here = [
        include_str!("sentences/time.rs"),
        include_str!("sentences/data.rs"),
    ]
    .concat();
    let told = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/high-availability.md");
    let told = fs::read_to_string(told).expect("the documentation");
    let all = sentences();
    assert!(all.len() > 30, "{all:?}");
    for sentence in all {
        assert!(
            here.contains(&format!("{sentence}: false")),
            "{sentence} is left out by no test"
        );
        assert!(
            told.contains(&format!("`{sentence}`")),
            "{sentence} is not told"
        );
    }
}
