//! The gRPC protocols of the agent and of the event service: generated code.

/// What agents tell and show of their PostgreSQL or repository of backups, and what they ask of each other:
/// `proto/pgo/agent/v1`.
pub mod agent {
    #![allow(missing_docs, clippy::all, clippy::too_many_lines, rust_2018_idioms)]
    tonic::include_proto!("pgo.agent.v1");
}

/// The durable log of events: `proto/pgo/event/v1/event.proto`.
pub mod event {
    #![allow(missing_docs, clippy::all, clippy::too_many_lines, rust_2018_idioms)]
    tonic::include_proto!("pgo.event.v1");
}
