//! The REST types, route table and permissions of the apiserver.
