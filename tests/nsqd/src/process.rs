//! A process of NSQ with a folder and a log of its own, gone when the value is.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::binary;

/// Longest wait for what should be there at once; reached only by a failing test.
const SOON: Duration = Duration::from_secs(30);

/// `nsqd` or `nsqlookupd`.
#[derive(Debug)]
pub struct Process {
    program: &'static str,
    child: Option<Child>,
    folder: TempDir,
    arguments: Vec<String>,
    tcp: SocketAddr,
    http: SocketAddr,
    log: Arc<Mutex<String>>,
}

impl Process {
    /// One that runs in a folder, with further arguments, at a loopback address of its own: while it is away, nobody else gets
    /// its ports.
    ///
    /// # Panics
    /// It does not listen in time.
    #[must_use]
    pub fn start(program: &'static str, folder: TempDir, arguments: Vec<String>) -> Self {
        let mut process = Self::at((own_address(), 0).into(), program, folder, arguments);
        process.begin();
        process
    }

    /// One that does not run yet, and will listen there; HTTP at any port of that address.
    pub(crate) fn at(
        tcp: SocketAddr,
        program: &'static str,
        folder: TempDir,
        arguments: Vec<String>,
    ) -> Self {
        Self {
            program,
            child: None,
            folder,
            arguments,
            tcp,
            http: (tcp.ip(), 0).into(),
            log: Arc::default(),
        }
    }

    /// Starts it, again after [`Self::kill`] with what it had and at the same ports, and waits until it listens.
    ///
    /// # Panics
    /// It does not listen in time.
    pub fn begin(&mut self) {
        let mut child = Command::new(binary(self.program))
            .current_dir(self.folder.path())
            .arg(format!("--tcp-address={}", self.tcp))
            .arg(format!("--http-address={}", self.http))
            .arg(format!("--broadcast-address={}", self.tcp.ip()))
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        self.child = Some(child);
        let (sender, lines) = mpsc::channel();
        let log = self.log.clone();
        // Until it ends: a full pipe would stop it.
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let mut log = log.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
                drop(log);
                // Nobody listens once it is up.
                let _ = sender.send(line);
            }
        });
        // In whichever order.
        let (mut tcp, mut http) = (None, None);
        let until = Instant::now() + SOON;
        while tcp.is_none() || http.is_none() {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(line) = lines.recv_timeout(left) else {
                self.kill();
                panic!("{} does not listen; its log:\n{}", self.program, self.log());
            };
            let address = |kind: &str| line.split_once(kind)?.1.parse().ok();
            tcp = tcp.or_else(|| address("TCP: listening on "));
            http = http.or_else(|| address("HTTP: listening on "));
        }
        (self.tcp, self.http) = (tcp.unwrap(), http.unwrap());
    }

    /// Ends it the hard way.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only if it is gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Its number, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Where clients reach it.
    #[must_use]
    pub fn tcp(&self) -> SocketAddr {
        self.tcp
    }

    /// Where it tells its numbers.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where it runs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Asks over HTTP; the body of the answer.
    ///
    /// # Panics
    /// There is no good answer in time.
    pub fn ask(&self, method: &str, path: &str) -> String {
        let mut stream = TcpStream::connect_timeout(&self.http, SOON).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        write!(
            stream,
            "{method} /{path} HTTP/1.0\r\nContent-Length: 0\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let good = head.split(' ').nth(1) == Some("200");
        assert!(good, "{method} /{path}: {answer}");
        body.to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(40)..];
            eprintln!("end of the log of {}:\n{}\n", self.program, last.join("\n"));
        }
    }
}

/// An address of the loopback network (127.0.0.0/8) that no other process of a test has.
fn own_address() -> Ipv4Addr {
    static STARTED: AtomicU8 = AtomicU8::new(0);
    let [.., high, low] = std::process::id().to_be_bytes();
    let number = STARTED.fetch_add(1, Ordering::Relaxed);
    // 127.0.0.1 is for all others.
    Ipv4Addr::new(127, high | 0x80, low, number % 254 + 1)
}
