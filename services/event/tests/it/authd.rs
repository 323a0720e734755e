//! What nsqd asks what a client may do, where no event service of ours answers it: everything is allowed.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
};

const ANSWER: &str = r#"{"ttl":3600,"identity":"test","identity_url":"","authorizations":[{"topic":".*","channels":[".*"],"permissions":["publish","subscribe"]}]}"#;

/// Answers until the process ends.
pub fn start() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Who goes away early does not need the answer.
            let _ = answer(stream);
        }
    });
    addr
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    while lines
        .next()
        .transpose()?
        .is_some_and(|line| !line.is_empty())
    {}
    let length = ANSWER.len();
    write!(
        stream,
        "HTTP/1.0 200 OK\r\nContent-Length: {length}\r\n\r\n{ANSWER}"
    )
}
