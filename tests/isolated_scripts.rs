//! Scripts of isolated tenants: they see and say the tenant's own names, those that they make themselves too, and behind that
//! stands the upstream's ACL user.

mod common;

use common::tenant_users::Tenants;
use common::{Conn, Redis, Reply, Sidecar, words};

struct Scene {
    sidecar: Sidecar,
    /// Past the sidecar.
    direct: Conn,
    _tenants: Tenants,
}

fn scene() -> Scene {
    let tenants = Tenants::with_users(Redis::start(), "");
    let sidecar = tenants.sidecar("127.0.0.1:0");
    Scene { sidecar, direct: tenants.redis.conn(), _tenants: tenants }
}

fn login(sidecar: &Sidecar, tenant: &str) -> Conn {
    let mut conn = sidecar.conn();
    conn.call(&format!("AUTH {tenant} {tenant}-secret")).expect_ok();
    conn
}

/// `EVAL script numkeys …`
fn eval(conn: &mut Conn, script: &str, rest: &str) -> Reply {
    let mut request = vec![b"EVAL".to_vec(), script.as_bytes().to_vec()];
    request.extend(words(rest));
    conn.pipeline(&[request]).remove(0)
}

#[test]
fn a_script_sees_its_tenants_names_and_no_other_argument() {
    let Scene { sidecar, mut direct, _tenants } = scene();
    let mut acme = login(&sidecar, "acme");
    let told = eval(&mut acme, "return {KEYS[1], KEYS[2], #KEYS, ARGV[1], #ARGV}", "2 a {b} x");
    assert_eq!(
        told,
        Reply::Array(vec![Reply::bulk("a"), Reply::bulk("{b}"), Reply::Int(2), Reply::bulk("x"), Reply::Int(1)])
    );
    assert_eq!(eval(&mut acme, "return {#KEYS, #ARGV, type(redis.sha1hex), redis.REPL_ALL}", "0").items().len(), 4);
    // A name that the script makes itself is the tenant's, whoever's it looks like.
    for (script, rest) in [
        ("redis.call('set', ARGV[1] .. ':made', 'here')", "0 job"),
        ("redis.call('SET', 'rival:made', 'here') redis.call('SET', 17, 'here')", "0"),
        ("local call = redis.pcall\nfor _, key in ipairs(KEYS) do call('HSET', key .. ':h', 'f', 1) end", "2 k l"),
        ("#!lua flags=no-cluster\nreturn redis.call('SET', KEYS[1], 'here')", "1 bang"),
    ] {
        let reply = eval(&mut acme, script, rest);
        assert!(reply.error_word().is_empty() || script.starts_with("#!"), "{script}: {reply:?}");
    }
    let mut keys: Vec<String> = direct.call("KEYS *").items().iter().map(Reply::text).collect();
    keys.retain(|key| key != "acme:bang");
    keys.sort();
    assert_eq!(keys, ["acme:17", "acme:job:made", "acme:k:h", "acme:l:h", "acme:rival:made"]);
    assert_eq!(acme.call("GET rival:made"), Reply::bulk("here"));
    assert!(login(&sidecar, "rival").call("GET made").is_nil());
    // An error says the line where the tenant's script has it.
    let error = eval(&mut acme, "local one = 1\nreturn one + nil", "0");
    assert!(format!("{error:?}").contains("user_script:2:"), "{error:?}");
}

/// Each twice, once as it is and once called by a script; what it changes is put back before each.
const COMMANDS: &str = "\
GET s
MGET s n nosuch
MSET s 1 new 2
DEL s n nosuch
EXISTS s s nosuch
RENAME s t
COPY s t REPLACE
BITOP OR t s n
OBJECT ENCODING n
MEMORY USAGE nosuch
XINFO GROUPS x
XGROUP CREATE x h 0
SINTER set set2
SUNIONSTORE t set set2
SMOVE set set2 1
SINTERCARD 2 set set2 LIMIT 1
RPOPLPUSH l l2
LMOVE l l2 LEFT RIGHT
BLPOP nosuch l 0
BRPOP l 0
BZPOPMIN z 0
LMPOP 2 nosuch l LEFT COUNT 2
ZMPOP 1 z MIN
BLMPOP 0 1 l LEFT
BZMPOP 0 2 nosuch z MAX
ZUNION 2 z z2 WITHSCORES
ZINTERSTORE t 2 z z2 WEIGHTS 1 2
ZDIFFSTORE t 2 z z2
ZDIFF 2 z z2
ZRANGESTORE t z 0 -1
ZINTERCARD 2 z z2
SORT l ALPHA STORE t
SORT l BY nosort GET # LIMIT 0 2
LCS s n
PFMERGE t p p
PFCOUNT p p
XREAD COUNT 2 STREAMS x y 0 0
XREADGROUP GROUP g STREAMS COUNT 1 STREAMS x >
XADD x 9-9 f v
XRANGE x - +
GEOSEARCHSTORE t geo FROMLONLAT 15 37 BYRADIUS 200 km
GETEX s EX 100
PUBLISH c m
ECHO s
PING
SET s 1 EX 100
TYPE l";
const PLANTED: &str = "\
SET s value
SET n 5
RPUSH l a b c
RPUSH l2 d
SADD set 1 2 3
SADD set2 1 4
ZADD z 1 a 2 b
ZADD z2 2 b
XADD x 1-1 f v
XADD y 2-1 f v
XGROUP CREATE x g 0
GEOADD geo 13.361389 38.115556 Palermo 15.087269 37.502669 Catania
PFADD p a b";

#[test]
fn what_a_script_calls_does_and_says_what_the_command_does() {
    let Scene { sidecar, mut direct, _tenants } = scene();
    let mut acme = login(&sidecar, "acme");
    direct.call("SET l:secret other").expect_ok();
    for line in COMMANDS.lines() {
        let mut ran = [false, true].map(|as_script| {
            let old = direct.call("KEYS acme:*");
            for key in old.items() {
                direct.call(&format!("DEL {}", key.text()));
            }
            for planted in PLANTED.lines() {
                let reply = acme.call(planted);
                assert!(reply.error_word().is_empty(), "{planted}: {reply:?}");
            }
            let said = if as_script {
                eval(&mut acme, "return redis.call(unpack(ARGV))", &format!("0 {line}"))
            } else {
                acme.call(line)
            };
            let mut now: Vec<(String, Reply)> = direct
                .call("KEYS *")
                .items()
                .iter()
                .map(|key| (key.text(), direct.call(&format!("DUMP {}", key.text()))))
                .collect();
            now.sort_by(|(one, _), (other, _)| one.cmp(other));
            // A stream's group tells when its consumers were seen, what has a time to live until when.
            let now: Vec<(String, Reply)> = now
                .into_iter()
                .map(|(key, dump)| if key == "acme:x" { (key, Reply::Int(0)) } else { (key, dump) })
                .collect();
            (said, now)
        });
        let [command, script] = &mut ran;
        // What waits, which a script cannot.
        if matches!(&script.0, Reply::Error(line) if line.contains("not allowed from script")) {
            continue;
        }
        let alike = command.0 == script.0 || refused_alike(&command.0, &script.0);
        assert!(alike, "{line}: {:?}, and in a script {:?}", command.0, script.0);
        assert_eq!(command.1, script.1, "{line}");
    }
}

/// Whether both were refused, and for the same. A script's error says more than a command's; 6.2's begins otherwise too, and has
/// words of its own for what the engine does not know and what the tenant's user may not.
fn refused_alike(command: &Reply, script: &Reply) -> bool {
    let (Reply::Error(command), Reply::Error(script)) = (command, script) else { return false };
    let why = match command {
        line if line.starts_with("ERR unknown command") => "Unknown Redis command",
        line if line.starts_with("NOPERM ") => "can't run this command",
        line => return script.starts_with(line),
    };
    script.contains(why)
}

#[test]
fn a_script_has_the_name_that_its_tenant_gives_it_and_is_loaded_again_where_it_is_lost() {
    let Scene { sidecar, mut direct, _tenants } = scene();
    let (mut acme, mut rival) = (login(&sidecar, "acme"), login(&sidecar, "rival"));
    let (text, name) =
        ("return KEYS[1] .. ':made'", direct.call_args(&["SCRIPT", "LOAD", "return KEYS[1] .. ':made'"]).text());
    let run = format!("EVALSHA {name} 1 k");
    acme.call(&run).expect_error("NOSCRIPT");
    assert_eq!(acme.call_args(&["SCRIPT", "LOAD", text]), Reply::bulk(&name));
    assert_eq!(acme.call(&run), Reply::bulk("k:made"));
    assert_eq!(
        acme.call(&format!("SCRIPT EXISTS {name} {}", "f".repeat(40))),
        Reply::Array(vec![Reply::Int(1), Reply::Int(0)])
    );
    assert_eq!(rival.call(&format!("SCRIPT EXISTS {name}")), Reply::Array(vec![Reply::Int(0)]));
    rival.call(&run).expect_error("NOSCRIPT");
    rival.call_args(&["SCRIPT", "LOAD", text]);
    assert_eq!(rival.call(&run), Reply::bulk("k:made"));
    let queued = acme.pipeline(&["MULTI", &run, &format!("SCRIPT EXISTS {name}"), "EXEC"].map(words));
    assert_eq!(queued[3], Reply::Array(vec![Reply::bulk("k:made"), Reply::Array(vec![Reply::Int(1)])]));
    direct.call("SCRIPT FLUSH").expect_ok();
    acme.call(&run).expect_error("NOSCRIPT");
    assert_eq!(acme.call(&format!("SCRIPT EXISTS {name}")), Reply::Array(vec![Reply::Int(0)]));
    assert_eq!(eval(&mut acme, text, "1 k"), Reply::bulk("k:made"));
    assert_eq!(acme.call(&run), Reply::bulk("k:made"));
    // Both tenants' is one script upstream.
    let cached = |direct: &mut Conn| {
        let info = direct.call("INFO memory").text();
        info.lines().find_map(|line| line.strip_prefix("number_of_cached_scripts:")).map(str::to_owned)
    };
    let before = cached(&mut direct);
    assert_eq!(eval(&mut rival, text, "1 k"), Reply::bulk("k:made"));
    assert_eq!(cached(&mut direct), before);
}

#[test]
fn what_goes_around_it_reaches_nothing_of_anothers() {
    let Scene { sidecar, mut direct, _tenants } = scene();
    let mut acme = login(&sidecar, "acme");
    direct.call("SET rival:k secret").expect_ok();
    for script in [
        "return _G.redis.call('GET', 'rival:k')",
        "return getmetatable(redis).__index.call('GET', 'rival:k')",
        "return loadstring(\"return redis.call('GET', 'rival:k')\")()",
        "return redis.call('KEYS', '*')",
        "return redis.call('SCAN', '0')",
        "return _G.redis.call('DEL', 'rival:k')",
        "table.insert(ARGV, 'rival:') return redis.call('GET', 'k')",
    ] {
        for prefix in ["", "rival:", "x"] {
            let reply = eval(&mut acme, script, &format!("0 {prefix}"));
            assert!(reply.is_nil() || matches!(reply, Reply::Error(_) | Reply::Int(0)), "{script}: {reply:?}");
        }
    }
    assert_eq!(direct.call("GET rival:k"), Reply::bulk("secret"));
}

/// What a script might leave behind it in the interpreter that all scripts of the upstream share; each by itself, and where that is
/// refused, around.
const LEFT_BEHIND: [&str; 17] = [
    "cjson.encode_max_depth(1) cjson.decode_max_depth(1)",
    "cjson.encode_number_precision(1)",
    "_G.cjson.encode_max_depth(1)",
    "loadstring('cjson.encode_max_depth(1)')()",
    "local parts = {'cjson.encode', '_max_depth(1)'} load(function() return table.remove(parts, 1) end)()",
    "getmetatable('').__index = function() return function() return 'poison' end end",
    "string.sub = function() return 'poison' end",
    "rawset(string, 'sub', function() return 'poison' end)",
    "rawset(_G.string, 'sub', function() return 'poison' end)",
    "loadstring(\"string.format = function() return 'poison' end\")()",
    "math.floor = function() return 7 end",
    "tonumber = function() return 7 end",
    "loadstring('tostring = function() return 7 end')()",
    "redis = {call = function() return 'poison' end} getmetatable(redis).__index.call = redis.call",
    "setfenv(0, {})",
    "getfenv(0).pcall = function() return 'poison' end",
    "for name in pairs(getfenv and getfenv(0) or _G) do if name:find('^f_') then getfenv(0)[name] = function() end end end",
];

#[test]
fn what_one_tenants_script_leaves_behind_changes_nothing_for_anothers_or_for_the_inventory() {
    let Scene { sidecar, mut direct, _tenants } = scene();
    let (mut acme, mut rival) = (login(&sidecar, "acme"), login(&sidecar, "rival"));
    acme.call("SET k value").expect_ok();
    acme.call("INV.SETSTOCK sku 1000").expect_ok();
    let look = "return {cjson.encode({{{123456}}}), cjson.decode('[[[5]]]')[1][1][1], ('abc'):sub(2), string.sub('abc', 2), \
                string.format('%d', tonumber('3')), tostring(4), math.floor(1.5), redis.call('GET', 'k'), (pcall(type, 1))}";
    let before = eval(&mut acme, look, "0");
    assert_eq!(before.items().len(), 9, "{before:?}");
    for (turn, script) in LEFT_BEHIND.into_iter().enumerate() {
        // Whether it may or not is the engine's to say.
        eval(&mut rival, script, "0");
        eval(&mut rival, &format!("return {{pcall(function() {script} end)}}"), "0");
        assert_eq!(eval(&mut acme, look, "0"), before, "{script}");
        assert_eq!(direct.call_args(&["EVAL", "return cjson.encode({{{123456}}})", "0"]), Reply::bulk("[[[123456]]]"));
        assert_eq!(acme.call(&format!("INV.RESERVE sku 1 ID o{turn}")), Reply::bulk(format!("0-o{turn}")), "{script}");
    }
    // Scripts that others sent are not to be had by a name.
    let names = "local found = 0 for name in pairs(_G) do if name:sub(1, 2) == 'f_' then found = found + 1 end end return found";
    assert_eq!(eval(&mut rival, names, "0"), Reply::Int(0));
    // What a script sets of its own cjson holds while it runs, and is its alone.
    let own = "cjson.encode_max_depth(1) return {pcall(cjson.encode, {{1}})}";
    assert!(format!("{:?}", eval(&mut rival, own, "0")).contains("nesting"));
}

#[test]
fn a_script_that_a_script_makes_sees_its_tenants_names_too() {
    let Scene { sidecar, mut direct, _tenants } = scene();
    let mut acme = login(&sidecar, "acme");
    let made = "local made = loadstring(\"local name, n = ..., #KEYS\\nredis.call('SET', name, n) return name .. KEYS[1]\", 'made')\n\
                return made(ARGV[1])";
    assert_eq!(eval(&mut acme, made, "1 k x"), Reply::bulk("xk"));
    assert_eq!(direct.call("GET acme:x"), Reply::bulk("1"));
    // It ends where it ends, and is no more than it says.
    for text in ["end redis.call('SET', 'y', 1) do", "return 1 end --", "--[[", "end) (", "\\27Lua"] {
        let script = format!("local made, why = loadstring(\"{text}\") return {{tostring(made), type(why)}}");
        let told = eval(&mut acme, &script, "0");
        assert_eq!(told, Reply::Array(vec![Reply::bulk("nil"), Reply::bulk("string")]), "{text}");
    }
    let line = eval(&mut acme, "return loadstring('\\nreturn 1 + nil', '@made')()", "0");
    assert!(format!("{line:?}").contains("made:2:"), "{line:?}");
}
