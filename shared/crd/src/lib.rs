//! The custom resources and their conversion to the core's types.
