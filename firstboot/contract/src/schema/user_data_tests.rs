//! User-data written and read.

use super::*;

const NODE: &str = "# mine\nversion: 1\ncluster: hub\nharbor: {external_url: http://hub.example.com, admin_password: x1}\n\
                    storage:\n  local: {path: /srv/share}\n\nredis: {host: redis}\n\
                    database: {kind: mysql, host: db, user: harbor, password: x2}\n";

fn problems(text: &str) -> Vec<String> {
    check_user_data(text).err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_written_is_read() {
    let text = user_data(NODE).unwrap();
    assert!(text.starts_with("#cloud-config\nwrite_files:\n  - path: /etc/habuild/node.yaml\n"), "{text}");
    assert_eq!(check_user_data(&text).unwrap().config.unwrap().cluster, "hub");
    assert!(text.lines().all(|line| line == line.trim_end()), "{text}");
    let indented: String = NODE.lines().map(|line| format!("  {line}\n")).collect();
    assert_eq!(check_user_data(&user_data(&indented).unwrap()).unwrap().config.unwrap().cluster, "hub");
    assert!(user_data("version: 1\n").is_err());
}

#[test]
fn problems_are_where_they_stand() {
    let text = user_data(NODE).unwrap().replace("cluster: hub", "clustre: hub").replace("path: /srv/share", "path: x");
    let found = problems(&text);
    assert_eq!(found.len(), 2, "{found:?}");
    let line = |needle: &str| text.lines().position(|line| line.contains(needle)).unwrap() + 1;
    assert!(found[0].starts_with(&format!("{}:7: clustre: unknown key", line("clustre"))), "{found:?}");
    let column = text.lines().find_map(|line| line.find("path: x}")).unwrap() + "path: ".len() + 1;
    let expected = format!("{}:{column}: storage.local.path: ", line("path: x}"));
    assert!(found[1].starts_with(&expected), "{found:?}");
}

#[test]
fn what_would_not_reach_the_node() {
    let good = user_data(NODE).unwrap();
    for (text, expected) in [
        ("", "is empty"),
        ("#!/bin/sh\n", "is a script"),
        ("version: 1\n", "does not begin with #cloud-config"),
        ("#cloud-config\n- a\n", "must be a map"),
        (&format!("{good}write_files: []\n"), "write_files: is given twice, and cloud-init keeps the last one only"),
        (&good.replace("write_files", "write_file"), "did you mean \"write_files\"?"),
        (&good.replace("    owner", "    defer: true\n    owner"), "write_files[0].defer: writes the file after"),
        (&good.replace("    owner", "    encoding: gzip\n    owner"), "cannot be looked into here"),
        (&good.replace("    owner", "    encoding: gz+b64\n    owner"), "is not base64 of compressed"),
        (&good.replace("    owner", "    encoding: b64\n    owner"), "is not base64"),
    ] {
        let found = problems(text);
        assert!(found.first().is_some_and(|problem| problem.contains(expected)), "{text}: {found:?}");
    }
    let bomb = format!("#cloud-config\n{}", "[".repeat(64 * 1024));
    assert_eq!(problems(&bomb).len(), 1);
}

#[test]
fn what_is_doubtful() {
    let good = user_data(NODE).unwrap();
    let doubts = |text: &str| -> Vec<String> {
        check_user_data(text).unwrap().warnings.iter().map(ToString::to_string).collect()
    };
    let open = doubts(&good.replace("'0600'", "'0644'"));
    assert!(open.iter().any(|doubt| doubt.contains("write_files[0].permissions: lets others read it")), "{open:?}");
    let none = doubts("#cloud-config\nhostname: x\n");
    assert!(none[0].contains("delivers no node config"), "{none:?}");
}

#[test]
fn base64() {
    let text = "#cloud-config\nwrite_files:\n- {path: /etc/habuild/node.yaml, permissions: '0600', encoding: b64, content: dmVyc2lvbjogMQo=}\n";
    let found = problems(text);
    assert!(
        found.iter().any(|problem| problem.contains("cluster: is missing (line 1 of the node config)")),
        "{found:?}"
    );
}

#[test]
fn base64_that_cloud_init_would_not_read() {
    assert_eq!(decode_base64("Pz8+\n Pj4=\n").as_deref(), Some(b"??>>>".as_slice()));
    // The alphabet of URLs, and a padding that is not there: cloud-init drops the one and stops at the other.
    assert_eq!(decode_base64("Pz8-Pj4="), None);
    assert_eq!(decode_base64("Pj4"), None);
}
