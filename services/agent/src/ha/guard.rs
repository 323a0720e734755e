//! A second small process that kills the servers when authority ends, whatever the agent does then: it may be stopped, or
//! wait for a volume that hangs.
//!
//! The agent writes each new deadline, in nanoseconds of `CLOCK_BOOTTIME`, as a line to the guard's standard input; an
//! empty line means that nothing is to be guarded. With its end the guard ends, too: then process 1 stops the servers.

use std::{
    io::{BufRead as _, BufReader, Read, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use nix::sys::signal::Signal;
use pgo_ha::Moment;

use crate::{ha::clock, processes};

/// Pause between two rounds of killing: a process that is just being forked is found in the next one.
const PAUSE: Duration = Duration::from_millis(20);

/// The agent's hold on it.
#[derive(Debug)]
pub struct Guard {
    child: Child,
    input: Option<ChildStdin>,
    told: Option<Moment>,
}

impl Guard {
    /// Starts the guard of the servers in the data directory `data`; `program` is this program.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(program: &Path, data: &Path) -> std::io::Result<Self> {
        let mut child = Command::new(program)
            .arg("guard")
            .arg("--data")
            .arg(data)
            .stdin(Stdio::piped())
            .spawn()?;
        Ok(Self {
            input: child.stdin.take(),
            child,
            told: None,
        })
    }

    /// From now on servers live until `deadline` at most; without one, for as long as they like.
    ///
    /// # Errors
    /// The guard is gone: nothing may be served without it.
    pub fn set(&mut self, deadline: Option<Moment>) -> std::io::Result<()> {
        if self.told == deadline {
            return Ok(());
        }
        let line = match deadline {
            Some(deadline) => format!("{}\n", deadline.elapsed_since_boot().as_nanos()),
            None => "\n".to_owned(),
        };
        let input = self.input.as_mut().ok_or(std::io::ErrorKind::BrokenPipe)?;
        input.write_all(line.as_bytes())?;
        self.told = deadline;
        Ok(())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Its input ends, and so does it.
        self.input = None;
        let _ = self.child.wait();
    }
}

/// Settings of `agent guard`.
#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// The data directory of the servers.
    #[arg(long)]
    pub data: PathBuf,
}

/// `agent guard`: until its input ends.
pub fn main(settings: &Settings) {
    let (sender, deadlines) = channel();
    thread::spawn(move || read(std::io::stdin(), |deadline| sender.send(deadline).is_ok()));
    // Once: later the volume may not answer.
    let data = processes::resolved(&settings.data);
    watch(&deadlines, || {
        for pid in processes::named_at(processes::POSTGRES, &data) {
            processes::send(pid, Signal::SIGKILL);
        }
    });
}

/// Hands each deadline on, until nobody takes them or there are no more. A line that is none counts as one that is over.
fn read(input: impl Read, mut each: impl FnMut(Option<Moment>) -> bool) {
    for line in BufReader::new(input).lines().map_while(Result::ok) {
        let deadline = match line.as_str() {
            "" => None,
            text => {
                let nanoseconds = text.parse().unwrap_or_default();
                Some(Moment::since_boot(Duration::from_nanos(nanoseconds)))
            }
        };
        if !each(deadline) {
            return;
        }
    }
}

/// Kills whenever a deadline has passed and no new one has come, until no more can come.
fn watch(deadlines: &Receiver<Option<Moment>>, mut kill: impl FnMut()) {
    let mut deadline: Option<Moment> = None;
    loop {
        let next = match deadline {
            None => deadlines.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(at) => {
                let left = at.since(clock::now());
                if left.is_zero() {
                    kill();
                }
                deadlines.recv_timeout(left.max(PAUSE))
            }
        };
        match next {
            Ok(next) => deadline = next,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        time::Instant,
    };

    use super::*;

    #[test]
    fn it_kills_when_the_deadline_passes_and_not_before_and_not_without_one() {
        let (sender, deadlines) = channel();
        let kills = Arc::new(AtomicUsize::new(0));
        let counted = kills.clone();
        let guard = thread::spawn(move || {
            watch(&deadlines, || {
                counted.fetch_add(1, Ordering::SeqCst);
            });
        });
        let begin = Instant::now();
        let deadline = clock::now().plus(Duration::from_millis(300));
        sender.send(Some(deadline)).expect("taken");
        while kills.load(Ordering::SeqCst) == 0 {
            assert!(begin.elapsed() < Duration::from_secs(10), "it did not kill");
            thread::yield_now();
        }
        assert!(begin.elapsed() >= Duration::from_millis(300));
        sender.send(None).expect("taken");
        drop(sender);
        guard.join().expect("ended");
    }

    #[test]
    fn lines_are_deadlines_and_nonsense_is_one_that_is_over() {
        let mut seen = Vec::new();
        read("\n1500000000\nnonsense\n".as_bytes(), |deadline| {
            seen.push(deadline);
            true
        });
        let at = Moment::since_boot(Duration::from_millis(1500));
        assert_eq!(seen, [None, Some(at), Some(Moment::default())]);
    }
}
