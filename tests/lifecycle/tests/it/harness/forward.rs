//! `kubectl port-forward`.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Stdio},
    time::Duration,
};

use super::{programs::program, until};

/// How long it may take to be there.
const OPEN: Duration = Duration::from_secs(20);

/// A forwarded port; closed with this value.
pub struct Forward {
    child: Child,
    /// The port on the loopback address.
    pub port: u16,
}

impl Forward {
    /// To a pod, or `deployment/name`, and a port of it.
    pub fn to(target: &str, namespace: &str, remote: u16) -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let ports = format!("{port}:{remote}");
        let child = program(
            "kubectl",
            &["port-forward", target, "-n", namespace, &ports],
        )
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("kubectl port-forward");
        let forward = Self { child, port };
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        until(&format!("port {remote} of {target}"), OPEN, || {
            let connected = TcpStream::connect_timeout(&address, OPEN);
            connected.map(drop).map_err(|error| error.to_string())
        });
        forward
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
