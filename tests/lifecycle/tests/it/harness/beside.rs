//! A second installation beside the one that the other tests use, with settings and images of its own.

use std::{path::PathBuf, process::Command};

use tempfile::TempDir;

use super::{
    Ran,
    containers::{tag_image, untag_image},
    kubernetes::{get, text},
    operator,
    programs::{program, run},
};

/// What an installation of PGO consists of, by the names of its images.
const IMAGES: [&str; 7] = [
    "pgo-apiserver",
    "pgo-reconciler",
    "pgo-scheduler",
    "pgo-event",
    "pgo-direct",
    "pgo-agent",
    "pgo-nsqd",
];

/// A setting that the installation of the other tests was installed with.
pub fn installed(name: &str) -> String {
    let reconciler = get("deployment", "reconciler", &operator()).expect("the reconciler");
    let env = reconciler["spec"]["template"]["spec"]["containers"][0]["env"].as_array();
    let mut env = env.into_iter().flatten();
    let found = env.find(|variable| variable["name"] == name);
    text(found.expect("the installer sets it"), "/value")
}

/// Where the images of the second installation seem to come from.
pub const PREFIX: &str = "registry.example/mirror";
const POSTGRES: &str = "registry.example/mirror/crunchy-postgres";

/// The images of what is installed under names of their own, on every node; these go with this value.
pub struct Mirror {
    /// The tag of all of them.
    pub tag: &'static str,
}

impl Mirror {
    /// Gives them, with this tag.
    pub fn made(own: &'static str) -> Self {
        let (prefix, tag) = (installed("PGO_IMAGE_PREFIX"), installed("PGO_IMAGE_TAG"));
        for name in IMAGES {
            tag_image(
                &format!("{prefix}/{name}:{tag}"),
                &format!("{PREFIX}/{name}:{own}"),
            );
        }
        let (prefix, tag) = (installed("CCP_IMAGE_PREFIX"), installed("CCP_IMAGE_TAG"));
        tag_image(
            &format!("{prefix}/crunchy-postgres:{tag}"),
            &format!("{POSTGRES}:{own}"),
        );
        Self { tag: own }
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        for name in IMAGES {
            untag_image(&format!("{PREFIX}/{name}:{}", self.tag));
        }
        untag_image(&format!("{POSTGRES}:{}", self.tag));
    }
}

/// An installation of a test; all of it goes with this value.
pub struct Beside {
    /// Its own namespace, and the name of the installation.
    pub name: &'static str,
    /// The namespaces of its clusters.
    pub namespaces: Vec<String>,
    files: TempDir,
}

impl Beside {
    /// A name for it; nothing is made yet.
    pub fn named(name: &'static str) -> Self {
        let files = TempDir::new().expect("a folder");
        Self {
            name,
            namespaces: vec![format!("{name}-clusters")],
            files,
        }
    }

    /// The same with clusters in another namespace, too.
    pub fn with_another_namespace(mut self) -> Self {
        self.namespaces.push(format!("{}-others", self.name));
        self
    }

    /// The namespace of its clusters; the first, where there are several.
    pub fn clusters(&self) -> String {
        self.namespaces[0].clone()
    }

    /// A program of the project with the settings of this installation.
    fn command(&self, command: &[&str], settings: &[(&str, &str)]) -> Ran {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut command_ = Command::new(command[0]);
        command_
            .args(&command[1..])
            .current_dir(root)
            .env("PGO_OPERATOR_NAMESPACE", self.name)
            .env("PGO_INSTALLATION_NAME", self.name)
            .env("NAMESPACE", self.namespaces.join(","))
            .env("PGO_CLIENT_DIR", self.files.path())
            .envs(settings.iter().copied());
        run(command_, "")
    }

    /// `make install`, which succeeds.
    pub fn install(&self, settings: &[(&str, &str)]) {
        let ran = self
            .command(&["make", "--no-print-directory", "install"], settings)
            .ok();
        assert!(ran.out.contains("PGO is ready"), "{ran}");
    }

    fn file(&self, name: &str) -> String {
        self.files.path().join(name).to_string_lossy().into_owned()
    }

    /// host:port of its REST interface.
    pub fn address(&self) -> String {
        let service = get("service", "postgres-operator", self.name).expect("its Service");
        format!("{}:8443", text(&service, "/spec/clusterIP"))
    }

    /// `pgo` of a user of this installation; over plain HTTP as its variable says.
    pub fn pgo(&self, arguments: &[&str], scheme: &str) -> Ran {
        let mut command = program("pgo", arguments);
        command
            .env(
                "PGO_APISERVER_URL",
                format!("{scheme}://{}", self.address()),
            )
            .env("PGOUSER", self.file("pgouser"))
            .env("PGO_NAMESPACE", self.clusters());
        for (variable, name) in [
            ("PGO_CA_CERT", "ca.crt"),
            ("PGO_CLIENT_CERT", "client.crt"),
            ("PGO_CLIENT_KEY", "client.key"),
        ] {
            match scheme {
                "https" => command.env(variable, self.file(name)),
                _ => command.env_remove(variable).env("DISABLE_TLS", "true"),
            };
        }
        run(command, "")
    }

    /// The status and body of an answer to a request without any certificate.
    pub fn curl(&self, url: &str) -> Ran {
        let ca = self.file("ca.crt");
        let out = [
            "--silent",
            "--show-error",
            "--max-time",
            "10",
            "--cacert",
            &ca,
        ];
        let show = ["--write-out", " %{http_code}", url];
        run(program("curl", &[&out[..], &show[..]].concat()), "")
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let all = [
            "deploy/install/uninstall.sh",
            "--delete-clusters",
            "--delete-namespaces",
        ];
        let ran = self.command(&all, &[]);
        if !ran.status.success() {
            eprintln!("what was installed for the test is left: {ran}");
        }
    }
}
