//! Whether a command gets any further: it says something, or bytes move.

use std::{
    future::pending,
    time::{Duration, Instant},
};

use nix::unistd::Pid;
use tokio::time::sleep;

use crate::processes;

/// So many bytes count as progress of pgBackRest, which moves some now and then only to keep its connections.
pub const OF_BACKREST: u64 = 1 << 20;

/// So many count as progress of programs that move none while they wait.
pub const ANY: u64 = 1;

/// How often it is looked at within the time that it may take to get further.
const LOOKS: u32 = 20;

/// The progress of a group of processes.
#[derive(Debug)]
pub struct Stall {
    limit: Option<Duration>,
    group: Option<Pid>,
    least: u64,
    moved: u64,
    since: Instant,
}

impl Stall {
    /// One that counts from now on; without a limit it never ends. Less than `least` bytes are no progress.
    pub fn begin(limit: Option<Duration>, group: Option<Pid>, least: u64) -> Self {
        Self {
            limit,
            group,
            least,
            moved: 0,
            since: Instant::now(),
        }
    }

    /// Something was said.
    pub fn heard(&mut self) {
        self.since = Instant::now();
    }

    /// Waits a part of the limit; how long nothing has happened then, where that is too long.
    pub async fn look(&mut self) -> Option<Duration> {
        let (Some(limit), Some(group)) = (self.limit, self.group) else {
            return pending().await;
        };
        sleep(limit / LOOKS).await;
        let moved = processes::moved_by(group);
        if moved.abs_diff(self.moved) >= self.least {
            self.moved = moved;
            self.since = Instant::now();
        }
        (self.since.elapsed() >= limit).then_some(limit)
    }
}
