//! The clients of the random course, and what they say where something is not right.

use std::sync::atomic::{AtomicBool, Ordering};

use super::super::common::Conn;
use super::asked::{BURST_BYTES_MAX, Burst, Failed, play};
use super::blocks::some;
use super::inventory::stock_up;
use super::laggard::{FEW, Laggard, TOO_MANY};
use super::model::Model;
use super::scene::{Door, Scene, number};

/// Behind each door.
const CLIENTS: u64 = 3;
/// Replies of a burst are less, in bytes, than closes a client that is late.
const REPLY_BYTES_MAX: usize = 500_000;

/// Plays until it has sent so many requests, or something is wrong.
fn run(scene: &Scene, mut model: Model, requests: u64, is_over: &AtomicBool) -> Result<(), String> {
    let mut conn = connect(scene, &model);
    let mut laggard = None;
    let mut first = true;
    let mut sent = 0;
    while sent < requests && !is_over.load(Ordering::Relaxed) {
        let mut burst = Burst::default();
        if std::mem::take(&mut first) {
            stock_up(&model, &mut burst);
        }
        let most = model.pick(&[1, 1, 2, 3, 8, 16, 40, 120]);
        model.reply_bytes = 0;
        while burst.requests < most && burst.bytes.len() < BURST_BYTES_MAX && model.reply_bytes < REPLY_BYTES_MAX {
            some(&mut model, &mut burst);
        }
        sent += burst.requests as u64;
        if model.once_in(150) {
            // Goes in the middle of it. What became of it nobody knows.
            let upto = model.dice.below(burst.bytes.len() as u64) as usize;
            let _ = conn.try_send(&burst.bytes[..upto]);
            if model.once_in(2) {
                conn.reset();
            }
            model.renew();
            (conn, first) = (connect(scene, &model), true);
            continue;
        }
        if model.once_in(300) {
            // One that never reads goes now.
            if let Some(late) = laggard.take().filter(|_| !model.once_in(4)) {
                Laggard::catch_up(late).map_err(|wrong| format!("{}, who reads late: {wrong}", model.who()))?;
            }
            let requests = model.pick(&[FEW, TOO_MANY]);
            laggard = Some(Laggard::new(scene, model.door, &model.who(), requests));
        }
        play(&mut conn, &mut model.dice, &mut burst, |asked, reply| asked.wanted.is(reply)).map_err(|failed| {
            let said = match failed {
                Failed::Lost(error) => format!("the connection ended: {error}; {}", burst.next()),
                Failed::Wrong(said) => said,
            };
            format!("{}, after {sent} requests: {said}", model.who())
        })?;
    }
    Ok(())
}

fn connect(scene: &Scene, model: &Model) -> Conn {
    scene.connect(model.door).expect("a connection")
}

#[test]
fn each_reply_is_the_one_to_its_request_whatever_clients_send_together() {
    let (seed, requests) = (number("PAIRING_SEED", 1), number("PAIRING_REQUESTS", 120_000));
    println!("PAIRING_SEED={seed}");
    let scene = Scene::new();
    let share = requests / (CLIENTS * Door::ALL.len() as u64);
    let is_over = AtomicBool::new(false);
    let play = &|model| {
        let end = run(&scene, model, share, &is_over);
        is_over.fetch_or(end.is_err(), Ordering::Relaxed);
        end
    };
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let models = Door::ALL.iter().flat_map(|door| (0..CLIENTS).map(|index| Model::new(*door, index, seed)));
        let threads: Vec<_> = models.map(|model| scope.spawn(move || play(model))).collect();
        threads.into_iter().filter_map(|thread| thread.join().expect("it plays").err()).collect()
    });
    assert!(wrong.is_empty(), "PAIRING_SEED={seed}: {}", wrong.join("\n"));
}
