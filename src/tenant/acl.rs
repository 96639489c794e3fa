//! The second wall: the upstream's ACL user of an isolated tenant, as the line that makes it. Pure.
//!
//! The commands are named one by one: a category would bring a module's commands too, and those may read what their keys do not
//! tell. Left out is what a script could call to see more than its keys (KEYS, SCAN, RANDOMKEY, DBSIZE, FLUSHDB, INFO, PUBSUB
//! …): where the sidecar does such a thing for the tenant, it does it as its own user. Left out too are keyevent channels,
//! which tell of all keys.

use super::isolation::table::{ROWS, Row, Treatment};

/// What of a tenant the line depends on.
#[derive(Debug, Clone, Copy)]
pub struct AclTenant<'a> {
    /// The upstream user's name.
    pub user: &'a str,
    /// Its password.
    pub secret: AclSecret<'a>,
    /// `[A-Za-z0-9_-]{1,64}`.
    pub namespace: &'a str,
    /// The database that the sidecar uses.
    pub db: u32,
    /// The user runs the inventory's script too. It can then be told by a script of the tenant's to change stock: not for
    /// a tenant that may send scripts and has not all rights over its inventory.
    pub inventory: bool,
    /// The tenant may send scripts.
    pub scripts: bool,
    /// The tenant may use CLIENT TRACKING. Redis holds a broadcast to no pattern: with a bug in the rewriting the names of all
    /// keys could be seen, and no more.
    pub tracking: bool,
}

/// How the line says the password.
#[derive(Debug, Clone, Copy)]
pub enum AclSecret<'a> {
    /// `><password>`, for the operator to fill in.
    Placeholder,
    /// The SHA-256 of the password in 64 lower-case hexadecimal digits: `#…`.
    Sha256(&'a str),
}

/// Not the tenant's user's, although the tenant may say them: see the module.
pub const SIDECARS: [&str; 5] = ["INFO", "KEYS", "PUBSUB", "SCAN", "COMMAND"];
/// Redis checks one STORE of these, and stores where the last one says: with two of them a script could write into any key. The
/// GEOSEARCH family does the same without the fault.
const UNCHECKED: [&str; 2] = ["GEORADIUS", "GEORADIUSBYMEMBER"];
/// What sends or runs scripts.
const SCRIPTING: [&str; 5] = ["EVAL", "EVALSHA", "EVALSHA_RO", "EVAL_RO", "SCRIPT"];
/// What the sidecar sends on a connection of the tenant's on its own account.
const HANDSHAKE: [&str; 8] = [
    "ping",
    "client|setname",
    "client|getname",
    "client|setinfo",
    "client|id",
    "client|info",
    "client|reply",
    "client|getredir",
];
/// What the inventory's script calls and needs; inside MULTI it goes along whole.
const INVENTORY: [&str; 3] = ["eval", "evalsha", "script|load"];

/// The release of Redis that brought a command, for those that 6.2 has not.
const SINCE: [((u32, u32), &[&str]); 6] = [
    (
        (7, 0),
        &[
            "BLMPOP",
            "BZMPOP",
            "EVALSHA_RO",
            "EVAL_RO",
            "EXPIRETIME",
            "LCS",
            "LMPOP",
            "PEXPIRETIME",
            "SINTERCARD",
            "SORT_RO",
            "SPUBLISH",
            "SSUBSCRIBE",
            "SUNSUBSCRIBE",
            "ZINTERCARD",
            "ZMPOP",
            // 6.2 does not check the keys that its patterns read.
            "SORT",
        ],
    ),
    ((7, 2), &["WAITAOF", "NO-TOUCH", "SETINFO"]),
    (
        (7, 4),
        &["HEXPIRE", "HEXPIREAT", "HEXPIRETIME", "HPERSIST", "HPEXPIRE", "HPEXPIREAT", "HPEXPIRETIME", "HPTTL", "HTTL"],
    ),
    ((8, 0), &["HGETDEL", "HGETEX", "HSETEX"]),
    ((8, 2), &["XACKDEL", "XDELEX"]),
    ((8, 4), &["DELEX", "DIGEST", "MSETEX"]),
];
/// Valkey's alone: it says a Redis version that does not tell whether it has them.
const UNTOLD: [&str; 1] = ["DELIFEQ"];

/// `ACL SETUSER …`, for an engine that is compatible with this Redis version (Valkey says 7.2.4): what it does not know would be
/// an error. What was granted to the user before is taken back.
#[must_use]
pub fn acl_line(tenant: &AclTenant<'_>, version: (u32, u32, u32)) -> String {
    let AclTenant { user, secret, namespace, db, .. } = tenant;
    let secret = match secret {
        AclSecret::Placeholder => "><password>".to_owned(),
        AclSecret::Sha256(hex) => format!("#{hex}"),
    };
    // resetchannels: 6.2 gives a new user all channels.
    let mut line = format!("ACL SETUSER {user} reset on {secret} resetchannels resetkeys ~{namespace}:*");
    if tenant.inventory {
        line.push_str(&format!(" ~inv1:{{{namespace}/*"));
    }
    // The database is written out: an asterisk would reach into another tenant's keys.
    line.push_str(&format!(" &{namespace}:* &__keyspace@{db}__:{namespace}:* -@all"));
    let mut commands: Vec<String> = Vec::new();
    for row in ROWS.iter().filter(|row| is_granted(row, tenant, version)) {
        match row.treatment {
            Treatment::Container(rows) => {
                let granted = rows.iter().filter(|sub| is_known(sub.name, version) && is_sent(sub));
                let granted = granted.filter(|sub| tenant.tracking || !sub.name.starts_with("TRACKING"));
                commands.extend(granted.map(|sub| format!("{}|{}", row.name, sub.name)));
            }
            _ => commands.push(row.name.to_owned()),
        }
    }
    commands.extend(HANDSHAKE.iter().filter(|name| known_sub(name, version)).map(ToString::to_string));
    if *db != 0 {
        commands.push("select".to_owned());
    }
    if tenant.inventory {
        commands.extend(INVENTORY.map(str::to_owned));
    }
    for command in &mut commands {
        command.make_ascii_lowercase();
    }
    commands.sort_unstable();
    commands.dedup();
    for command in commands {
        line.push_str(" +");
        line.push_str(&command);
    }
    line
}

fn is_granted(row: &Row, tenant: &AclTenant<'_>, version: (u32, u32, u32)) -> bool {
    is_sent(row)
        && !SIDECARS.contains(&row.name)
        && !UNCHECKED.contains(&row.name)
        && (tenant.scripts || !SCRIPTING.contains(&row.name))
        && is_known(row.name, version)
}

/// Does the tenant's own request go upstream?
fn is_sent(row: &Row) -> bool {
    matches!(row.treatment, Treatment::Passed | Treatment::Keys(..) | Treatment::Parsed(_) | Treatment::Container(_))
}

fn is_known(name: &str, (major, minor, _): (u32, u32, u32)) -> bool {
    let since = SINCE.iter().find(|(_, names)| names.contains(&name)).map_or((0, 0), |(since, _)| *since);
    (major, minor) >= since && !UNTOLD.contains(&name)
}

fn known_sub(name: &str, version: (u32, u32, u32)) -> bool {
    let sub = name.split('|').next_back().unwrap_or_default().to_ascii_uppercase();
    is_known(&sub, version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_names_the_namespace_and_no_more_commands_than_needed() {
        let mut tenant = AclTenant {
            user: "acme",
            secret: AclSecret::Placeholder,
            namespace: "acme",
            db: 0,
            inventory: true,
            scripts: false,
            tracking: false,
        };
        let line = acl_line(&tenant, (7, 0, 15));
        let head = "ACL SETUSER acme reset on ><password> resetchannels resetkeys ~acme:* ~inv1:{acme/* &acme:* \
                    &__keyspace@0__:acme:* -@all +acl|cat ";
        assert!(line.starts_with(head), "{line}");
        let has = |line: &str, command: &str| line.split(' ').any(|word| word == command);
        for no in [
            "+keys",
            "+scan",
            "+randomkey",
            "+dbsize",
            "+flushdb",
            "+flushall",
            "+eval_ro",
            "+info",
            "+select",
            "+pubsub",
            "+config",
            "+restore",
            "+client|tracking",
            "+script|exists",
            "+client|kill",
            "+waitaof",
            "+move",
            "+client",
            "+object",
            "+script",
            "+georadius",
        ] {
            assert!(!has(&line, no), "{no}");
        }
        for yes in ["+eval", "+evalsha", "+script|load", "+get", "+object|encoding", "+sort", "+client|setname"] {
            assert!(has(&line, yes), "{yes}");
        }
        (tenant.inventory, tenant.scripts, tenant.tracking, tenant.db) = (false, true, true, 3);
        tenant.secret = AclSecret::Sha256("00ff");
        let line = acl_line(&tenant, (6, 2, 0));
        assert!(
            !line.contains("inv1") && line.contains(" #00ff ") && line.contains("&__keyspace@3__:acme:*"),
            "{line}"
        );
        for yes in ["+eval", "+script|exists", "+client|tracking", "+select"] {
            assert!(has(&line, yes), "{yes}");
        }
        for no in ["+sort", "+lmpop", "+client|setinfo", "+spublish", "+eval_ro"] {
            assert!(!has(&line, no), "{no}");
        }
    }
}
