//! One request with one reply, of those that may stand anywhere, inside MULTI too.

use super::super::common::{Reply, words};
use super::asked::Wanted;
use super::model::Model;

pub struct Single {
    pub request: Vec<Vec<u8>>,
    pub wanted: Wanted,
    /// Inside MULTI it is not queued either.
    pub is_refused: bool,
}

fn of(line: &str, wanted: Wanted) -> Single {
    Single { request: words(line), wanted, is_refused: false }
}

fn refused(line: &str, begin: &'static str, tells: impl Into<String>) -> Single {
    Single { request: words(line), wanted: Wanted::Error(begin, tells.into()), is_refused: true }
}

impl Model {
    /// By chance.
    pub fn single(&mut self) -> Single {
        let (number, value) = (self.any_key(), self.value());
        let (key, held) = (self.key(number), self.held_value(number).cloned());
        let place = (self.db, number);
        match self.dice.below(100) {
            0..22 => {
                let set = self.pick(&["SET", "set", "Set"]);
                let line = format!("{set} {key} {value}");
                self.state.values.insert(place, value);
                of(&line, Wanted::ok())
            }
            22..44 => {
                let get = self.pick(&["GET", "get", "gEt"]);
                of(&format!("{get} {key}"), self.value_wanted(number))
            }
            44..50 => self.mget(),
            50..56 => of(&format!("ECHO {value}"), Wanted::bulk(&value)),
            56..60 => refused("GET", "ERR wrong number of arguments for 'get'", ""),
            60..63 => {
                let name = format!("NOSUCH.{}", self.tag());
                refused(&format!("{name} {key}"), "ERR unknown command", name)
            }
            63..66 if held.is_some() => of(&format!("LPUSH {key} x"), Wanted::Error("WRONGTYPE", String::new())),
            66..70 => {
                let count = self.state.counts.entry(self.db).or_default();
                *count += 1;
                let wanted = Wanted::int(*count);
                of(&format!("INCR {}", self.name("count")), wanted)
            }
            70..73 => of(&format!("EXISTS {key} {key}"), Wanted::int(if held.is_some() { 2 } else { 0 })),
            73..75 => of(&format!("STRLEN {key}"), Wanted::int(held.map_or(0, |held| held.len() as i64))),
            75..77 => {
                let held = self.state.values.entry(place).or_default();
                let tag = &value[..value.len().min(40)];
                held.push_str(tag);
                let wanted = Wanted::int(held.len() as i64);
                of(&format!("APPEND {key} {tag}"), wanted)
            }
            77..80 => {
                self.state.values.remove(&place);
                of(&format!("DEL {key} {key}"), Wanted::int(i64::from(held.is_some())))
            }
            80..83 => {
                let line = format!("HSET {} f {value}", self.name("hash"));
                let before = self.state.fields.insert(self.db, value);
                of(&line, Wanted::int(i64::from(before.is_none())))
            }
            83..86 => {
                let wanted = self.state.fields.get(&self.db).map_or(self.nil(), Wanted::bulk);
                of(&format!("HGET {} f", self.name("hash")), wanted)
            }
            86..88 => {
                let wanted = self.value_wanted(number);
                let line = format!("SET {key} {value} GET");
                self.state.values.insert(place, value);
                of(&line, wanted)
            }
            88..90 => {
                let part = held.map_or(String::new(), |held| held[..held.len().min(20)].to_owned());
                of(&format!("GETRANGE {key} 0 19"), Wanted::bulk(part))
            }
            90..92 => of(&format!("TYPE {key}"), Wanted::simple(if held.is_some() { "string" } else { "none" })),
            92..94 if self.door.is_isolated() => refused(&format!("EVAL return(1) 1 {key}"), "NOPERM 'eval'", ""),
            92..94 => of(&format!("EVAL return(ARGV[1]) 1 {key} {value}"), Wanted::bulk(&value)),
            94..96 if self.door.is_isolated() => refused("FLUSHALL", "NOPERM 'flushall'", ""),
            96..98 if self.door.is_isolated() => refused("CONFIG GET maxmemory", "NOPERM 'config'", ""),
            _ => of(&format!("PING {value}"), Wanted::bulk(&value)),
        }
    }

    fn mget(&mut self) -> Single {
        let keys: Vec<u64> = (0..1 + self.dice.below(12)).map(|_| self.any_key()).collect();
        let wanted = Wanted::Items(keys.iter().map(|key| self.value_wanted(*key)).collect());
        let names: Vec<String> = keys.iter().map(|key| self.key(*key)).collect();
        of(&format!("MGET {}", names.join(" ")), wanted)
    }

    /// What GET answers.
    fn value_wanted(&mut self, key: u64) -> Wanted {
        let wanted = self.held_value(key).map_or(self.nil(), Wanted::bulk);
        self.reply_bytes += self.held_value(key).map_or(0, String::len);
        wanted
    }

    /// What a string that is not there is.
    fn nil(&self) -> Wanted {
        Wanted::Is(if self.proto == 3 { Reply::Null } else { Reply::NilBulk })
    }
}
