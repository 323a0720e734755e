//! The processes that are started, and what the system says of them.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::Path,
    process::{Child, ChildStdin, Command},
    time::{Duration, Instant},
};

use anyhow::Context as _;

/// Ticks of `/proc/<pid>/stat` in a second (proc(5); `getconf CLK_TCK` on every Linux there is).
const TICKS: f64 = 100.0;

/// Processor time in a second below which a process has nothing to do any more.
const CALM_SHARE: f64 = 5.0;

/// How long that may take.
const CALM_LIMIT: Duration = Duration::from_secs(300);

/// A process that ends with this value.
pub struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a process has used and uses.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    at: Instant,
    /// Processor time since its start, in seconds.
    processor: f64,
    /// Resident memory, in MiB.
    pub resident: f64,
    /// What of it is not from files, in MiB.
    pub anonymous: f64,
    /// The most it ever had, in MiB.
    pub peak: f64,
}

impl Usage {
    /// Share of a core since then, in per cent.
    pub fn share_since(&self, before: Self) -> f64 {
        (self.processor - before.processor) / self.at.duration_since(before.at).as_secs_f64()
            * 100.0
    }
}

impl Process {
    /// Starts it; what it says goes into this file.
    ///
    /// # Errors
    /// There is no such program, or the file cannot be made.
    pub fn start(mut command: Command, log: &Path) -> anyhow::Result<Self> {
        let file = File::create(log).with_context(|| format!("make {}", log.display()))?;
        let child = command
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("start {command:?}"))?;
        Ok(Self(child))
    }

    /// Its standard input, once.
    ///
    /// # Errors
    /// It was taken before.
    pub fn input(&mut self) -> anyhow::Result<ChildStdin> {
        self.0.stdin.take().context("its standard input")
    }

    /// What it uses now.
    ///
    /// # Errors
    /// It has ended.
    pub fn usage(&self) -> anyhow::Result<Usage> {
        let of = |file: &str| {
            let path = format!("/proc/{}/{file}", self.0.id());
            fs::read_to_string(&path).with_context(|| format!("read {path}; the process has ended"))
        };
        let status = of("status")?;
        let mib = |name: &str| -> anyhow::Result<f64> {
            let mut lines = status.lines();
            let value = lines.find_map(|line| line.strip_prefix(name)?.strip_suffix(" kB"));
            let kib: f64 = value
                .with_context(|| format!("{name} is not told"))?
                .trim()
                .parse()?;
            Ok(kib / 1024.0)
        };
        let stat = of("stat")?;
        // Its name, in brackets, may hold anything; after it, utime and stime are the 12th and 13th (proc(5)).
        let (_, rest) = stat.rsplit_once(')').context("stat without a name")?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks = |at: usize| -> anyhow::Result<f64> {
            Ok(fields.get(at).context("stat is short")?.parse()?)
        };
        Ok(Usage {
            at: Instant::now(),
            processor: (ticks(11)? + ticks(12)?) / TICKS,
            resident: mib("VmRSS:")?,
            anonymous: mib("RssAnon:")?,
            peak: mib("VmHWM:")?,
        })
    }

    /// Waits until it has nothing to do.
    ///
    /// # Errors
    /// It has ended, or is still busy after minutes.
    pub async fn until_calm(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        // The Lease of a former one lasts 15 s.
        tokio::time::sleep(Duration::from_secs(30)).await;
        let mut last = self.usage()?;
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            let now = self.usage()?;
            if now.share_since(last) < CALM_SHARE {
                return Ok(());
            }
            anyhow::ensure!(
                begun.elapsed() < CALM_LIMIT,
                "the process does not come to rest: {now:?}"
            );
            last = now;
        }
    }
}

/// A port that nobody has.
///
/// # Errors
/// There is none.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
