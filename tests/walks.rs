//! What a tenant asks of all its keys is asked of the upstream's whole table, a page at a time: of one tenant page by page,
//! whatever it asks at once, and with another one in turns.

mod common;

use common::tenants::{TWO, Tenanted};
use common::{Conn, Redis, Reply, SOON, until};

/// A table of so many keys has some twenty pages.
const KEYS: usize = 20_000;
/// Clients of a tenant that may ask for all keys at once.
const WALKS_MAX: usize = 256;

struct Scene {
    redis: Redis,
    tenants: Tenanted,
    monitor: Conn,
}

impl Scene {
    fn new() -> Self {
        common::raise_file_limit();
        let redis = Redis::start();
        let fill = format!("for i = 1, {KEYS} do redis.call('SET', 'filler:' .. i, '') end return 1");
        assert_eq!(redis.conn().call_args(&["EVAL", &fill, "0"]), Reply::Int(1));
        let tenants = Tenanted::start(&redis, TWO);
        // The link that pages are asked on is there.
        assert_eq!(tenants.acme().call("DBSIZE"), Reply::Int(0));
        let mut monitor = redis.conn();
        monitor.call("MONITOR").expect_ok();
        Self { redis, tenants, monitor }
    }

    /// How many requests of the tenant's the sidecar has taken for the upstream.
    fn taken(&self, tenant: &str) -> usize {
        let name = format!("inventory_sentinel_tenant_requests_total{{tenant=\"{tenant}\",route=\"link\"}}");
        let (_, metrics) = self.tenants.sidecar.http("/metrics");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
        line.map_or(0, |count| count.trim().parse().expect("a count"))
    }

    /// Each asks, and nothing is answered yet.
    fn ask(&self, tenant: &str, conns: &mut [Conn], line: &str) {
        let before = self.taken(tenant);
        conns.iter_mut().for_each(|conn| conn.send_args(&common::words(line)));
        until("all have asked", SOON, || (self.taken(tenant) == before + conns.len()).then_some(()));
    }

    /// What the upstream executed from MONITOR on: of each page whose, and the cursor.
    fn pages(&mut self) -> Vec<(String, String)> {
        self.redis.conn().call("ECHO that-was-all");
        let mut pages = Vec::new();
        loop {
            let line = self.monitor.rest_of_line();
            if line.contains("that-was-all") {
                return pages;
            }
            let words: Vec<&str> = line.split('"').collect();
            if words.get(1) == Some(&"SCAN") {
                let whose = words[7].split(':').next().unwrap_or_default();
                pages.push((whose.to_owned(), words[3].to_owned()));
            }
        }
    }
}

#[test]
fn a_tenants_walks_come_one_after_the_other_and_another_tenants_pages_in_between() {
    let mut scene = Scene::new();
    let mut flood: Vec<Conn> = (0..20).map(|_| scene.tenants.acme()).collect();
    let mut other = [scene.tenants.rival()];
    // Whoever has asked first is no matter of time then.
    scene.redis.stop();
    scene.ask("acme", &mut flood, "DBSIZE");
    scene.ask("rival", &mut other, "KEYS *");
    scene.redis.cont();
    flood.iter_mut().for_each(|conn| assert_eq!(conn.reply(), Reply::Int(0)));
    assert_eq!(other[0].reply().items(), []);

    let pages = scene.pages();
    let of = |tenant: &'static str| {
        pages.iter().filter(move |(whose, _)| whose == tenant).map(|(_, cursor)| cursor.as_str())
    };
    let mut lengths: Vec<usize> = Vec::new();
    for cursor in of("acme") {
        if cursor == "0" {
            lengths.push(0);
        }
        *lengths.last_mut().expect("a walk begins at 0") += 1;
    }
    assert_eq!(lengths.len(), flood.len());
    assert!(lengths.iter().all(|length| *length > 10), "a walk began before another had ended: {lengths:?}");
    let ended = pages.iter().rposition(|(whose, _)| whose == "rival").expect("the other one's pages");
    let before = pages[..ended].iter().filter(|(whose, cursor)| whose == "acme" && cursor == "0").count();
    assert!(of("rival").count() > 10 && before <= 5, "{before} of {} walks began before another's ended", flood.len());
}

#[test]
fn one_walk_more_than_may_wait_is_refused_and_another_tenants_is_not() {
    let mut scene = Scene::new();
    let mut flood: Vec<Conn> = (0..WALKS_MAX + 4).map(|_| scene.tenants.acme()).collect();
    let mut other = [scene.tenants.rival()];
    scene.redis.stop();
    scene.ask("acme", &mut flood[..WALKS_MAX], "SCAN 0 COUNT 100000");
    for conn in &mut flood[WALKS_MAX..] {
        conn.call("DBSIZE").expect_error("OVERLOADED");
    }
    scene.ask("rival", &mut other, "RANDOMKEY");
    scene.redis.cont();
    let pages: Vec<Reply> = flood[..WALKS_MAX].iter_mut().map(Conn::reply).collect();
    assert!(pages.iter().all(|page| page.items().len() == 2), "{pages:?}");
    assert!(other[0].reply().is_nil());
    assert_eq!(flood[0].call("DBSIZE"), Reply::Int(0));
    let first = scene.pages().into_iter().position(|(whose, _)| whose == "rival").expect("the other one's pages");
    assert!(first <= 10, "{first} pages of one tenant's came before another's");
}

#[test]
fn scan_is_not_served_inside_multi() {
    let scene = Scene::new();
    let mut acme = scene.tenants.acme();
    acme.call("MULTI").expect_ok();
    acme.call("SCAN 0").expect_error("NOPERM");
    acme.call("EXEC").expect_error("EXECABORT");
}
