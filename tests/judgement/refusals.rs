//! What an isolated tenant is refused, and in which words.

use crate::check;
use crate::common::judged::{Tenant, show};
use crate::common::words;
use inventory_sentinel::command::CommandTable;
use inventory_sentinel::tenant::isolation::{KeySpace, Verdict};

#[test]
fn what_is_not_for_the_tenant_is_refused() {
    let tenant = Tenant::new();
    for request in [
        "SORT k BY w_*",
        "SORT k GET o_*",
        "SORT_RO k BY *",
        "SORT k GET nothing",
        "COPY a b DB 0",
        "COPY a b REPLACE DB 1",
        "GEORADIUS k 1 1 1 m STORE a STOREDIST b",
        "GEORADIUSBYMEMBER k m 1 m STORE a STORE b",
        "MIGRATE h 1 k 0 1",
        "EVAL x 0",
        "EVALSHA x 0",
        "FCALL f 0",
        "SCRIPT LOAD x",
        "SCRIPT FLUSH",
        "SCRIPT KILL",
        "SCRIPT SHOW x",
        "FUNCTION LIST",
        "DEBUG OBJECT k",
        "CONFIG GET *",
        "MODULE LIST",
        "ACL LIST",
        "ACL SETUSER x",
        "SHUTDOWN",
        "REPLICAOF NO ONE",
        "FAILOVER",
        "CLUSTER NODES",
        "SWAPDB 0 1",
        "MOVE k 1",
        "FLUSHALL",
        "FLUSHDB",
        "MONITOR",
        "SLOWLOG GET",
        "LATENCY LATEST",
        "MEMORY STATS",
        "MEMORY DOCTOR",
        "CLIENT PAUSE 1",
        "CLIENT UNPAUSE",
        "CLIENT NO-EVICT ON",
        "CLIENT CAPA x",
        "CLIENT NOSUCH",
        "PUBSUB NUMPAT",
        "SYNC",
        "PSYNC ? -1",
        "REPLCONF x",
        "OBJECT NOSUCH k",
        "VADD k",
        "RESTORE k 0 x",
        "ROLE",
        "LASTSAVE",
        "STRALGO LCS KEYS a b",
        "PFDEBUG x k",
    ] {
        let said = show(&tenant.judge(&words(request)));
        assert!(said.starts_with("-NOPERM '") && said.contains("is not for an isolated tenant"), "{request}: {said}");
    }
    check(
        &tenant,
        &[
            ("NOSUCH a b", "-ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' "[..].trim_end()),
            ("CONFIG SET x y", "-NOPERM 'config' is not for an isolated tenant: it concerns the whole server"),
            (
                "CLIENT PAUSE 1",
                "-NOPERM 'client|pause' is not for an isolated tenant: it concerns all clients of the server",
            ),
        ],
    );
}

#[test]
fn what_the_upstream_knows_and_the_table_does_not_is_refused() {
    let mut tenant = Tenant::new();
    tenant.commands = CommandTable::from_flags(vec![("json.set".into(), vec![])]);
    check(
        &tenant,
        &[("JSON.SET k $ 1", "-NOPERM 'json.set' is not for an isolated tenant: where its keys are is not known")],
    );
}

#[test]
fn an_error_is_one_bounded_line_whatever_is_quoted_in_it() {
    let tenant = Tenant::new();
    let nasty = b"x\r\n+OK\r\n\0\x1b[2J".to_vec();
    let long = vec![b'y'; 100_000];
    for request in [
        vec![nasty.clone()],
        vec![long.clone()],
        vec![nasty.clone(), long.clone(), nasty.clone()],
        vec![vec![0xFF; 70]],
        vec![b"CLIENT".to_vec(), nasty.clone()],
        vec![b"CLIENT".to_vec(), long.clone()],
        vec![vec![]],
        vec!["é\u{85}\u{2028}".into()],
        vec![b"NOSUCH".to_vec(), nasty],
        [vec![b"NOSUCH".to_vec()], vec![long; 100]].concat(),
    ] {
        let Verdict::Refused(line) = tenant.judge(&request) else { panic!("{request:?}") };
        let inner = line.strip_prefix('-').and_then(|line| line.strip_suffix("\r\n")).expect("an error's line");
        assert!(!inner.chars().any(char::is_control) && inner.len() < 600, "{line:?}");
    }
}

#[test]
fn a_namespace_that_means_something_else_upstream_cannot_be_isolated() {
    for (namespace, reserved) in [
        ("inv1", true),
        ("inv2", true),
        ("inv", true),
        ("inv15", true),
        ("__redis__", true),
        ("inventory", false),
        ("inv1a", false),
        ("acme", false),
        ("INV1", false),
        ("_", false),
    ] {
        assert_eq!(KeySpace::is_reserved(namespace), reserved, "{namespace}");
        let tenant = Tenant { space: KeySpace::new(namespace), ..Tenant::trusted() };
        for request in ["GET {acme/0}:stock", "PUBLISH invalidate x", "TIME", "DBSIZE"] {
            let refused = matches!(tenant.judge(&words(request)), Verdict::Refused(_));
            assert_eq!(refused, reserved, "{namespace}: {request}");
        }
    }
}

#[test]
fn what_would_be_compared_for_long_is_refused() {
    let tenant = Tenant::new();
    for pattern in ["a*".repeat(17), "a".repeat(1025)] {
        for request in ["KEYS ?", "SCAN 0 MATCH ?", "PSUBSCRIBE x ?", "PUBSUB CHANNELS ?"] {
            let said = show(&tenant.judge(&words(&request.replace('?', &pattern))));
            assert!(said.contains("the pattern"), "{said}");
        }
    }
    let most = "a*".repeat(16);
    check(&tenant, &[(&format!("KEYS {most}"), &format!("KEYS acme:{most} / Keys"))]);
}

#[test]
fn a_name_that_the_prefix_makes_too_long_is_refused() {
    let tenant = Tenant::new();
    let most = inventory_sentinel::resp::limits::BULK_BYTES_MAX;
    let said = show(&tenant.judge(&[b"GET".to_vec(), vec![b'k'; most]]));
    assert_eq!(said, "-ERR 'get' is too long once its names bear the tenant's prefix");
    let said = show(&tenant.judge(&vec![b"SCAN".to_vec(); inventory_sentinel::resp::limits::ARGS_MAX]));
    assert!(said.starts_with("-ERR"), "{said}");
}

#[test]
fn a_word_with_a_nul_is_no_word_although_the_server_reads_it_as_one() {
    let tenant = Tenant::trusted();
    for request in [
        "SORT k STORE~ d",
        "SORT k BY~ w_*",
        "GEORADIUS k 1 1 1 m STORE~ d",
        "COPY a b DB~ 1",
        "XREAD STREAMS~ a 0",
        "SCAN 0 MATCH~ *",
        "CLIENT TRACKING ON BCAST~",
        "CLIENT TRACKING ON PREFIX~ a BCAST",
        "OBJECT FREQ~ k",
        "SORT_RO k GET~ *",
    ] {
        let request: Vec<Vec<u8>> = words(&request.replace('~', "\0"));
        let said = show(&tenant.judge(&request));
        assert!(said.starts_with('-'), "{said}");
    }
}

#[test]
fn what_would_be_drawn_for_long_is_refused() {
    for request in ["LOLWUT 100", "LOLWUT 40 1000", "lolwut version 6 1000 1000", "LOLWUT VERSION 5 66 8 100"] {
        let said = show(&Tenant::new().judge(&words(request)));
        assert!(said.starts_with("-NOPERM") && said.contains("picture"), "{request}: {said}");
    }
}
