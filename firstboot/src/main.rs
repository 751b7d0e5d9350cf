//! The door of `habuild-firstboot`.
fn main() {}
