//! A tenant's script as it goes upstream: `lua/tenant/inside.lua` before it, so that the names which the script itself makes
//! are the tenant's too, and those that it is told.
//!
//! Libraries put keys together inside of their scripts, from a prefix among the arguments; there they would miss the tenant's
//! prefix, and the upstream's ACL user would be refused. And all scripts of an upstream run in one interpreter: what of it would
//! remember what a script did to it is kept from them. The text is the same for all tenants, so that a script which several
//! send stands in the upstream's cache once: the prefix is its last argument.

use super::table::{ROWS, Row, Treatment};
use std::sync::LazyLock;

const SOURCE: &str = include_str!("../../../lua/tenant/inside.lua");
const KEEPING: &str = include_str!("../../../lua/tenant/kept.lua");

/// Of the commands whose keys a parser finds, those that scripts can call and the tenant's user may.
const PARSED: [(&str, &str); 29] = [
    ("BLMPOP", "#2,1,p"),
    ("BLPOP", "1,-2,1,p"),
    ("BRPOP", "1,-2,1,p"),
    ("BZMPOP", "#2,1,p"),
    ("BZPOPMAX", "1,-2,1,p"),
    ("BZPOPMIN", "1,-2,1,p"),
    ("COPY", "1,2,1"),
    ("HSCAN", "1,1,1"),
    ("LMPOP", "#1,1,p"),
    ("LOLWUT", NONE),
    ("MSETEX", "#1,2"),
    ("PUBLISH", "1,1,1"),
    ("SINTERCARD", "#1,1"),
    ("SORT", "s"),
    ("SORT_RO", "s"),
    ("SSCAN", "1,1,1"),
    ("XREAD", "x"),
    ("XREADGROUP", "x"),
    ("ZDIFF", "#1,1"),
    ("ZDIFFSTORE", "d#2,1"),
    ("ZINTER", "#1,1"),
    ("ZINTERCARD", "#1,1"),
    ("ZINTERSTORE", "d#2,1"),
    ("ZMPOP", "#1,1,p"),
    ("ZSCAN", "1,1,1"),
    ("ZUNION", "#1,1"),
    ("ZUNIONSTORE", "d#2,1"),
    ("GEORADIUS", "1,1,1"),
    ("GEORADIUSBYMEMBER", "1,1,1"),
];
const NONE: &str = "0,0,1";
/// What of the interpreter remembers what a script did to it, and what leads to that.
const KEPT: [&str; 9] =
    ["_G", "cjson", "collectgarbage", "gcinfo", "getfenv", "getmetatable", "load", "loadstring", "setfenv"];

/// The head of most scripts, on one line.
static HEAD: LazyLock<String> = LazyLock::new(|| head("", "redis, server, KEYS", "mine, server, keys"));

/// That of scripts which name one of [`KEPT`].
static KEEPING_HEAD: LazyLock<String> = LazyLock::new(|| {
    let names = [&["redis", "server", "KEYS"], &KEPT[..]].concat();
    let values: Vec<String> = names.iter().map(|name| format!("own.{name}")).collect();
    head(&joined(KEEPING), &names.join(", "), &values.join(", "))
});

fn head(kept: &str, names: &str, values: &str) -> String {
    let places: String = ROWS.iter().filter_map(place).collect();
    let head = joined(SOURCE).replace("@KEPT@", kept).replace("@PLACES@", &format!("{places} "));
    head.replace("@NAMES@", names).replace("@VALUES@", values)
}

fn joined(source: &str) -> String {
    let lines: Vec<&str> = source.lines().filter(|line| !line.starts_with("--")).collect();
    lines.join(" ")
}

/// The script as it is sent. A first line that tells the engine of it (`#!lua …`) stays the first, and all lines keep their
/// numbers.
#[must_use]
pub fn wrapped(script: &[u8]) -> Vec<u8> {
    let first =
        if script.starts_with(b"#!") { memchr::memchr(b'\n', script).map_or(script.len(), |at| at + 1) } else { 0 };
    let (before, behind) = script.split_at(first);
    // No name of Lua's can be written in two ways. What only looks like one of them does no harm.
    let is_kept = KEPT.iter().any(|name| memchr::memmem::find(behind, name.as_bytes()).is_some());
    let head = if is_kept { &KEEPING_HEAD } else { &HEAD };
    [before, head.as_bytes(), behind].concat()
}

/// Nothing of those whose one key is their first argument, nor of those that the tenant's user may not.
fn place(row: &Row) -> Option<String> {
    let places = match row.treatment {
        Treatment::Keys(1, 1, 1) | Treatment::Refused | Treatment::Own(_) => return None,
        Treatment::Keys(first, last, step) => format!("{first},{last},{step}"),
        Treatment::Passed => NONE.to_owned(),
        Treatment::Container(rows) => {
            match rows.iter().find(|sub| matches!(sub.treatment, Treatment::Keys(..)))?.treatment {
                Treatment::Keys(first, last, step) => format!("{first},{last},{step}"),
                _ => return None,
            }
        }
        Treatment::Parsed(_) => PARSED.iter().find(|(name, _)| *name == row.name)?.1.to_owned(),
    };
    Some(format!(" {}:{places}", row.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_stands_on_the_first_line_or_behind_what_tells_the_engine_of_the_script() {
        assert!(
            !HEAD.contains('\n')
                && HEAD.ends_with(';')
                && HEAD.contains(" DEL:1,-1,1 ")
                && HEAD.contains(" OBJECT:2,2,1 ")
        );
        let text = String::from_utf8(wrapped(b"return 1\n+ x")).unwrap();
        assert_eq!(text, format!("{}return 1\n+ x", *HEAD));
        let text = String::from_utf8(wrapped(b"#!lua flags=no-writes\nreturn 1")).unwrap();
        assert_eq!(text, format!("#!lua flags=no-writes\n{}return 1", *HEAD));
        for text in ["return cjson.encode(ARGV)", "return _G", "\n  x = load (f)"] {
            assert_eq!(wrapped(text.as_bytes()), format!("{}{text}", *KEEPING_HEAD).into_bytes());
        }
        assert!(!KEEPING_HEAD.contains('@') && !KEEPING_HEAD.contains('\n') && KEEPING_HEAD.ends_with(';'));
    }

    #[test]
    fn of_every_command_that_a_script_can_call_it_is_said_where_its_keys_are() {
        // A script cannot call these, or the tenant's user may not; where it would name a key, it is the first argument.
        let cannot = [
            "EVAL",
            "EVALSHA",
            "EVALSHA_RO",
            "EVAL_RO",
            "INFO",
            "KEYS",
            "SCAN",
            "PSUBSCRIBE",
            "PUNSUBSCRIBE",
            "SSUBSCRIBE",
            "SUBSCRIBE",
            "SUNSUBSCRIBE",
            "UNSUBSCRIBE",
            "SPUBLISH",
        ];
        for row in ROWS.iter().filter(|row| matches!(row.treatment, Treatment::Parsed(_))) {
            assert!(cannot.contains(&row.name) != place(row).is_some(), "{}", row.name);
        }
    }
}
