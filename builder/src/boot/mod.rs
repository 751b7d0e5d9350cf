//! (boot)
