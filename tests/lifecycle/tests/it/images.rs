//! Any image that holds PostgreSQL makes a cluster.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::harness::{
    Cluster,
    containers::{import_image, untag_image},
    kubernetes::{get, text},
    operator, pgo,
    programs::{program, run},
    turns::together,
};

const NAME: &str = "other-postgres";
const TAG: &str = "small";

/// The prefix that clusters' images have.
fn prefix() -> String {
    let reconciler = get("deployment", "reconciler", &operator()).expect("the reconciler");
    let env = reconciler["spec"]["template"]["spec"]["containers"][0]["env"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let prefix = env
        .iter()
        .find(|variable| variable["name"] == "CCP_IMAGE_PREFIX");
    text(prefix.expect("the installer sets it"), "/value")
}

/// The image, on every node; gone with this value.
struct Image(String);

impl Image {
    fn built() -> Self {
        let folder = TempDir::new().expect("a folder");
        let archive = folder
            .path()
            .join("image.tar")
            .to_string_lossy()
            .into_owned();
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("other-postgres.sh");
        let reference = format!("{}/{NAME}:{TAG}", prefix());
        let build = [reference.as_str(), archive.as_str()];
        run(program(&script.to_string_lossy(), &build), "").ok();
        import_image(&archive);
        Self(reference)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        untag_image(&self.0);
    }
}

#[test]
fn an_image_with_postgresql_in_a_place_of_its_own_and_little_else_makes_a_cluster() {
    let _turn = together();
    let image = Image::built();
    let cluster = Cluster::named("small");
    cluster
        .create(&["--ccp-image", NAME, "--ccp-image-tag", TAG, "--wait"])
        .ok();
    assert_eq!(text(&cluster.pod(), "/spec/containers/0/image"), image.0);
    let place = cluster
        .psql_as_superuser("select setting from pg_config where name = 'BINDIR'")
        .ok();
    assert_eq!(place.out.trim(), "/opt/database/lib/postgresql/15/bin");
    assert_eq!(
        cluster
            .ask("create table t (n int); insert into t values (1); select n from t")
            .lines()
            .last(),
        Some("1")
    );
    let tested = pgo(&["test", &cluster.name]).ok();
    assert!(tested.out.contains("Working"), "{tested}");
}
