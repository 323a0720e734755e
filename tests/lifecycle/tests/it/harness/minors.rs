//! Images with two minor versions of PostgreSQL, for upgrades from one to the other.

use std::path::PathBuf;

use tempfile::TempDir;

use super::{
    beside::installed,
    cluster::unique,
    containers::import_image,
    programs::{program, run},
};

/// Two images: their tags, and the versions in them. They stay on the nodes, under tags that nothing else has, until
/// the local Kubernetes goes.
pub struct Minors {
    /// Tag of the image with the older version.
    pub older: String,
    /// Tag of the one with the newer.
    pub newer: String,
    /// The versions in the two.
    pub versions: (String, String),
}

impl Minors {
    /// Makes them and gives them to every node.
    pub fn make() -> Self {
        let folder = TempDir::new().expect("a folder");
        let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        script("minors.sh", &[&path("")]);
        let said = std::fs::read_to_string(path("versions")).expect("the versions");
        let mut versions = said.lines().map(str::to_owned);
        let mut version = || versions.next().expect("two versions");
        let made = |name: &str| image(name, "other-postgres.sh", Some(&path(name)));
        Self {
            older: made("older"),
            newer: made("newer"),
            versions: (version(), version()),
        }
    }
}

/// Makes an image of clusters by a script of these tests, and gives it to every node; its tag, which begins with
/// `kind`.
pub fn image(kind: &str, name: &str, root: Option<&str>) -> String {
    let folder = TempDir::new().expect("a folder");
    let tag = unique(kind);
    let reference = reference(&tag);
    let archive = folder.path().join(&tag).to_string_lossy().into_owned();
    let mut arguments = vec![reference.as_str(), archive.as_str()];
    arguments.extend(root);
    script(name, &arguments);
    import_image(&archive);
    tag
}

fn script(name: &str, arguments: &[&str]) {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name);
    run(program(&script.to_string_lossy(), arguments), "").ok();
}

/// The image of clusters with this tag.
pub fn reference(tag: &str) -> String {
    format!("{}/crunchy-postgres:{tag}", installed("CCP_IMAGE_PREFIX"))
}
