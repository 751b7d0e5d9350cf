//! The node's side of habuild: the node-config schema, and the agent that acts on it.
pub mod schema;
