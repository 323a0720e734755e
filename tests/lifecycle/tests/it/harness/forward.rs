//! Ports of pods, through `kubectl port-forward`.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Stdio},
    time::Duration,
};

use super::{
    Ran,
    programs::{program, run},
    until,
};

/// How long it may take to be there.
const OPEN: Duration = Duration::from_secs(20);

/// A forwarded port; closed with this value.
pub struct Forward {
    child: Child,
    pub port: u16,
}

impl Forward {
    /// To a port of `target` (a pod's name, or `service/…`) that speaks plain HTTP, once it answers on `path`.
    pub fn to(target: &str, namespace: &str, port: u16, path: &str) -> Self {
        let forward = Self::begin(target, namespace, port);
        let what = format!("port {port} of {target}");
        until(&what, OPEN, || {
            let ran = forward.curl(path, &[]);
            if ran.status.success() {
                Ok(())
            } else {
                Err(ran.err)
            }
        });
        forward
    }

    /// To a port that speaks something else, once it takes connections.
    pub fn open(target: &str, namespace: &str, port: u16) -> Self {
        let forward = Self::begin(target, namespace, port);
        let address = SocketAddr::from(([127, 0, 0, 1], forward.port));
        until(&format!("port {port} of {target}"), OPEN, || {
            let connected = TcpStream::connect_timeout(&address, OPEN);
            connected.map(drop).map_err(|error| error.to_string())
        });
        forward
    }

    /// The same without looking whether it answers.
    pub fn begin(target: &str, namespace: &str, port: u16) -> Self {
        let local = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let ports = format!("{local}:{port}");
        let child = program(
            "kubectl",
            &["port-forward", target, "-n", namespace, &ports],
        )
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("kubectl port-forward");
        Self { child, port: local }
    }

    /// Asks with plain HTTP.
    pub fn curl(&self, path: &str, arguments: &[&str]) -> Ran {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let mut all = vec![
            "--silent",
            "--show-error",
            "--fail-with-body",
            "--max-time",
            "10",
            &url,
        ];
        all.extend(arguments);
        run(program("curl", &all), "")
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
