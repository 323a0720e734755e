//! An authentication service of a test's own: nsqd asks it, over HTTP, what a client with a secret may do.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};

/// What it answers: a status, and a body.
type Answer = (u16, String);

pub struct Authd {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// By secret; all others get 403.
    answers: Mutex<Vec<(String, Answer)>>,
    questions: Mutex<Vec<String>>,
}

impl Authd {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state: Arc<State> = Arc::default();
        let state_of_thread = Arc::downgrade(&state);
        // Ends with the process: a thread that waits for a connection can be ended by one only.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let Some(state) = state_of_thread.upgrade() else {
                    return;
                };
                serve(stream, &state);
            }
        });
        Self { address, state }
    }

    /// What makes an nsqd ask here.
    pub fn argument(&self) -> String {
        format!("--auth-http-address={}", self.address)
    }

    /// Lets those with this secret do as it says, for `ttl` seconds: `(topic, channel, permissions)`, the first two regular
    /// expressions.
    pub fn allow(&self, secret: &str, ttl: u64, rights: &[(&str, &str, &[&str])]) {
        let authorizations: Vec<Value> = rights
            .iter()
            .map(|(topic, channel, permissions)| {
                json!({"topic": topic, "channels": [channel], "permissions": permissions})
            })
            .collect();
        let answer = json!({
            "ttl": ttl, "identity": format!("the one with {secret}"), "identity_url": "",
            "authorizations": authorizations,
        });
        self.answer(secret, 200, answer.to_string());
    }

    /// Answers something else for this secret.
    pub fn answer(&self, secret: &str, status: u16, body: impl Into<String>) {
        let mut answers = self.state.answers.lock().unwrap();
        answers.retain(|(known, _)| known != secret);
        answers.push((secret.to_owned(), (status, body.into())));
    }

    /// The paths that were asked for.
    pub fn questions(&self) -> Vec<String> {
        self.state.questions.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, state: &State) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        // An nsqd that was killed leaves half a question.
        match reader.read_line(&mut head) {
            Ok(length) if length > 0 => {}
            _ => return,
        }
    }
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let (status, body) = state.judge(&path);
    state.questions.lock().unwrap().push(path);
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status} x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    let _ = stream.write_all(text.as_bytes());
}

impl State {
    fn judge(&self, path: &str) -> Answer {
        let answers = self.answers.lock().unwrap();
        let known = answers.iter().find(|(secret, _)| {
            let (_, query) = path.split_once('?').unwrap_or_default();
            query
                .split('&')
                .any(|pair| pair == format!("secret={secret}"))
        });
        known.map_or((403, String::new()), |(_, answer)| answer.clone())
    }
}
