//! Events, their keys, the catalogue, outbox and deduplication; pure.
