//! Tenants `acme` and `rival`, each shut into its own keys, with an upstream user of its own or without.

use std::io::Write;

use super::sidecar::{command, run_to_end};
use super::{Redis, Reply, Sidecar};

/// Both, and what serves them.
pub struct Tenants {
    pub redis: Redis,
    file: tempfile::NamedTempFile,
}

impl Tenants {
    /// As the upstream's own users, made by the lines that `acl` prints; `granted` is what each line has besides, `@` for the
    /// tenant.
    pub fn with_users(redis: Redis, granted: &str) -> Self {
        let tenants = Self::new(redis, true);
        let mut direct = tenants.redis.conn();
        let version = direct.call("INFO server").text();
        let version =
            version.lines().find_map(|line| line.strip_prefix("redis_version:")).expect("a version").to_owned();
        let path = tenants.path();
        for tenant in ["acme", "rival"] {
            let (_, line, said) = run_to_end(&["acl", "--config", &path, "--tenant", tenant, "--engine", &version]);
            assert!(line.starts_with("ACL SETUSER "), "{line} {said}");
            let line = line.trim_end().replace("<password>", "up");
            direct.call(&format!("{line} {}", granted.replace('@', tenant))).expect_ok();
        }
        tenants
    }

    /// As the sidecar's user.
    pub fn without_users(redis: Redis) -> Self {
        Self::new(redis, false)
    }

    fn new(redis: Redis, users: bool) -> Self {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        for tenant in ["acme", "rival"] {
            writeln!(file, "[[tenants]]\nname = \"{tenant}\"\npassword = \"{tenant}-secret\"").expect("its text");
            if users {
                writeln!(file, "upstream_user = \"{tenant}\"\nupstream_password = \"up\"").expect("its text");
            }
        }
        Self { redis, file }
    }

    fn path(&self) -> String {
        self.file.path().display().to_string()
    }

    /// A sidecar for them at this address, ready.
    pub fn sidecar(&self, listen: &str) -> Sidecar {
        let (path, url) = (self.path(), self.redis.url());
        let args = ["run", "--listen", listen, "--admin", "127.0.0.1:0", "--config", &path, "--upstream", &url];
        let sidecar = Sidecar::launch_command(command(&args));
        sidecar.wait_ready();
        sidecar
    }

    /// The upstream's keys.
    pub fn keys(&self) -> Vec<String> {
        self.redis.conn().call("KEYS *").items().iter().map(Reply::text).collect()
    }
}
