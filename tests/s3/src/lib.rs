//! An S3 server for tests, over TLS, with one bucket and one key: found, started, made to fail as such servers do, gone when the
//! value is. What it is: `tests/s3/server`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

/// Its bucket.
pub const BUCKET: &str = "backups";

/// The access key that it knows.
pub const KEY: &str = "AKIAPGOTEST";

/// The secret of that.
pub const KEY_SECRET: &str = "hush/of+the=tests";

/// Longest wait for what should be there at once; reached only by a failing test.
const SOON: Duration = Duration::from_secs(30);

/// What becomes of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// They are answered.
    Serve,
    /// Nobody listens.
    Gone,
    /// They are answered with 503.
    Fail,
    /// They are answered after a fifth of a second each.
    Slow,
    /// They are answered with 403: the key is none any more.
    Refuse,
}

impl Mood {
    fn word(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Gone => "gone",
            Self::Fail => "fail",
            Self::Slow => "slow",
            Self::Refuse => "refuse",
        }
    }
}

/// The program.
///
/// # Panics
/// It is not there.
#[must_use]
pub fn binary() -> PathBuf {
    let path = env::var_os("S3_BIN").map_or_else(
        || {
            let cache = env::var_os("PGO_CACHE").map_or_else(
                || PathBuf::from(env::var_os("HOME").expect("HOME")).join(".cache/pgo"),
                PathBuf::from,
            );
            cache.join("bin/pgo-test-s3")
        },
        PathBuf::from,
    );
    assert!(
        path.is_file(),
        "no S3 server at {}. Build it with tests/s3/build.sh, or set S3_BIN to one built in tests/s3/server by \
         `go build`",
        path.display()
    );
    path
}

/// A server that runs.
#[derive(Debug)]
pub struct S3 {
    child: Child,
    orders: ChildStdin,
    said: mpsc::Receiver<String>,
    address: SocketAddr,
}

impl S3 {
    /// One that listens at `address`, at any port of it where that is 0, with the certificate in a folder as `tls.crt` and
    /// `tls.key`.
    ///
    /// # Panics
    /// It does not listen in time.
    #[must_use]
    pub fn start(address: SocketAddr, tls: &Path) -> Self {
        let mut child = Command::new(binary())
            .arg(format!("-address={address}"))
            .arg(format!("-bucket={BUCKET}"))
            .arg(format!("-certificate={}", tls.join("tls.crt").display()))
            .arg(format!("-key={}", tls.join("tls.key").display()))
            .env("S3_KEY", KEY)
            .env("S3_KEY_SECRET", KEY_SECRET)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let orders = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, said) = mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut server = Self {
            child,
            orders,
            said,
            address,
        };
        server.address = server.hear().parse().expect("its address");
        server
    }

    fn hear(&self) -> String {
        self.said
            .recv_timeout(SOON)
            .expect("the S3 server says nothing; see its standard error above")
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What becomes of requests from now on. What it keeps, it keeps.
    ///
    /// # Panics
    /// It does not obey in time.
    pub fn set(&mut self, mood: Mood) {
        writeln!(self.orders, "{}", mood.word()).expect("it listens");
        assert_eq!(self.hear(), mood.word());
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
