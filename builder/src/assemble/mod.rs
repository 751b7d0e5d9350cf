//! (assemble)
pub mod fat;
pub mod gpt;
pub mod layout;
pub mod verity;
