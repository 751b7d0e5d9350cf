//! (assemble)
