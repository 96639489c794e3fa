//! Clients that do everything at once through one sidecar, each with values that nobody else has.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::super::common::{Conn, Dice, Reply, Sidecar, words};

/// What one client awaits for one request.
enum Wanted {
    Is(Reply),
    /// A map that has this field.
    Has(&'static str, Reply),
    Ok,
}

type Request = Vec<Vec<u8>>;

/// A list and what is to be pushed to it.
type Push = (String, String);

/// A client: its own connection, one that is subscribed to its channel, and its dice.
pub struct Client {
    name: String,
    conn: Conn,
    ear: Conn,
    dice: Dice,
    counter: i64,
    nonces: u64,
    /// To whoever pushes, as another client.
    pushes: SyncSender<Push>,
}

/// Pushes what it is told to, as another client, until all are gone who may tell.
pub fn push(sidecar: &Sidecar, told: &Receiver<Push>) {
    let mut conn = sidecar.conn();
    while let Ok((list, value)) = told.recv() {
        conn.call(&format!("RPUSH {list} {value}")).int();
    }
}

/// Room for more than a pipeline's pushes, so that no client waits for the pusher before it has sent its pops.
pub fn pushes() -> (SyncSender<Push>, Receiver<Push>) {
    sync_channel(10_000)
}

impl Client {
    pub fn new(sidecar: &Sidecar, number: u64, seed: u64, pushes: SyncSender<Push>) -> Self {
        let name = format!("c{number}");
        let open = |three: bool| if three { sidecar.conn3() } else { sidecar.conn() };
        let (conn, mut ear) = (open(number.is_multiple_of(2)), open(number.is_multiple_of(3)));
        ear.call(&format!("SUBSCRIBE {name}"));
        let dice = Dice::new(seed + number);
        Self { name, conn, ear, dice, counter: 0, nonces: 0, pushes }
    }

    fn nonce(&mut self) -> String {
        self.nonces += 1;
        format!("{}-{}", self.name, self.nonces)
    }

    /// One pipeline, written at once, then all that comes back.
    pub fn round(&mut self) {
        let mut script: Vec<(Request, Wanted)> = Vec::new();
        let mut heard: Vec<String> = Vec::new();
        for _ in 0..10 + self.dice.below(20) {
            self.add(&mut script, &mut heard);
        }
        let requests: Vec<_> = script.iter().map(|(request, _)| request.clone()).collect();
        for ((request, wanted), got) in script.iter().zip(self.conn.pipeline(&requests)) {
            let line = String::from_utf8_lossy(&request.join(&b' ')).into_owned();
            match wanted {
                Wanted::Is(wanted) => assert_eq!(got, *wanted, "{}: {line}", self.name),
                Wanted::Has(field, wanted) => assert_eq!(got.field(field), *wanted, "{}: {line}", self.name),
                Wanted::Ok => assert!(got.is_ok(), "{}: {line}: {got:?}", self.name),
            }
        }
        for nonce in heard {
            let message = self.ear.reply();
            assert_eq!(message.items()[1..], [Reply::bulk(&self.name), Reply::bulk(nonce)], "{}", self.name);
        }
    }

    fn add(&mut self, script: &mut Vec<(Request, Wanted)>, heard: &mut Vec<String>) {
        let (nonce, own) = (self.nonce(), self.name.clone());
        let mut say = |line: String, wanted: Wanted| script.push((words(&line), wanted));
        let is = |text: &str| Wanted::Is(Reply::bulk(text));
        let queued = || Wanted::Is(Reply::Simple("QUEUED".into()));
        match self.dice.below(9) {
            0 => say(format!("ECHO {nonce}"), is(&nonce)),
            1 => {
                say(format!("SET {own} {nonce}"), Wanted::Ok);
                say(format!("PING {nonce}"), is(&nonce));
                say(format!("GET {own}"), is(&nonce));
            }
            2 => {
                self.counter += 1;
                say(format!("INCR {own}:n"), Wanted::Is(Reply::Int(self.counter)));
            }
            3 => {
                say("MULTI".into(), Wanted::Ok);
                say(format!("SET {own} {nonce}"), queued());
                say(format!("GET {own}"), queued());
                say("EXEC".into(), Wanted::Is(Reply::Array(vec![Reply::ok(), Reply::bulk(&nonce)])));
            }
            4 => {
                self.pushes.send((format!("{own}:q"), nonce.clone())).expect("the pusher is there");
                let pair = vec![Reply::bulk(format!("{own}:q")), Reply::bulk(nonce)];
                say(format!("BLPOP {own}:q 0"), Wanted::Is(Reply::Array(pair)));
            }
            5 => {
                say(format!("PUBLISH {own} {nonce}"), Wanted::Is(Reply::Int(1)));
                heard.push(nonce);
            }
            6 => {
                let id = format!("0-{nonce}");
                say(format!("INV.RESERVE {own} 1 ID {nonce}"), is(&id));
                say(format!("INV.GET {id}"), Wanted::Has("id", Reply::bulk(&id)));
                say(format!("INV.COMMIT {id} REF {nonce}"), Wanted::Ok);
                say(format!("INV.GET {id}"), Wanted::Has("reference", Reply::bulk(&nonce)));
            }
            7 => {
                let db = 1 + self.dice.below(3);
                say(format!("SELECT {db}"), Wanted::Ok);
                say(format!("SET {own} {nonce}"), Wanted::Ok);
                say(format!("GET {own}"), is(&nonce));
                say("SELECT 0".into(), Wanted::Ok);
            }
            _ => {
                say(format!("CLIENT SETNAME {nonce}"), Wanted::Ok);
                say("CLIENT GETNAME".into(), is(&nonce));
                say(format!("EVAL return{{KEYS[1],ARGV[1]}} 1 {own} {nonce}"), {
                    Wanted::Is(Reply::Array(vec![Reply::bulk(&own), Reply::bulk(&nonce)]))
                });
            }
        }
    }
}
