//! The sidecar's knowledge of commands is the upstream's own, and follows it: a module that is loaded and unloaded while
//! clients are connected.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::resp::encode;
use common::{Conn, Redis, Reply, SOON, Sidecar, until, words};
use tempfile::TempDir;

/// A module with a command that says hello, and with an argument one that is said to wait. Of the engine's interface no
/// more than that needs: functions are asked for by their names, through what the context begins with.
const MODULE: &str = r#"
typedef struct Context Context;
typedef struct String String;
typedef int (*Handler)(Context *, String **, int);

static int (*reply)(Context *, const char *);

static int hello(Context *ctx, String **argv, int argc) {
    (void) argv;
    (void) argc;
    return reply(ctx, "hello");
}

int RedisModule_OnLoad(Context *ctx, String **argv, int argc) {
    int (*get)(const char *, void *) = *(int (**)(const char *, void *)) ctx;
    int (*create)(Context *, const char *, Handler, const char *, int, int, int);
    void (*attributes)(Context *, const char *, int, int);
    (void) argv;
    if (get("RedisModule_SetModuleAttribs", &attributes)) return 1;
    if (get("RedisModule_CreateCommand", &create)) return 1;
    if (get("RedisModule_ReplyWithSimpleString", &reply)) return 1;
    attributes(ctx, "shop", 1, 1);
    if (create(ctx, "shop.hello", hello, "readonly fast", 0, 0, 0)) return 1;
    if (argc > 0 && create(ctx, "shop.wait", hello, "readonly blocking", 0, 0, 0)) return 1;
    return 0;
}
"#;

fn module(dir: &TempDir) -> PathBuf {
    let (source, library) = (dir.path().join("shop.c"), dir.path().join("shop.so"));
    std::fs::write(&source, MODULE).expect("the module's text");
    let made = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).output();
    let made = made.expect("cc, which Rust needs too");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    library
}

/// A server that loads modules; what is no option of it before 7.0 is left out there.
fn server() -> (Redis, bool) {
    let plain = Redis::start();
    let info = plain.conn().call("INFO server").text();
    let version = info.lines().find_map(|line| line.strip_prefix("redis_version:")).expect("a version");
    let before_7 = version.starts_with("6.");
    if before_7 { (plain, true) } else { (Redis::with(&["--save", "", "--enable-module-command", "yes"]), false) }
}

fn figure(sidecar: &Sidecar, name: &str) -> f64 {
    let (_, text) = sidecar.http("/metrics");
    text.lines().find_map(|line| line.strip_prefix(name)).map_or(0.0, |value| value.trim().parse().expect("a number"))
}

fn pins(sidecar: &Sidecar, reason: &str) -> f64 {
    figure(sidecar, &format!("inventory_sentinel_pins_total{{reason=\"{reason}\"}} "))
}

#[track_caller]
fn comes_to_be_unpinned(sidecar: &Sidecar) {
    until("nobody has a connection of its own", SOON, || {
        (figure(sidecar, "inventory_sentinel_pinned_clients ") == 0.0).then_some(())
    });
}

#[track_caller]
fn says_hello(conn: &mut Conn) {
    assert_eq!(conn.call("shop.hello"), Reply::Simple("hello".into()));
}

/// Whether this one needs no connection of its own to say so.
#[track_caller]
fn says_hello_on_a_link(sidecar: &Sidecar, conn: &mut Conn) -> bool {
    comes_to_be_unpinned(sidecar);
    let before = pins(sidecar, "unknown");
    says_hello(conn);
    pins(sidecar, "unknown") == before
}

#[track_caller]
fn all_say_hello_on_links(sidecar: &Sidecar, conns: &mut [Conn]) {
    until("it is known", SOON, || says_hello_on_a_link(sidecar, &mut conns[0]).then_some(()));
    for conn in conns {
        assert!(says_hello_on_a_link(sidecar, conn), "known to one worker and not to all");
    }
    comes_to_be_unpinned(sidecar);
}

fn load(path: &Path, more: &str) -> Vec<u8> {
    encode(&words(&format!("MODULE LOAD {}{more}", path.display())))
}

#[test]
fn commands_of_a_module_that_is_loaded_through_the_sidecar_are_known_to_all_workers() {
    let (dir, (redis, before_7)) = (TempDir::new().expect("a directory"), server());
    let path = module(&dir);
    let sidecar = Sidecar::start(&redis.url(), &["sidecar.workers=2"]);
    let mut conns: Vec<Conn> = (0..4).map(|_| sidecar.conn()).collect();
    let unknown = redis.conn().call("shop.hello x");
    assert_eq!(conns[0].call("shop.hello x"), unknown);
    comes_to_be_unpinned(&sidecar);

    for round in 0..2 {
        if round == 0 {
            conns[0].send(&load(&path, if before_7 { "" } else { " and-wait" }));
            conns[0].reply().expect_ok();
        } else {
            let requests = [encode(&["MULTI"]), load(&path, ""), encode(&["EXEC"])].concat();
            conns[0].send(&requests);
            conns[0].reply().expect_ok();
            assert_eq!(conns[0].reply(), Reply::Simple("QUEUED".into()));
            assert_eq!(conns[0].reply(), Reply::Array(vec![Reply::Simple("OK".into())]));
        }
        all_say_hello_on_links(&sidecar, &mut conns);
        assert_eq!(conns[1].call("COMMAND INFO shop.hello").items()[0].items()[0], Reply::bulk("shop.hello"));
        if round == 0 && !before_7 {
            // What is said of it counts too.
            let before = pins(&sidecar, "blocking");
            assert_eq!(conns[2].call("shop.wait"), Reply::Simple("hello".into()));
            assert_eq!(pins(&sidecar, "blocking"), before + 1.0);
        }
        conns[3].call("MODULE UNLOAD shop").expect_ok();
        until("it is not known any more", SOON, || {
            let before = pins(&sidecar, "unknown");
            assert_eq!(conns[1].call("shop.hello x"), unknown);
            (pins(&sidecar, "unknown") > before).then_some(())
        });
        assert!(conns[2].call("COMMAND INFO shop.hello").items()[0].is_nil());
        comes_to_be_unpinned(&sidecar);
    }
    conns[0].call("MODULE UNLOAD shop").expect_error("ERR");
}

#[test]
fn a_client_that_met_an_unknown_command_gives_its_connection_back_when_it_is_known() {
    let (dir, (redis, _)) = (TempDir::new().expect("a directory"), server());
    let path = module(&dir);
    let sidecar = Sidecar::start(&redis.url(), &["sidecar.workers=2"]);
    let mut conns: Vec<Conn> = (0..4).map(|_| sidecar.conn()).collect();
    let mut direct = redis.conn();
    direct.send(&load(&path, ""));
    direct.reply().expect_ok();
    // Nobody told the sidecar; whoever comes first has a connection of its own, and need not ask anything to lose it.
    assert!(!says_hello_on_a_link(&sidecar, &mut conns[0]));
    comes_to_be_unpinned(&sidecar);
    all_say_hello_on_links(&sidecar, &mut conns);
}
