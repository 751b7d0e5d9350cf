//! Fuzz target: see `property::compressed`.
#![no_main]
#![allow(dead_code, reason = "each target uses a part")]

#[path = "../src/property.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| property::compressed(bytes));
