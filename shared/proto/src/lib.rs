//! Generated gRPC code of the agent and event services.
