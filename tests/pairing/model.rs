//! What one client knows: what its keys hold, and what the next words are. Names are its own alone, but that a client of the one
//! isolated tenant calls its keys as one of the other does; each value tells whose it is and which request wrote it.

use std::collections::HashMap;

use super::super::common::Dice;
use super::scene::Door;

/// A client's keys, of each database.
pub const KEYS: u64 = 6;
/// Of a SKU that no client ever sells out.
pub const STOCK: i64 = 100_000_000;

/// What changes by what is executed.
#[derive(Clone, Default)]
pub struct State {
    pub values: HashMap<(u8, u64), String>,
    pub counts: HashMap<u8, i64>,
    pub fields: HashMap<u8, String>,
    /// Reservations that are open.
    pub held: Vec<String>,
    pub committed: i64,
}

pub struct Model {
    pub door: Door,
    pub dice: Dice,
    pub state: State,
    pub proto: u8,
    pub db: u8,
    /// Bytes that the replies to a burst may have.
    pub reply_bytes: usize,
    who: String,
    index: u64,
    /// Connections that it had before this one; the keys of each are others.
    generation: u64,
    number: u64,
}

impl Model {
    pub fn new(door: Door, index: u64, seed: u64) -> Self {
        let place = Door::ALL.iter().position(|other| *other == door).expect("a door") as u64;
        let mut dice = Dice::new(seed.wrapping_mul(1000) + index * 10 + place);
        for _ in 0..8 {
            // The first throws of neighbouring seeds are alike.
            dice.below(2);
        }
        let who = format!("{door:?}{index}");
        let (state, generation, number) = (State::default(), 0, 0);
        Self { door, dice, state, proto: 2, db: 0, reply_bytes: 0, who, index, generation, number }
    }

    /// On another connection, where nothing is known of what the last one did.
    pub fn renew(&mut self) {
        (self.state, self.proto, self.db) = (State::default(), 2, 0);
        self.generation += 1;
    }

    pub fn who(&self) -> String {
        format!("{}.{}", self.who, self.generation)
    }

    /// Once in so many times.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.dice.below(times) == 0
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.dice.below(from.len() as u64) as usize]
    }

    /// Something that nobody says twice.
    pub fn tag(&mut self) -> String {
        self.number += 1;
        format!("{}.{}.{}", self.who, self.generation, self.number)
    }

    /// The same, mostly short: at times longer than what goes with others in one piece, or than what is kept whole.
    pub fn value(&mut self) -> String {
        let bytes = match self.dice.below(200) {
            0 => self.pick(&[9_990, 10_000, 20_000, 49_900, 50_100, 70_000]),
            1..12 => self.pick(&[50, 500, 3_000]),
            _ => self.pick(&[0, 3, 30]),
        };
        format!("{}:{}", self.tag(), "x".repeat(bytes))
    }

    /// A name in the tenant's own spelling: two isolated tenants' are the same.
    pub fn name(&self, what: &str) -> String {
        let whose = if self.door.is_isolated() { "k" } else { &self.who };
        format!("{whose}{}.{}:{what}", self.index, self.generation)
    }

    pub fn key(&self, number: u64) -> String {
        self.name(&number.to_string())
    }

    pub fn any_key(&mut self) -> u64 {
        self.dice.below(KEYS)
    }

    pub fn held_value(&self, key: u64) -> Option<&String> {
        self.state.values.get(&(self.db, key))
    }
}
