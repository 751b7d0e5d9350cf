//! (assemble)
pub mod fat;
pub mod gpt;
pub mod layout;
