//! What the rules are about: packages, who depends on whom, and files.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};

/// Folders that are built or belong to one clone only.
const NOT_OURS: [&str; 4] = ["target", ".git", ".local", "node_modules"];

/// Root of the workspace.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .expect("tests/architecture lies two levels below the root")
        .to_owned()
}

/// All files of the workspace whose name ends so, by their path below the root.
pub fn files(end: &str) -> Vec<(String, String)> {
    let root = root();
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the workspace can be read") {
            let path = entry.expect("an entry of a folder").path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                if !NOT_OURS.contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if name.ends_with(end) {
                let text = fs::read_to_string(&path).expect("a source is text");
                let below = path.strip_prefix(&root).expect("it is below the root");
                found.push((below.to_string_lossy().into_owned(), text));
            }
        }
    }
    found.sort();
    found
}

/// The platform that the compiler is built for.
fn host() -> String {
    let output = Command::new("rustc").arg("-vV").output().expect("rustc");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .expect("rustc -vV names its host")
        .to_owned()
}

/// The packages of the workspace and their dependencies.
pub struct Workspace {
    metadata: Metadata,
}

/// Which dependencies count.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Those of what is shipped: normal and build dependencies.
    Shipped,
    /// Those of the tests too.
    Any,
}

impl Workspace {
    /// As cargo knows it for this machine: what other platforms would add need not be there.
    pub fn load() -> Self {
        let options = ["--locked", "--filter-platform", &host()].map(str::to_owned);
        let metadata = MetadataCommand::new()
            .manifest_path(root().join("Cargo.toml"))
            .other_options(options)
            .exec()
            .expect("cargo metadata works where this test was built");
        Self { metadata }
    }

    /// Folder of each package of the workspace, below the root, by name.
    pub fn members(&self) -> BTreeMap<String, String> {
        let packages = self.metadata.workspace_packages();
        packages
            .into_iter()
            .map(|package| {
                let folder = package
                    .manifest_path
                    .parent()
                    .expect("a manifest is in a folder");
                let below = folder
                    .strip_prefix(&self.metadata.workspace_root)
                    .expect("a member is below the root");
                (package.name.to_string(), below.to_string())
            })
            .collect()
    }

    /// Packages of the workspace that `name` depends on directly.
    pub fn ours(&self, name: &str, reach: Reach) -> BTreeSet<String> {
        let members = self.members();
        let direct = self.direct(self.id(name), reach);
        direct
            .into_iter()
            .map(|id| self.name(&id))
            .filter(|name| members.contains_key(name))
            .collect()
    }

    /// All packages that what is shipped of `name` is built from, each with the one that brings it.
    pub fn reached(&self, name: &str) -> BTreeMap<String, String> {
        let mut reached = BTreeMap::new();
        let mut open = vec![self.id(name).clone()];
        while let Some(id) = open.pop() {
            for next in self.direct(&id, Reach::Shipped) {
                if reached.insert(self.name(&next), self.name(&id)).is_none() {
                    open.push(next);
                }
            }
        }
        reached
    }

    fn id(&self, name: &str) -> &PackageId {
        let packages = self.metadata.workspace_packages();
        let package = packages
            .into_iter()
            .find(|package| package.name.as_str() == name)
            .unwrap_or_else(|| panic!("the workspace has no package {name}"));
        &package.id
    }

    fn name(&self, id: &PackageId) -> String {
        self.metadata[id].name.to_string()
    }

    fn direct(&self, id: &PackageId, reach: Reach) -> Vec<PackageId> {
        let resolve = self.metadata.resolve.as_ref().expect("a resolved graph");
        let node = resolve
            .nodes
            .iter()
            .find(|node| node.id == *id)
            .expect("every package is in the graph");
        node.deps
            .iter()
            .filter(|dependency| {
                reach == Reach::Any
                    || dependency
                        .dep_kinds
                        .iter()
                        .any(|kind| kind.kind != DependencyKind::Development)
            })
            .map(|dependency| dependency.pkg.clone())
            .collect()
    }
}
