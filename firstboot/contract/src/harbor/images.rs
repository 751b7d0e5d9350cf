//! The services of a bundle's compose file, and their images.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::yaml_words;

/// What of a compose file matters here.
#[derive(Debug, Deserialize)]
struct Compose {
    services: BTreeMap<String, Service>,
}

#[derive(Debug, Deserialize)]
struct Service {
    image: Option<String>,
}

/// The services of a compose file, with their images as Docker shows them.
///
/// # Errors
/// Why the text is no compose file.
pub fn services(text: &[u8]) -> Result<BTreeMap<String, Option<String>>, String> {
    let text = std::str::from_utf8(text).map_err(|_| "it is not UTF-8".to_owned())?;
    let compose: Compose = serde_saphyr::from_str(text).map_err(|error| yaml_words(&error))?;
    let of = |(name, service): (String, Service)| (name, service.image.as_deref().map(familiar));
    Ok(compose.services.into_iter().map(of).collect())
}

/// A name with its tag, without what Docker leaves out when it shows one.
#[must_use]
pub fn familiar(image: &str) -> String {
    let name = image.strip_prefix("docker.io/").unwrap_or(image);
    let name = name.strip_prefix("library/").unwrap_or(name);
    match name.rsplit_once(':') {
        Some((_, tag)) if !tag.contains('/') => name.to_owned(),
        _ => format!("{name}:latest"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_of_all_services() {
        let text = "version: '2'\nservices:\n  log:\n    image: vmware/harbor-log:v1.1.2 # here\n    restart: always\n  \
                    proxy:\n    image: \"docker.io/library/nginx\"\n    depends_on: [log]\n  ui:\n    build: .\n\
                    networks:\n  harbor:\n    external: false\n";
        let found: Vec<_> = services(text.as_bytes()).unwrap().into_iter().collect();
        let of = |service: &str, image: Option<&str>| (service.to_owned(), image.map(str::to_owned));
        let expected = [of("log", Some("vmware/harbor-log:v1.1.2")), of("proxy", Some("nginx:latest")), of("ui", None)];
        assert_eq!(found, expected);
        for wrong in [&b"services: ["[..], b"{}", b"\xff"] {
            assert!(services(wrong).is_err());
        }
    }
}
