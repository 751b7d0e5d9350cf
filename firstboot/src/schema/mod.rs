//! The node config: the YAML that tells a node what to be.
