//! Where things are: the project, the cache, the output.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::report::{Failure, Fault};

/// The project's directory.
#[derive(Debug, Clone)]
pub(super) struct Root {
    pub(super) path: PathBuf,
}

impl Root {
    /// The one that was named, or this directory or the nearest above it that holds `images/` and `layers/`.
    pub(super) fn find(named: Option<&Path>) -> Result<Self> {
        let is_root = |path: &Path| path.join("images").is_dir() && path.join("layers").is_dir();
        if let Some(path) = named {
            if is_root(path) {
                return Ok(Self { path: path.into() });
            }
            return Err(Failure::new(Fault::Usage, format!("{} holds no images/ and layers/", path.display())).into());
        }
        let here = std::env::current_dir().context("there is no current directory")?;
        let path = here.ancestors().find(|path| is_root(path)).ok_or_else(|| {
            Failure::new(
                Fault::Usage,
                format!("neither {} nor a directory above it holds images/ and layers/", here.display()),
            )
            .remedy("run habuild in the project's directory, or name it with --root")
        })?;
        // Messages and the plan speak of files as the person would: relative where that is shorter.
        Ok(Self { path: if path == here { ".".into() } else { path.into() } })
    }
}

/// The cache: named, or `$XDG_CACHE_HOME/habuild`, or `~/.cache/habuild`; absolute.
pub(super) fn cache(named: Option<&Path>) -> Result<PathBuf> {
    let path = match named {
        Some(path) => path.to_owned(),
        None => match (std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME")) {
            (Some(cache), _) if !cache.is_empty() => PathBuf::from(cache).join("habuild"),
            (_, Some(home)) => PathBuf::from(home).join(".cache/habuild"),
            (_, None) => {
                return Err(Failure::new(Fault::Environment, "there is no HOME to keep a cache in")
                    .remedy("name one with --cache")
                    .into());
            }
        },
    };
    absolute(&path)
}

/// `path` from the root directory on.
pub(super) fn absolute(path: &Path) -> Result<PathBuf> {
    let path = std::path::absolute(path).with_context(|| format!("failed to resolve {}", path.display()))?;
    text(&path)?;
    Ok(path)
}

/// `path` as it is handed on to habuild in the namespace: one that is no text would become another.
pub(super) fn text(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        Failure::new(Fault::Usage, format!("the path {path:?} is not UTF-8")).remedy("name another").into()
    })
}
