//! Which container images of a bundle an image gets: the cache keeps them all.

use contract::harbor::{COMPOSE_FILE, HarborOption, Uses, When};
use contract::strict::Mistake;

use super::Bundle;
use crate::spec::image::Chosen;
use crate::sys::file;

impl Bundle {
    /// The bundle with those images only that can run on a node of an image with this choice.
    ///
    /// # Errors
    /// The choice names an option that the version, or this bundle, has not got.
    pub fn only(mut self, chosen: &Chosen) -> anyhow::Result<Self> {
        let compose = file::read(&self.files.join(COMPOSE_FILE)).unwrap_or_default();
        let uses = Uses::of(&self.version, &compose).map_err(|mistake| self.refused(mistake))?;
        let held = self.names();
        for option in chosen.options.iter().flatten() {
            let (name, version) = (option.name(), &self.version);
            let refused = |what: String, hint: &str| {
                let mistake = Mistake::new(format!("harbor.options: {what}"));
                self.refused(mistake.hint(hint))
            };
            if !option.is_in(version) {
                return Err(refused(format!("Harbor {version} has no {name}"), "take it out").into());
            }
            if let Some(image) = uses.missing(&held, |when| when == When::Option(*option)).next() {
                let what = format!("{name} needs image {image}, which the bundle lacks");
                return Err(refused(what, "take it out, or use a bundle that has it").into());
            }
        }
        let wants = |option: HarborOption| chosen.options.as_ref().is_none_or(|options| options.contains(&option));
        let runs = |when: When| match when {
            When::Always | When::Prepare => true,
            When::Bundled => chosen.bundled,
            When::Option(option) => wants(option),
            When::Never => false,
        };
        // One without a name was made for a reason that nobody can tell.
        self.images.retain(|image| image.tags.is_empty() || image.tags.iter().any(|tag| uses.keeps(tag, runs)));
        let images = &self.images;
        self.layers.retain(|diff_id, _| images.iter().any(|image| image.layers.contains(diff_id)));
        Ok(self)
    }
}
