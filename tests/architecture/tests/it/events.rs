//! An event that is said to come later is of something that cannot be asked for yet.

use pgo_api::Endpoint;
use pgo_events::{EventType, Later, OperationKind, Published};

/// What a user asks for an operation with; none where there is no way to, or PGO begins it by itself.
fn asked_by(operation: OperationKind) -> Option<Endpoint> {
    use OperationKind as O;
    Some(match operation {
        O::CreateCluster => Endpoint::CreateCluster,
        O::DeleteCluster => Endpoint::DeleteCluster,
        O::ScaleCluster => Endpoint::ScaleCluster,
        O::ScaleDownCluster => Endpoint::ScaleDown,
        O::FailoverCluster | O::SwitchoverCluster => Endpoint::CreateFailover,
        O::UpgradeCluster | O::UpgradeInstance => Endpoint::Upgrade,
        O::ReloadCluster => Endpoint::Reload,
        O::RestartCluster => Endpoint::RestartCluster,
        O::UpdateCluster => Endpoint::UpdateCluster,
        O::TestCluster => Endpoint::TestCluster,
        O::CreateLabel => Endpoint::Label,
        O::DeleteLabel => Endpoint::DeleteLabel,
        O::Benchmark => Endpoint::CreateBenchmark,
        O::CreateBackup => Endpoint::CreateBackrestBackup,
        O::DeleteBackup => Endpoint::DeleteBackup,
        O::RestoreCluster => Endpoint::Restore,
        O::CreateSchedule => Endpoint::CreateSchedule,
        O::DeleteSchedule => Endpoint::DeleteSchedule,
        O::Load => Endpoint::Load,
        O::CreateUser => Endpoint::CreateUser,
        O::DeleteUser => Endpoint::DeleteUser,
        O::ChangePasswordUser => Endpoint::UpdateUser,
        O::CreatePolicy => Endpoint::CreatePolicy,
        O::ApplyPolicy => Endpoint::ApplyPolicy,
        O::CreateDump => Endpoint::CreateDump,
        O::RestoreDump => Endpoint::RestoreDump,
        O::RestoreBaseBackup => Endpoint::RestorePgbasebackup,
        O::DeletePolicy => Endpoint::DeletePolicy,
        O::CreatePgpool => Endpoint::CreatePgpool,
        O::DeletePgpool => Endpoint::DeletePgpool,
        O::CreatePgbouncer => Endpoint::CreatePgbouncer,
        O::DeletePgbouncer => Endpoint::DeletePgbouncer,
        O::PgoCreateUser => Endpoint::CreatePgouser,
        O::PgoUpdateUser => Endpoint::UpdatePgouser,
        O::PgoDeleteUser => Endpoint::DeletePgouser,
        O::PgoCreateRole => Endpoint::CreatePgorole,
        O::PgoUpdateRole => Endpoint::UpdatePgorole,
        O::PgoDeleteRole => Endpoint::DeletePgorole,
        O::PgoCreateNamespace => Endpoint::CreateNamespace,
        O::PgoDeleteNamespace => Endpoint::DeleteNamespace,
        O::VerifyRestore => Endpoint::CreateDrill,
        O::RewindReplica | O::VerifyBackup | O::StartPgo | O::StopPgo => {
            return None;
        }
    })
}

/// The part of PGO that will publish a type, where nothing does yet.
fn later(event_type: EventType) -> Option<Later> {
    match event_type.about().published {
        Published::Later(area) => Some(area),
        Published::Now | Published::Never => None,
    }
}

#[test]
fn what_can_be_asked_for_is_told() {
    let untold = OperationKind::ALL.iter().filter(|operation| {
        let is_available = asked_by(**operation).is_some_and(|asked| asked.route().available);
        is_available && later(operation.started()).is_some()
    });
    let untold: Vec<_> = untold.collect();
    assert!(
        untold.is_empty(),
        "these can be asked for, and the catalogue says that their events come later: {untold:?}"
    );
}

#[test]
fn facts_come_later_only_where_the_operations_of_their_area_do() {
    let operations = OperationKind::ALL.iter();
    let areas: Vec<Later> = operations
        .filter_map(|operation| later(operation.started()))
        .collect();
    for fact in EventType::ALL
        .iter()
        .filter(|one| one.about().operation.is_none())
    {
        if let Some(area) = later(*fact) {
            // Nobody asks for what PGO tells of itself.
            let is_open = area == Later::Operations || areas.contains(&area);
            assert!(
                is_open,
                "{fact} is said to come with {area:?}, all of which is there"
            );
        }
    }
}
