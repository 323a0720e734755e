//! What the user of a world wants.

use std::collections::BTreeMap;

use pgo_core::{
    Backups, Desired, DrillPolicy, Image, Places, Resources, Retention, ServiceType, Storage,
    StorageKind,
};

fn storage(fs_group: i64) -> Storage {
    Storage {
        kind: StorageKind::Dynamic,
        class: None,
        access_mode: "ReadWriteOnce".to_owned(),
        size: "1Gi".to_owned(),
        fs_group: Some(fs_group),
        supplemental_groups: Vec::new(),
        match_labels: BTreeMap::new(),
    }
}

/// Backups on a volume of their own.
pub fn backups() -> Backups {
    Backups {
        storage: storage(27),
        places: Places::Local,
        retention: Retention::default(),
        archive_timeout: 60,
        drills: DrillPolicy::Never,
    }
}

pub fn desired() -> Desired {
    Desired {
        name: "hippo".parse().expect("a name"),
        namespace: "pgouser1".parse().expect("a namespace"),
        image: Image("p/crunchy-postgres:15".to_owned()),
        agent_image: Image("p/pgo-agent:1".to_owned()),
        port: 5432,
        database: "userdb".to_owned(),
        user: "testuser".parse().expect("a role"),
        secret_from: None,
        storage: storage(26),
        resources: Resources::default(),
        service_type: ServiceType::ClusterIp,
        replica_service_type: ServiceType::ClusterIp,
        node: None,
        autofail: false,
        synchronous: 0,
        sync_fallback: false,
        custom_config: None,
        labels: BTreeMap::new(),
        log_statement: "none".to_owned(),
        log_min_duration_statement: 60_000,
        volume_deadline: 20,
        backups: None,
        restore: None,
    }
}
