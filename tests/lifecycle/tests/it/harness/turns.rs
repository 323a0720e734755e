//! Tests that harm PGO run alone; all others side by side.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

static PGO: RwLock<()> = RwLock::new(());

/// Held by a test that needs PGO whole.
pub fn together() -> RwLockReadGuard<'static, ()> {
    PGO.read().unwrap_or_else(PoisonError::into_inner)
}

/// Held by a test that harms PGO.
pub fn alone() -> RwLockWriteGuard<'static, ()> {
    PGO.write().unwrap_or_else(PoisonError::into_inner)
}
