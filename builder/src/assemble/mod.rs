//! (assemble)
pub mod fat;
