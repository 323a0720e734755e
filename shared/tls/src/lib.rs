//! Certificates, their authority, and TLS configurations.
