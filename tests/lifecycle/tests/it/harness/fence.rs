//! Whether a primary had stopped when another instance became one.

use std::{
    fs,
    sync::{Arc, OnceLock},
    thread,
    time::{Duration, Instant, SystemTime},
};

use super::{
    kubernetes::{get, text},
    namespace,
    programs::{program, run},
};

/// Looks in the background for so long when a server, by its postmaster, takes no more writes: the process ends, or notes that
/// it was told to stop, upon which it ends its backends. (It may wait much longer for replicas, to which it sends what they
/// lack.)
pub fn end_of(postmaster: u32, limit: Duration) -> Arc<OnceLock<SystemTime>> {
    let (begun, end) = (Instant::now(), Arc::<OnceLock<SystemTime>>::default());
    // A postmaster works in its data directory.
    let file = format!("/proc/{postmaster}/cwd/postmaster.pid");
    thread::spawn({
        let end = end.clone();
        move || {
            while begun.elapsed() < limit {
                let noted = fs::read_to_string(&file);
                let stops = |noted: String| noted.lines().any(|line| line.trim() == "stopping");
                if noted.map_or(true, stops) {
                    let _ = end.set(SystemTime::now());
                    return;
                }
                thread::sleep(Duration::from_millis(2));
            }
        }
    });
    end
}

/// When the primary of a cluster was elected, by its Lease. The nodes share this machine's clock.
pub fn promoted(cluster: &str) -> SystemTime {
    let lease = get("lease", cluster, &namespace()).expect("it is there");
    let time = text(&lease, "/spec/acquireTime");
    // date reads what Kubernetes writes.
    let seconds = run(program("date", &["+%s.%N", "--date", &time]), "").ok();
    let seconds: f64 = seconds.out.trim().parse().expect("seconds");
    SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds)
}
