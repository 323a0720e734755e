//! A volume of the local Kubernetes that can be made to hang: a file system of its own in a file of this machine, which the
//! kernel freezes. What writes to it waits, and not even SIGKILL ends it, until it is thawed.

use std::{fs, path::PathBuf};

use serde_json::json;

use super::{
    cluster::unique,
    containers::{local_folder, nodes},
    kubectl,
    kubernetes::apply,
    programs::{program, run},
};

/// A volume of 1 GiB on a node, and the StorageClass that it alone is of; both go with this value.
pub struct HangingVolume {
    name: String,
    folder: PathBuf,
}

impl HangingVolume {
    /// Makes it, on the first node.
    pub fn make() -> Self {
        let name = unique("hanging");
        // Below what "make stop" unmounts.
        let folder = local_folder().join(&name);
        fs::create_dir_all(&folder).expect("a folder");
        let volume = Self { name, folder };
        let file = fs::File::create(volume.file()).expect("a file");
        file.set_len(1 << 30).expect("room");
        let (file, folder) = (volume.file().display().to_string(), volume.place());
        run(program("mkfs.ext4", &["-q", &file]), "").ok();
        run(program("mount", &["-o", "loop", &file, &folder]), "").ok();
        volume.offer();
        volume
    }

    /// Name of its StorageClass.
    pub fn class(&self) -> &str {
        &self.name
    }

    /// What writes to it waits from now on.
    pub fn freeze(&self) {
        run(program("fsfreeze", &["--freeze", &self.place()]), "").ok();
    }

    /// It goes on.
    pub fn thaw(&self) {
        run(program("fsfreeze", &["--unfreeze", &self.place()]), "").ok();
    }

    fn file(&self) -> PathBuf {
        self.folder.with_extension("ext4")
    }

    fn place(&self) -> String {
        self.folder.display().to_string()
    }

    /// Tells Kubernetes of it.
    fn offer(&self) {
        let node = nodes().remove(0);
        apply(&json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": self.name},
            "provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "WaitForFirstConsumer",
        }))
        .ok();
        let on_node = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [node]});
        apply(&json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": self.name},
            "spec": {
                "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": self.name,
                "persistentVolumeReclaimPolicy": "Retain", "local": {"path": self.place()},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [on_node]}]}},
            },
        }))
        .ok();
    }
}

impl Drop for HangingVolume {
    fn drop(&mut self) {
        // It may not be frozen, and what was made may be there in part.
        let _ = program("fsfreeze", &["--unfreeze", &self.place()]).output();
        for kind in ["persistentvolume", "storageclass"] {
            kubectl(&[
                "delete",
                kind,
                &self.name,
                "--ignore-not-found",
                "--wait=false",
            ]);
        }
        let _ = program("umount", &["--lazy", &self.place()]).output();
        let _ = fs::remove_dir(&self.folder);
        let _ = fs::remove_file(self.file());
    }
}
