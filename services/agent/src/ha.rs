//! Who is primary: drives the decisions of [`pgo_ha`] with this instance's clock, volume, Lease and peers.
//!
//! ```text
//!  peers ──gRPC──► service ─┐            ┌─► volume   the promise, on disk before anything that rests on it
//!  Lease ──────────────────►├─► driver ──┼─► Lease    one request at a time
//!  PostgreSQL ─► reports ───┘  (Agent)   ├─► calls    grants, votes, releases, reports
//!                                        ├─► course   to the supervisor: serve, follow, stop
//!                                        └─► guard    until when the servers may live, whatever happens to this process
//! ```

pub mod book;
pub mod calls;
pub mod clock;
pub mod course;
pub mod driver;
pub mod guard;
pub mod hang;
pub mod lease;
pub mod service;
pub mod volume;
pub mod wire;
