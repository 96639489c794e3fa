//! The same while upstream connections are killed: a reply is then the right one, or says that what became of the request is not
//! known (`UNCERTAIN`) or that it was not sent (`UNAVAILABLE`), or the connection ends. What each client counts upstream is what
//! was answered, and of what is not known some.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::ScopedJoinHandle;

use super::super::common::{Conn, Dice, Redis, Reply, SOON, pause, until, words};
use super::asked::{Asked, BURST_BYTES_MAX, Burst, Failed, Wanted, play, unanswered};
use super::model::{KEYS, Model, STOCK};
use super::scene::{Door, Scene, number};

const CLIENTS: u64 = 2;
/// Right replies of all clients from one killing to the next.
const KILL_EVERY: u64 = 1_000;

/// What was counted over one connection.
#[derive(Debug, Clone, Default)]
struct Count {
    name: String,
    /// As it was told last.
    told: i64,
    /// Perhaps added since.
    unknown: i64,
}

/// One client, over all of its connections.
struct Steady<'s> {
    scene: &'s Scene,
    model: Model,
    /// Of the connection that it has.
    count: Count,
    /// Of those that ended. Each counts for itself: what one left under way may be executed after the next one's first.
    counts: Vec<Count>,
    held: Option<String>,
}

impl Steady<'_> {
    /// A connection of which nothing is lost yet.
    fn connect(&self, proto: u8) -> Conn {
        until("a client is greeted", SOON, || {
            let mut conn = self.scene.connect(self.model.door).ok()?;
            let hello = conn.try_call(&format!("HELLO {proto}")).ok()?;
            let is_lost = is_lost(&hello).is_some();
            assert!(is_lost || hello.field("proto") == Reply::Int(proto.into()), "{hello:?}");
            (!is_lost).then_some(conn)
        })
    }

    /// What never changes.
    fn value(&self, key: u64) -> String {
        let bytes = if key == 0 { 70_000 } else { 10 };
        format!("{}:{}", self.model.key(key), "x".repeat(bytes))
    }

    fn set_up(&self) {
        let mut conn = self.scene.connect(self.model.door).expect("a connection");
        for key in 0..KEYS {
            conn.call_args(&["SET", &self.model.key(key), &self.value(key)]).expect_ok();
        }
        conn.call(&format!("INV.SETSTOCK {} {STOCK}", self.model.name("sku"))).expect_ok();
    }

    /// Some requests whose replies do not depend on what became of those before.
    fn some(&mut self, burst: &mut Burst, proto: u8) {
        let (key, tag) = (self.model.any_key(), self.model.tag());
        let (name, value) = (self.model.key(key), self.value(key));
        let incr = words(&format!("INCR {}", self.count.name));
        match self.model.dice.below(100) {
            0..30 => burst.count(&incr, Wanted::Count, 1),
            30..60 => burst.ask(&["GET", &name], Wanted::bulk(&value)),
            60..65 => burst.ask(&["MGET", &name, &name], Wanted::Items(vec![Wanted::bulk(value); 2])),
            65..75 => burst.ask(&["ECHO", &tag], Wanted::bulk(&tag)),
            75..78 => burst.ask(&["SET", &name, &value], Wanted::ok()),
            78..81 => burst.ask(&["GET"], Wanted::Error("ERR wrong number of arguments for 'get'", String::new())),
            81..83 => {
                let id = format!("0-{tag}");
                burst.ask(&words(&format!("INV.RESERVE {} 1 ID {tag}", self.model.name("sku"))), Wanted::bulk(&id));
                let known = Wanted::Fields(vec![("id", Reply::bulk(&id))]);
                burst.ask(&["INV.GET", &id], Wanted::Either(vec![known, Wanted::Nil]));
            }
            83..87 => match self.held.take() {
                Some(id) => {
                    burst.ask(&["INV.GET", &id], Wanted::Fields(vec![("id", Reply::bulk(&id))]));
                    self.held = Some(id);
                }
                None => burst.ask(&["INV.GET", &format!("0-{tag}")], Wanted::Nil),
            },
            87..90 => {
                burst.ask(&["MULTI"], Wanted::ok());
                burst.ask(&incr, Wanted::simple("QUEUED"));
                burst.ask(&["ECHO", &tag], Wanted::simple("QUEUED"));
                burst.count(&["EXEC"], Wanted::Items(vec![Wanted::Count, Wanted::bulk(&tag)]), 1);
            }
            90..92 => {
                burst.ask_all(&words("CLIENT REPLY SKIP"), Vec::new());
                burst.ask_all(&["GET", &name], Vec::new());
            }
            92 => burst.ask(&["BLPOP", &self.model.name("none"), "0.002"], Wanted::Nil),
            93 if proto == 2 => {
                let channel = self.model.name("one");
                let told = |word: &str, count| {
                    Wanted::Is(Reply::Array(vec![Reply::bulk(word), Reply::bulk(&channel), Reply::Int(count)]))
                };
                burst.ask(&["SUBSCRIBE", &channel], told("subscribe", 1));
                // Where that was refused for lack of a connection it is an ordinary one.
                let pong = Wanted::Is(Reply::Array(vec![Reply::bulk("pong"), Reply::bulk(&tag)]));
                burst.ask(&["PING", &tag], Wanted::Either(vec![pong, Wanted::bulk(&tag)]));
                burst.ask(&["UNSUBSCRIBE", &channel], told("unsubscribe", 0));
            }
            94 => burst.ask(&["CLIENT", "SETNAME", &tag], Wanted::ok()),
            _ => burst.ask(&["PING", &tag], Wanted::bulk(&tag)),
        }
    }

    /// Plays until so many replies were right, counted in `right` with all others'.
    fn run(&mut self, replies: u64, right: &AtomicU64) -> Result<(), String> {
        let mut heard = 0;
        while heard < replies {
            let proto = self.model.pick(&[2, 3]);
            let mut conn = self.connect(proto);
            let name = self.model.name(&format!("count{}", self.counts.len()));
            self.counts.push(std::mem::replace(&mut self.count, Count { name, ..Count::default() }));
            while heard < replies {
                let mut burst = Burst::default();
                let most = self.model.pick(&[1, 4, 16, 60]);
                while burst.requests < most && burst.bytes.len() < BURST_BYTES_MAX {
                    self.some(&mut burst, proto);
                }
                // Apart from the rest of this client, for it hears meanwhile.
                let mut dice = std::mem::replace(&mut self.model.dice, Dice::new(0));
                let played = play(&mut conn, &mut dice, &mut burst, |asked, reply| {
                    let is_right = self.hear(asked, reply);
                    if is_right == Some(true) {
                        heard += 1;
                        right.fetch_add(1, Ordering::Relaxed);
                    }
                    is_right.is_some()
                });
                self.model.dice = dice;
                match played {
                    Ok(()) => {}
                    Err(Failed::Wrong(said)) => {
                        return Err(format!("{}, {:?}: {said}", self.model.who(), self.count));
                    }
                    Err(Failed::Lost(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                        return Err(format!("{}: no reply; {}", self.model.who(), burst.next()));
                    }
                    Err(Failed::Lost(_)) => {
                        self.count.unknown += unanswered(&burst);
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether it is the right one; None: it must not be.
    fn hear(&mut self, asked: &Asked, reply: &Reply) -> Option<bool> {
        if let Some(is_unknown) = is_lost(reply) {
            self.count.unknown += if is_unknown { asked.adds } else { 0 };
            return Some(false);
        }
        if !asked.wanted.is(reply) {
            return None;
        }
        if asked.adds > 0 {
            let told = if let Reply::Array(items) = reply { items[0].int() } else { reply.int() };
            // Of those before it that are unknown some were executed, and nothing else.
            if !(1..=1 + self.count.unknown).contains(&(told - self.count.told)) {
                return None;
            }
            (self.count.told, self.count.unknown) = (told, 0);
        }
        if let (true, Reply::Bulk(id)) = (asked.text.contains("INV.RESERVE"), reply) {
            self.held = Some(String::from_utf8_lossy(id).into_owned());
        }
        Some(true)
    }

    /// What each connection counted is what it was told, and of the unknown what it may.
    fn account(&self, redis: &Redis) -> Result<(), String> {
        let space = match self.model.door {
            Door::Acme => "acme:",
            Door::Rival => "rival:",
            Door::Open | Door::Free => "",
        };
        let mut conn = redis.conn();
        for Count { name, told, unknown } in
            self.counts.iter().chain([&self.count]).filter(|count| !count.name.is_empty())
        {
            let reply = conn.call(&format!("GET {space}{name}"));
            let count: i64 = if reply.is_nil() { 0 } else { reply.text().parse().expect("a number") };
            if !(*told..=told + unknown).contains(&count) {
                return Err(format!("{name} is {count}, told was {told}, and {unknown} are unknown"));
            }
        }
        Ok(())
    }
}

/// Of an error that the loss of a connection brings, whether the request may have been executed.
fn is_lost(reply: &Reply) -> Option<bool> {
    match reply.error_word() {
        "UNCERTAIN" => Some(true),
        "UNAVAILABLE" => Some(false),
        _ => None,
    }
}

/// Ends all upstream connections but its own each time when so many replies were right again. Returns how often.
fn kill(redis: &Redis, right: &AtomicU64, enough: u64) -> u64 {
    let (mut conn, mut times) = (redis.conn(), 0);
    while right.load(Ordering::Relaxed) < enough {
        if right.load(Ordering::Relaxed) >= (times + 1) * KILL_EVERY {
            conn.call("CLIENT KILL TYPE normal SKIPME yes").int();
            conn.call("CLIENT KILL TYPE pubsub SKIPME yes").int();
            times += 1;
        }
        pause();
    }
    times
}

#[test]
fn each_reply_is_the_right_one_or_says_that_it_is_not_known_while_upstream_connections_are_killed() {
    let (seed, requests) = (number("PAIRING_SEED", 1), number("PAIRING_REQUESTS", 120_000) / 2);
    println!("PAIRING_SEED={seed}");
    let scene = Scene::new();
    let share = requests / (CLIENTS * Door::ALL.len() as u64);
    let right = AtomicU64::new(0);
    let mut clients: Vec<Steady<'_>> = Door::ALL
        .iter()
        .flat_map(|door| (0..CLIENTS).map(|index| Model::new(*door, index, seed)))
        .map(|model| Steady { scene: &scene, model, count: Count::default(), counts: Vec::new(), held: None })
        .collect();
    clients.iter().for_each(Steady::set_up);
    let enough = share * clients.len() as u64 * 9 / 10;
    let (wrong, times) = std::thread::scope(|scope| {
        let killer = scope.spawn(|| kill(&scene.redis, &right, enough));
        let playing: Vec<_> = clients.iter_mut().map(|client| scope.spawn(|| client.run(share, &right))).collect();
        let ends: Vec<_> = playing.into_iter().map(ScopedJoinHandle::join).collect();
        // One that found something wrong has not asked for all of its share.
        right.fetch_add(enough, Ordering::Relaxed);
        let wrong: Vec<String> = ends.into_iter().filter_map(|end| end.expect("it plays").err()).collect();
        (wrong, killer.join().expect("it kills"))
    });
    assert!(wrong.is_empty(), "PAIRING_SEED={seed}: {}", wrong.join("\n"));
    assert!(times > 0, "nothing was killed");
    for client in &clients {
        client.account(&scene.redis).unwrap_or_else(|said| panic!("PAIRING_SEED={seed}: {said}"));
    }
}
