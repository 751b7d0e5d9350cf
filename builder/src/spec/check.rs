//! `habuild check FILE…`: finds out what a file is, and checks it as that.

use std::path::Path;

use anyhow::Result;
use contract::schema::{self, NodeConfig};

use super::catalog::{check_layer, load_file};
use super::image::ImageSpec;
use super::source::{Source, placed};
use super::user_data;
use crate::report::{Problem, Report};
use contract::strict::Mistake;

/// What a file is, by its content; its name decides only between two that look alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An image spec.
    Image,
    /// A layer definition.
    Layer,
    /// A node config, YAML.
    NodeConfig,
    /// cloud-init user-data.
    UserData,
    /// None of these.
    Unknown,
}

/// Tells what a file is. It looks at single lines only, so that a file with a syntax error is still told apart.
#[must_use]
pub fn kind_of(path: &Path, text: &str) -> Kind {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let first = text.lines().next().unwrap_or_default().trim_end();
    if first == "#cloud-config" {
        return Kind::UserData;
    }
    let starts = |words: &[&str]| text.lines().any(|line| words.iter().any(|word| line.starts_with(word)));
    if starts(&["version:", "cluster:"]) {
        return Kind::NodeConfig;
    }
    let is_toml = path.extension().is_some_and(|extension| extension == "toml");
    if path.file_name().is_some_and(|name| name == "layer.toml") || starts(&["[[action]]", "[packages]"]) {
        return Kind::Layer;
    }
    if is_toml || starts(&["[base]", "[disk]", "[artifacts]", "[harbor]"]) {
        return Kind::Image;
    }
    Kind::Unknown
}

/// What of a file a bundle has a say in.
#[derive(Debug)]
pub enum Checked {
    /// An image, with the bundle that it names.
    Image(Box<ImageSpec>),
    /// A node config, by itself or in user-data.
    NodeConfig(Box<NodeConfig>),
    /// Nothing.
    Other,
}

/// Checks one file; the error is a [`Report`] of every problem in it.
pub fn check_file(root: &Path, path: &Path) -> Result<Checked> {
    let whole = |mistake: Mistake| Report::from(placed(path, (0, 0), "", mistake));
    let bytes = Source::bytes(path).map_err(Report::from)?;
    let delivered =
        |config: Option<NodeConfig>| config.map_or(Checked::Other, |config| Checked::NodeConfig(config.into()));
    if user_data::is_packed(&bytes) {
        return judged(path, user_data::check(&bytes)).map(delivered);
    }
    let text = Source::new(path, &bytes, &[]).map_err(Report::from)?.into_text();
    match kind_of(path, &text) {
        Kind::Image => load_file(root, path, &[]).map(|catalog| Checked::Image(catalog.image.into())),
        Kind::Layer => check_layer(path).map(|()| Checked::Other),
        Kind::NodeConfig => {
            let read = schema::parse(&text).map(|config| {
                let doubts = schema::warnings(&config);
                (config, doubts)
            });
            judged(path, read).map(|config| Checked::NodeConfig(config.into()))
        }
        Kind::UserData => {
            judged(path, schema::check_user_data(&text).map(|found| (found.config, found.warnings))).map(delivered)
        }
        Kind::Unknown => Err(whole(
            Mistake::new("is nothing that habuild knows")
                .hint("check takes image specs, layer.toml files, node configs, and user-data that is #cloud-config or MIME parts"),
        )
        .into()),
    }
}

/// A file's text, for those who read no definition in it.
pub fn read_text(path: &Path) -> Result<String> {
    Ok(Source::read(path, &[]).map_err(Report::from)?.into_text())
}

/// What the node's own code read in a node config or in user-data, with its doubts, which are told; or its problems.
pub fn judged<T>(path: &Path, found: Result<(T, Vec<schema::Problem>), Vec<schema::Problem>>) -> Result<T> {
    let placed = |problem: schema::Problem| {
        let schema::Problem { line, column, key, message, hint } = problem;
        Problem { file: path.into(), line, column, key, message, hint }
    };
    match found {
        Ok((read, doubts)) => {
            for doubt in doubts {
                tracing::warn!("{}", placed(doubt));
            }
            Ok(read)
        }
        Err(found) => Err(Report { problems: found.into_iter().map(placed).collect() }.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_apart_by_content() {
        let kind = |path: &str, text: &str| kind_of(Path::new(path), text);
        assert_eq!(kind("x", "#cloud-config\nversion: 1\n"), Kind::UserData);
        assert_eq!(kind("x", "\u{feff}#cloud-config\r\n"), Kind::UserData);
        assert_eq!(kind("x.yaml", "# mine\nversion: 1\ncluster: hub\n"), Kind::NodeConfig);
        assert_eq!(kind("x", "description = \"d\"\n[[action]]\n"), Kind::Layer);
        assert_eq!(kind("layers/x/layer.toml", ""), Kind::Layer);
        assert_eq!(kind("x", "name = \"x\"\n[base]\n"), Kind::Image);
        assert_eq!(kind("x.toml", "[["), Kind::Image);
        assert_eq!(kind("x", "hello"), Kind::Unknown);
        assert_eq!(kind("x.yaml", ""), Kind::Unknown);
    }
}
