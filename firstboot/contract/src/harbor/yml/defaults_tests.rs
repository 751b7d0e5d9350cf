//! Settings of the image: beneath those of the node, and judged by the bundle's own file.

use super::*;

fn defaults(text: &str) -> Defaults {
    serde_json::from_str(text).unwrap()
}

fn merged(image: &str, node: &str) -> Result<Value, Mistake> {
    let node = NODE.replace("admin_password", &format!("settings: {node}, admin_password"));
    let defaults = defaults(image);
    with("v2.15.2", &node, None, |inputs| harbor_yml(&Inputs { defaults: &defaults, ..*inputs }))
}

#[test]
fn the_node_wins_key_by_key() {
    let image = r#"{"log": {"level": "debug", "local": {"location": "/x"}}, "jobservice": {"max_job_workers": 20},
                    "trace": {"enabled": false, "attributes": {"any": "thing"}}, "proxy": {"http_proxy": "true"}}"#;
    let values = merged(image, "{log: {level: warning}, trace: {enabled: false, attributes: {other: 1}}}").unwrap();
    assert_eq!(values["log"], json!({"level": "warning", "local": {"location": "/x"}}));
    assert_eq!(values["jobservice"], json!({"max_job_workers": 20}), "the image's in place of the bundle's");
    assert_eq!(values["trace"], json!({"enabled": false, "attributes": {"any": "thing", "other": 1}}));
    assert_eq!(values["proxy"]["http_proxy"], "true", "text stays text");
    assert_eq!(values["database"], merged("{}", "{}").unwrap()["database"], "the rest is the bundle's");
    let values = merged(r#"{"trace": {"attributes": {"any": 1}}}"#, "{trace: {attributes: {any: thing}}}").unwrap();
    assert_eq!(values["trace"]["attributes"], json!({"any": "thing"}), "of any kind: the image's is no rule");
    let emptied = merged(image, "{proxy: }").unwrap();
    assert_eq!(emptied["proxy"], Value::Null, "a node may take away what the image sets");
}

#[test]
fn a_setting_is_of_the_kind_that_the_bundle_has() {
    let said = |node: &str| merged("{}", &format!("{{jobservice: {{max_job_workers: {node}}}}}"));
    for good in ["20", "'20'", "ref+file:///workers"] {
        assert!(said(good).is_ok(), "{good}: {:?}", said(good).err());
    }
    for (wrong, is) in [("many", "text"), ("on", "true or false"), ("[1]", "a list")] {
        let words = format!("harbor.settings.jobservice.max_job_workers: is {is}, and must be a number");
        assert_eq!(said(wrong).unwrap_err().message, words);
    }
    assert!(merged("{}", "{proxy: {http_proxy: 7}}").is_ok(), "text may look like a number");
}

#[test]
fn what_the_bundle_has_not_is_told() {
    let check = |version: &str, image: &str| {
        let file = |path: &str| match path {
            "harbor.yml" | "harbor.yml.tmpl" => Ok(TEMPLATE.to_owned()),
            other => Err(broken(other, "is not there")),
        };
        let said = defaults(image).unfit(&Version::parse(version).unwrap(), &file);
        said.first().map(ToString::to_string)
    };
    assert_eq!(check("v2.15.2", r#"{"jobservice": {"max_job_workers": 20}, "log": {"level": "debug"}}"#), None);
    assert_eq!(check("v1.7.8", "{}"), None);
    let said = |version: &str, image: &str| check(version, image).unwrap_or_default();
    for (image, expected) in [
        (
            r#"{"log": {"levle": "x"}}"#,
            "harbor.settings.log.levle: Harbor v2.15.2 has no such setting (did you mean \"level\"?)",
        ),
        (r#"{"max_job_workers": 20}"#, "it belongs to harbor.settings.jobservice.max_job_workers"),
        (
            r#"{"log": "debug"}"#,
            "harbor.settings.log: is text, and must be a map (harbor.yml.tmpl in the bundle has it so)",
        ),
        (
            r#"{"jobservice": {"max_job_workers": {"a": 1}}}"#,
            "harbor.settings.jobservice.max_job_workers: is a map, and must be a number",
        ),
        (r#"{"jobservice": {"max_job_workers": true}}"#, "max_job_workers: is true or false, and must be a number"),
        (r#"{"log": {"level": ["debug"]}}"#, "harbor.settings.log.level: is a list, and must be text"),
    ] {
        let said = said("v2.15.2", image);
        assert!(said.contains(expected), "{image}: {said}");
    }
    let first = said("v1.7.8", r#"{"max_job_workers": 20}"#);
    let words = "harbor.settings: for Harbor v1.7.8, which has no harbor.yml: not in this version (take the table out, \
                 and set these keys by harbor.settings of each node config)";
    assert_eq!(first, words);
}

#[test]
fn signs_that_are_no_ascii_are_escaped() {
    let node = NODE.replace("admin_password", "settings: {proxy: {http_proxy: 'é€🐋'}}, admin_password");
    let files = with("v2.15.2", &node, None, prepare_files).unwrap();
    let text = &files.iter().find(|file| file.path == "/input/harbor.yml").unwrap().text;
    assert!(text.is_ascii() && text.contains(r#""http_proxy": "\u00e9\u20ac\U0001f40b""#), "{text}");
    let read: Value = serde_saphyr::from_str(text).unwrap();
    assert_eq!(read["proxy"]["http_proxy"], "é€🐋");
}
