//! The durable log of events, and its readers.
