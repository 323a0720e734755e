//! An nsqd for one measurement.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};
use tempfile::TempDir;

/// Messages that fit into memory: more than any measurement has.
const MEMORY_QUEUE: &str = "--mem-queue-size=1000000";

/// How long nsqd may take for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Ends with this value.
pub struct Nsqd {
    process: Child,
    tcp: SocketAddr,
    http: SocketAddr,
    _folder: TempDir,
}

impl Nsqd {
    pub fn start() -> anyhow::Result<Self> {
        let folder = TempDir::new()?;
        let mut process = Command::new(binary()?)
            .current_dir(folder.path())
            .args(["--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0"])
            .args(["--https-address=", MEMORY_QUEUE])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start nsqd")?;
        let log = process.stderr.take().context("nsqd has no log")?;
        let mut lines = BufReader::new(log).lines();
        let (mut tcp, mut http) = (None, None);
        let addr = |line: &str, kind: &str| line.split_once(kind)?.1.parse().ok();
        while tcp.is_none() || http.is_none() {
            let Some(line) = lines.next().transpose()? else {
                bail!("nsqd ended before it listened");
            };
            tcp = tcp.or_else(|| addr(&line, "TCP: listening on "));
            http = http.or_else(|| addr(&line, "HTTP: listening on "));
        }
        // Its log must be read as long as it lives.
        std::thread::spawn(move || lines.for_each(drop));
        let (Some(tcp), Some(http)) = (tcp, http) else {
            bail!("nsqd does not listen");
        };
        Ok(Self {
            process,
            tcp,
            http,
            _folder: folder,
        })
    }

    pub fn address(&self) -> String {
        self.tcp.to_string()
    }

    /// Makes a channel, so that messages wait in it and not in the topic.
    pub fn make_channel(&self, topic: &str, channel: &str) -> anyhow::Result<()> {
        for path in [
            format!("topic/create?topic={topic}"),
            format!("channel/create?topic={topic}&channel={channel}"),
        ] {
            let mut stream = TcpStream::connect_timeout(&self.http, ANSWER_WITHIN)?;
            stream.set_read_timeout(Some(ANSWER_WITHIN))?;
            write!(stream, "POST /{path} HTTP/1.0\r\nContent-Length: 0\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            if answer.split(' ').nth(1) != Some("200") {
                bail!("nsqd refuses {path}: {answer}");
            }
        }
        Ok(())
    }
}

impl Drop for Nsqd {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn binary() -> anyhow::Result<PathBuf> {
    let given = std::env::var_os("NSQD_BIN").map(PathBuf::from);
    let built = || std::env::var_os("PGO_BIN").map(|bin| PathBuf::from(bin).join("nsqd"));
    let path = given
        .or_else(built)
        .context("set NSQD_BIN to an nsqd, or use make bench")?;
    if !path.is_file() {
        bail!("there is no nsqd at {}", path.display());
    }
    Ok(path)
}
