//! The demo: a sale through the sidecar, on a Redis of its own, whose closing account adds up.

mod common;

use common::sidecar::PROGRAM;

#[test]
fn the_demos_account_adds_up() {
    let output = std::process::Command::new(PROGRAM)
        .args(["demo", "--buyers", "500"])
        .stdin(std::process::Stdio::null())
        .output()
        .expect("the program");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("It adds up:") && said.contains("Nothing was oversold."), "{said}");
}
