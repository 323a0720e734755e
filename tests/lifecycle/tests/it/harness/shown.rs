//! Programs that show lines until they are ended.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use super::until;

/// How long something may take from when it happened until it is shown.
const SHOWN: Duration = Duration::from_secs(20);

/// A program that goes on for ever, and what it has shown; ended with this value.
pub struct Shown {
    child: Child,
    lines: Arc<Mutex<String>>,
}

impl Shown {
    /// Starts it.
    pub fn begin(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let out = child.stdout.take().expect("its standard output");
        let lines = Arc::<Mutex<String>>::default();
        let shown = lines.clone();
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
                shown.push_str(&line);
                shown.push('\n');
            }
        });
        Self { child, lines }
    }

    /// All that it has shown on its standard output, once `wanted` is in it.
    pub fn until(&self, wanted: &str) -> String {
        let all = || {
            let lines = self.lines.lock();
            lines.unwrap_or_else(PoisonError::into_inner).clone()
        };
        until(&format!("{wanted} shown"), SHOWN, || {
            Some(all())
                .filter(|all| all.contains(wanted))
                .ok_or_else(all)
        })
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
