//! What the bake finds out about a node's configuration: whether the bundle has the settings that the image gives defaults for,
//! and whether its own files can be rendered.

use contract::harbor::{self, Baked, Defaults, broken};
use contract::schema::NodeConfig;
use contract::strict::Mistake;

use super::{Bundle, REMEDY};
use crate::report::{Failure, Fault};
use crate::sys::file;

impl Bundle {
    /// The bundle with defaults for its settings.
    ///
    /// # Errors
    /// It has no such setting.
    pub fn with_settings(mut self, settings: &Defaults) -> anyhow::Result<Self> {
        settings.check(&self.version, &|path| self.text(path)).map_err(|mistake| refused(mistake, None))?;
        self.settings = settings.clone();
        Ok(self)
    }

    /// Renders a node's configuration as nodes will: what a node would choke on is refused here. Nothing is kept.
    ///
    /// # Errors
    /// A file of the bundle that is missing, or is not as this version of Harbor has it.
    pub fn render_dry(&self) -> anyhow::Result<()> {
        harbor::render_dry(&self.version, &self.settings, &|path| self.text(path))
            .map_err(|mistake| refused(mistake, Some(REMEDY)))
    }

    /// What an image with this bundle cannot do for a node config, as the node will judge it; of secrets in stores nothing is known here.
    #[must_use]
    pub fn misfits(&self, config: &NodeConfig) -> Vec<Mistake> {
        let images: Vec<String> = self.images.iter().flat_map(|image| image.tags.clone()).collect();
        let (version, settings, file) = (&self.version, &self.settings, |path: &str| self.text(path));
        let baked = Baked { version, images: &images, settings, file: &file };
        harbor::misfits(config, &baked, &|key| config.literal(key))
    }

    /// A text file of the bundle.
    fn text(&self, path: &str) -> Result<String, Mistake> {
        let bytes =
            file::read(&self.files.join(path)).map_err(|error| broken(path, &error.root_cause().to_string()))?;
        String::from_utf8(bytes).map_err(|_| broken(path, "is not UTF-8"))
    }
}

/// `remedy`: what to do in place of the mistake's own, which is for people at a node.
fn refused(Mistake { message, hint }: Mistake, remedy: Option<&str>) -> anyhow::Error {
    let failure = Failure::new(Fault::Input, message);
    match remedy.map(str::to_owned).or(hint) {
        Some(hint) => failure.remedy(hint).into(),
        None => failure.into(),
    }
}
