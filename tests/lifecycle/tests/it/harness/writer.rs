//! A client that writes numbered rows through a Service, one after the other, and notes what it was told.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::sql::Database;

/// How long the client waits for a connection or an answer, before it drops the connection and makes another.
pub const DEADLINE: Duration = Duration::from_secs(1);

/// Pause after a connection that failed, and between two rows.
const PAUSE: Duration = Duration::from_millis(10);

/// What the client knows.
#[derive(Clone, Default)]
pub struct Notes {
    /// The rows that were acknowledged, and when.
    pub acknowledged: Vec<(u64, Instant)>,
    /// The last row that was tried.
    pub tried: u64,
    /// How often it had to connect.
    pub connections: usize,
    /// The rows of which it was told nothing, or that they are not there.
    pub failed: u64,
}

impl Notes {
    /// The longest time between two acknowledgements, from the last one before `since` on, the one until now among them.
    pub fn longest_pause(&self, since: Instant) -> Duration {
        let before = self
            .acknowledged
            .iter()
            .rposition(|(_, at)| *at <= since)
            .unwrap_or(0);
        let mut moments: Vec<Instant> = self.acknowledged[before..]
            .iter()
            .map(|(_, at)| *at)
            .collect();
        moments.push(Instant::now());
        let pauses = moments.windows(2).map(|pair| pair[1] - pair[0]);
        pauses.max().unwrap_or_default()
    }
}

/// A running client; it ends with this value.
pub struct Writer {
    notes: Arc<Mutex<Notes>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Makes the table and begins to write.
    pub fn begin(database: impl Into<Database>) -> Self {
        let database = database.into();
        database.ask("CREATE TABLE numbered (n bigint PRIMARY KEY)");
        let client = Client(database);
        let (notes, over) = (Arc::<Mutex<Notes>>::default(), Arc::<AtomicBool>::default());
        let thread = thread::spawn({
            let (notes, over) = (notes.clone(), over.clone());
            move || client.write(&notes, &over)
        });
        Self {
            notes,
            over,
            thread: Some(thread),
        }
    }

    /// What it knows by now.
    pub fn notes(&self) -> Notes {
        self.notes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether anything that was begun after `moment` has been acknowledged.
    pub fn wrote_since(&self, moment: Instant) -> bool {
        // The last but one: the last may have been under way at that moment.
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes
            .acknowledged
            .iter()
            .rev()
            .nth(1)
            .is_some_and(|(_, at)| *at > moment)
    }

    /// Ends it; what it knew then.
    pub fn end(mut self) -> Notes {
        self.finish();
        self.notes()
    }

    fn finish(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Rows that were acknowledged and are not there.
pub fn missing(database: impl Into<Database>, notes: &Notes) -> Vec<u64> {
    let there = database.into().ask("SELECT n FROM numbered");
    let there: BTreeSet<u64> = there.lines().filter_map(|line| line.parse().ok()).collect();
    let acknowledged = notes.acknowledged.iter().map(|(row, _)| *row);
    acknowledged.filter(|row| !there.contains(row)).collect()
}

struct Client(Database);

/// One psql with its standard output line by line.
struct Connection {
    psql: Child,
    lines: Receiver<String>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        let _ = self.psql.kill();
        let _ = self.psql.wait();
    }
}

impl Client {
    fn write(&self, notes: &Mutex<Notes>, over: &AtomicBool) {
        let mut connection = None;
        while !over.load(Ordering::Relaxed) {
            let current = connection.get_or_insert_with(|| self.connect());
            let row = {
                let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
                notes.tried += 1;
                notes.tried
            };
            // A row whose fate is unknown is not tried again: another one is.
            if current.insert(row) {
                let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
                notes.acknowledged.push((row, Instant::now()));
            } else {
                connection = None;
                let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
                notes.connections += 1;
                notes.failed += 1;
            }
            thread::sleep(PAUSE);
        }
    }

    fn connect(&self) -> Connection {
        let mut command = self.0.program(&["--set", "ON_ERROR_STOP=1"]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut psql = command.spawn().expect("psql");
        let out = BufReader::new(psql.stdout.take().expect("its standard output"));
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Connection { psql, lines }
    }
}

impl Connection {
    /// Whether the row was acknowledged within the deadline.
    fn insert(&mut self, row: u64) -> bool {
        let Some(input) = self.psql.stdin.as_mut() else {
            return false;
        };
        if writeln!(input, "INSERT INTO numbered VALUES ({row});").is_err() {
            return false;
        }
        // PostgreSQL's warning that a commit was not waited for is on standard error, and no acknowledgement comes with it
        // in a mode that waits: psql says INSERT only when the server has said so.
        self.lines
            .recv_timeout(DEADLINE)
            .is_ok_and(|line| line == "INSERT 0 1")
    }
}
