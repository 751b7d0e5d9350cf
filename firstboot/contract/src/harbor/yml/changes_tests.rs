//! What a node changes in what `prepare` wrote: all of it, by version, and whether `docs/configuration.md` tells an operator.

use super::*;

const PAGE: &str = include_str!("../../../../../docs/configuration.md");

/// What every version changes, with https.
const ALWAYS: [&str; 14] = [
    "common/config/core/env CORE_SECRET",
    "common/config/core/env JOBSERVICE_SECRET",
    "common/config/jobservice/env CORE_SECRET",
    "common/config/jobservice/env JOBSERVICE_SECRET",
    "common/config/log/logrotate.conf gone",
    "common/config/log/rsyslog_docker.conf gone",
    "common/config/registry/root.crt new",
    "common/config/registryctl/env CORE_SECRET",
    "common/config/registryctl/env JOBSERVICE_SECRET",
    "secret/cert/server.crt new",
    "secret/cert/server.key new",
    "secret/core/private_key.pem new",
    "secret/keys/secretkey new",
    "secret/registry/root.crt new",
];

/// Everything that `prepare` writes beside the compose file, over all versions; what a node must leave alone is in it too.
fn written(version: &str) -> Prepared {
    let mut all = prepared(version);
    for service in ["core", "jobservice"] {
        let file = all.files.get_mut(&format!("common/config/{service}/env")).unwrap();
        file.text += "REGISTRY_CREDENTIAL_PASSWORD=own\nNO_PROXY=own\n";
    }
    for name in [
        "exporter/env",
        "jobservice/config.yml",
        "log/rsyslog_docker.conf",
        "nginx/nginx.conf",
        "portal/nginx.conf",
        "registry/config.yml",
        "registryctl/config.yml",
        "trivy-adapter/env",
    ] {
        let file = RenderedFile { text: "A_SECRET=own\nCORE_SECRET = own\n".to_owned(), mode: 0o640, owner: HARBOR };
        all.files.insert(format!("common/config/{name}"), file);
    }
    all
}

/// Each line that became another, each file that went or came.
fn changes(version: &str, node: &str) -> Vec<String> {
    let written = written(version);
    let (node, _) = with(version, node, Some(&written), render).unwrap();
    let mut changes = Vec::new();
    for (path, was) in written.files.iter().filter(|(path, _)| *path != crate::harbor::COMPOSE_FILE) {
        let file = node.files.get(path);
        let Some(now) = node.env.get(path).or(file.map(|file| &file.text)) else {
            changes.push(format!("{path} gone"));
            continue;
        };
        if let Some(file) = file {
            assert_eq!((file.mode, file.owner), (was.mode, was.owner), "{version} {path}");
        }
        assert_eq!(now.lines().count(), was.text.lines().count(), "{version} {path}");
        let pairs = was.text.lines().zip(now.lines()).filter(|(was, now)| was != now);
        changes.extend(pairs.map(|(was, _)| format!("{path} {}", was.split('=').next().unwrap().trim())));
    }
    let came = node.files.keys().filter(|path| !written.files.contains_key(*path));
    changes.extend(came.map(|path| format!("{path} new")));
    changes.sort();
    changes
}

#[test]
fn what_a_node_changes_is_what_the_page_lists() {
    let own = "tls: verify, ca: 'ref+file:///x'";
    let served = format!("{NODE}tls: {{certificate: 'ref+file:///x', key: 'ref+file:///x'}}\n");
    let guarded = served.replace("host: db", &format!("host: db, {own}"));
    let guarded = guarded.replace("host: redis", &format!("host: redis, {own}"));
    let (form, csrf) = ("common/config/core/app.conf XSRFKey", "common/config/core/env CSRF_KEY");
    let prefix = "common/config/core/env ROBOT_SCANNER_NAME_PREFIX";
    let trusted = |name: &str| format!("common/config/shared/trust-certificates/habuild-{name}.crt new");
    let (database, redis) = (trusted("database"), trusted("redis"));
    for (version, node, more) in [
        ("v1.8.6", &served, [form].as_slice()),
        ("v1.10.19", &served, &[form]),
        ("v2.0.6", &served, &[csrf]),
        ("v2.7.4", &served, &[csrf]),
        ("v2.15.2", &served, &[csrf, prefix]),
        ("v2.15.2", &guarded, &[csrf, prefix, &database, &redis]),
    ] {
        let mut expected: Vec<&str> = ALWAYS.iter().chain(more).copied().collect();
        expected.sort_unstable();
        let changes = changes(version, node);
        assert_eq!(changes, expected, "{version}");
        for change in &changes {
            let (path, what) = change.split_once(' ').unwrap();
            let name = if ["gone", "new"].contains(&what) { path.rsplit('/').next().unwrap() } else { what };
            assert!(
                PAGE.contains(&format!("`{name}`")) || PAGE.contains(&format!("/{name}`")),
                "the page lacks {name}"
            );
        }
    }
}
