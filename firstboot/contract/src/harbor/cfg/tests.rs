//! A version of each family, with short templates in the form of Harbor's and words of our own.

use std::collections::BTreeMap;

use super::super::{ClusterSecrets, Compose, Defaults, Directories, limits as limits_of};
use super::*;
use crate::schema;

const MYSQL: &str = "database: {kind: mysql, host: db, user: harbor, password: x, name: images}\n";
const POSTGRESQL: &str = "database: {kind: postgresql, host: db, user: harbor, password: x}\n";
const REDIS: &str = "redis: {host: redis.example.com, port: 6380, password: x}\n";
const BUNDLED: &str = "database: bundled\nredis: bundled\n";

fn node(services: &str, more: &str) -> NodeConfig {
    let text = format!(
        "version: 1\ncluster: hub\nharbor: {{external_url: 'http://hub.example.com:8070', admin_password: x{more}}}\n\
         storage: {{local: {{path: /srv/share}}}}\n{services}"
    );
    schema::parse(&text).unwrap()
}

/// In the form of the bundle's files of this version.
fn file(version: &Version, path: &str) -> Result<String, Mistake> {
    let minor = version.numbers().1;
    let by = |choices: &[(u32, &'static str)]| {
        choices.iter().rev().find(|(from, _)| *from <= minor).map_or("", |(_, text)| text)
    };
    Ok(match path.trim_start_matches("common/templates/") {
        "harbor.cfg" => by(&[
            (1, "max_workers = 3 \nauth_mode = db_auth\n#ldap_filter = (a=b)\n"),
            (2, "max_workers = 3 \nclair_db_password = sheep\nauth_mode = db_auth\n"),
            (
                3,
                "max_workers = 3 \nlog_rotate_size = 1M\nauth_mode = db_auth\nmax_job_workers = 3\n\
                 project_creation_restriction = everyone\n",
            ),
            (6, "max_workers = 3 \nredis_db_index = 4,5,6\nauth_mode = db_auth\n"),
        ]),
        "adminserver/env" => by(&[
            (1, "URL=$ui_url\nMYSQL_HOST=mysql\nMYSQL_PWD=$db_password\nRESET=false\nN=$with_notary\n"),
            (2, "URL=$ui_url\nMYSQL_HOST=mysql\nMYSQL_PWD=$db_password\nRESET=false\nC=$pg_password\n"),
            (3, "URL=$ui_url\nMYSQL_HOST=$db_host\nMYSQL_PORT=$db_port\nRESET=false\n"),
            (4, "URL=$ui_url\nMYSQL_HOST=$db_host\nRESET=$reload_config\nIN=$storage_provider_name\n"),
            (5, "URL=$public_url\nUI=$ui_url\nMYSQL_HOST=$db_host\nRESET=$reload_config\nKEY=$reload_key\nP=$skip_reload_env_pattern\n"),
            (6, "URL=$public_url\nUI=$ui_url\nPG=$db_user@$db_host:$db_port\nPW=$db_password\nRESET=$reload_config\nD=$ldap_group_admin_dn\n"),
            (7, "URL=$public_url\nCORE=$core_url\nT=$token_service_url\nPG=$db_user@$db_host:$db_port\nS=$core_secret\nM=$with_chartmuseum\n"),
        ]),
        "ui/env" | "core/env" => by(&[
            (1, "S=$ui_secret\n"),
            (4, "S=$ui_secret\n_REDIS_URL=$redis_url\n"),
            (6, "S=$ui_secret\n_REDIS_URL=$redis_host:$redis_port,100,$redis_password\nSYNC_REGISTRY=false\n"),
            (7, "S=$core_secret\nSYNC_REGISTRY=false\nGC=$redis_url_reg\n"),
        ]),
        "jobservice/env" | "registryctl/env" => "J=$jobservice_secret\n",
        "db/env" => "PW=$db_password\n",
        "registry/config.yml" => by(&[
            (1, "realm: $ui_url\n"),
            (4, "storage:\n  $storage_provider_info\nrealm: $ui_url\n"),
            (5, "storage:\n  $storage_provider_info\nrealm: $public_url\nui: $ui_url\n"),
            (6, "redis: {addr: $redis_host:$redis_port, password: $redis_password, db: $redis_db_index_reg}\n"),
        ]),
        "jobservice/config.yml" if minor >= 5 => "workers: $max_workers\nredis_url: $redis_url\n",
        "nginx/nginx.http.conf" => "log $$host;\n",
        "nginx/nginx.https.conf" => "cert $ssl_cert;\n",
        "ui/app.conf" if minor < 7 => "mode = $raw\n",
        "core/app.conf" if minor >= 7 => "mode = $raw\n",
        "jobservice/app.conf" if minor < 5 => "mode = $raw\n",
        "registryctl/config.yml" if minor >= 7 => "port: 8080\n",
        _ => return Err(broken(path, "is not in this version")),
    }
    .to_owned())
}

fn rendered_with(version: &str, config: &NodeConfig, password: &str, reset: bool) -> Result<Rendered, Mistake> {
    let version = Version::parse(version).unwrap();
    limits_of(config, &version).into_iter().next().map_or(Ok(()), Err)?;
    render(&Inputs {
        defaults: &Defaults::default(),
        config,
        version: &version,
        file: &|path| file(&version, path),
        secret: &|_| Some(password.to_owned()),
        cluster: ClusterSecrets {
            secretkey: "0123456789abcdef",
            private_key: "key",
            root_crt: "certificate",
            core_secret: "shared-core",
            jobservice_secret: "shared-job",
            csrf_key: "",
        },
        reset,
        directories: Directories { work: "/node", local: "/local", shared: "/share" },
        compose: Compose::V2,
        prepared: None,
    })
}

fn rendered(version: &str, services: &str) -> Rendered {
    rendered_with(version, &node(services, ""), "p$w", false).unwrap()
}

/// Every file with its text below the configuration: those with environment too.
fn texts(rendered: &Rendered) -> BTreeMap<String, String> {
    let short = |path: &String| path.trim_start_matches("common/config/").to_owned();
    let files = rendered.files.iter().map(|(path, file)| (short(path), file.text.clone()));
    files.chain(rendered.env.iter().map(|(path, text)| (short(path), text.clone()))).collect()
}

fn golden(version: &str, services: &str, expected: &[(&str, &str)]) {
    let texts = texts(&rendered(version, services));
    for (path, text) in expected {
        assert_eq!(texts.get(*path).map(String::as_str), Some(*text), "{version} {path}");
    }
    // These are in every version.
    for (path, text) in [
        ("secretkey", "0123456789abcdef"),
        ("registry/root.crt", "certificate"),
        ("nginx/nginx.conf", "log $host;\n"),
        ("jobservice/env", "J=shared-job\n"),
    ] {
        assert_eq!(texts.get(path).map(String::as_str), Some(text), "{version} {path}");
    }
    let own = ["secretkey", "registry/root.crt", "nginx/nginx.conf", "jobservice/env"];
    let known: Vec<&str> = expected.iter().map(|(path, _)| *path).chain(own).collect();
    let more: Vec<&String> = texts.keys().filter(|path| !known.contains(&path.as_str())).collect();
    assert!(more.is_empty(), "{version}: {more:?}");
}

const LIST: &str = "redis.example.com:6380,100,p$w,0";
const PUBLIC: &str = "http://hub.example.com:8070";

#[test]
fn with_mysql() {
    let services = format!("{MYSQL}{REDIS}");
    let first =
        [("ui/app.conf", "mode = $raw\n"), ("ui/private_key.pem", "key"), ("jobservice/app.conf", "mode = $raw\n")];
    let with_redis = format!("S=shared-core\n_REDIS_URL={LIST}\n");
    let realm = format!("realm: {PUBLIC}\n");
    let storage = "storage:\n  filesystem:\n    rootdirectory: /storage\n";
    let login = "MYSQL_USR=harbor\nMYSQL_DATABASE=images\n";
    let admin = format!("URL={PUBLIC}\nMYSQL_HOST=db\nMYSQL_PWD=p$w\nRESET=false\nC=sheep\nMYSQL_PORT=3306\n{login}");
    let mut expected = first.to_vec();
    expected.extend([("adminserver/env", admin.as_str()), ("ui/env", &with_redis), ("registry/config.yml", &realm)]);
    golden("v1.2.2", &services, &expected);

    let admin = format!("URL={PUBLIC}\nMYSQL_HOST=db\nMYSQL_PORT=3306\nRESET=false\n{login}");
    expected[3].1 = &admin;
    golden("v1.3.0", &services, &expected);

    let admin = format!("URL={PUBLIC}\nMYSQL_HOST=db\nRESET=false\nIN=filesystem\nMYSQL_PORT=3306\n{login}");
    let realm = format!("{storage}{realm}");
    expected[3].1 = &admin;
    expected[5].1 = &realm;
    golden("v1.4.1", &services, &expected);

    let ui = "http://ui:8080";
    let admin = format!("URL={PUBLIC}\nUI={ui}\nMYSQL_HOST=db\nRESET=false\nKEY=\nP=$^\nMYSQL_PORT=3306\n{login}");
    let realm = format!("{realm}ui: {ui}\n");
    expected[2] =
        ("jobservice/config.yml", "workers: 3\nredis_url: redis://arbitrary_username:p$w@redis.example.com:6380/0\n");
    expected[3].1 = &admin;
    expected[5].1 = &realm;
    golden("v1.5.4", &services, &expected);
}

#[test]
fn with_postgresql() {
    let services = format!("{POSTGRESQL}{REDIS}");
    let registry = "redis: {addr: redis.example.com:6380, password: p$w, db: 4}\n";
    let jobs = "workers: 3\nredis_url: redis://anonymous:p$w@redis.example.com:6380/5\n";
    let admin = format!("URL={PUBLIC}\nUI=http://ui:8080\nPG=harbor@db:5432\nPW=p$w\nRESET=false\nD=\n");
    let both = [("registry/config.yml", registry), ("jobservice/config.yml", jobs), ("custom-ca-bundle.crt", "")];
    let mut expected = both.to_vec();
    expected.extend([
        ("adminserver/env", admin.as_str()),
        ("ui/env", "S=shared-core\n_REDIS_URL=redis.example.com:6380,100,p$w\nSYNC_REGISTRY=false\n"),
        ("ui/app.conf", "mode = $raw\n"),
        ("ui/private_key.pem", "key"),
    ]);
    golden("v1.6.3", &services, &expected);

    let core = "http://core:8080";
    let admin =
        format!("URL={PUBLIC}\nCORE={core}\nT={core}/service/token\nPG=harbor@db:5432\nS=shared-core\nM=False\n");
    let mut expected = both.to_vec();
    expected.extend([
        ("adminserver/env", admin.as_str()),
        ("core/env", "S=shared-core\nSYNC_REGISTRY=false\nGC=redis://anonymous:p$w@redis.example.com:6380/4\n"),
        ("core/app.conf", "mode = $raw\n"),
        ("core/private_key.pem", "key"),
        ("registryctl/env", "J=shared-job\n"),
        ("registryctl/config.yml", "port: 8080\n"),
    ]);
    golden("v1.7.8", &services, &expected);
}

#[test]
fn the_bundles_own_database_and_redis() {
    for (version, host, jobs, sessions) in [
        ("v1.1.2", "MYSQL_HOST=mysql\n", None, "S=shared-core\n"),
        ("v1.4.1", "MYSQL_HOST=mysql\n", None, "S=shared-core\n_REDIS_URL=\n"),
        ("v1.5.4", "MYSQL_HOST=mysql\n", Some("redis:6379\n"), "S=shared-core\n_REDIS_URL=redis:6379\n"),
        (
            "v1.6.3",
            "PG=postgres@postgresql:5432\n",
            Some("redis://redis:6379/5\n"),
            "S=shared-core\n_REDIS_URL=redis:6379,100,\nSYNC_REGISTRY=false\n",
        ),
        (
            "v1.7.8",
            "PG=postgres@postgresql:5432\n",
            Some("redis://redis:6379/5\n"),
            "S=shared-core\nSYNC_REGISTRY=false\nGC=redis://redis:6379/4\n",
        ),
    ] {
        let texts = texts(&rendered(version, BUNDLED));
        assert!(texts["adminserver/env"].contains(host), "{version}: {}", texts["adminserver/env"]);
        assert_eq!(texts["db/env"], "PW=p$w\n", "{version}");
        let expected = jobs.map(|jobs| format!("workers: 3\nredis_url: {jobs}"));
        assert_eq!(texts.get("jobservice/config.yml"), expected.as_ref(), "{version}");
        let core = if version < "v1.7" { "ui/env" } else { "core/env" };
        assert_eq!(texts[core], sessions, "{version}");
    }
}

#[test]
fn owners_and_directories() {
    let tls = format!("{MYSQL}{REDIS}tls: {{certificate: ref+file:///c, key: ref+file:///k}}\n");
    let first = rendered("v1.2.2", &tls);
    assert!(first.files.values().all(|file| file.owner == (0, 0)));
    assert_eq!(first.directories.len(), 1);
    let third = rendered("v1.3.0", &tls);
    for (path, file) in &third.files {
        let root = path.starts_with("common/config/nginx/");
        assert_eq!(file.owner, if root { (0, 0) } else { HARBOR }, "{path}");
    }
    assert_eq!(third.files["common/config/nginx/nginx.conf"].text, "cert /etc/nginx/cert/server.crt;\n");
    let secret = ["secretkey", "common/config/ui/private_key.pem", "common/config/nginx/cert/server.key"];
    for path in secret.into_iter().chain(["common/config/registry/root.crt"]) {
        assert_eq!((first.files[path].mode, third.files[path].mode), (0o600, 0o600), "{path}");
    }
    assert_eq!(third.directories[1].path, "/node/common/config/ui/certificates");
    let last = rendered("v1.7.8", BUNDLED);
    assert_eq!(last.files["common/config/jobservice/config.yml"].mode, 0o640);
    assert_eq!(last.directories[1].path, "/node/common/config/core/certificates");
}

fn limit(version: &str, services: &str, more: &str) -> String {
    let version = Version::parse(version).unwrap();
    crate::harbor::limits(&node(services, more), &version).into_iter().map(|mistake| mistake.message).collect()
}

#[test]
fn what_a_version_cannot_do() {
    let (mysql, postgresql) = (format!("{MYSQL}{REDIS}"), format!("{POSTGRESQL}{REDIS}"));
    for version in ["v1.1.2", "v1.3.0", "v1.4.1", "v1.5.4"] {
        assert_eq!(limit(version, &mysql, ""), "");
        assert!(limit(version, &postgresql, "").contains("in MySQL only"), "{version}");
    }
    for version in ["v1.6.0", "v1.7.8"] {
        assert_eq!(limit(version, &postgresql, ""), "");
        assert!(limit(version, &mysql, "").contains("in PostgreSQL only"), "{version}");
    }
    let no_jobs = ", jobservice: false";
    assert_eq!(limit("v1.4.1", &mysql, no_jobs), "");
    assert!(limit("v1.5.4", &mysql, no_jobs).starts_with("harbor.jobservice: "));
    for (version, from, to, expected) in [
        ("v1.7.8", "password: x}\nredis", "password: x, name: images}\nredis", "database.name: "),
        ("v1.7.8", "host: db", "host: '2001:db8::1'", "database.host: "),
        ("v1.7.8", "port: 6380", "port: 6380, db: 3", "redis.db: "),
        ("v1.6.3", "user: harbor", "user: harbor, tls: verify", "database.tls: "),
        ("v1.6.3", "port: 6380", "tls: verify", "redis.tls: "),
        ("v1.7.8", "port: 6380", "username: hub", "redis.username: "),
    ] {
        let changed = postgresql.replace(from, to);
        assert_ne!(changed, postgresql);
        let message = limit(version, &changed, "");
        assert!(message.starts_with(expected) && message.contains(&format!("Harbor {version}")), "{message}");
    }
    // What MySQL's driver and the older list take.
    assert_eq!(limit("v1.5.4", &mysql.replace("host: db", "host: '2001:db8::1'"), ""), "");
    assert_eq!(limit("v1.5.4", &mysql.replace("port: 6380", "db: 3"), ""), "");
}

#[test]
fn addresses_that_need_brackets() {
    let services = format!("{MYSQL}{REDIS}").replace("host: db", "host: '2001:db8::1'");
    let services = services.replace("redis.example.com", "'2001:db8::2'");
    let texts = texts(&rendered("v1.5.4", &services));
    assert!(texts["adminserver/env"].contains("MYSQL_HOST=[2001:db8::1]\n"));
    assert!(texts["ui/env"].contains("_REDIS_URL=[2001:db8::2]:6380,"));
    assert!(texts["jobservice/config.yml"].contains("@[2001:db8::2]:6380/0\n"));
}

#[test]
fn passwords_that_would_be_cut() {
    let refused = |version: &str, services: &str, password: &str| {
        rendered_with(version, &node(services, ""), password, false).map(|_| ()).map_err(|mistake| mistake.message)
    };
    let mysql = format!("{MYSQL}{REDIS}");
    for version in ["v1.1.2", "v1.4.1"] {
        assert_eq!(refused(version, &mysql, "a/b @#:%"), Ok(()), "{version}");
        assert!(refused(version, &mysql, "a,b").unwrap_err().starts_with("redis.password: "), "{version}");
    }
    assert_eq!(refused("v1.5.4", &mysql, "Aa0-._~$+;="), Ok(()));
    for sign in ",@/:#%? '\"&*[{|\\é".chars() {
        let message = refused("v1.5.4", &mysql, &format!("a{sign}b")).unwrap_err();
        assert!(message.starts_with("redis.password: "), "{sign}: {message}");
    }
    // The database's, with a Redis that asks for none.
    let open = format!("{POSTGRESQL}redis: {{host: redis}}\n");
    assert_eq!(refused("v1.7.8", &open, "a-._~!$&'()*+,;=:@0"), Ok(()));
    for password in ["a b", "a\\b", "a/b", "a?b", "a#b", "a%b", "'ab", "aé"] {
        let message = refused("v1.6.3", &open, password).unwrap_err();
        assert!(message.starts_with("database.password: "), "{password}: {message}");
    }
    let open = format!("{MYSQL}redis: {{host: redis}}\n");
    assert_eq!(refused("v1.5.4", &open, "a b/?#%\\'"), Ok(()));
}

#[test]
fn settings_of_the_administrator() {
    let with = |version: &str, settings: &str| {
        let services = if version < "v1.6" { format!("{MYSQL}{REDIS}") } else { format!("{POSTGRESQL}{REDIS}") };
        let node = node(&services, &format!(", settings: {{{settings}}}"));
        rendered_with(version, &node, "pw", false)
            .map(|rendered| texts(&rendered))
            .map_err(|mistake| mistake.to_string())
    };
    assert!(with("v1.5.4", "max_workers: 9").unwrap()["jobservice/config.yml"].contains("workers: 9\n"));
    assert!(with("v1.6.3", "ldap_group_admin_dn: cn=a").unwrap()["adminserver/env"].contains("D=cn=a\n"));
    for (version, setting, expected) in [
        ("v1.5.4", "project_creation_restriction: nobody", "must be everyone or adminonly"),
        ("v1.5.4", "max_job_workers: lots", "must be a whole number of 1 or more"),
        ("v1.5.4", "ldap_group_admin_dn: cn=a", "has no such setting"),
        ("v1.5.4", "max_worker: 9", "did you mean \"max_workers\"?"),
    ] {
        let message = with(version, setting).unwrap_err();
        assert!(message.contains(expected), "{setting}: {message}");
    }
    assert!(with("v1.7.8", "auth_mode: ldap_auth").is_ok());
}

#[test]
fn reset_is_for_settings_on_the_share_only() {
    for (version, expected) in [("v1.1.2", true), ("v1.3.0", true), ("v1.4.1", false), ("v1.5.4", false)] {
        let rendered = rendered_with(version, &node(&format!("{MYSQL}{REDIS}"), ""), "pw", true).unwrap();
        let env = &rendered.env["common/config/adminserver/env"];
        assert!(env.contains(&format!("RESET={expected}\n")), "{version}: {env}");
    }
}

#[test]
fn environment_files() {
    let text = "# c\nMYSQL_HOST=mysql\nRESET=false\nX=1";
    let values = [("MYSQL_HOST", "db=1".to_owned()), ("NEW", "a b".to_owned())];
    assert_eq!(with_values(text, &values), "# c\nMYSQL_HOST=db=1\nRESET=false\nX=1\nNEW=a b\n");
}

#[test]
fn reset_only_while_the_share_names_another_database() {
    let config = node(&format!("{}{REDIS}", MYSQL.replace("images", "registry")), "");
    let settings = |host: &str, port: &str| {
        format!(
            "{{\"mysql_host\": \"{host}\", \"mysql_port\": {port}, \"mysql_username\": \"harbor\", \
             \"mysql_database\": \"registry\", \"auth_mode\": \"db_auth\"}}"
        )
    };
    let must = |version: &str, settings: Option<&String>| {
        must_reset(&config, &Version::parse(version).unwrap(), settings.map(String::as_bytes))
    };
    for (settings, expected) in [
        (None, false),
        (Some(String::new()), false),
        (Some("{\"mysql_host\":".to_owned()), false),
        (Some(settings("db", "3306")), false),
        (Some(settings("mysql", "3306")), true),
        (Some(settings("db", "3307")), true),
        (Some("{}".to_owned()), true),
    ] {
        assert_eq!(must("v1.1.2", settings.as_ref()), expected, "{settings:?}");
        assert_eq!(must("v1.3.0", settings.as_ref()), expected, "{settings:?}");
        assert!(!must("v1.4.1", settings.as_ref()) && !must("v2.15.2", settings.as_ref()), "{settings:?}");
    }
}
