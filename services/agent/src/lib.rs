//! PID 1 in each PostgreSQL pod.
