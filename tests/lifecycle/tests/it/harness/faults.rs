//! Faults of the local Kubernetes and of what runs on it: its nodes are network namespaces and processes of this machine.
//! Whatever is stopped or cut goes on when the value that stands for it goes, also where a test failed.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use serde_json::Value;

use super::{
    Ran,
    containers::{local_folder, process},
    kubectl,
    kubernetes::{get, text},
    namespace,
    programs::{program, run},
    until,
    until::seen,
};

/// The container of an instance that holds agent and PostgreSQL.
const CONTAINER: &str = "database";

/// How long the processes of a deleted pod may take to end.
const ENDS: Duration = Duration::from_secs(60);

/// The processes below one, itself first.
fn family(of: u32) -> Vec<u32> {
    let mut all = vec![of];
    let mut at = 0;
    while let Some(parent) = all.get(at).copied() {
        let tasks = fs::read_dir(format!("/proc/{parent}/task"));
        for task in tasks.into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            all.extend(
                children
                    .split_whitespace()
                    .filter_map(|id| id.parse::<u32>().ok()),
            );
        }
        at += 1;
    }
    all
}

/// The words of a process's command line.
fn words(process: u32) -> Vec<String> {
    let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    let words = line.split(|byte| *byte == 0);
    words
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect()
}

/// The first process in a pod's database container, oldest first, whose command line is like this.
fn in_pod(pod: &Value, is_it: impl Fn(&[String]) -> bool) -> Option<u32> {
    let all = family(process(pod, CONTAINER)?);
    all.into_iter().find(|id| is_it(&words(*id)))
}

/// The postmaster of an instance.
pub fn postmaster(pod: &Value) -> Option<u32> {
    in_pod(pod, |words| {
        words
            .first()
            .is_some_and(|name| name.ends_with("/postgres"))
    })
}

/// The process of an instance's agent that decides; neither process 1 nor the guard.
pub fn agent(pod: &Value) -> Option<u32> {
    in_pod(pod, |words| words.get(1).is_some_and(|role| role == "run"))
}

/// Deletes the pod of an instance in this way, and waits until its processes have ended: Kubernetes tells of a deletion
/// before the kubelet has done anything.
pub fn delete(pod: &Value, how: &[&str]) {
    let first = process(pod, CONTAINER).expect("its process 1");
    let name = text(pod, "/metadata/name");
    let namespace = text(pod, "/metadata/namespace");
    let mut line = vec!["delete", "pod", &name, "-n", &namespace, "--wait=false"];
    line.extend(how);
    kubectl(&line).ok();
    until("the end of the pod's processes", ENDS, || {
        let there = Path::new(&format!("/proc/{first}")).exists();
        seen(!there, || format!("process {first} is there"))
    });
}

/// Processes that do nothing until this value goes.
pub struct Stopped(Vec<u32>);

fn signal(signal: &str, processes: &[u32]) -> Option<Ran> {
    let numbers: Vec<String> = processes.iter().map(u32::to_string).collect();
    let mut arguments = vec![signal];
    arguments.extend(numbers.iter().map(String::as_str));
    (!numbers.is_empty()).then(|| run(program("kill", &arguments), ""))
}

impl Stopped {
    /// Stops these.
    pub fn begin(processes: Vec<u32>) -> Self {
        // Some may have ended meanwhile, of which kill tells by its status.
        let _ = signal("-STOP", &processes);
        Self(processes)
    }

    /// Stops everything on a node: its pods, and what Kubernetes has there.
    pub fn node(node: &str) -> Self {
        let mut all = of_kubernetes(&format!("{node}-"));
        all.extend(in_cgroup(node));
        assert!(all.len() > 3, "{node} has hardly any process: {all:?}");
        Self::begin(all)
    }

    /// Stops a process of the local Kubernetes itself, such as `apiserver` or `etcd`.
    pub fn of_kubernetes(name: &str) -> Self {
        let found = of_kubernetes(name);
        assert_eq!(found.len(), 1, "processes with the name {name}: {found:?}");
        Self::begin(found)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = signal("-CONT", &self.0);
    }
}

/// The processes that `deploy/local` started under names that begin so.
fn of_kubernetes(prefix: &str) -> Vec<u32> {
    let records =
        fs::read_dir(local_folder().join("processes")).expect("the local Kubernetes runs");
    let records = records.flatten().filter(|record| {
        let name = record.file_name().to_string_lossy().into_owned();
        name == prefix || (prefix.ends_with('-') && name.starts_with(prefix))
    });
    let recorded = records.filter_map(|record| fs::read_to_string(record.path()).ok());
    recorded
        .filter_map(|record| record.split_whitespace().next()?.parse().ok())
        .collect()
}

/// All processes in the cgroup of a node, with cgroups of either version.
fn in_cgroup(node: &str) -> Vec<u32> {
    let mut found = Vec::new();
    let roots = fs::read_dir("/sys/fs/cgroup").expect("cgroups").flatten();
    let roots = roots
        .map(|root| root.path())
        .chain([PathBuf::from("/sys/fs/cgroup")]);
    for root in roots {
        collect(&root.join("pgo-local").join(node), &mut found);
    }
    found.sort_unstable();
    found.dedup();
    found
}

fn collect(folder: &Path, found: &mut Vec<u32>) {
    let processes = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    found.extend(
        processes
            .split_whitespace()
            .filter_map(|id| id.parse::<u32>().ok()),
    );
    for below in fs::read_dir(folder).into_iter().flatten().flatten() {
        if below.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&below.path(), found);
        }
    }
}

/// A node without a network, until this value goes.
pub struct Cut(String);

impl Cut {
    /// Cuts it off from the other nodes, the API server and the clients on the host.
    pub fn begin(node: &str) -> Self {
        let link = format!("pgo-{node}");
        run(program("ip", &["link", "set", &link, "down"]), "").ok();
        Self(link)
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        let _ = run(program("ip", &["link", "set", &self.0, "up"]), "");
    }
}

/// The volume of an instance without any room, until this value goes.
pub struct Full(PathBuf);

impl Full {
    /// Fills it.
    pub fn begin(instance: &str) -> Self {
        let claim = get("persistentvolumeclaim", instance, &namespace()).expect("its claim");
        let volume =
            get("persistentvolume", &text(&claim, "/spec/volumeName"), "").expect("its volume");
        let filler = PathBuf::from(text(&volume, "/spec/local/path")).join("filler");
        let mut file = File::create(&filler).expect("a file on the volume");
        let zeros = vec![0; 1 << 20];
        // Smaller and smaller, so that nothing is left.
        for piece in [1 << 20, 1 << 12, 1] {
            while file.write_all(&zeros[..piece]).is_ok() {}
        }
        Self(filler)
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Ends a process of the local Kubernetes itself the hard way and starts it again.
pub fn restart(name: &str) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/local/restart.sh");
    run(program(&script.to_string_lossy(), &[name]), "").ok();
}

/// Lets a fault last.
pub fn last(time: Duration) {
    thread::sleep(time);
}

/// More work than this machine has processors for, until it ends with this value.
pub struct Busy {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Busy {
    /// From now on: two threads for each processor compute, and never wait.
    pub fn begin() -> Self {
        let over = Arc::<AtomicBool>::default();
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let compute = |over: Arc<AtomicBool>| {
            move || {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            }
        };
        let threads = (0..2 * processors).map(|_| thread::spawn(compute(over.clone())));
        let threads = threads.collect();
        Self { over, threads }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
