//! Storage and resources as 4.1 writes them into a spec: all texts.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A volume. An empty text is "not said".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("!has(self.storagetype) || self.storagetype in ['', 'create', 'dynamic', 'existing', 'emptydir']")
        .message("storagetype is create, dynamic, existing or emptydir"),
    validation = Rule::new("!has(self.size) || self.size == '' || self.size.matches('^[0-9]+([.][0-9]*)?([numkMGTPE]|[KMGTPE]i|[eE]-?[0-9]+)?$')")
        .message("size is a quantity such as 300M or 1Gi"),
    validation = Rule::new("!has(self.accessmode) || self.accessmode in ['', 'ReadWriteOnce', 'ReadOnlyMany', 'ReadWriteMany', 'ReadWriteOncePod']")
        .message("accessmode is ReadWriteOnce, ReadOnlyMany, ReadWriteMany or ReadWriteOncePod"),
    validation = Rule::new("!has(self.fsgroup) || self.fsgroup.matches('^[0-9]{0,10}$')")
        .message("fsgroup is a number"),
    validation = Rule::new("!has(self.fsgroup) || self.fsgroup == '' || !has(self.supplementalgroups) || self.supplementalgroups == ''")
        .message("fsgroup and supplementalgroups cannot both be set; leave one of them out"),
    validation = Rule::new("!has(self.supplementalgroups) || self.supplementalgroups.matches('^[0-9, ]*$')")
        .message("supplementalgroups is a comma list of numbers"),
    validation = Rule::new("!has(self.matchLabels) || self.matchLabels == '' || self.matchLabels.matches('^[^=]+=[^=]*$')")
        .message("matchLabels is key=value")
)]
pub struct StorageSpec {
    /// Name of the claim; PGO fills it in.
    #[schemars(length(max = 253))]
    #[serde(default)]
    pub name: String,
    /// Storage class.
    #[schemars(length(max = 253))]
    #[serde(default)]
    pub storageclass: String,
    /// `ReadWriteOnce` and the like.
    #[schemars(length(max = 32))]
    #[serde(default)]
    pub accessmode: String,
    /// A quantity.
    #[schemars(length(max = 32))]
    #[serde(default)]
    pub size: String,
    /// `create`, `dynamic`, `existing`, `emptydir`.
    #[schemars(length(max = 16))]
    #[serde(default)]
    pub storagetype: String,
    /// Group that owns the files.
    #[schemars(length(max = 16))]
    #[serde(default)]
    pub fsgroup: String,
    /// Further groups, a comma list.
    #[schemars(length(max = 256))]
    #[serde(default)]
    pub supplementalgroups: String,
    /// One label a volume must carry, `key=value`.
    #[serde(rename = "matchLabels")]
    #[schemars(length(max = 400))]
    #[serde(default)]
    pub match_labels: String,
}

/// Compute resources. An empty text is "not said".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("!has(self.requestsmemory) || self.requestsmemory == '' || self.requestsmemory.matches('^[0-9]+([.][0-9]*)?([numkMGTPE]|[KMGTPE]i|[eE]-?[0-9]+)?$')")
        .message("requestsmemory is a quantity such as 512Mi"),
    validation = Rule::new("!has(self.requestscpu) || self.requestscpu == '' || self.requestscpu.matches('^[0-9]+([.][0-9]*)?([numkMGTPE]|[KMGTPE]i|[eE]-?[0-9]+)?$')")
        .message("requestscpu is a quantity such as 0.1 or 100m"),
    validation = Rule::new("!has(self.limitsmemory) || self.limitsmemory == '' || self.limitsmemory.matches('^[0-9]+([.][0-9]*)?([numkMGTPE]|[KMGTPE]i|[eE]-?[0-9]+)?$')")
        .message("limitsmemory is a quantity such as 512Mi"),
    validation = Rule::new("!has(self.limitscpu) || self.limitscpu == '' || self.limitscpu.matches('^[0-9]+([.][0-9]*)?([numkMGTPE]|[KMGTPE]i|[eE]-?[0-9]+)?$')")
        .message("limitscpu is a quantity such as 0.1 or 100m")
)]
pub struct ContainerResources {
    /// Guaranteed memory.
    #[schemars(length(max = 32))]
    #[serde(default)]
    pub requestsmemory: String,
    /// Guaranteed CPU.
    #[schemars(length(max = 32))]
    #[serde(default)]
    pub requestscpu: String,
    /// Most memory.
    #[schemars(length(max = 32))]
    #[serde(default)]
    pub limitsmemory: String,
    /// Most CPU.
    #[schemars(length(max = 32))]
    #[serde(default)]
    pub limitscpu: String,
}
