//! Holds the workspace to its layout. The rules are in `tests/it`: where things are (`layout`), who may depend on whom
//! (`dependencies`), what the crates that decide do without (`purity`), what every manifest (`manifests`) and source
//! (`sources`) has in common, what the documents must say (`documents`), and what the installer must agree with
//! (`installer`).
