//! Stage 1: reads definition files and checks them; every problem at once, with file, line and column.

pub mod image;
pub mod layer;
pub mod names;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use image::ImageSpec;
pub use layer::LayerSpec;

/// Everything that was read, checked against itself: each layer that the image names is here.
#[derive(Debug, Clone)]
pub struct Catalog {
    /// The image.
    pub image: ImageSpec,
    /// The image's file, as the person named it.
    pub image_file: PathBuf,
    /// The layers that the image names and the tools layer, by name.
    pub layers: BTreeMap<String, LayerSpec>,
}
