//! Drives the real `pgo` and `kubectl` on the local Kubernetes with PGO installed, and looks at what a user sees. The
//! tests are in `tests/it`; they find everything through the environment that `.local/env` sets, and say so where it is
//! missing.
