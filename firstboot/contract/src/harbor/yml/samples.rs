//! Files in the form of a bundle's `harbor.yml`, short, with the keys that it has by version and the kinds of their values.
//!
//! Keys and defaults are those of goharbor/harbor v1.8.6 to v2.15.2, `make/harbor.yml` and `make/harbor.yml.tmpl`.

/// From which version, to which one (both numbers count), what.
type Piece = ((u64, u64), (u64, u64), &'static str);

const LAST: (u64, u64) = (2, 15);

const PIECES: [Piece; 41] = [
    ((1, 8), LAST, "# where it is\nhostname: bundle.example.com\nhttp:\n  # a port\n  port: 80\n"),
    ((1, 8), (1, 9), "# https:\n#   port: 443\n#   certificate: /c\n#   private_key: /k\n"),
    ((1, 10), LAST, "https:\n  port: 443\n  certificate: /c\n  private_key: /k\n"),
    ((2, 10), LAST, "  # strong_ssl_ciphers: false\n"),
    ((2, 11), LAST, "# # both\n# ip_family:\n#   ipv6:\n#     enabled: false\n#   ipv4:\n#     enabled: true\n"),
    ((2, 0), LAST, "# internal_tls:\n#   enabled: true\n#   dir: /d\n"),
    (
        (1, 8),
        LAST,
        "# external_url: https://hub.example.com\nharbor_admin_password: word\ndatabase:\n  password: word\n",
    ),
    ((1, 9), LAST, "  max_idle_conns: 50\n  max_open_conns: 100\n"),
    ((2, 7), LAST, "  conn_max_lifetime: 5m\n  conn_max_idle_time: 0\n"),
    ((1, 8), LAST, "data_volume: /other\n# storage_service:\n#   filesystem:\n#     maxthreads: 100\n"),
    ((1, 8), (2, 1), "clair:\n  updaters_interval: 12\n"),
    ((2, 0), LAST, "trivy:\n  ignore_unfixed: false\n  skip_update: false\n  #\n  # github_token: t\n"),
    ((2, 4), LAST, "  offline_scan: false\n"),
    ((2, 6), LAST, "  security_check: vuln\n"),
    ((2, 9), LAST, "  skip_java_db_update: false\n"),
    ((2, 11), LAST, "  # how long\n  timeout: 5m0s\n"),
    ((2, 15), LAST, "  db_repository: ghcr.io/x/y\n"),
    ((2, 0), LAST, "  insecure: false\n"),
    ((1, 8), LAST, "jobservice:\n  max_job_workers: 10\n"),
    ((2, 13), LAST, "  max_job_duration_hours: 24\n"),
    ((2, 9), LAST, "  job_loggers:\n    - STD_OUTPUT\n    # - DB\n"),
    ((2, 8), LAST, "  logger_sweeper_duration: 1 #days\n"),
    ((1, 9), LAST, "notification:\n  webhook_job_max_retry: 10\n"),
    ((2, 8), LAST, "  webhook_job_http_client_timeout: 3 #seconds\n"),
    ((1, 8), (2, 7), "chart:\n  absolute_url: disabled\n"),
    ((1, 8), LAST, "log:\n  level: info\n"),
    ((1, 8), (1, 8), "  rotate_count: 50\n  rotate_size: 200M\n  location: /l\n"),
    (
        (1, 9),
        LAST,
        "  local:\n    rotate_count: 50\n    rotate_size: 200M\n    location: /l\n  # external_endpoint:\n  #   port: 5140\n",
    ),
    (
        (1, 8),
        LAST,
        "_version: 2.15.0\n# external_database:\n#   harbor:\n#     host: h\n#     port: p\n#     db_name: n\n#     username: u\n",
    ),
    ((1, 8), LAST, "#     password: w\n#     ssl_mode: disable\n"),
    ((1, 9), LAST, "#     max_open_conns: 0\n"),
    (
        (1, 8),
        LAST,
        "# external_redis:\n#   host: h\n#   password:\n#   registry_db_index: 1\n#   jobservice_db_index: 2\n",
    ),
    ((1, 8), (2, 0), "#   port: 6379\n"),
    ((2, 13), LAST, "#   tlsOptions:\n#     enable: false\n#     rootCA:\n#   trivy_db_index: 5\n"),
    ((1, 8), LAST, "# uaa:\n#   ca_file: /c\n"),
    ((1, 9), LAST, "proxy:\n  http_proxy:\n  https_proxy:\n  no_proxy:\n  components:\n    - core\n"),
    ((2, 2), LAST, "# metric:\n#   enabled: false\n#   port: 9090\n#   path: /metrics\n"),
    (
        (2, 4),
        LAST,
        "# trace:\n#   enabled: true\n#   sample_rate: 1\n#   # namespace:\n#   # attributes:\n#   #   application: x\n\
         #   # jaeger:\n#   #   endpoint: e\n#   #   # agent_host: h\n#   #   agent_port: 6831\n\
         #   otel:\n#     endpoint: e\n#     url_path: /p\n#     compression: false\n#     insecure: true\n#     timeout: 10\n",
    ),
    ((2, 5), LAST, "upload_purging:\n  enabled: true\n  age: 168h\n  interval: 24h\n  dryrun: false\n"),
    ((2, 6), LAST, "cache:\n  enabled: false\n  expire_hours: 24\n"),
    ((2, 9), LAST, "# core:\n#   quota_update_provider: redis # or another\n"),
];

/// The versions that the tests take.
pub(super) const VERSIONS: [&str; 5] = ["v1.8.6", "v1.10.19", "v2.0.6", "v2.7.4", "v2.15.2"];

/// The two numbers of a version by which keys come and go.
pub(super) fn minor(version: &str) -> (u64, u64) {
    let mut numbers = version.trim_start_matches('v').split('.').map(|number| number.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// The file of a version.
pub(super) fn sample(version: &str) -> String {
    let at = minor(version);
    PIECES.iter().filter(|(from, to, _)| *from <= at && at <= *to).map(|(.., text)| *text).collect()
}
