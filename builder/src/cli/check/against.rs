//! A bundle, with what an image makes of it, that files are checked against.

use std::path::Path;

use anyhow::{Result, bail};
use contract::harbor::{Version, broken_file};
use contract::schema::NodeConfig;
use contract::strict::{Mistake, Place};

use super::super::paths;
use crate::bake::bundle::{self, Bundle};
use crate::bake::packages::Packages;
use crate::bake::store::Store;
use crate::plan::inputs;
use crate::plan::layer::PlannedBundle;
use crate::report::{Failure, Fault, Problem, Report};
use crate::spec::image::{Harbor, ImageSpec};
use crate::spec::{self, Checked, Override};

/// What files are checked against.
pub(super) struct Against {
    /// As the cache has it.
    whole: Bundle,
    /// As the image that was named has it; without one it is whole.
    baked: Bundle,
}

impl Against {
    /// The bundle `file`, or that of the image spec `image`, in which `file` takes its bundle's place.
    pub(super) fn open(root: &Path, cache: &Path, file: Option<&Path>, image: Option<&str>) -> Result<Self> {
        let planned = match (image, file) {
            (Some(image), file) => of_image(root, image, file)?,
            (None, Some(file)) => inputs::bundle_file(file)?.0,
            (None, None) => bail!("neither a bundle nor an image to check against"),
        };
        let (store, packages) = (Store::open(cache)?, Packages::open(cache)?);
        let _in_use = store.in_use()?;
        let (whole, _) = bundle::take(&planned, &store, &packages, false)?;
        let baked = whole.clone().only(&planned.images)?.with_settings(&planned.settings)?;
        baked.render_dry()?;
        Ok(Self { whole, baked })
    }

    pub(super) fn version(&self) -> &Version {
        &self.whole.version
    }

    /// What the bundle says of a file.
    pub(super) fn judge(&self, file: &Path, checked: &Checked) -> Result<()> {
        match checked {
            Checked::NodeConfig(config) => self.judge_node(file, config),
            Checked::Image(image) => self.judge_image(file, image),
            Checked::Other => Ok(()),
        }
    }

    fn judge_node(&self, file: &Path, config: &NodeConfig) -> Result<()> {
        let problem = |mistake: Mistake| {
            // It begins with the key, where it is about one.
            let (key, message) = match mistake.message.split_once(": ") {
                Some((key, message)) if !key.contains(' ') => (key.to_owned(), message.to_owned()),
                _ => (String::new(), mistake.message),
            };
            let place = if key.is_empty() { Place::default() } else { config.place(&key) };
            Problem { file: file.into(), line: place.line, column: place.column, key, message, hint: mistake.hint }
        };
        let problems: Vec<Problem> =
            self.baked.misfits(config, Some(&self.whole.names())).into_iter().map(problem).collect();
        Report { problems }.into_result().map_err(Into::into)
    }

    /// An image spec's own choice of options and its settings, in this bundle.
    fn judge_image(&self, file: &Path, image: &ImageSpec) -> Result<()> {
        let Some(Harbor { images, settings, .. }) = &image.harbor else { return Ok(()) };
        let problem =
            |message, hint| Problem { file: file.into(), line: 0, column: 0, key: String::new(), message, hint };
        let of = |Failure { message, remedy, .. }| problem(message, remedy);
        let settings = self.whole.unfit(settings).into_iter().map(|mistake| match broken_file(&mistake) {
            Some(_) => of(self.whole.refused(mistake)),
            None => problem(mistake.message, mistake.hint),
        });
        let mut problems: Vec<Problem> = settings.collect();
        if let Err(error) = self.whole.clone().only(images) {
            problems.push(of(error.downcast::<Failure>()?));
        }
        Report { problems }.into_result().map_err(Into::into)
    }
}

fn of_image(root: &Path, image: &str, file: Option<&Path>) -> Result<PlannedBundle> {
    let mut overrides = Vec::new();
    if let Some(file) = file {
        let file = paths::absolute(file)?;
        let value = serde_json::Value::from(file.display().to_string()).to_string();
        overrides.push(Override { key: "harbor.bundle".into(), value, given: "--bundle".into() });
    }
    let catalog = spec::load(root, image, &overrides)?;
    let harbor = catalog.image.harbor.as_ref().ok_or_else(|| {
        Failure::new(Fault::Usage, format!("image {image} has no Harbor bundle to check against"))
            .remedy("name one with --bundle FILE, or by harbor.bundle in the image spec")
    })?;
    inputs::bundle(harbor, root)
}
