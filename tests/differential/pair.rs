//! Two fresh, equal servers: one that is asked directly, and one behind a sidecar.

use std::sync::OnceLock;
use std::time::Duration;

use super::super::common::{Conn, Redis, SOON, Sidecar, until};
use super::case::words_of;

/// How long a reply may be awaited of which it is known that it may not come.
const SHORT: Duration = Duration::from_secs(2);

pub struct Pair {
    pub direct: Redis,
    upstream: Redis,
    pub sidecar: Sidecar,
    direct_control: Conn,
    upstream_control: Conn,
}

/// One of the two, as a client and its helper see it.
pub struct Side<'a> {
    pub addr: String,
    /// A connection to its server itself.
    pub control: &'a mut Conn,
    pub patience: Duration,
}

/// What stands first on PATH: its version as one number (7.0 is 700), the name of the engine.
pub fn engine() -> &'static (u32, String) {
    static ENGINE: OnceLock<(u32, String)> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let info = Redis::start().conn().call("INFO server").text();
        let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let (name, version) = match field("valkey_version") {
            Some(version) => ("valkey", version),
            None => ("redis", field("redis_version").expect("a version")),
        };
        let mut numbers = version.split('.').map(|number| number.parse::<u32>().expect("a number"));
        let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        (major * 100 + minor, format!("{name} {major}.{minor}"))
    })
}

impl Pair {
    pub fn start() -> Self {
        // A new user's channels are by default all in 6.2 and none later.
        let mut args = vec!["--save", "", "--appendonly", "no", "--acl-pubsub-default", "resetchannels"];
        // A wait that nobody ends is ended by a timer, which else comes by ten times a second.
        args.extend(["--hz", "500"]);
        if engine().0 >= 700 {
            // Before it DEBUG needed no leave.
            args.extend(["--enable-debug-command", "yes"]);
        }
        let (direct, upstream) = (Redis::with(&args), Redis::with(&args));
        let sidecar = Sidecar::start(&upstream.url(), &["upstream.links=1"]);
        let (direct_control, upstream_control) = (direct.conn(), upstream.conn());
        Self { direct, upstream, sidecar, direct_control, upstream_control }
    }

    pub fn direct(&mut self) -> Side<'_> {
        Side { addr: self.direct.addr(), control: &mut self.direct_control, patience: SOON }
    }

    pub fn through(&mut self, is_known_to_differ: bool) -> Side<'_> {
        let patience = if is_known_to_differ { SHORT } else { SOON };
        Side { addr: self.sidecar.listen.clone(), control: &mut self.upstream_control, patience }
    }

    /// Both sides, to be played against beside others.
    pub fn remotes(&self) -> [Remote; 2] {
        let direct = Remote { addr: self.direct.addr(), control: self.direct.conn() };
        [direct, Remote { addr: self.sidecar.listen.clone(), control: self.upstream.conn() }]
    }

    /// Both upstreams as they were, but for what no case touches; then `setup` on both.
    pub fn prepare(&mut self, setup: &[Vec<Vec<u8>>]) {
        let mut requests: Vec<Vec<Vec<u8>>> = WIPE.lines().filter_map(words_of).collect();
        let wipes = requests.len();
        requests.extend_from_slice(setup);
        for control in [&mut self.direct_control, &mut self.upstream_control] {
            wait_for_children(control);
            let replies = control.pipeline(&requests);
            for (request, reply) in requests.iter().zip(replies).skip(wipes) {
                assert_eq!(reply.error_word(), "", "{request:?}: {reply:?}");
            }
        }
    }
}

/// What a thread of its own needs of a [`Side`].
pub struct Remote {
    addr: String,
    control: Conn,
}

impl Remote {
    pub fn side(&mut self) -> Side<'_> {
        Side { addr: self.addr.clone(), control: &mut self.control, patience: SOON }
    }
}

/// What writes to the disk in a child says something else while one is under way.
fn wait_for_children(control: &mut Conn) {
    until("nothing is saved", SOON, || {
        let info = control.call("INFO persistence").text();
        let idle = ["rdb_bgsave_in_progress:0", "aof_rewrite_in_progress:0", "aof_rewrite_scheduled:0"];
        idle.iter().all(|line| info.contains(line)).then_some(())
    });
}

/// FUNCTION and some of ACL are not in every engine: an error is as good. Scripts stay: without its own the sidecar sends a
/// batch a second time, and leaves keys in database 0 that say so.
const WIPE: &str = "\
FLUSHALL
FUNCTION FLUSH
ACL DELUSER ann bob
CONFIG SET requirepass \"\"
ACL SETUSER default reset on nopass ~* &* +@all
ACL LOG RESET
SLOWLOG RESET
CONFIG SET maxmemory 0
CONFIG SET slowlog-log-slower-than 10000
CLIENT UNPAUSE";

impl Side<'_> {
    /// Waits until so many clients wait in the upstream.
    pub fn wait_blocked(&mut self, count: i64) {
        until("clients are blocked", SOON, || {
            let info = self.control.call("INFO clients").text();
            let line = info.lines().find_map(|line| line.strip_prefix("blocked_clients:")).expect("blocked_clients");
            (line.trim().parse::<i64>().expect("a number") == count).then_some(())
        });
    }

    /// Does the engine have this command?
    pub fn knows(&mut self, command: &str) -> bool {
        let info = self.control.call(&format!("COMMAND INFO {command}"));
        !info.items()[0].is_nil()
    }
}
