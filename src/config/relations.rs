//! What must hold between keys, and for strings that are no type of their own.
//!
//! Owns these rules alone. Never knows where a value was given.

use super::upstream::{SOCKET_PATH_MAX, host_and_port};
use super::words::{LOG_LEVELS, not_one_of};
use super::{Address, Config, UpstreamUrl};
use std::net::IpAddr;
use std::path::PathBuf;

/// A rule that does not hold.
pub(super) struct Broken {
    /// The keys it speaks of, never none; the first that was given is at fault.
    pub(super) keys: Vec<&'static str>,
    pub(super) message: String,
}

/// All rules that this configuration breaks.
pub(super) fn broken(config: &Config) -> Vec<Broken> {
    let mut rules = Rules::default();
    addresses(config, &mut rules);
    doors(config, &mut rules);
    tls(config, &mut rules);
    inventory(config, &mut rules);
    others(config, &mut rules);
    rules.broken
}

#[derive(Default)]
struct Rules {
    broken: Vec<Broken>,
}

impl Rules {
    fn must(&mut self, holds: bool, keys: &[&'static str], message: String) {
        if !holds {
            self.broken.push(Broken { keys: keys.to_vec(), message });
        }
    }

    /// Two numbers in order; `than` says how: "at most", "less than".
    fn ordered(&mut self, holds: bool, small: (&'static str, u64), than: &str, large: (&'static str, u64)) {
        let message = format!("{} ({}) must be {than} {} ({})", small.0, small.1, large.0, large.1);
        self.must(holds, &[small.0, large.0], message);
    }
}

fn addresses(config: &Config, rules: &mut Rules) {
    let (listen, admin) = (&config.listen, &config.admin);
    for (key, address) in [("listen.tcp", &listen.tcp), ("admin.listen", &admin.listen)] {
        if let (false, Err(what)) = (address.is_empty(), host_and_port(address, None)) {
            let right = "it is host:port, such as \"127.0.0.1:6380\", or \"\" for none";
            rules.must(false, &[key], format!("{address:?}: {what}; {right}"));
        }
    }
    let doors = config.tenants.iter().any(super::Tenant::has_door);
    rules.must(
        doors || !(listen.tcp.is_empty() && listen.unix.is_empty()),
        &["listen.tcp", "listen.unix"],
        "nothing to listen on: listen.tcp and listen.unix are both empty".to_owned(),
    );
    let length = listen.unix.len();
    rules.must(
        length <= SOCKET_PATH_MAX,
        &["listen.unix"],
        format!("the path has {length} bytes; a unix socket's has {SOCKET_PATH_MAX} at most"),
    );
    rules.must(
        !same_port(&listen.tcp, &admin.listen),
        &["admin.listen", "listen.tcp"],
        format!("listen.tcp and admin.listen are both {:?}; each needs a port of its own", admin.listen),
    );
    rules.must(
        !is_itself(config),
        &["upstream.url", "listen.tcp", "listen.unix"],
        format!("the upstream {} is the sidecar's own listener", config.upstream.url),
    );
}

/// Who can come in.
fn doors(config: &Config, rules: &mut Rules) {
    let listen = &config.listen;
    let within = host_and_port(&listen.tcp, None).map_or(true, |(host, _)| is_loopback(&host));
    let tls = if has_tls(config) { "" } else { "set listen.tls_cert and listen.tls_key, and " };
    rules.must(
        within || listen.insecure || is_guarded(config),
        &["listen.tcp", "listen.insecure"],
        format!(
            "{:?} can be reached from other machines and is not guarded: {tls}give \
             [[tenants]] that all have a password; or listen on 127.0.0.1, or say listen.insecure = true",
            listen.tcp
        ),
    );
}

/// Whether the TCP listener may stand open to other machines: what is said on it cannot be read or changed on the way, and
/// nobody is served who has not said a password.
fn is_guarded(config: &Config) -> bool {
    let open = |tenant: &super::Tenant| tenant.name == "default" && !tenant.has_password() && !tenant.has_door();
    has_tls(config) && !config.tenants.is_empty() && !config.tenants.iter().any(open)
}

fn has_tls(config: &Config) -> bool {
    !config.listen.tls_cert.as_os_str().is_empty()
}

/// Whether a tenant's own TCP listener may stand where it does.
pub(super) fn may_stand_open(config: &Config, tenant: &super::Tenant) -> bool {
    let within = host_and_port(&tenant.tcp, None).map_or(true, |(host, _)| is_loopback(&host));
    within || config.listen.insecure || (has_tls(config) && tenant.has_password())
}

/// By spelling alone: a name other than localhost may be anybody's.
fn is_loopback(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

fn tls(config: &Config, rules: &mut Rules) {
    let (listen, upstream) = (&config.listen, &config.upstream);
    let none = |path: &PathBuf| path.as_os_str().is_empty();
    for (cert, key, keys) in [
        (&listen.tls_cert, &listen.tls_key, ["listen.tls_cert", "listen.tls_key"]),
        (&upstream.tls_cert, &upstream.tls_key, ["upstream.tls_cert", "upstream.tls_key"]),
    ] {
        let message = format!("{} and {} go together: both or neither", keys[0], keys[1]);
        rules.must(none(cert) == none(key), &keys, message);
    }
    rules.must(
        none(&listen.tls_client_ca) || !none(&listen.tls_cert),
        &["listen.tls_client_ca"],
        "clients show a certificate only where listen.tls_cert and listen.tls_key make the listener speak TLS"
            .to_owned(),
    );
    rules.must(
        none(&listen.tls_cert) || !listen.tcp.is_empty() || config.tenants.iter().any(|tenant| !tenant.tcp.is_empty()),
        &["listen.tls_cert", "listen.tcp"],
        "TLS is for the TCP listeners, and there is none: listen.tcp is empty".to_owned(),
    );
    if matches!(upstream.url, UpstreamUrl::Server { tls: true, .. }) {
        return;
    }
    for (given, key) in [
        (!none(&upstream.tls_ca), "upstream.tls_ca"),
        (!none(&upstream.tls_cert), "upstream.tls_cert"),
        (!upstream.tls_server_name.is_empty(), "upstream.tls_server_name"),
    ] {
        rules.must(!given, &[key], format!("is for TLS, and upstream.url ({}) is not rediss://", upstream.url));
    }
}

fn inventory(config: &Config, rules: &mut Rules) {
    let inventory = &config.inventory;
    let name = &inventory.namespace;
    rules.must(is_namespace(name), &["inventory.namespace"], format!("{name:?} is not 1 to 64 of A-Z a-z 0-9 _ -"));
    rules.must(
        inventory.reservation_ttl <= inventory.reservation_ttl_max,
        &["inventory.reservation_ttl", "inventory.reservation_ttl_max"],
        format!(
            "inventory.reservation_ttl (\"{}\") must be at most inventory.reservation_ttl_max (\"{}\")",
            inventory.reservation_ttl, inventory.reservation_ttl_max
        ),
    );
    // Within the deadline the sidecar may send an operation again: its record must outlive that, or it is done twice.
    rules.must(
        inventory.remember.as_ms() >= 2 * inventory.operation_deadline_ms,
        &["inventory.remember", "inventory.operation_deadline_ms"],
        format!(
            "inventory.remember (\"{}\") must be at least twice inventory.operation_deadline_ms ({})",
            inventory.remember, inventory.operation_deadline_ms
        ),
    );
    let queue = inventory.queue_ops_max;
    for (key, value) in
        [("inventory.batch_ops_max", inventory.batch_ops_max), ("inventory.client_ops_max", inventory.client_ops_max)]
    {
        rules.ordered(value <= queue, (key, value as u64), "at most", ("inventory.queue_ops_max", queue as u64));
    }
}

/// May a namespace be called so? No such name begins another with a colon behind it, and none has what a glob knows.
pub(super) fn is_namespace(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

fn others(config: &Config, rules: &mut Rules) {
    let (pause, close) = (config.session.output_pause_bytes as u64, config.session.output_close_bytes as u64);
    let (first, longest) = (config.upstream.reconnect_min_ms, config.upstream.reconnect_max_ms);
    rules.ordered(
        pause < close,
        ("session.output_pause_bytes", pause),
        "less than",
        ("session.output_close_bytes", close),
    );
    rules.ordered(
        first <= longest,
        ("upstream.reconnect_min_ms", first),
        "at most",
        ("upstream.reconnect_max_ms", longest),
    );
    let level = config.log.level.as_str();
    rules.must(LOG_LEVELS.contains(&level), &["log.level"], not_one_of(level, LOG_LEVELS));
    rules.must(!config.sidecar.data_dir.as_os_str().is_empty(), &["sidecar.data_dir"], "\"\" is not a path".to_owned());
}

fn same_port(a: &str, b: &str) -> bool {
    let (Ok((host_a, port_a)), Ok((host_b, port_b))) = (host_and_port(a, None), host_and_port(b, None)) else {
        return false;
    };
    port_a == port_b && port_a != 0 && one_machine(&host_a, &host_b)
}

/// Every command would come back as a client's, until no file descriptor is left.
fn is_itself(config: &Config) -> bool {
    match &config.upstream.url {
        UpstreamUrl::Managed => false,
        UpstreamUrl::Server { address: Address::Unix(path), .. } => path.as_os_str() == config.listen.unix.as_str(),
        UpstreamUrl::Server { address, .. } => same_port(&address.to_string(), &config.listen.tcp),
    }
}

/// Whether a listener on one takes the other's port. By spelling alone: no name is looked up here.
fn one_machine(a: &str, b: &str) -> bool {
    let plain =
        |host: &str| if host.eq_ignore_ascii_case("localhost") { "127.0.0.1".to_owned() } else { host.to_owned() };
    plain(a) == plain(b)
}
