//! What of an image's configuration decides whether Docker restores the image from its store.

use serde_json::Value;

/// The only machine that nodes are.
const ARCHITECTURE: &str = "amd64";

/// Whether the image is one for nodes. `Err` says what else it is for.
///
/// Docker passes over an image for another operating system without a word but in its log ("not restoring image").
pub(super) fn is_for_nodes(text: &[u8]) -> Result<(), String> {
    // What cannot be understood is told by `diff_ids`.
    let Ok(Value::Object(object)) = serde_json::from_slice(text) else { return Ok(()) };
    for (key, wanted) in [("os", "linux"), ("architecture", ARCHITECTURE)] {
        match object.get(key) {
            None | Some(Value::Null) => {}
            Some(Value::String(found)) if found == wanted || found.is_empty() => {}
            Some(found) => return Err(format!("is for {key} {found}, and a node has {wanted:?}")),
        }
    }
    Ok(())
}

/// The digests of the layers' tars, bottom first, as it names them. `Err` says what is wrong with it.
pub(super) fn diff_ids(text: &[u8]) -> Result<Vec<String>, String> {
    let value: Value = serde_json::from_slice(text).map_err(|error| format!("cannot be understood ({error})"))?;
    let object = value.as_object().ok_or("is no JSON object")?;
    let rootfs = object.get("rootfs").and_then(Value::as_object).ok_or("has no rootfs")?;
    match rootfs.get("diff_ids") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(ids) => serde_json::from_value(ids.clone()).map_err(|_| "has diff_ids that are no list of digests".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_docker_restores() {
        let layers = r#""rootfs":{"type":"layers","diff_ids":["sha256:aa"]}"#;
        for good in ["", r#""os":"linux","architecture":"amd64","#, r#""os":"","architecture":null,"#] {
            let text = format!("{{{good}{layers}}}");
            assert_eq!(diff_ids(text.as_bytes()), Ok(vec!["sha256:aa".to_owned()]), "{good}");
            assert_eq!(is_for_nodes(text.as_bytes()), Ok(()), "{good}");
        }
        assert_eq!(diff_ids(br#"{"rootfs":{}}"#), Ok(Vec::new()));
        for (wrong, words) in [
            (format!(r#"{{"os":"windows",{layers}}}"#), "is for os \"windows\", and a node has \"linux\""),
            (format!(r#"{{"architecture":"arm64",{layers}}}"#), "is for architecture \"arm64\""),
            (r#"[{"diff_ids":["sha256:aa"]}]"#.to_owned(), "is no JSON object"),
            (r#"{"rootfs":[["sha256:aa"]]}"#.to_owned(), "has no rootfs"),
            ("{}".to_owned(), "has no rootfs"),
            (r#"{"rootfs":{"diff_ids":[1]}}"#.to_owned(), "has diff_ids that are no list"),
            ("{".to_owned(), "cannot be understood"),
        ] {
            let error = is_for_nodes(wrong.as_bytes()).err().or_else(|| diff_ids(wrong.as_bytes()).err()).unwrap();
            assert!(error.starts_with(words), "{error}");
        }
    }
}
