//! Patroni, in pods like those of PGO: `tests/lifecycle/patroni` has its image, configuration and manifests.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    harness::{
        containers::import_image,
        faults::postmaster,
        kubectl,
        kubernetes::{apply, get, list, text},
        programs::{program, run},
        sql::Database,
        until,
        until::seen,
    },
    subject::Subject,
};

/// The namespace of all of it.
const NAMESPACE: &str = "bench-patroni";

/// How long it may take until all instances stream; Patroni looks every 10 s by default, and may copy one anew.
const WHOLE: Duration = Duration::from_secs(240);

/// How long the namespace of a run before may take to be gone.
const GONE: &str = "120s";

/// How often Patroni looks, in seconds.
#[derive(Clone, Copy)]
pub struct Pace {
    /// How long the leader's lock is good for.
    ttl: u8,
    /// From one look to the next.
    loop_wait: u8,
    /// How long requests to etcd and PostgreSQL are tried again.
    retry_timeout: u8,
}

impl Pace {
    /// Patroni's own.
    pub const DEFAULT: Self = Self {
        ttl: 30,
        loop_wait: 10,
        retry_timeout: 10,
    };

    /// The lowest that its documentation permits ("Dynamic Configuration Settings").
    pub const FASTEST: Self = Self {
        ttl: 20,
        loop_wait: 1,
        retry_timeout: 3,
    };
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            ttl,
            loop_wait,
            retry_timeout,
        } = self;
        write!(
            f,
            "ttl {ttl}, loop_wait {loop_wait}, retry_timeout {retry_timeout}"
        )
    }
}

/// A running one; all of it goes with this value.
pub struct Patroni {
    /// For the superuser, and for the client.
    superuser: Database,
    client: Database,
}

impl Patroni {
    /// Three instances that stream.
    pub fn begin(pace: Pace) -> Self {
        let image = image();
        remove("--wait=true");
        apply(&json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
        }))
        .ok();
        let password = password();
        let database = |user: &str| Database {
            address: String::new(),
            user: user.to_owned(),
            password: password.clone(),
        };
        // From here on all of it is removed, whatever fails.
        let mut made = Self {
            superuser: database("postgres"),
            client: database("testuser"),
        };
        made.configure(pace);
        let manifests = fs::read_to_string(folder().join("manifests.yaml")).expect("it is there");
        let manifests = manifests
            .replace("@NAMESPACE@", NAMESPACE)
            .replace("@IMAGE@", &image);
        run(program("kubectl", &["apply", "-f", "-"]), &manifests).ok();
        let service = get("service", "patroni", NAMESPACE).expect("it was made");
        made.superuser.address = text(&service, "/spec/clusterIP");
        made.client.address = made.superuser.address.clone();
        made.make_database();
        made.until_all_stream("its creation");
        made
    }

    /// What the pods mount.
    fn configure(&self, pace: Pace) {
        let files = TempDir::new().expect("a folder");
        let file = |name: &str| files.path().join(name).to_string_lossy().into_owned();
        let own = fs::read_to_string(folder().join("patroni.yaml")).expect("it is there");
        let of_pace = [
            ("@TTL@", pace.ttl),
            ("@LOOP_WAIT@", pace.loop_wait),
            ("@RETRY_TIMEOUT@", pace.retry_timeout),
        ];
        let own = of_pace.iter().fold(own, |text, (name, value)| {
            text.replace(name, &value.to_string())
        });
        fs::write(file("patroni.yaml"), own).expect("a file");
        let configuration = format!("--from-file={}", file("patroni.yaml"));
        let callback = format!("--from-file={}", folder().join("lead.sh").display());
        create(&["configmap", "patroni", &configuration, &callback]);

        // The client insists on TLS and does not look who answers, as with PGO.
        let (key, certificate) = (file("tls.key"), file("tls.crt"));
        let line = [
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=patroni",
        ];
        let line = [
            &line[..],
            &["-days", "30", "-keyout", &key, "-out", &certificate],
        ]
        .concat();
        run(program("openssl", &line), "").ok();
        let (key, certificate) = (format!("--key={key}"), format!("--cert={certificate}"));
        create(&["secret", "tls", "tls", &key, &certificate]);
        apply(&json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "passwords", "namespace": NAMESPACE},
            "stringData": {"superuser": self.superuser.password, "replication": password()},
        }))
        .ok();
    }

    /// The client's database, once there is a server.
    fn make_database(&self) {
        let Database { user, password, .. } = &self.client;
        let sql = format!(
            "CREATE ROLE {user} LOGIN PASSWORD '{password}';\nCREATE DATABASE {} OWNER {user};\n",
            Database::NAME
        );
        let made = until("a primary that Patroni made", WHOLE, || {
            let (primary, _) = roles_of(&members()?);
            let primary = primary.ok_or("nobody leads")?;
            let psql = [
                "exec",
                "-i",
                "-n",
                NAMESPACE,
                &primary,
                "--",
                "psql",
                "--host=/tmp",
                "--user",
                "postgres",
                "--set",
                "ON_ERROR_STOP=1",
            ];
            Ok::<_, String>(run(program("kubectl", &psql), &sql))
        });
        made.ok();
    }

    /// What is missing until all is well.
    fn look(&self) -> Result<(), String> {
        let members = members()?;
        let told = || Value::from(members.clone()).to_string();
        let timeline = members.first().map(|one| one["timeline"].clone());
        let running = members.iter().filter(|one| {
            matches!(one["state"].as_str(), Some("running" | "streaming"))
                && Some(&one["timeline"]) == timeline.as_ref()
        });
        let (primary, replicas) = roles_of(&members);
        seen(
            running.count() == 3 && primary.is_some() && replicas.len() == 2,
            told,
        )?;
        for pod in list("pods", "app=etcd", NAMESPACE) {
            ask(&format!(
                "http://{}:2379/health",
                text(&pod, "/status/podIP")
            ))?;
        }
        let streaming = self.superuser.psql(
            "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND NOT pg_is_in_recovery()",
        );
        seen(streaming.out.trim() == "2", || {
            format!("{streaming}; {}", told())
        })
    }
}

impl Subject for Patroni {
    fn database(&self) -> Database {
        self.client.clone()
    }

    fn namespace(&self) -> String {
        NAMESPACE.to_owned()
    }

    fn until_all_stream(&self, after: &str) {
        let what = format!("Patroni's instances as before, after {after}");
        until(&what, WHOLE, || self.look());
    }

    fn roles(&self) -> (String, Vec<String>) {
        let (primary, replicas) = roles_of(&members().expect("Patroni answers"));
        (primary.expect("somebody leads"), replicas)
    }

    fn switch_over(&self, primary: &str, to: &str) {
        let line = [
            "exec",
            "-n",
            NAMESPACE,
            primary,
            "--",
            "patronictl",
            "-c",
            "/etc/patroni/patroni.yaml",
            "switchover",
            "bench",
            "--leader",
            primary,
            "--candidate",
            to,
            "--force",
        ];
        let ran = kubectl(&line).ok();
        assert!(ran.out.contains("Successfully switched over"), "{ran}");
    }

    fn promoted(&self) -> SystemTime {
        let members = members().expect("Patroni answers");
        let (primary, _) = roles_of(&members);
        let primary = primary.expect("somebody leads");
        let timeline = members.first().and_then(|one| one["timeline"].as_u64());
        let timeline = timeline.expect("its timeline");
        let pod = get("pod", &primary, NAMESPACE).expect("its pod");
        let server = postmaster(&pod).expect("its postmaster");
        // PostgreSQL writes it when it begins a timeline, and never again. A postmaster works in its data directory.
        let history = format!("/proc/{server}/cwd/pg_wal/{timeline:08X}.history");
        let written = fs::metadata(&history).and_then(|file| file.modified());
        written.unwrap_or_else(|error| panic!("{history}: {error}"))
    }
}

impl Drop for Patroni {
    fn drop(&mut self) {
        remove("--wait=false");
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("patroni")
}

/// The image, on every node; its name.
fn image() -> String {
    let script = folder().join("image.sh");
    let built = program(&script.to_string_lossy(), &[]).output();
    let built = built.expect("image.sh can be started");
    let (out, err) = (
        String::from_utf8_lossy(&built.stdout),
        String::from_utf8_lossy(&built.stderr),
    );
    let (image, archive) = out
        .trim()
        .split_once(' ')
        .unwrap_or_else(|| panic!("image.sh says no image: {err}"));
    import_image(archive);
    image.to_owned()
}

/// Removes all of it, of an interrupted run, too.
fn remove(wait: &str) {
    let timeout = format!("--timeout={GONE}");
    let line = ["delete", "namespace", NAMESPACE, "--ignore-not-found"];
    let ran = run(
        program("kubectl", &[&line[..], &[wait, &timeout]].concat()),
        "",
    );
    if !ran.status.success() {
        eprintln!("namespace {NAMESPACE} is left: {ran}");
    }
}

fn create(what: &[&str]) {
    let line = [&["create", "-n", NAMESPACE], what].concat();
    kubectl(&line).ok();
}

/// 32 characters that nobody can guess.
fn password() -> String {
    let random = run(program("openssl", &["rand", "-hex", "16"]), "").ok();
    random.out.trim().to_owned()
}

/// What an address answers.
fn ask(url: &str) -> Result<String, String> {
    let line = ["--silent", "--show-error", "--fail", "--max-time", "2", url];
    let ran = run(program("curl", &line), "");
    if ran.status.success() {
        Ok(ran.out)
    } else {
        Err(ran.to_string())
    }
}

/// The members of the cluster as one of them tells, the leader first.
fn members() -> Result<Vec<Value>, String> {
    let mut said = String::from("there is no pod");
    for pod in list("pods", "app=patroni", NAMESPACE) {
        let address = text(&pod, "/status/podIP");
        match ask(&format!("http://{address}:8008/cluster")) {
            Ok(answer) => {
                let answer: Value =
                    serde_json::from_str(&answer).map_err(|error| error.to_string())?;
                let mut members = answer["members"].as_array().cloned().unwrap_or_default();
                members.sort_by_key(|one| one["role"] != "leader");
                return Ok(members);
            }
            Err(error) => said = error,
        }
    }
    Err(said)
}

/// Who leads, and who does not.
fn roles_of(members: &[Value]) -> (Option<String>, Vec<String>) {
    let (leaders, others): (Vec<&Value>, Vec<&Value>) =
        members.iter().partition(|one| one["role"] == "leader");
    let name = |one: &&Value| text(one, "/name");
    (leaders.first().map(name), others.iter().map(name).collect())
}
