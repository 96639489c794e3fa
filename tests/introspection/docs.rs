//! COMMAND DOCS.

use crate::common::{Conn, Redis, Reply, Sidecar};
use crate::{added, commands, is_new, kind, open, raw};

/// A grammar out of the arguments of COMMAND DOCS.
fn grammar(arguments: &[Reply], by: &str) -> String {
    let one = |argument: &Reply| {
        let pairs = match argument {
            Reply::Map(pairs) => pairs.clone(),
            flat => flat.items().chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect(),
        };
        let get = |name: &str| pairs.iter().find(|(key, _)| key.text() == name).map(|(_, value)| value.clone());
        let text = |name: &str| get(name).map(|value| value.text()).unwrap_or_default();
        let flags: Vec<String> =
            get("flags").map(|flags| flags.items().iter().map(Reply::text).collect()).unwrap_or_default();
        let mut shown = match text("type").as_str() {
            "pure-token" => text("token"),
            "oneof" => grammar(get("arguments").expect("parts").items(), " | "),
            "key" | "integer" | "string" => format!("{} {}", text("token"), text("name")).trim_start().to_owned(),
            other => panic!("{other}"),
        };
        if text("type") == "key" {
            assert_eq!((get("key_spec_index"), text("name").as_str()), (Some(Reply::Int(0)), "sku"));
        }
        if flags.contains(&"multiple".to_owned()) {
            shown = format!("{shown} [{shown} ...]");
        }
        if flags.contains(&"optional".to_owned()) { format!("[{shown}]") } else { shown }
    };
    arguments.iter().map(one).collect::<Vec<_>>().join(by)
}

#[test]
fn command_docs_says_what_help_says() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    for protocol in [2, 3] {
        let (mut direct, mut through) = (open(&redis.addr(), protocol), open(&sidecar.listen, protocol));
        let lines = ["COMMAND DOCS", "COMMAND DOCS get INV.Stock nope inv.nope", "COMMAND DOCS inv.get inv.reap"];
        if !is_new(&redis) {
            lines.iter().for_each(|line| assert_eq!(raw(&mut through, line), raw(&mut direct, line)));
            continue;
        }
        let commands = commands(&mut through);
        let docs = added(&mut direct, &mut through, lines[0]);
        assert_eq!(docs.len(), commands.len() * 2);
        for (pair, (name, wanted)) in docs.chunks(2).zip(&commands) {
            assert_eq!(pair[0].text(), *name);
            assert_eq!(pair[1].field("group"), Reply::bulk("inventory"));
            assert!(pair[1].field("summary").text().len() > 5 && pair[1].field("since").text().contains('.'));
            if wanted.is_empty() {
                continue;
            }
            assert_eq!(grammar(pair[1].field("arguments").items(), " "), *wanted, "{name}");
        }
        assert_eq!(added(&mut direct, &mut through, lines[1]), docs_of(&docs, &["inv.stock"]));
        assert_eq!(added(&mut direct, &mut through, lines[2]), docs_of(&docs, &["inv.get", "inv.reap"]));
        // The same kinds as the engine's own.
        let get = |conn: &mut Conn, name: &str| conn.call(&format!("COMMAND DOCS {name}")).field(name);
        let (theirs, ours) = (get(&mut direct, "set"), get(&mut through, "inv.setstock"));
        assert_eq!(kind(&theirs), kind(&ours));
        let (theirs, ours) = (theirs.field("arguments"), ours.field("arguments"));
        assert_eq!((kind(&theirs), kind(&theirs.items()[0])), (kind(&ours), kind(&ours.items()[0])));
        let (theirs, ours) = (theirs.items()[2].field("flags"), ours.items()[2].field("flags"));
        assert_eq!(theirs, ours, "[NX | XX] of both");
    }
}

fn docs_of(docs: &[Reply], names: &[&str]) -> Vec<Reply> {
    docs.chunks(2).filter(|pair| names.contains(&pair[0].text().as_str())).flatten().cloned().collect()
}
