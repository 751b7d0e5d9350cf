//! What a node makes of the compose files of eight versions, one of each shape that there was: `tests/golden/compose/`
//! holds the facts of Harbor's file (`make/docker-compose.tpl`, from 1.8 on `prepare`'s `docker-compose.yml.jinja`, for https
//! and, from 1.8 on, for an external database and Redis) and what becomes of it. What differs is printed whole, to be put there.
//!
//! The longer boots of `tests/vm.rs` show the results to the Compose of each release.

use super::*;

/// A version, its file and what becomes of it.
macro_rules! golden {
    ($($version:literal)*) => {
        [$((
            $version,
            include_str!(concat!("../../../../tests/golden/compose/", $version, ".yml")),
            include_str!(concat!("../../../../tests/golden/compose/", $version, ".json")),
        )),*]
    };
}

const VERSIONS: [(&str, &str, &str); 8] = golden!("1.1" "1.5" "1.7" "1.8" "1.10" "2.0" "2.7" "2.15");

/// An environment for each file that a service wants.
fn environments(text: &str) -> BTreeMap<String, String> {
    let file: Value = serde_saphyr::from_str(text).unwrap();
    let services = file["services"].as_object().unwrap().values();
    let files = services.filter_map(|service| service["env_file"].as_array()).flatten();
    let paths = files.map(|path| path.as_str().unwrap().trim_start_matches("./").to_owned());
    paths.map(|path| (path, "A_DOLLAR=a$b\nQUOTES='\"#\n".to_owned())).collect()
}

fn rewritten(version: &str, text: &str, compose: Compose) -> Value {
    let env = environments(text);
    let places = Places {
        shared: "/mnt/cephfs/harbor/data",
        local: "/var/lib/harbor",
        work: "/var/lib/habuild/harbor",
        http_port: 80,
        https_port: Some(443),
        metrics_port: None,
        jobservice: true,
        database: false,
        redis: false,
        graceful: !matches!(version, "1.1" | "1.5" | "1.7"),
        compose,
        env: &env,
    };
    rewrite(text, &places).unwrap_or_else(|what| panic!("{version}: {what}")).file
}

/// Without what the older Compose refuses.
fn for_the_older(mut file: Value) -> Value {
    let services = file["services"].as_object_mut().unwrap().values_mut();
    for volume in services.filter_map(|service| service.get_mut("volumes")?.as_array_mut()).flatten() {
        volume.as_object_mut().unwrap().remove("bind");
    }
    file
}

#[test]
fn every_shape_of_compose_file() {
    for (version, text, expected) in VERSIONS {
        let file = rewritten(version, text, Compose::V2);
        assert_eq!(rewritten(version, text, Compose::V1), for_the_older(file.clone()), "{version}");
        let new = serde_json::to_string_pretty(&file).unwrap() + "\n";
        assert!(new == expected, "{version}.json is another file than before:\n{new}");
    }
}
