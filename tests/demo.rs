//! The demo: a sale through the sidecar, on a Redis of its own, whose closing account adds up.

mod common;

use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use common::redis::pid_of;
use common::sidecar::PROGRAM;
use common::{SOON, until};
use rustix::process::{Signal, kill_process};

#[test]
fn the_demos_account_adds_up() {
    let output =
        Command::new(PROGRAM).args(["demo", "--buyers", "500"]).stdin(Stdio::null()).output().expect("the program");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("It adds up:") && said.contains("Nothing was oversold."), "{said}");
}

#[test]
fn a_demo_that_is_interrupted_says_so_and_leaves_nothing_running() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().to_str().expect("a path");
    // More than it can serve meanwhile; and where the test fails it ends by itself.
    let mut demo = Command::new(PROGRAM)
        .args(["demo", "--buyers", "2000000", "--data-dir", path])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program");
    let socket = dir.path().join("upstream.sock");
    until("its Redis is there", SOON, || UnixStream::connect(&socket).ok());
    kill_process(pid_of(&demo), Signal::INT).expect("a signal");
    let status = until("it ends", SOON, || demo.try_wait().expect("its status"));
    let mut said = String::new();
    demo.stderr.take().expect("its errors").read_to_string(&mut said).expect("text");
    assert_eq!(status.code(), Some(130), "{said}");
    assert!(said.contains("Interrupted before the end of the sale"), "{said}");
    assert!(UnixStream::connect(&socket).is_err(), "its Redis still runs");
}
