//! Who is who: tenants in the metrics, and the sidecar's own connections upstream.

mod common;

use common::tenants::{TWO, Tenanted, text, two, word};
use common::{Redis, SOON, figure, until};
use std::time::Instant;

#[test]
fn figures_tell_tenants_apart_and_no_client_mints_one() {
    let redis = Redis::start();
    let tenants = Tenanted::start(&redis, &two("deny = [\"set\"]\nrequest_bytes_max = 1024"));
    let metrics = || tenants.sidecar.http("/metrics").1;
    assert!(!metrics().contains("tenant=\""), "who was never here has no series");
    let (mut acme, mut rival) = (tenants.acme(), tenants.rival());
    let of = |what: &str| figure(&tenants.sidecar, &format!("inventory_sentinel_tenant_{what} "));
    for _ in 0..5 {
        assert_eq!(text(&mut acme, &["GET", "k"]), "$-1\r\n");
    }
    assert_eq!(text(&mut rival, &["INV.STOCK", "tee"]), "$-1\r\n");
    assert_eq!(word(&mut acme, &["SET", "k", "v"]), "-NOPERM");
    assert_eq!(word(&mut acme, &["GET", &"k".repeat(2000)]), "-OVERLOADED");
    let mut nobody = tenants.sidecar.conn();
    assert_eq!(word(&mut nobody, &["GET", "k"]), "-NOAUTH");
    let guessing = Instant::now();
    assert_eq!(word(&mut nobody, &["AUTH", "acme", "x"]), "-WRONGPASS");
    assert_eq!(word(&mut nobody, &["AUTH", "minted", "x"]), "-WRONGPASS");
    let seconds = guessing.elapsed().as_secs() as usize;
    assert_eq!(
        (
            of("requests_total{tenant=\"acme\",route=\"link\"}"),
            of("requests_total{tenant=\"rival\",route=\"inventory\"}")
        ),
        (5.0, 1.0)
    );
    assert_eq!((of("clients{tenant=\"acme\"}"), of("clients{tenant=\"rival\"}")), (1.0, 1.0));
    for (tenant, reason) in
        [("acme", "noperm"), ("acme", "overloaded"), ("acme", "wrongpass"), ("", "noauth"), ("", "wrongpass")]
    {
        let name = format!("refused_total{{tenant=\"{tenant}\",reason=\"{reason}\"}}");
        assert_eq!(of(&name), 1.0, "{name}");
    }
    assert!(!metrics().contains("minted"));
    // One is told of; more in the same second are not.
    let told = tenants.logged("a wrong name or password").len();
    assert!((1..=1 + seconds).contains(&told), "{told} in {seconds} s");
    assert!(tenants.logged("\"tenant\":\"acme\"").len() == 1, "{:?}", tenants.sidecar.log_lines());
    drop(acme);
    until("it is gone", SOON, || (of("clients{tenant=\"acme\"}") == 0.0).then_some(()));
}

#[test]
fn the_sidecars_own_connections_bear_its_hosts_name_and_clients_see_nothing_of_it() {
    let redis = Redis::with(&["--save", ""]);
    let mut command = common::sidecar::command(&["run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    command.env("HOSTNAME", "shop 7d9f").args(["--upstream", &redis.url()]);
    let sidecar = common::Sidecar::launch_command(command);
    sidecar.wait_ready();
    let mut direct = redis.conn();
    let mut named = |name: &str| {
        let rows = direct.call("CLIENT LIST").text();
        rows.lines().filter(|row| row.contains(&format!(" name={name} "))).count()
    };
    let (mut one, mut other, mut pinned) = (sidecar.conn(), sidecar.conn(), sidecar.conn());
    assert!(one.call("GET k").is_nil());
    one.call("INV.SETSTOCK tee 1").expect_ok();
    // The links of the worker, and its pool's first connection.
    until("they are named", SOON, || (named("inventory-sentinel:shop7d9f") >= 2).then_some(()));
    other.call("CLIENT SETNAME other").expect_ok();
    assert!(one.call("CLIENT GETNAME").is_nil());
    assert!(pinned.call("CLIENT GETNAME").is_nil());
    pinned.call("CLIENT SETNAME mine").expect_ok();
    pinned.call("WATCH k").expect_ok();
    until("a pinned one bears its client's", SOON, || (named("mine") == 1).then_some(()));
    let (list, info) = (one.call("CLIENT LIST").text(), one.call("CLIENT INFO").text());
    assert!(!list.contains("inventory-sentinel") && !info.contains("inventory-sentinel"), "{list}{info}");
    assert!(list.contains(" name=other ") && list.contains(" name=mine ") && info.contains(" name= "), "{list}");
}

#[test]
fn a_tenants_own_user_need_not_have_the_right_to_a_name() {
    let redis = Redis::start();
    redis.conn().call("ACL SETUSER walled on >wall ~* &* +@all -client").expect_ok();
    let config =
        format!("{}upstream_user = \"walled\"\nupstream_password = \"wall\"\n", TWO.trim_end().to_owned() + "\n");
    let tenants = Tenanted::start(
        &redis,
        &config.replace("rival", "acme2").replace("name = \"acme2\"", "name = \"acme2\"\nnamespace = \"acme\""),
    );
    let mut conn = tenants.conn_as("acme2", "acme2-secret");
    assert_eq!(text(&mut conn, &["SET", "k", "v"]), "+OK\r\n");
}
