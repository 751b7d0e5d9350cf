//! What is found out about a bundle once it is unpacked: whether it has the settings that the image gives defaults for, whether its
//! own files can be rendered, what is doubtful about it, and what it cannot do for a node config.

use contract::harbor::{self, Baked, Defaults, Generation, Version, When, broken};
use contract::schema::NodeConfig;
use contract::strict::Mistake;

use super::{Bundle, RELEASED};
use crate::bake::docker;
use crate::report::{Failure, Fault};
use crate::sys::file;

impl Bundle {
    /// What of an image's defaults the bundle has not got, or its Harbor does not take.
    pub(crate) fn unfit(&self, settings: &Defaults) -> Vec<Mistake> {
        settings.unfit(&self.version, &|path| self.text(path))
    }

    /// The bundle with defaults for its settings.
    ///
    /// # Errors
    /// All of it that [`Self::unfit`] says.
    pub fn with_settings(mut self, settings: &Defaults) -> anyhow::Result<Self> {
        let found = self.unfit(settings);
        if let [_, _, ..] = &found[..] {
            let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
            let message = format!("{}\n  (bundle {})", lines.join("\n  "), self.called);
            return Err(Failure::new(Fault::Usage, message).into());
        }
        if let Some(mistake) = found.into_iter().next() {
            return Err(self.refused(mistake).into());
        }
        self.settings = settings.clone();
        Ok(self)
    }

    /// Renders a node's configuration as nodes will: what a node would choke on is refused here. Nothing is kept.
    ///
    /// # Errors
    /// A file of the bundle that is missing, or is not as this version of Harbor has it.
    pub fn render_dry(&self) -> anyhow::Result<()> {
        let rendered = harbor::render_dry(&self.version, &self.settings, &|path| self.text(path));
        rendered.map_err(|mistake| self.refused(mistake).into())
    }

    /// A mistake that was found once it was unpacked, with the bundle's name. One of a file of the bundle begins with that name;
    /// one of a key that somebody wrote begins with the key.
    pub(crate) fn refused(&self, mistake: Mistake) -> Failure {
        // A node, which has one only, calls it "the bundle"; its hint is to bake anew.
        if let Some((file, words)) = harbor::broken_file(&mistake) {
            let message = format!("bundle {}: {file}: {words}", self.called);
            return Failure::new(Fault::Input, message).remedy(RELEASED);
        }
        let message = format!("{} (bundle {})", mistake.message, self.called);
        Failure { remedy: mistake.hint, ..Failure::new(Fault::Usage, message) }
    }

    /// What is no reason to refuse it, but to be told.
    #[must_use]
    pub fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        if self.version.is_newer_than_known() {
            doubts.push(format!(
                "Harbor {} is newer than any that this habuild was made with ({}), and taken for one of those: try it out before a \
                 cluster needs it",
                self.version,
                Version::NEWEST_KNOWN
            ));
        }
        if self.generation == Generation::Yml {
            let members = harbor::members(&self.version).into_iter();
            doubts.extend(members.filter(|member| self.tags_of(member.image).next().is_none()).filter_map(|member| {
                let without = match member.when {
                    When::Bundled => format!("have its own {}", member.service),
                    When::Option(option) => format!("have harbor.{}", option.name()),
                    When::Always | When::Prepare | When::Never => return None,
                };
                Some(format!("it holds no image {}: no node of it can {without}", member.image))
            }));
        }
        doubts
    }

    /// The names with tags that an image of this name has.
    pub(crate) fn tags_of<'b>(&'b self, image: &'b str) -> impl Iterator<Item = &'b str> {
        docker::tags_of(&self.images, image)
    }

    /// The names with tags of all its images.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.images.iter().flat_map(|image| image.tags.clone()).collect()
    }

    /// What an image with this bundle cannot do for a node config, as the node will judge it; of secrets in stores nothing is known here.
    /// `of_bundle`: the names with tags of all images that the bundle held.
    #[must_use]
    pub fn misfits(&self, config: &NodeConfig, of_bundle: Option<&[String]>) -> Vec<Mistake> {
        let images = self.names();
        let (version, settings, file) = (&self.version, &self.settings, |path: &str| self.text(path));
        let baked = Baked { version, images: &images, of_bundle, settings, file: &file };
        harbor::misfits(config, &baked, &|key| config.literal(key))
    }

    /// A text file of the bundle.
    fn text(&self, path: &str) -> Result<String, Mistake> {
        let file = self.files.join(path);
        if !file.is_file() {
            return Err(broken(path, "is not there"));
        }
        let bytes = file::read(&file).map_err(|error| broken(path, &error.root_cause().to_string()))?;
        String::from_utf8(bytes).map_err(|_| broken(path, "is not UTF-8"))
    }
}
