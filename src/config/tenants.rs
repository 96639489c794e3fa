//! `[[tenants]]`: one entry a tenant, its keys, their bounds, and what must hold between them.
//!
//! Owns these alone. Files and variables that hold passwords are read by [`crate::tenant`], not here.

use super::diff::Shown;
use super::fault::did_you_mean;
use super::relations::{is_namespace, may_stand_open};
use super::{Acknowledge, Config, InventoryRights, Passthrough, Secret, SocketMode, Span};
use serde::Deserialize;
use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use toml::{Table, Value};

/// Name and bounds of each key.
type Declared = (&'static str, Option<RangeInclusive<u64>>);

macro_rules! tenant {
    ($( $(#[$doc:meta])* $key:ident: $type:ty = $default:expr $(, in $bounds:expr)?; )+) => {
        /// One tenant.
        #[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Tenant { $( $(#[$doc])* pub $key: $type, )+ }

        impl Tenant {
            /// Each key and its value, as one may see it.
            pub(super) fn shown(&self) -> Vec<(&'static str, String)> {
                vec![$( (stringify!($key), Shown::shown(&self.$key)) ),+]
            }
        }

        impl Default for Tenant {
            fn default() -> Self {
                Self { $( $key: $default, )+ }
            }
        }

        /// Every key of an entry.
        pub(super) const KEYS: &[Declared] = &[$( (stringify!($key), bounds!($($bounds)?)) ),+];
    };
}

macro_rules! bounds {
    () => {
        None
    };
    ($bounds:expr) => {
        Some($bounds)
    };
}

tenant! {
    /// Who it is: 1 to 64 of `A-Z a-z 0-9 _ -`; what AUTH calls the user.
    name: String = String::new();
    /// Of its inventory, and before its keys; empty: the name.
    namespace: String = String::new();
    /// What AUTH must say, in the file itself.
    password: Option<Secret> = None;
    /// A file that holds it; a newline at its end is not part of it.
    password_file: Option<PathBuf> = None;
    /// An environment variable that holds it.
    password_env: Option<String> = None;
    /// Its Argon2id hash, `$argon2id$v=19$m=…,t=…,p=…$salt$hash`.
    password_hash: Option<Secret> = None;
    /// `host:port` of a listener whose clients are this tenant at once; empty for none.
    tcp: String = String::new();
    /// The path of such a unix socket; empty for none.
    unix: String = String::new();
    /// Its permissions, as an octal string.
    unix_mode: SocketMode = SocketMode::OWNER_ONLY;
    /// What becomes of commands that are not the inventory's.
    passthrough: Passthrough = Passthrough::Isolated;
    /// Which commands of the inventory it may use.
    inventory: InventoryRights = InventoryRights::All;
    /// The only commands, `command|subcommand`s and `@category`s that it may use; empty: all that the rest allows.
    allow: Vec<String> = Vec::new();
    /// Those that it may not use, whatever `allow` says.
    deny: Vec<String> = Vec::new();
    /// `FLUSHDB` and `FLUSHALL` are allowed, and delete its own keys.
    flushdb: bool = false;
    /// The upstream's ACL user that its commands run as; empty: the sidecar's own.
    upstream_user: String = String::new();
    /// Its password, in the file itself.
    upstream_password: Option<Secret> = None;
    /// A file that holds it.
    upstream_password_file: Option<PathBuf> = None;
    /// An environment variable that holds it.
    upstream_password_env: Option<String> = None;
    /// A reservation's time to live where the command names none; else `inventory.reservation_ttl`.
    reservation_ttl: Option<Span> = None;
    /// The longest a reservation may live; else `inventory.reservation_ttl_max`.
    reservation_ttl_max: Option<Span> = None;
    /// What must have an operation's effects before it is answered; else `inventory.acknowledge`.
    acknowledge: Option<Acknowledge> = None;
    /// Clients at once; 0: as many as the sidecar takes, or where there are several tenants half of them.
    clients_max: u64 = 0, in 0..=1_000_000;
    /// Its clients that have an upstream connection of their own, at once; 0: as many as the sidecar has, or
    /// where there are several tenants half of them.
    pinned_max: u64 = 0, in 0..=100_000;
    /// Requests a second; 0: no limit.
    requests_per_second: u64 = 0, in 0..=1_000_000_000;
    /// Requests that may come at once after a pause; 0: those of a second.
    requests_burst: u64 = 0, in 0..=1_000_000_000;
    /// Bytes of one request.
    request_bytes_max: u64 = 67_108_864, in 1_024..=1_073_741_824;
    /// Bytes that the sidecar keeps for all of its clients: requests that are not whole, replies that are not read.
    buffer_bytes_max: u64 = 536_870_912, in 1_048_576..=1_099_511_627_776;
    /// Operations of its inventory that wait, a worker; 0: as many as `inventory.queue_ops_max`.
    queue_ops_max: u64 = 0, in 0..=16_777_216;
    /// Its requests that are upstream at once in each worker while other tenants ask too, and operations of its inventory: what
    /// others wait behind. Simple requests take an upstream less than a microsecond each.
    window: u64 = 64, in 16..=65_536;
}

impl Tenant {
    /// Its namespace, given or not.
    #[must_use]
    pub fn namespace(&self) -> &str {
        if self.namespace.is_empty() { &self.name } else { &self.namespace }
    }

    /// AUTH must say a password.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.password.is_some()
            || self.password_file.is_some()
            || self.password_env.is_some()
            || self.password_hash.is_some()
    }

    /// Of the upstream's commands more must be known than which way each goes.
    #[must_use]
    pub fn needs_facts(&self) -> bool {
        self.passthrough != Passthrough::Full || !self.allow.is_empty() || !self.deny.is_empty()
    }

    /// It has a listener of its own.
    #[must_use]
    pub fn has_door(&self) -> bool {
        !self.tcp.is_empty() || !self.unix.is_empty()
    }
}

/// Whether the key is one, and its value has its type and bounds; else what would be right.
pub(super) fn fits(key: &str, value: &Value) -> Result<(), String> {
    let Some((name, bounds)) = KEYS.iter().find(|(name, _)| *name == key) else {
        let names: Vec<&str> = KEYS.iter().map(|(name, _)| *name).collect();
        let hint = did_you_mean(key, names.iter().copied());
        return Err(format!("no such key{hint}; [[tenants]] has {}", names.join(", ")));
    };
    if let Some(bounds) = bounds {
        let right = format!("{}..={}", bounds.start(), bounds.end());
        return match value {
            Value::Integer(number) if u64::try_from(*number).is_ok_and(|number| bounds.contains(&number)) => Ok(()),
            Value::Integer(number) => Err(format!("{number} is not in {right}")),
            _ => Err(format!("it is not a whole number in {right}")),
        };
    }
    let with = |value: Value| Tenant::deserialize(Table::from_iter([((*name).to_owned(), value)]));
    let Err(error) = with(value.clone()) else { return Ok(()) };
    // What is given may be a secret: it is not shown.
    let is_secret = key.contains("password");
    let given = if is_secret { "it".to_owned() } else { value.to_string() };
    Err(if with(Value::Boolean(true)).is_ok() {
        format!("{given} is neither true nor false")
    } else if with(Value::Array(Vec::new())).is_ok() {
        format!("{given} is not a list of strings, such as [\"flushall\", \"@dangerous\"]")
    } else if value.is_str() && !is_secret {
        error.message().to_owned()
    } else {
        format!("{given} is not a string (write it in quotes)")
    })
}

/// What must hold within and between tenants: the index of the entry at fault, its key and what is wrong.
pub(super) fn broken(config: &Config) -> Vec<(usize, &'static str, String)> {
    let (tenants, listen) = (&config.tenants, &config.listen);
    let mut faults = Vec::new();
    let mut must = |holds: bool, at: usize, key: &'static str, message: String| {
        if !holds {
            faults.push((at, key, message));
        }
    };
    let mut names = HashSet::new();
    let others = [("listen.tcp", &listen.tcp), ("listen.unix", &listen.unix), ("admin.listen", &config.admin.listen)];
    let mut doors: HashMap<String, String> =
        others.into_iter().filter_map(|(key, door)| Some((place_of(door)?, key.to_owned()))).collect();
    for (at, tenant) in tenants.iter().enumerate() {
        let (name, namespace) = (&tenant.name, tenant.namespace());
        let right = "1 to 64 of A-Z a-z 0-9 _ -";
        let missing = if name.is_empty() { format!("it is missing, or empty; it is {right}") } else { String::new() };
        must(!name.is_empty(), at, "name", missing);
        must(name.is_empty() || is_namespace(name), at, "name", format!("{name:?} is not {right}"));
        must(names.insert(name), at, "name", format!("there is a tenant {name:?} already"));
        must(
            tenant.namespace.is_empty() || is_namespace(namespace),
            at,
            "namespace",
            format!("{namespace:?} is not 1 to 64 of A-Z a-z 0-9 _ -"),
        );
        // Its keys would begin as those of every namespace's inventory do.
        must(!is_reserved(namespace), at, "namespace", format!("{namespace:?} is a reserved name; take another"));
        let passwords = [
            tenant.password.is_some(),
            tenant.password_file.is_some(),
            tenant.password_env.is_some(),
            tenant.password_hash.is_some(),
        ];
        must(
            passwords.iter().filter(|given| **given).count() <= 1,
            at,
            "password",
            "give one of password, password_file, password_env and password_hash".to_owned(),
        );
        must(
            tenant.password.as_ref().is_none_or(|password| !password.expose().is_empty()),
            at,
            "password",
            "it is empty; a tenant without a password has none of the four keys password, password_file, password_env and password_hash".to_owned(),
        );
        let hash = tenant.password_hash.as_ref();
        must(
            hash.is_none_or(|hash| hash.expose().starts_with("$argon2id$")),
            at,
            "password_hash",
            "it is not an Argon2id hash, which begins with $argon2id$".to_owned(),
        );
        must(
            tenant.has_password() || tenant.has_door() || name == "default" || name.is_empty(),
            at,
            "name",
            format!(
                "nobody could be tenant {name:?}: give it a password, or a listener of its own (tcp or unix); only the tenant \"default\" needs neither"
            ),
        );
        let upstream = [
            tenant.upstream_password.is_some(),
            tenant.upstream_password_file.is_some(),
            tenant.upstream_password_env.is_some(),
        ];
        let given = upstream.iter().filter(|given| **given).count();
        must(
            given <= 1,
            at,
            "upstream_password",
            "give one of upstream_password, upstream_password_file and upstream_password_env".to_owned(),
        );
        must(
            (given == 1) != tenant.upstream_user.is_empty(),
            at,
            "upstream_user",
            "upstream_user and its password go together".to_owned(),
        );
        for (key, door) in [("tcp", &tenant.tcp), ("unix", &tenant.unix)] {
            let before = place_of(door).and_then(|place| doors.insert(place, format!("tenant {name:?}")));
            let whose = before.unwrap_or_default();
            must(whose.is_empty(), at, key, format!("{door:?} is the listener of {whose} already"));
        }
        if let (false, Err(what)) = (tenant.tcp.is_empty(), super::upstream::host_and_port(&tenant.tcp, None)) {
            must(false, at, "tcp", format!("{:?}: {what}; it is host:port, or \"\" for none", tenant.tcp));
        }
        must(
            may_stand_open(config, tenant),
            at,
            "tcp",
            format!(
                "{:?} can be reached from other machines and is not guarded: set listen.tls_cert and listen.tls_key and give \
                 the tenant a password, listen on 127.0.0.1, or say listen.insecure = true",
                tenant.tcp
            ),
        );
        let length = tenant.unix.len();
        let most = super::SOCKET_PATH_MAX;
        must(length <= most, at, "unix", format!("the path has {length} bytes; a unix socket's has {most} at most"));
        if let Some(ttl) = tenant.reservation_ttl {
            let (key, longest) = match tenant.reservation_ttl_max {
                Some(longest) => ("reservation_ttl_max", longest),
                None => ("inventory.reservation_ttl_max", config.inventory.reservation_ttl_max),
            };
            let message = format!("it (\"{ttl}\") must be at most {key} (\"{longest}\")");
            must(ttl <= longest, at, "reservation_ttl", message);
        }
        for (key, words) in [("allow", &tenant.allow), ("deny", &tenant.deny)] {
            for word in words.iter().filter(|word| !is_rule(word)) {
                must(false, at, key, format!("{word:?} is not a command, a command|subcommand or an @category"));
            }
        }
        must(
            !tenant.upstream_user.contains(char::is_whitespace),
            at,
            "upstream_user",
            format!("{:?} has a blank, which no upstream takes in a user's name", tenant.upstream_user),
        );
        must(
            tenant.requests_burst == 0 || tenant.requests_per_second > 0,
            at,
            "requests_burst",
            "it means nothing without requests_per_second".to_owned(),
        );
    }
    faults
}

/// What a listener takes, spelled so that two of the same are alike. None: no listener, or any free port.
fn place_of(door: &str) -> Option<String> {
    match super::upstream::host_and_port(door, None) {
        Ok((_, 0)) => None,
        Ok((host, port)) => {
            Some(format!("{}:{port}", if host.eq_ignore_ascii_case("localhost") { "127.0.0.1" } else { &host }))
        }
        Err(_) => (!door.is_empty()).then(|| door.to_owned()),
    }
}

/// What a rule may look like: it is known only upstream whether there is such a command, but `-@all` or `config get` is none
/// anywhere, and a rule that names nothing denies nothing.
fn is_rule(word: &str) -> bool {
    let name = word.strip_prefix('@').unwrap_or(word);
    let begins = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    begins && name.bytes().all(|b| b.is_ascii_graphic() && b != b'*' && b != b'@') && !name.ends_with('|')
}

/// What keys of the inventory begin with (`inv`, `inv1`, …), and what the upstream itself calls so (`__redis__`, `__sentinel__`).
fn is_reserved(namespace: &str) -> bool {
    namespace.strip_prefix("inv").is_some_and(|version| version.bytes().all(|b| b.is_ascii_digit()))
        || namespace.starts_with("__")
}
