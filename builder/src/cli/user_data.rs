//! `habuild user-data`: the cloud-init user-data that delivers a node config.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use contract::schema;

use super::say::say;
use crate::spec::{judged, read_text};

/// `habuild user-data`.
#[derive(Debug, Args)]
pub(super) struct UserDataArgs {
    /// The node config, YAML
    file: PathBuf,
}

/// Prints it.
pub(super) fn run(args: &UserDataArgs) -> Result<u8> {
    let text = read_text(&args.file)?;
    let written = schema::user_data(&text);
    let doubts = schema::parse(&text).map(|config| ((), schema::warnings(&config)));
    judged(&args.file, doubts)?;
    match written {
        Ok(written) => {
            say(format_args!("{}", written.trim_end()));
            Ok(0)
        }
        Err(problems) => judged(&args.file, Err(problems)).map(|()| 0),
    }
}
