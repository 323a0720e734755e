//! The protocol's words on the wire, and back.

use pgo_ha::{Lsn, NoVote, Position, Release, Timeline, Version, Vote, VoterId};
use pgo_ids::Term;
use pgo_proto::agent::{self, no_vote::Reason, vote_response};

use crate::ha::book::{Book, Place};

/// Why a message of another agent is not understood.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// A part is missing.
    #[error("a message of another agent has no {0}; is it of a later version?")]
    Missing(&'static str),
    /// An identity is none.
    #[error(transparent)]
    Voter(#[from] pgo_ha::VoterIdError),
    /// An address is none.
    #[error("a message of another agent has the address {0:?}, which is none")]
    Address(String),
}

/// An instance.
pub fn instance(voter: VoterId, place: &Place) -> agent::Instance {
    agent::Instance {
        voter: voter.to_string(),
        name: place.name.clone(),
        address: place.address.to_string(),
        port: u32::from(place.port),
    }
}

/// All instances of a book.
pub fn instances(book: &Book) -> Vec<agent::Instance> {
    book.iter()
        .map(|(voter, place)| instance(*voter, place))
        .collect()
}

/// An instance, read.
///
/// # Errors
/// It is none.
pub fn read_instance(message: Option<&agent::Instance>) -> Result<(VoterId, Place), WireError> {
    let message = message.ok_or(WireError::Missing("sender"))?;
    let wrong = || WireError::Address(format!("{} port {}", message.address, message.port));
    let place = Place {
        name: message.name.clone(),
        address: message.address.parse().map_err(|_| wrong())?,
        port: message.port.try_into().map_err(|_| wrong())?,
    };
    Ok((message.voter.parse()?, place))
}

/// A position.
pub fn position(position: Position) -> agent::Position {
    agent::Position {
        timeline: position.timeline.0,
        lsn: position.lsn.0,
    }
}

/// A position, read.
pub fn read_position(message: agent::Position) -> Position {
    Position {
        timeline: Timeline(message.timeline),
        lsn: Lsn(message.lsn),
    }
}

/// What a primary that gives up says beside its release. Nothing of it is a part of the protocol: it makes who lacks nothing
/// follow first, and the world know what it cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastWords {
    /// All that it had written, but for the record of its end; if it could find out.
    pub end: Option<Position>,
    /// Why its PostgreSQL cannot serve, if that is why it gives up.
    pub unfit: Option<String>,
}

/// A release.
pub fn release(release: &Release, words: &LastWords) -> agent::ReleaseRequest {
    agent::ReleaseRequest {
        by: release.by.to_string(),
        version: release.version.as_str().to_owned(),
        to: release.to.map(|to| to.to_string()).unwrap_or_default(),
        end: words.end.map(position),
        unfit: words.unfit.clone().unwrap_or_default(),
    }
}

/// What was said beside a release.
pub fn read_last_words(message: &agent::ReleaseRequest) -> LastWords {
    LastWords {
        end: message.end.map(read_position),
        unfit: Some(message.unfit.clone()).filter(|unfit| !unfit.is_empty()),
    }
}

/// A release, read.
///
/// # Errors
/// It is none.
pub fn read_release(message: &agent::ReleaseRequest) -> Result<Release, WireError> {
    let to = Some(message.to.as_str()).filter(|to| !to.is_empty());
    Ok(Release {
        by: message.by.parse()?,
        version: Version::from(message.version.as_str()),
        to: to.map(str::parse).transpose()?,
    })
}

/// The answer to a request for a vote.
pub fn vote(answer: Result<Vote, NoVote>) -> agent::VoteResponse {
    let answer = match answer {
        Ok(vote) => vote_response::Answer::Vote(position(vote.position)),
        Err(none) => vote_response::Answer::NoVote(agent::NoVote {
            reason: Some(match none {
                NoVote::Promised(term) => Reason::Promised(term.0),
                NoVote::Granting => Reason::Granting(true),
                NoVote::Restarted => Reason::Restarted(true),
                NoVote::Copying => Reason::Copying(true),
                NoVote::Serving => Reason::Serving(true),
            }),
        }),
    };
    agent::VoteResponse {
        answer: Some(answer),
    }
}

/// The answer to a request for a vote in `term`, read.
///
/// # Errors
/// It is none.
pub fn read_vote(
    message: agent::VoteResponse,
    term: Term,
) -> Result<Result<Vote, NoVote>, WireError> {
    match message.answer.ok_or(WireError::Missing("answer"))? {
        vote_response::Answer::Vote(position) => Ok(Ok(Vote {
            term,
            position: read_position(position),
        })),
        vote_response::Answer::NoVote(none) => {
            let reason = none.reason.ok_or(WireError::Missing("reason"))?;
            Ok(Err(match reason {
                Reason::Promised(term) => NoVote::Promised(Term(term)),
                Reason::Granting(_) => NoVote::Granting,
                Reason::Restarted(_) => NoVote::Restarted,
                Reason::Copying(_) => NoVote::Copying,
                Reason::Serving(_) => NoVote::Serving,
            }))
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_release_is_what_it_was() {
        let [by, to] = [1, 2].map(|n| VoterId::from(Uuid::from_u128(n)));
        for to in [None, Some(to)] {
            let version = Version::from("77");
            let sent = Release { by, version, to };
            let words = LastWords {
                end: to.map(|_| Position {
                    timeline: Timeline(3),
                    lsn: Lsn(0x1_6B37_4D48),
                }),
                unfit: to.map(|_| "its data volume hangs".to_owned()),
            };
            let message = release(&sent, &words);
            assert_eq!(read_release(&message).expect("read"), sent);
            assert_eq!(read_last_words(&message), words);
        }
    }

    #[test]
    fn every_answer_to_a_candidate_is_what_it_was() {
        let position = Position {
            timeline: Timeline(3),
            lsn: Lsn(0x1_6B37_4D48),
        };
        let term = Term(4);
        let answers = [
            Ok(Vote { term, position }),
            Err(NoVote::Promised(Term(9))),
            Err(NoVote::Granting),
            Err(NoVote::Restarted),
            Err(NoVote::Copying),
            Err(NoVote::Serving),
        ];
        for answer in answers {
            assert_eq!(read_vote(vote(answer), term).expect("read"), answer);
        }
    }

    #[test]
    fn what_is_no_instance_is_refused() {
        let message = agent::Instance {
            voter: Uuid::nil().to_string(),
            name: "hippo".to_owned(),
            address: "hippo".to_owned(),
            port: 5432,
        };
        let error = read_instance(Some(&message)).expect_err("no address");
        assert!(error.to_string().contains("\"hippo port 5432\""), "{error}");
        assert!(read_instance(None).is_err());
    }
}
