//! Events on NSQ: topics, envelope and relay.
