//! What the loader says of tenants' entries.

use super::*;

/// The entry in the shipped example's comments, as one would write it.
fn shipped_tenant() -> String {
    let (_, entry) = SHIPPED.split_once("# [[tenants]]\n").unwrap();
    entry.lines().filter_map(|line| line.strip_prefix("# ")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_shipped_tenant_is_the_defaults_and_shows_every_key() {
    let shown: toml::Table = shipped_tenant().parse().unwrap();
    let aside = ["name", "password", "upstream_password", "reservation_ttl", "reservation_ttl_max", "acknowledge"];
    for (key, bounds) in tenants::KEYS {
        let others =
            ["password_file", "password_env", "password_hash", "upstream_password_file", "upstream_password_env"];
        assert!(shown.contains_key(*key) || others.contains(key) && SHIPPED.contains(key), "{key}");
        if let Some(bounds) = bounds {
            let said = format!("{}..={}", bounds.start(), bounds.end());
            let line = SHIPPED.lines().find(|line| line.starts_with(&format!("# {key} = "))).unwrap();
            assert!(line.ends_with(&said), "{key}");
        }
    }
    let defaults: toml::Table = shown.into_iter().filter(|(key, _)| !aside.contains(&&**key)).collect();
    assert_eq!(Tenant::deserialize(defaults).unwrap(), Tenant::default());
}

#[test]
fn a_tenants_fault_names_its_line_and_key_and_never_a_password() {
    for (text, said) in [
        (
            "[[tenants]]\nname = \"a b\"\npassword = \"x\"",
            "f.toml:2: tenants.name: \"a b\" is not 1 to 64 of A-Z a-z 0-9 _ -",
        ),
        (
            "[[tenants]]\nname = \"a\"\npassword = \"x\"\n[[tenants]]\nname = \"a\"\npassword = \"x\"",
            "f.toml:5: tenants.name: there is a tenant \"a\" already",
        ),
        (
            "[[tenants]]\nname = \"a\"\npassword = \"x\"\nclients_max = -1",
            "f.toml:4: tenants.clients_max: -1 is not in 0..=1000000",
        ),
        (
            "[[tenants]]\nname = \"a\"\npassword = \"x\"\npassthru = \"off\"",
            "f.toml:4: tenants.passthru: no such key (did you mean \"passthrough\"?); [[tenants]] has ",
        ),
        (
            "[[tenants]]\nname = \"a\"\npassword = \"x\"\nnamespace = \"inv1\"",
            "f.toml:4: tenants.namespace: \"inv1\" is a reserved name; take another",
        ),
        (
            "[[tenants]]\nname = \"a\"\npassword = \"x\"\npassword_env = \"Y\"",
            "f.toml:3: tenants.password: give one of password, password_file, password_env and password_hash",
        ),
        ("\n[[tenants]]\nname = \"a\"", "f.toml:3: tenants.name: nobody could be tenant \"a\": give it a password, "),
        ("\n[tenants]\nname = \"a\"", "f.toml:2: tenants: is a list of tables: write [[tenants]]"),
        ("[[tenant]]\nname = \"a\"", "f.toml:1: tenant: no such table (did you mean [[tenants]]?)"),
        ("[[tenants]]\npassword = \"x\"", "f.toml:1: tenants.name: it is missing, or empty; it is 1 to 64 of "),
        (
            "[admin]\nlisten = \"localhost:7701\"\n[[tenants]]\nname = \"a\"\ntcp = \"127.0.0.1:7701\"",
            "f.toml:5: tenants.tcp: \"127.0.0.1:7701\" is the listener of admin.listen already",
        ),
        (
            "[[tenants]]\nname = \"a\"\nunix = \"/s\"\n[[tenants]]\nname = \"b\"\nunix = \"/s\"",
            "f.toml:6: tenants.unix: \"/s\" is the listener of tenant \"a\" already",
        ),
        (
            "[[tenants]]\nname = \"a\"\npassword = \"x\"\nreservation_ttl = \"48h\"",
            "f.toml:4: tenants.reservation_ttl: it (\"48h\") must be at most inventory.reservation_ttl_max (\"24h\")",
        ),
        (
            "[[tenants]]\nname = \"a\"\npassword = \"x\"\ndeny = [\"get\", \"-@all\"]",
            "f.toml:4: tenants.deny: \"-@all\" is not a command, a command|subcommand or an @category",
        ),
        (
            "[[tenants]]\nname = \"a\"\npassword = \"x\"\nallow = [\"config get\"]",
            "f.toml:4: tenants.allow: \"config get\" is not a command, a command|subcommand or an @category",
        ),
        (
            "[[tenants]]\nname = \"a\"\npassword = \"x\"\nupstream_user = \"a b\"\nupstream_password = \"y\"",
            "f.toml:4: tenants.upstream_user: \"a b\" has a blank",
        ),
        (
            "[[tenants]]\nname = \"a\"\npassword = 12345678",
            "f.toml:3: tenants.password: it is not a string (write it in quotes)",
        ),
        ("[[tenants]]\nname = 5", "f.toml:2: tenants.name: 5 is not a string (write it in quotes)"),
        (
            "[[tenants]]\nname = \"a\"\nflushdb = \"yes\"",
            "f.toml:3: tenants.flushdb: \"yes\" is neither true nor false",
        ),
        (
            "[[tenants]]\nname = \"a\"\ndeny = \"@dangerous\"",
            "f.toml:3: tenants.deny: \"@dangerous\" is not a list of strings, such as [\"flushall\", \"@dangerous\"]",
        ),
        ("[[tenants]]\nname = \"a\"\nallow = [5]", "f.toml:3: tenants.allow: [5] is not a list of strings, such as"),
        (
            "[[tenants]]\nname = \"a\"\npassword = \"x\"\nupstream_user = \"u\"",
            "f.toml:4: tenants.upstream_user: upstream_user and its password go together",
        ),
    ] {
        let found = faults(text);
        assert!(found.contains(said) && found.lines().count() == 1, "{text}\n{found}\n{said}");
        assert!(!found.contains("12345678"));
    }
}

#[test]
fn what_a_rule_may_look_like_is_what_commands_and_categories_are_called() {
    for (rule, right) in [
        ("get", true),
        ("CLIENT|NO-EVICT", true),
        ("@dangerous", true),
        ("@all", true),
        ("ft._list", true),
        ("_ft.debug", true),
        ("", false),
        ("@", false),
        ("*", false),
        ("inv.*", false),
        ("@@all", false),
        ("+get", false),
        ("config get", false),
        ("config|", false),
    ] {
        let text = format!("[[tenants]]\nname = \"a\"\npassword = \"x\"\ndeny = [{rule:?}]");
        assert_eq!(load_text(&text, &[]).is_ok(), right, "{rule}");
    }
}

#[test]
fn the_faults_of_an_entry_come_in_the_order_of_its_lines() {
    let found = faults("[[tenants]]\nname = \"a\"\npassthrough = \"x\"\ninventory = \"y\"\nacknowledge = \"z\"");
    let lines: Vec<&str> = found.lines().map(|line| line.split(": ").next().unwrap_or_default()).collect();
    assert_eq!(lines, ["f.toml:3", "f.toml:4", "f.toml:5"], "{found}");
}
