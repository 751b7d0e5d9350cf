//! habuild bakes an immutable node image in five stages: `spec → plan → bake → assemble → export`.
//!
//! A stage receives the value of the stage before it and calls nothing upstream:
//!
//! | stage | takes | gives |
//! |---|---|---|
//! | [`spec`] | files in `images/`, `layers/` | checked definitions, or every problem at once |
//! | [`plan`] | definitions, lock | a closed [`plan::Plan`] |
//! | [`bake`] | plan, store | layers: content-addressed tars |
//! | [`assemble`] | layers | one raw disk |
//! | [`export`] | disk | artifacts, manifest, checksums |
//!
//! Beside them: [`formats`] holds the file and disk formats written here, [`boot`] starts an artifact under QEMU,
//! [`report`] says what went wrong and whose fault it is, [`sys`] is the only module that starts processes and enters namespaces, [`cli`] is the command table.

pub mod assemble;
pub mod bake;
pub mod boot;
pub mod cli;
pub mod export;
pub mod formats;
pub mod plan;
pub mod report;
pub mod spec;
pub mod sys;
