//! The strict reader of what people write, in TOML or YAML: every problem at once, each with its place.
//!
//! A format's text becomes a tree of [`Node`]s (of YAML here, of TOML in the builder), and a [`Reader`] takes
//! typed values out of it.

mod field;
mod mistake;
mod node;
mod problem;
mod reader;
pub mod url;
pub(crate) mod yaml;

pub use field::{Field, Fields};
pub use mistake::{Mistake, nearest, quoted, unless_secret};
pub use node::{Entry, Kind, Node, Value};
pub use problem::{Place, Places, Problem};
pub use reader::Reader;
