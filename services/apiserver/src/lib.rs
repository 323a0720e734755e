//! The REST interface of 4.1 over TLS.
