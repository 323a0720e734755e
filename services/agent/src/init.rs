//! Process 1 of the container: reaps every orphan, forwards the wish to end, and outlives its one child: `agent run`, or
//! `agent repository`.
//!
//! If that child dies while PostgreSQL lives, nobody watches over PostgreSQL any more: it is stopped, as is all else that the
//! child has started, and the child
//! started again. Small on purpose: one thread, no timers but the alarm, nothing that could fail on the way.

use std::{
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use nix::{
    errno::Errno,
    sys::{
        prctl,
        signal::{SigSet, Signal},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Pid, alarm},
};

use crate::{processes, repository};

/// How long what the child left may take to end by itself, PostgreSQL's immediate shutdown included.
const PATIENCE: Duration = Duration::from_secs(5);

/// Longest pause before the child is started again, in seconds; the alarm knows no less than one.
const LONGEST_PAUSE: u32 = 30;

/// A child that lived as long as this died for a new reason: the pauses begin again.
const STEADY: Duration = Duration::from_secs(60);

/// Runs `agent run` until the container is to end, and returns its exit code.
///
/// # Errors
/// The child cannot be started, or signals cannot be waited for.
pub fn main() -> anyhow::Result<ExitCode> {
    let version = env!("CARGO_PKG_VERSION");
    pgo_telemetry::init(&pgo_telemetry::Settings::from_env("agent", version)?)?;
    SigSet::all()
        .thread_block()
        .context("cannot block signals")?;
    // Orphans come to process 1 anyway; elsewhere only to one that asks for them.
    prctl::set_child_subreaper(true).context("cannot adopt orphans")?;
    let mut init = Init {
        ending: false,
        child: None,
    };
    let mut pause = 1;
    loop {
        let begin = Instant::now();
        let status = init.run_child()?;
        let left = init.end_leftovers()?;
        match after(init.ending, left, status) {
            After::Exit(code) => {
                tracing::info!(code, "the container ends");
                return Ok(ExitCode::from(code));
            }
            After::Again => {
                pause = if begin.elapsed() > STEADY { 1 } else { pause };
                tracing::error!(
                    ?status,
                    pause,
                    "the agent died and PostgreSQL was stopped; starting again"
                );
                if init.pause(pause)? {
                    return Ok(ExitCode::from(code_of(status)));
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// What the child does, by the variable that names a repository.
fn role(repository: Option<&std::ffi::OsStr>) -> &'static str {
    match repository {
        Some(folder) if !folder.is_empty() => "repository",
        _ => "run",
    }
}

/// What to do once the child is dead and all it left, too.
#[derive(Debug, PartialEq, Eq)]
enum After {
    Exit(u8),
    Again,
}

/// A child that died without a server says so with its code to the kubelet, which starts the container again, later
/// each time and for all to see. With a server the pod stays, and so do its sockets, its address and its lock.
fn after(ending: bool, left: bool, status: WaitStatus) -> After {
    if ending || !left {
        After::Exit(code_of(status))
    } else {
        After::Again
    }
}

/// The exit code by which shells tell how a process ended.
fn code_of(status: WaitStatus) -> u8 {
    match status {
        WaitStatus::Exited(_, code) => u8::try_from(code).unwrap_or(u8::MAX),
        WaitStatus::Signaled(_, signal, _) => 128 + u8::try_from(signal as i32).unwrap_or(0),
        _ => 1,
    }
}

struct Init {
    /// Whether the container is to end.
    ending: bool,
    child: Option<Pid>,
}

impl Init {
    /// Starts the child and waits for its end.
    fn run_child(&mut self) -> anyhow::Result<WaitStatus> {
        let own = std::env::current_exe().context("cannot find this program")?;
        let child = Command::new(own)
            .arg(role(std::env::var_os(repository::VARIABLE).as_deref()))
            .spawn()
            .context("cannot start the agent")?;
        let pid = Pid::from_raw(child.id().cast_signed());
        self.child = Some(pid);
        if self.ending {
            processes::send(pid, Signal::SIGTERM);
        }
        loop {
            self.wait_signal()?;
            if let Some(status) = reap(pid) {
                self.child = None;
                return Ok(status);
            }
        }
    }

    /// Ends everything that the child left; whether there was anything.
    fn end_leftovers(&mut self) -> anyhow::Result<bool> {
        let begin = Instant::now();
        let mut told = Vec::new();
        loop {
            reap(Pid::this());
            let left = processes::children_of(Pid::this());
            if left.is_empty() {
                alarm::cancel();
                return Ok(!told.is_empty());
            }
            let overdue = begin.elapsed() > PATIENCE;
            let signal = if overdue {
                Signal::SIGKILL
            } else {
                Signal::SIGQUIT
            };
            // What one of them leaves comes here with its end.
            for pid in left {
                if overdue || !told.contains(&pid) {
                    tracing::warn!(%pid, %signal, "ending what the agent left");
                    processes::send(pid, signal);
                    told.push(pid);
                }
            }
            alarm::set(1);
            self.wait_signal()?;
        }
    }

    /// Waits `seconds`; whether the container is to end.
    fn pause(&mut self, seconds: u32) -> anyhow::Result<bool> {
        alarm::set(seconds);
        while !self.ending {
            if self.wait_signal()? == Signal::SIGALRM {
                break;
            }
            reap(Pid::this());
        }
        alarm::cancel();
        Ok(self.ending)
    }

    fn wait_signal(&mut self) -> anyhow::Result<Signal> {
        let signal = loop {
            match SigSet::all().wait() {
                Ok(signal) => break signal,
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error).context("cannot wait for signals"),
            }
        };
        if matches!(signal, Signal::SIGTERM | Signal::SIGINT) {
            tracing::info!(%signal, "asked to end");
            self.ending = true;
            if let Some(child) = self.child {
                processes::send(child, Signal::SIGTERM);
            }
        }
        Ok(signal)
    }
}

/// Reaps all dead children; how `wanted` ended, if it is among them.
fn reap(wanted: Pid) -> Option<WaitStatus> {
    let mut found = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(_) => return found,
            Ok(status) if status.pid() == Some(wanted) => found = Some(status),
            Ok(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exited(code: i32) -> WaitStatus {
        WaitStatus::Exited(Pid::from_raw(7), code)
    }

    #[test]
    fn where_a_repository_is_named_it_is_looked_after() {
        let role = |name: &str| role(Some(name.as_ref()));
        assert_eq!(
            role("/backrestrepo/hippo-backrest-shared-repo"),
            "repository"
        );
        assert_eq!((role(""), super::role(None)), ("run", "run"));
    }

    #[test]
    fn the_exit_code_is_handed_on_when_the_container_ends() {
        assert_eq!(after(true, false, exited(0)), After::Exit(0));
        assert_eq!(after(true, true, exited(3)), After::Exit(3));
        let killed = WaitStatus::Signaled(Pid::from_raw(7), Signal::SIGKILL, false);
        assert_eq!(after(true, false, killed), After::Exit(137));
    }

    #[test]
    fn a_child_that_died_is_started_again_only_where_a_server_was_left() {
        assert_eq!(after(false, true, exited(1)), After::Again);
        assert_eq!(after(false, false, exited(2)), After::Exit(2));
    }
}
