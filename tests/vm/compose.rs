//! The compose files that a node makes of eight Harbors' (`tests/golden/compose/`), as the node's own Compose reads them.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::machine::Node;

/// What Compose does not accept, and why.
pub(crate) fn refused(node: &Node) -> Vec<String> {
    let older = node.root("docker compose version >/dev/null 2>&1 && echo no || echo yes").unwrap().trim() == "yes";
    let command = if older { "docker-compose" } else { "docker compose" };
    let mut script = "cd \"$(mktemp -d)\"\n".to_owned();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/compose");
    let mut count = 0;
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let mut file: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        if older {
            without_bind(&mut file);
        }
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        write!(script, "cat > {name} <<'END'\n{file}\nEND\n").unwrap();
        writeln!(script, "{command} --file {name} config --quiet >said 2>&1 </dev/null || echo {name}: $(cat said)")
            .unwrap();
        count += 1;
    }
    assert_eq!(count, 8, "files");
    node.root(&script).unwrap().lines().map(|line| format!("Compose refuses {line}")).collect()
}

/// As the contract writes it for Compose 1.29.
fn without_bind(file: &mut Value) {
    let services = file["services"].as_object_mut().unwrap().values_mut();
    for volume in services.filter_map(|service| service.get_mut("volumes")?.as_array_mut()).flatten() {
        volume.as_object_mut().unwrap().remove("bind");
    }
}
