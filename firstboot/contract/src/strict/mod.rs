//! What readers of strict formats share: what is wrong with a value, and the word that was probably meant.

mod mistake;

pub use mistake::{Mistake, nearest, quoted};
