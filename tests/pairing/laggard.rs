//! A client that asks for much and reads nothing for a while, or never: the sidecar stops to read from it, and closes it where
//! too much waits. Others on its link feel nothing, and what it does read is right.

use super::super::common::resp::encode;
use super::super::common::{Conn, Reply};
use super::scene::{Door, Scene};

/// Of each reply; each begins elsewhere in the value.
const PART: usize = 60_000;
/// How many replies: what waits for a client that takes nothing, and more than may.
pub const FEW: usize = 30;
pub const TOO_MANY: usize = 250;

pub struct Laggard {
    conn: Conn,
    value: String,
    requests: usize,
}

impl Laggard {
    pub fn new(scene: &Scene, door: Door, who: &str, requests: usize) -> Self {
        let mut conn = scene.connect(door).expect("a connection");
        let value: String = (0..10_000).map(|number| format!("{number:08}")).collect();
        let key = format!("{who}:value");
        conn.call_args(&["SET", &key, &value]).expect_ok();
        let parts = (0..requests).map(|number| (number.to_string(), (number + PART - 1).to_string()));
        let bytes: Vec<u8> = parts.flat_map(|(from, to)| encode(&["GETRANGE", &key, &from, &to])).collect();
        conn.send(&bytes);
        Self { conn, value, requests }
    }

    /// Reads what there is to read: all of it, or where it was too much what came before the end.
    pub fn catch_up(mut self) -> Result<(), String> {
        for number in 0..self.requests {
            match self.conn.try_reply() {
                Ok(reply) if reply == Reply::bulk(&self.value[number..number + PART]) => {}
                Ok(reply) => return Err(format!("the part from {number} is wanted, and came {reply:?}")),
                Err(_) if self.requests == TOO_MANY => return Ok(()),
                Err(error) => return Err(format!("the part from {number} is wanted, and then {error}")),
            }
        }
        Ok(())
    }
}
