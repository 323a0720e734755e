//! Holds the workspace to its layout. The rules are in `tests/it`: who may depend on whom (`dependencies`), what every
//! manifest (`manifests`) and source (`sources`) has in common, and what the installer must agree with (`installer`).
