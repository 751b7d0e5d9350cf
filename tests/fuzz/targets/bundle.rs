//! Fuzz target: see `property::bundle`.
#![no_main]
#![allow(dead_code, reason = "each target uses a part")]

#[path = "../src/mutate.rs"]
mod mutate;
#[path = "../src/property.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| property::bundle(bytes));

libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate::within(data, size, max_size, |bytes| mutate::bundle(bytes, &mut mutate::Chance::new(seed)))
});
