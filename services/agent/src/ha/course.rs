//! What the protocol wants of PostgreSQL here, from the driver to the supervisor, and what is told back.

use std::{net::SocketAddr, sync::Arc};

use pgo_ha::{Position, Record, Start, Synchronous, VoterId};
use pgo_ids::Term;
use tokio::sync::{mpsc, watch};

use crate::ha::{book::Place, driver::Event, lease::Reign};

/// Whom to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Who follows: the name by which the leader knows whose answers it waits for.
    pub follower: VoterId,
    /// Its identity.
    pub voter: VoterId,
    /// Where it is, if that is known.
    pub place: Option<Place>,
    /// Its term.
    pub term: Term,
    /// What the Lease recorded when it was to be followed: by it data of a former primary is judged.
    pub record: Record,
}

impl Leader {
    /// Its name, for people.
    pub fn name(&self) -> &str {
        self.place
            .as_ref()
            .map_or("unknown", |place| place.name.as_str())
    }

    /// Where its PostgreSQL answers, if that is known.
    pub fn postgres(&self) -> Option<SocketAddr> {
        self.place.as_ref().map(Place::postgres)
    }
}

/// What to do now; the newest one counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Course {
    /// Nothing is known, or something is being found out. A standby may go on; a server that writes must not begin.
    #[default]
    Wait,
    /// Run as primary of the timeline that `start` names; promote to it where it has not begun here.
    Lead {
        /// The term, and the Lease that it is of.
        reign: Reign,
        /// The timeline.
        start: Start,
        /// For whose answers commits wait.
        synchronous: Synchronous,
    },
    /// Follow.
    Follow {
        /// Whom.
        leader: Leader,
        /// Whether data that cannot follow may be rewound or cloned: that was promised.
        copy: bool,
    },
    /// Receive no more WAL: a vote may rest on it.
    Hold {
        /// The how manyth time this was ordered. Only the newest course is seen, so two orders may look like one, and an answer
        /// to a former one may come when WAL has been received since.
        order: u64,
    },
    /// No process of a server that writes may live any more.
    End(Ending),
}

impl Course {
    /// Which order not to receive WAL this is, if it is one.
    pub fn order(&self) -> Option<u64> {
        match self {
            Self::Hold { order } => Some(*order),
            _ => None,
        }
    }
}

/// How a server that writes ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// At once: its authority has ended.
    Kill,
    /// In order, so that replicas get all of its WAL: another one is to take over.
    ShutDown,
}

/// What the supervisor tells the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// No WAL comes in, and so much is flushed.
    ReceiverStopped {
        /// What it answers; nothing where it rests anyhow.
        order: Option<u64>,
        /// How far that is.
        position: Position,
    },
    /// A server that was primary has shut down in order, and this is all that it had written. No part of the protocol, but
    /// told before what comes next.
    Ended(Position),
    /// Every process of a server that was primary is dead; so much is flushed, if that is known already.
    ServersStopped(Option<Position>),
    /// So much is flushed; WAL may be received still.
    Reached(Position),
    /// The timeline that was asked for has begun, going on from here.
    Promoted(Position),
    /// This rule is in force for every commit that is not acknowledged yet.
    Configured(Synchronous),
    /// As many as the rule that is in force asks for have flushed what was acknowledged before it was.
    Held,
    /// What is here cannot follow; the source has flushed so much.
    CopyNeeded {
        /// How far the source is.
        source: Position,
    },
    /// PostgreSQL serves here, or does not come up.
    Starts(bool),
    /// The data volume answers, or hangs.
    Answers(bool),
    /// There is data in the volume.
    Filled,
}

/// The supervisor's side.
#[derive(Clone, Debug)]
pub struct Helm {
    course: Arc<watch::Sender<Course>>,
    events: mpsc::UnboundedSender<Event>,
}

impl Helm {
    /// Both sides speak through `course` and `events`.
    pub fn new(course: Arc<watch::Sender<Course>>, events: mpsc::UnboundedSender<Event>) -> Self {
        Self { course, events }
    }

    /// What to do now.
    pub fn course(&self) -> Course {
        self.course.borrow().clone()
    }

    /// Follows the course.
    pub fn watch(&self) -> watch::Receiver<Course> {
        self.course.subscribe()
    }

    /// The data was rewound or cloned: the next time needs another promise.
    pub fn copied(&self) {
        self.course.send_if_modified(|course| match course {
            Course::Follow { copy, .. } => std::mem::take(copy),
            _ => false,
        });
    }

    /// Tells the driver. What rests on what ended is void from this moment, not from when the driver hears of it; what was
    /// ordered of a standby since is not, and would not be ordered again.
    pub fn tell(&self, told: Told) {
        if matches!(told, Told::ServersStopped(_)) {
            self.course.send_if_modified(|course| {
                let is_void = matches!(course, Course::Lead { .. } | Course::End(_));
                if is_void {
                    *course = Course::Wait;
                }
                is_void
            });
        }
        // The driver ends before this only when all ends.
        let _ = self.events.send(Event::Told(told));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_ordered_of_a_standby_stays_when_the_end_of_its_servers_is_told_again() {
        let (events, _driver) = mpsc::unbounded_channel();
        let course = Arc::new(watch::Sender::new(Course::End(Ending::Kill)));
        let helm = Helm::new(course.clone(), events);
        helm.tell(Told::ServersStopped(None));
        assert_eq!(helm.course(), Course::Wait);
        course.send_replace(Course::Hold { order: 1 });
        helm.tell(Told::ServersStopped(None));
        assert_eq!(helm.course(), Course::Hold { order: 1 });
    }
}
