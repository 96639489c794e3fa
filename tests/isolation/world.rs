//! The scene: one upstream, one sidecar, tenants `acme` (hostile), `rival` (who has something to hide) and `acme2`.

use tempfile::TempDir;

use super::super::common::{Conn, Redis, Reply, Sidecar, words};
use super::client::Client;
use super::witness::Witness;

/// What no byte of may reach another tenant: it stands in the rival's names and values.
pub const MARK: &str = "RIVALSECRET7f3a";

const TENANTS: &str = r#"
[[tenants]]
name = "acme"
namespace = "acme"
password = "acme-secret"
passthrough = "isolated"
inventory = "all"
[[tenants]]
name = "rival"
namespace = "rival"
password = "rival-secret"
passthrough = "isolated"
inventory = "all"
[[tenants]]
name = "acme2"
namespace = "acme2"
password = "acme2-secret"
passthrough = "isolated"
inventory = "all"
"#;

/// A key of each type; `@` is what stands before each name, `%` a mark or nothing.
const KEYS: &str = "\
SET @s value%
SET @n 5
SET @f 1.5
SET @e v% EX 100000
RPUSH @l a% b c d
SADD @set 1 2 3 m%
SADD @set2 2 3 4
HSET @h f1 v1% f2 2 f% v
ZADD @z 1 a 2 b 3 c%
ZADD @z2 2 b 9 d
XADD @x 1-1 f v%
XADD @x 2-1 f% v
XADD @x 3-1 f v
XGROUP CREATE @x g 0
XGROUP CREATE @x g% 0
XREADGROUP GROUP g c% COUNT 1 STREAMS @x >
GEOADD @geo 13.361389 38.115556 Palermo 15.087269 37.502669 Catania%
SETBIT @bit 7 1
PFADD @p a b c";

pub struct World {
    /// Kept for as long as the scene is.
    _redis: Redis,
    pub sidecar: Sidecar,
    pub witness: Witness,
    /// A connection past the sidecar.
    pub direct: Conn,
    /// The rival's, with its subscriptions on it.
    _rival: Conn,
    /// A reservation of the rival's.
    pub rival_reservation: String,
    /// A script of the rival's that returns its mark.
    pub rival_script: String,
    _directory: TempDir,
}

impl World {
    pub fn new() -> Self {
        let redis = Redis::with(&["--save", "", "--appendonly", "no", "--notify-keyspace-events", "AKE"]);
        let directory = TempDir::new().expect("a directory");
        let path = directory.path().join("sentinel.toml");
        std::fs::write(&path, TENANTS).expect("the configuration");
        let path = path.to_str().expect("a path");
        let sidecar = Sidecar::launch_args(&["--upstream", &redis.url(), "--config", path]);
        sidecar.wait_ready();
        let mut direct = redis.conn();
        plant(&mut direct, "rival:", MARK);
        plant(&mut direct, &format!("rival:{MARK}:"), MARK);
        plant(&mut direct, &format!("acme2:{MARK}:"), MARK);
        // What a name that slips through would be upstream.
        plant(&mut direct, &format!("{MARK}:"), MARK);
        let script = format!("return '{MARK}'");
        let rival_script = direct.call_args(&["SCRIPT", "LOAD", &script]).text();
        let (rival, rival_reservation) = rival(&sidecar);
        let witness = Witness::start(&redis, &mut direct);
        Self {
            _redis: redis,
            sidecar,
            witness,
            direct,
            _rival: rival,
            rival_reservation,
            rival_script,
            _directory: directory,
        }
    }

    /// The hostile tenant's connection.
    pub fn acme(&self, protocol: u8) -> Client {
        Client::open(&self.sidecar.listen, "acme", "acme-secret", protocol)
    }

    pub fn rival(&self, protocol: u8) -> Client {
        Client::open(&self.sidecar.listen, "rival", "rival-secret", protocol)
    }

    /// The tenant's own keys, as they were in the beginning.
    pub fn plant_own(&mut self) {
        plant(&mut self.direct, "acme:", "");
    }

    /// All that is not acme's, as it is stored.
    pub fn others(&mut self) -> Vec<(Vec<u8>, Reply)> {
        let mut names: Vec<Vec<u8>> = match self.direct.call("KEYS *") {
            Reply::Array(names) => names
                .into_iter()
                .map(|name| match name {
                    Reply::Bulk(name) => name,
                    other => panic!("{other:?}"),
                })
                .filter(|name| !name.starts_with(b"acme:") && !name.starts_with(b"inv1:{acme/"))
                .filter(|name| !name.starts_with(b"rival:busy-") && !name.starts_with(b"acme2:busy-"))
                .collect(),
            other => panic!("{other:?}"),
        };
        names.sort();
        let dumps: Vec<Vec<Vec<u8>>> = names.iter().map(|name| vec![b"DUMP".to_vec(), name.clone()]).collect();
        let dumps = self.direct.pipeline(&dumps);
        names.into_iter().zip(dumps).collect()
    }

    /// The rest of the claim: what MONITOR saw since the last time, and that what is others' is as it was.
    #[track_caller]
    pub fn assert_untouched(&mut self, before: &[(Vec<u8>, Reply)], attack: &str) {
        let wrong = self.witness.violations(&mut self.direct);
        assert!(wrong.is_empty(), "{attack}: MONITOR saw {}", wrong.join("\n"));
        // What is under way for all others would be lost with it.
        let lost = self.sidecar.log_lines().into_iter().find(|line| line.contains("a link was lost"));
        assert!(lost.is_none(), "{attack}: {lost:?}");
        let after = self.others();
        for (name, dump) in before {
            let now = after.iter().find(|(other, _)| other == name).map(|(_, dump)| dump);
            assert!(now == Some(dump), "{attack}: {} was changed", name.escape_ascii());
        }
        let new: Vec<_> = after.iter().filter(|(name, _)| before.iter().all(|(other, _)| other != name)).collect();
        assert!(new.is_empty(), "{attack}: foreign keys were made: {new:?}");
    }
}

fn plant(direct: &mut Conn, before: &str, mark: &str) {
    let lines: Vec<Vec<Vec<u8>>> = KEYS.lines().map(|l| words(&l.replace('@', before).replace('%', mark))).collect();
    let mut requests: Vec<Vec<Vec<u8>>> = lines.iter().map(|line| vec![b"DEL".to_vec(), key_of(line)]).collect();
    requests.dedup();
    // A stream's DEL ends its groups; each key is deleted once, before any is made.
    requests.extend(lines.iter().cloned());
    for (request, reply) in requests.iter().zip(direct.pipeline(&requests)) {
        assert!(reply.error_word().is_empty() || reply.error_word() == "BUSYGROUP", "{request:?}: {reply:?}");
    }
}

fn key_of(line: &[Vec<u8>]) -> Vec<u8> {
    match &line[0][..] {
        b"XGROUP" => line[2].clone(),
        b"XREADGROUP" => line[line.len() - 2].clone(),
        _ => line[1].clone(),
    }
}

/// The rival is busy: subscribed, named, with stock and a reservation. Its connection has to be kept.
fn rival(sidecar: &Sidecar) -> (Conn, String) {
    let mut inventory = sidecar.conn();
    inventory.call("AUTH rival rival-secret").expect_ok();
    inventory.call(&format!("CLIENT SETNAME {MARK}"));
    let stocked = inventory.call(&format!("INV.SETSTOCK {MARK} 100"));
    assert!(stocked.error_word().is_empty(), "{stocked:?}");
    let reserved = inventory.call(&format!("INV.RESERVE {MARK} 3"));
    let id = match &reserved {
        Reply::Array(fields) => fields
            .iter()
            .filter_map(
                |field| if let Reply::Bulk(bytes) = field { String::from_utf8(bytes.clone()).ok() } else { None },
            )
            .max_by_key(String::len)
            .expect("an id"),
        other => other.text(),
    };
    let mut conn = sidecar.conn();
    conn.call("AUTH rival rival-secret").expect_ok();
    conn.call(&format!("SUBSCRIBE {MARK}"));
    conn.call(&format!("PSUBSCRIBE {MARK}*"));
    (conn, id)
}
