//! A child process whose log is read, ended when the value is.

use std::{
    io::{BufRead as _, BufReader, Read},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// Longest wait for what should be there at once; reached only by a failing test.
pub const SOON: Duration = Duration::from_secs(30);

pub struct Process {
    child: Child,
    lines: mpsc::Receiver<String>,
    log: Arc<Mutex<String>>,
}

impl Process {
    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = mpsc::channel();
        let log = Arc::default();
        follow(child.stdout.take().unwrap(), &sender, &log);
        follow(child.stderr.take().unwrap(), &sender, &log);
        Self { child, lines, log }
    }

    /// The first thing that `found` finds in the lines of the log, from where the last call stopped.
    pub fn line<T>(&self, found: impl Fn(&str) -> Option<T>) -> T {
        let until = Instant::now() + SOON;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            let Ok(line) = line else {
                panic!("not in the log:\n{}", self.log.lock().unwrap());
            };
            if let Some(found) = found(&line) {
                return found;
            }
        }
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end, and tells whether it did so well.
    pub fn terminate(&mut self) -> bool {
        kill_process(self.pid(), Signal::TERM).unwrap();
        let until = Instant::now() + SOON;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.success();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("it does not end; its log:\n{}", self.log.lock().unwrap());
    }
}

fn follow(
    output: impl Read + Send + 'static,
    lines: &mpsc::Sender<String>,
    log: &Arc<Mutex<String>>,
) {
    let (lines, log) = (lines.clone(), log.clone());
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let mut log = log.lock().unwrap();
            log.push_str(&line);
            log.push('\n');
            drop(log);
            // Nobody listens any more once the test has what it waits for.
            let _ = lines.send(line);
        }
    });
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log.lock().unwrap();
            let last: Vec<&str> = log.lines().rev().take(40).collect();
            let last: Vec<&str> = last.into_iter().rev().collect();
            eprintln!(
                "end of the log of process {}:\n{}\n",
                self.child.id(),
                last.join("\n")
            );
        }
    }
}
