//! A process of NSQ with a loopback address and a folder of its own, gone when the value is.

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
    time::Instant,
};

use pgo_nsqd::binary;
use rustix::process::Pid;
use tempfile::TempDir;

use super::harness::SOON;

pub struct Process {
    program: &'static str,
    child: Child,
    folder: TempDir,
    arguments: Vec<String>,
    pub tcp: SocketAddr,
    pub http: SocketAddr,
    log: Arc<Mutex<String>>,
}

impl Process {
    /// `nsqd` or `nsqlookupd`, in `folder`.
    pub fn start(program: &'static str, folder: TempDir, arguments: &[&str]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        let any: SocketAddr = (own_address(), 0).into();
        let log = Arc::default();
        let (child, tcp, http) = spawn(program, &folder, &arguments, any, any, &log);
        Self {
            program,
            child,
            folder,
            arguments,
            tcp,
            http,
            log,
        }
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The same again at the same ports, after [`kill`](Self::kill).
    pub fn restart(&mut self) {
        let (child, ..) = spawn(
            self.program,
            &self.folder,
            &self.arguments,
            self.tcp,
            self.http,
            &self.log,
        );
        self.child = child;
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// The body of the answer, which must be a good one.
    pub fn http(&self, method: &str, path: &str) -> String {
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
        // Both fail only if it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("log of {}:\n{}", self.program, self.log());
        }
    }
}

/// An address of the loopback network (127.0.0.0/8) that no other process of a test has. While a process is away, to be
/// started again at the same ports, nobody else gets them.
fn own_address() -> Ipv4Addr {
    static STARTED: AtomicU8 = AtomicU8::new(0);
    let [.., high, low] = std::process::id().to_be_bytes();
    let number = STARTED.fetch_add(1, Ordering::Relaxed);
    // 127.0.0.1 is for all others.
    Ipv4Addr::new(127, high | 0x80, low, number % 254 + 1)
}

/// Starts the process and waits until it listens; gives the ports that it has.
fn spawn(
    program: &str,
    folder: &TempDir,
    arguments: &[String],
    tcp: SocketAddr,
    http: SocketAddr,
    log: &Arc<Mutex<String>>,
) -> (Child, SocketAddr, SocketAddr) {
    let mut child = Command::new(binary(program))
        .current_dir(folder.path())
        .arg(format!("--tcp-address={tcp}"))
        .arg(format!("--http-address={http}"))
        .arg(format!("--broadcast-address={}", tcp.ip()))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();

    let stderr = BufReader::new(child.stderr.take().unwrap());
    let (sender, lines) = mpsc::channel();
    let log_of_thread = log.clone();
    std::thread::spawn(move || {
        for line in stderr.lines().map_while(Result::ok) {
            let mut log = log_of_thread.lock().unwrap();
            log.push_str(&line);
            log.push('\n');
            drop(log);
            // Nobody listens once both ports are known.
            let _ = sender.send(line);
        }
    });

    let (mut tcp, mut http) = (None, None);
    let until = Instant::now() + SOON;
    while tcp.is_none() || http.is_none() {
        let left = until.saturating_duration_since(Instant::now());
        let Ok(line) = lines.recv_timeout(left) else {
            let _ = child.kill();
            let _ = child.wait();
            let log = log.lock().unwrap().clone();
            panic!("{program} does not listen; its log:\n{log}");
        };
        let port = |kind: &str| line.split_once(kind).map(|(_, at)| at.parse().unwrap());
        tcp = tcp.or_else(|| port("TCP: listening on "));
        http = http.or_else(|| port("HTTP: listening on "));
    }
    (child, tcp.unwrap(), http.unwrap())
}
