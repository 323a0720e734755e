//! The sign of life that 4.1's probe looks at: a file that is written while the rounds go on.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use jiff::Timestamp;

/// Between two beats. The probe of 4.1 wants the file to be younger than 61 s.
pub const EVERY: Duration = Duration::from_secs(30);

/// The file.
#[derive(Debug)]
pub struct Heartbeat {
    path: PathBuf,
    last: Option<Instant>,
    failing: bool,
}

impl Heartbeat {
    /// A heartbeat that has not beaten yet.
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            last: None,
            failing: false,
        }
    }

    /// Writes the file if it is time to. A file that cannot be written is told once; the rounds go on.
    pub fn beat(&mut self, now: Timestamp) {
        if self.last.is_some_and(|last| last.elapsed() < EVERY) {
            return;
        }
        self.last = Some(Instant::now());
        match fs::write(&self.path, format!("{now}\n")) {
            Ok(()) => self.failing = false,
            Err(error) if !self.failing => {
                self.failing = true;
                let path = self.path.display();
                tracing::warn!(%path, %error, "the heartbeat cannot be written; mount a writable folder there");
            }
            Err(_) => {}
        }
    }
}
