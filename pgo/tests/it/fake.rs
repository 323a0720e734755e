//! An apiserver in this process, which answers as a test says, and the real client against it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

/// What the client sent.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// Path with query.
    pub path: String,
    /// User and password.
    pub credentials: String,
    pub body: Value,
}

impl Request {
    pub fn route(&self) -> &str {
        self.path.split('?').next().unwrap()
    }

    pub fn query(&self, name: &str) -> Option<String> {
        let query = self.path.split_once('?')?.1;
        query.split('&').find_map(|pair| {
            let (have, value) = pair.split_once('=')?;
            (have == name).then(|| value.to_owned())
        })
    }
}

/// What the fake answers.
pub enum Reply {
    Json(Value),
    Text(u16, &'static str),
    /// A stream of lines; it ends with the function.
    Lines(Box<Lines>),
    /// The connection is closed without an answer.
    Nothing,
}

pub type Lines = dyn FnOnce(&mut dyn Write);

impl Reply {
    pub fn lines(write: impl FnOnce(&mut dyn Write) + 'static) -> Self {
        Self::Lines(Box::new(write))
    }
}

pub struct Fake {
    pub port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
}

pub type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

/// Both directions of a connection.
pub trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

impl Fake {
    /// Without TLS.
    pub fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::with(handler, |tcp| Some(Box::new(tcp)))
    }

    /// `accept` makes of a connection what is spoken over; `None` where that fails.
    pub fn with(
        handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
        accept: impl Fn(std::net::TcpStream) -> Option<Box<dyn Stream>> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (handler, accept, seen) = (Arc::new(handler), Arc::new(accept), requests.clone());
        thread::spawn(move || {
            for tcp in listener.incoming().map_while(Result::ok) {
                let (handler, accept, seen) = (handler.clone(), accept.clone(), seen.clone());
                thread::spawn(move || {
                    if let Some(mut stream) = accept(tcp) {
                        serve(&mut *stream, &*handler, &seen);
                    }
                });
            }
        });
        Self { port, requests }
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// The client with arguments, in a clean environment that points at this apiserver.
    pub fn pgo(&self, arguments: &[&str]) -> Command {
        let mut command = pgo(arguments);
        command
            .env(
                "PGO_APISERVER_URL",
                format!("http://127.0.0.1:{}", self.port),
            )
            .env("DISABLE_TLS", "true")
            .env("PGO_NAMESPACE", "pgouser1")
            .env("PGOUSERNAME", "pgoadmin")
            .env("PGOUSERPASS", "examplepassword");
        command
    }
}

/// The client with arguments and no environment at all.
pub fn pgo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgo"));
    command.env_clear().args(arguments).stdin(Stdio::null());
    command
}

/// A standard stream that nobody reads any more.
pub fn unread() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// Runs it to its end, which must come in time.
pub fn run(command: &mut Command) -> Ran {
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    finish(child)
}

/// Waits for the end of a client that was spawned with pipes.
pub fn finish(child: Child) -> Ran {
    let id = child.id();
    let (done, ended) = std::sync::mpsc::channel();
    thread::spawn(move || done.send(child.wait_with_output()));
    match ended.recv_timeout(Duration::from_secs(60)) {
        Ok(output) => output.unwrap().into(),
        Err(_) => panic!("the client, process {id}, did not end within 60 s"),
    }
}

/// How it ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Looks until something is so, at most ten seconds.
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !so() {
        assert!(Instant::now() < deadline, "waited 10 s for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Holds a connection open until the client is gone or ten seconds are over.
pub fn hold(out: &mut dyn Write) {
    for _ in 0..200 {
        thread::sleep(Duration::from_millis(50));
        if out.write_all(b"\n").and_then(|()| out.flush()).is_err() {
            return;
        }
    }
}

fn serve(stream: &mut dyn Stream, handler: &Handler, seen: &Mutex<Vec<Request>>) {
    let Some(request) = read(stream) else { return };
    seen.lock().unwrap().push(request.clone());
    let (status, kind, body) = match handler(&request) {
        Reply::Nothing => return,
        Reply::Json(value) => (200, "application/json", format!("{value}\n")),
        Reply::Text(status, text) => (status, "text/plain; charset=utf-8", text.to_owned()),
        Reply::Lines(write) => {
            head(stream, 200, "application/x-ndjson", None);
            write(stream);
            return;
        }
    };
    head(stream, status, kind, Some(body.len()));
    // The client may be gone; its own output is what is judged.
    let _ = stream.write_all(body.as_bytes());
    let _ = stream.flush();
}

fn head(stream: &mut dyn Stream, status: u16, kind: &str, length: Option<usize>) {
    let length = length.map_or(String::new(), |n| format!("Content-Length: {n}\r\n"));
    let text =
        format!("HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\n{length}Connection: close\r\n\r\n");
    let _ = stream.write_all(text.as_bytes());
    let _ = stream.flush();
}

fn read(stream: &mut dyn Stream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let (mut length, mut credentials) = (0, String::new());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "authorization" => {
                let encoded = value.strip_prefix("Basic ").unwrap();
                credentials = String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap();
            }
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request {
        method,
        path,
        credentials,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    })
}
