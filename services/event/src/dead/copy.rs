//! How the other replica gets the dead letters: it says what it has, and is told what differs.
//!
//! They are few and change seldom, so the whole is compared at each change: there is no list of changes that could be
//! incomplete, and it does not matter where a copy stood before.

use pgo_proto::event::{CopyLettersRequest, CopyLettersResponse, KeptLetter, LetterSum};

use super::{Error, Letters};

/// Bytes of letters of an answer, which stays below gRPC's limit of 4 MiB: a letter is a message of nsqd, of 1 MiB at most,
/// or twice that where its digits are kept.
const PART: usize = 1 << 20;

/// What the letters here are, for the one that leads in this term. Blocks for a disk's time.
///
/// # Errors
/// The file cannot be read.
pub fn ask(letters: &Letters, term: u64) -> Result<CopyLettersRequest, Error> {
    let kept = letters.kept()?;
    let have = kept.iter().map(|(id, letter)| LetterSum {
        id: id.clone(),
        sum: crc32fast::hash(letter),
    });
    let have = have.collect();
    Ok(CopyLettersRequest { term, have })
}

/// What makes the letters of the one that asks those here, which have at least this change. Blocks for a disk's time.
///
/// # Errors
/// The file cannot be read.
pub fn answer(
    letters: &Letters,
    request: CopyLettersRequest,
    change: u64,
) -> Result<CopyLettersResponse, Error> {
    answer_in_parts(letters, request, change, PART)
}

fn answer_in_parts(
    letters: &Letters,
    request: CopyLettersRequest,
    change: u64,
    most: usize,
) -> Result<CopyLettersResponse, Error> {
    let mut kept = letters.kept()?;
    let mut gone = Vec::new();
    for LetterSum { id, sum } in request.have {
        match kept.get(&id).map(|letter| crc32fast::hash(letter)) {
            Some(same) if same == sum => drop(kept.remove(&id)),
            Some(_) => {}
            None => gone.push(id),
        }
    }
    let (mut part, mut bytes) = (Vec::new(), 0);
    let all = kept.len();
    for (id, letter) in kept {
        bytes += letter.len();
        if bytes > most && !part.is_empty() {
            break;
        }
        part.push(KeptLetter { id, letter });
    }
    Ok(CopyLettersResponse {
        gone,
        change: if part.len() == all { change } else { 0 },
        letters: part,
    })
}

/// Does what an answer says. Blocks for a disk's time.
///
/// # Errors
/// The file cannot be written.
pub fn apply(letters: &Letters, answer: &CopyLettersResponse) -> Result<(), Error> {
    if answer.gone.is_empty() && answer.letters.is_empty() {
        return Ok(());
    }
    let come = answer.letters.iter();
    let come = come.map(|kept| (kept.id.as_str(), kept.letter.as_slice()));
    letters.replace(&answer.gone, come)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use pgo_bus::DeadLetter;
    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;
    use crate::dead::Room;

    fn letter(number: u8, attempts: u16) -> DeadLetter {
        DeadLetter {
            topic: "alltopic".to_owned(),
            channel: "history".to_owned(),
            message: number.to_string(),
            attempts,
            time: Timestamp::UNIX_EPOCH,
            reason: "no event".to_owned(),
            body: vec![number; 100],
            left_out: 0,
        }
    }

    fn letters(these: &[(u8, u16)]) -> (TempDir, Letters) {
        let folder = TempDir::new().expect("a folder");
        let letters = Letters::open(folder.path(), Room::default()).expect("a file");
        for (number, attempts) in these {
            letters
                .put(&letter(*number, *attempts))
                .expect("it is kept");
        }
        (folder, letters)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]
        #[test]
        fn whatever_a_copy_was_it_becomes_the_same_in_parts(
            there in prop::collection::vec((0u8..12, 1u16..3), 0..12),
            here in prop::collection::vec((0u8..12, 1u16..3), 0..12),
        ) {
            let ((_there, there), (_here, here)) = (letters(&there), letters(&here));
            for _ in 0..12 {
                // One has some 350 bytes.
                let asked = ask(&here, 1).expect("a request");
                let answered = answer_in_parts(&there, asked, 7, 1000);
                let answered = answered.expect("an answer");
                let bytes: usize = answered.letters.iter().map(|kept| kept.letter.len()).sum();
                prop_assert!(bytes <= 1000);
                apply(&here, &answered).expect("it is written");
                if answered.change == 7 {
                    prop_assert_eq!(here.kept().expect("they are read"), there.kept().expect("they are read"));
                    return Ok(());
                }
            }
            prop_assert!(false, "it does not end");
        }
    }
}
