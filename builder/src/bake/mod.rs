//! (bake)
