//! A bundle's configuration rendered dry, by the code that nodes render it by: what cannot be rendered is known at the bake.
//!
//! From 1.8 on the bundle's `prepare` renders, and only a node can run that. What is left to be found out before is whether the
//! bundle's own file has what a node writes into it.

#[cfg(test)]
#[path = "dry_tests.rs"]
pub(super) mod tests;

use super::{
    ClusterSecrets, Compose, Defaults, Directories, Generation, HarborOption, Inputs, Version, limits, render, yml,
};
use crate::schema::{self, NodeConfig};
use crate::strict::Mistake;

/// Renders for nodes that differ in what makes a difference to the files: http and https, database and Redis of the bundle's or
/// outside, every option that the version has. Nothing of it is kept.
///
/// # Errors
/// The file of the bundle that is missing or cannot be rendered, and why.
pub fn render_dry(
    version: &Version,
    defaults: &Defaults,
    file: &dyn Fn(&str) -> Result<String, Mistake>,
) -> Result<(), Mistake> {
    for sample in samples(version) {
        let config = schema::parse(&sample).map_err(|problems| {
            let words = problems.first().map(|problem| problem.message.clone()).unwrap_or_default();
            Mistake::new(format!("a sample node config: {words}")).hint("this is a bug of habuild")
        })?;
        limits(&config, version).into_iter().next().map_or(Ok(()), Err)?;
        render_for(&config, version, defaults, file, &|_| None)?;
    }
    Ok(())
}

/// Renders dry for one node config. A word that every version takes stands for a secret that `secret` does not know.
pub(super) fn render_for(
    config: &NodeConfig,
    version: &Version,
    defaults: &Defaults,
    file: &dyn Fn(&str) -> Result<String, Mistake>,
    secret: &dyn Fn(&str) -> Option<String>,
) -> Result<(), Mistake> {
    let inputs = Inputs {
        config,
        defaults,
        version,
        file,
        secret: &|key| secret(key).or_else(|| Some("sample".to_owned())),
        cluster: ClusterSecrets {
            secretkey: "sample0123456789",
            private_key: "sample",
            root_crt: "sample",
            core_secret: "sample",
            jobservice_secret: "sample",
            csrf_key: "sample01234567890123456789012345",
        },
        reset: false,
        directories: Directories { work: "/work", local: "/local", shared: "/shared" },
        compose: Compose::V2,
        prepared: None,
    };
    match version.generation() {
        Some(Generation::Yml) => yml::render_dry(&inputs),
        _ => render(&inputs).map(|_| ()),
    }
}

/// Node configs that every version can take.
fn samples(version: &Version) -> Vec<String> {
    let kind = if version.numbers() < (1, 6, 0) { "mysql" } else { "postgresql" };
    let options: String = HarborOption::ALL
        .into_iter()
        .filter(|option| option.is_in(version))
        .map(|option| match option {
            HarborOption::Trivy => ", trivy: true",
            HarborOption::Metrics => ", metrics: {port: 9100}",
        })
        .collect();
    let bound = if version.numbers() < (1, 9, 0) { "" } else { ", connections: 100" };
    let outside = format!(
        "database: {{kind: {kind}, host: database, user: sample, password: sample{bound}}}\nredis: {{host: redis, password: sample}}\n"
    );
    let mut samples = Vec::new();
    for services in ["database: bundled\nredis: bundled\n", &outside] {
        for (scheme, tls) in [("http", ""), ("https", "tls: {certificate: ref+file:///c, key: ref+file:///k}\n")] {
            samples.push(format!(
                "version: 1
cluster: sample
harbor: {{external_url: '{scheme}://sample.example.com', admin_password: sample{options}}}
storage: {{local: {{path: /srv/share}}}}
{services}{tls}"
            ));
        }
    }
    samples
}
