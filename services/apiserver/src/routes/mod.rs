//! Which handler a route has: one file per group of routes.

mod clusters;
mod dead_letters;
mod policies;
mod schedules;
mod service;
mod status;

use std::sync::Arc;

use axum::response::Response;
use pgo_api::{Endpoint, Outcome, VersionResponse, texts};

use crate::{
    app::App,
    events,
    refusal::{Refusal, Stop, json},
    request::Call,
};

/// Answers routes that need no user.
pub(crate) fn open(app: &App, endpoint: Endpoint) -> Response {
    match endpoint {
        Endpoint::Health => json(&VersionResponse::healthy()),
        Endpoint::Readyz => service::readyz(&app.telemetry),
        Endpoint::Metrics => service::metrics(&app.telemetry),
        _ => service::healthz(),
    }
}

/// Answers routes that need one.
pub(crate) async fn dispatch(call: Arc<Call>) -> Result<Response, Stop> {
    match call.route.endpoint {
        Endpoint::Version => Ok(json(&VersionResponse::current())),
        Endpoint::CreateCluster => call.answer(clusters::create).await,
        Endpoint::ShowCluster => call.answer(clusters::show).await,
        Endpoint::DeleteCluster => call.answer(clusters::delete).await,
        Endpoint::TestCluster => call.answer(clusters::test).await,
        Endpoint::ScaleCluster => call.answer(clusters::scale).await,
        Endpoint::ScaleQuery => call.answer(clusters::scale_query).await,
        Endpoint::ScaleDown => call.answer(clusters::scale_down).await,
        Endpoint::UpdateCluster => call.answer(clusters::update).await,
        Endpoint::CreateFailover => call.answer(clusters::failover).await,
        Endpoint::QueryFailover => call.answer(clusters::failover_query).await,
        Endpoint::Upgrade => call.answer(clusters::upgrade).await,
        Endpoint::CreateBackrestBackup => call.answer(clusters::backup).await,
        Endpoint::CreateDrill => call.answer(clusters::drill).await,
        Endpoint::Restore => call.answer(clusters::restore).await,
        Endpoint::ShowBackrest => call.answer(clusters::show_backups).await,
        Endpoint::CreateDump => call.answer(clusters::dump).await,
        Endpoint::ShowDump => call.answer(clusters::show_dumps).await,
        Endpoint::RestoreDump => call.answer(clusters::restore_dump).await,
        Endpoint::CreateBackup => call.answer(clusters::base_backup).await,
        Endpoint::DeleteBackup => call.answer(clusters::delete_backup).await,
        Endpoint::ShowBackup => call.answer(clusters::show_base).await,
        Endpoint::RestorePgbasebackup => call.answer(clusters::restore_base).await,
        Endpoint::CreateSchedule => call.answer(schedules::create).await,
        Endpoint::ShowSchedule => call.answer(schedules::show).await,
        Endpoint::DeleteSchedule => call.answer(schedules::delete).await,
        Endpoint::CreateBenchmark => call.answer(clusters::benchmark).await,
        Endpoint::ShowBenchmark => call.answer(clusters::show_benchmarks).await,
        Endpoint::DeleteBenchmark => call.answer(clusters::delete_benchmarks).await,
        Endpoint::Load => call.answer(clusters::load).await,
        Endpoint::CreatePolicy => call.answer(policies::create).await,
        Endpoint::ShowPolicy => call.answer(policies::show).await,
        Endpoint::DeletePolicy => call.answer(policies::delete).await,
        Endpoint::ApplyPolicy => call.answer(clusters::apply).await,
        Endpoint::Reload => call.answer(clusters::reload).await,
        Endpoint::RestartCluster => call.answer(clusters::restart).await,
        Endpoint::QueryRestart => call.answer(clusters::restart_query).await,
        Endpoint::Df => call.answer(clusters::df).await,
        Endpoint::Ls => call.answer(clusters::ls).await,
        Endpoint::Cat => call.answer(clusters::cat).await,
        Endpoint::CancelWorkflow => call.answer(clusters::cancel).await,
        Endpoint::ShowWorkflow => call.answer(clusters::workflow).await,
        Endpoint::Status => call.answer(status::status).await,
        Endpoint::ShowDeadLetter => call.answer(dead_letters::show).await,
        Endpoint::RequeueDeadLetter => call.answer(dead_letters::requeue).await,
        Endpoint::DeleteDeadLetter => call.answer(dead_letters::delete).await,
        Endpoint::Events => events::stream(&call).await,
        _ => call.answer(later).await,
    }
}

/// A route of 4.1 that this version does not have yet.
async fn later(call: Arc<Call>, _: serde::de::IgnoredAny) -> Result<Outcome, Refusal> {
    Err(Refusal(texts::not_available(call.route.path)))
}
