//! Against the real server that is on PATH.

use std::path::Path;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::*;

fn config_in(dir: &Path) -> Config {
    let mut config = Config::default();
    config.sidecar.data_dir = dir.join("data");
    config
}

fn pid_of(managed: &Managed) -> Pid {
    Pid::from_raw(i32::try_from(managed.pid().unwrap()).unwrap()).unwrap()
}

/// The first line that the server answers; empty where there is none.
async fn ask(socket: &Path, command: &str) -> String {
    let Ok(mut stream) = UnixStream::connect(socket).await else { return String::new() };
    stream.write_all(format!("{command}\r\n").as_bytes()).await.unwrap();
    let mut reply = [0; 4096];
    let length = stream.read(&mut reply).await.unwrap_or(0);
    String::from_utf8_lossy(&reply[..length]).trim_end().to_owned()
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waited = timeout(Duration::from_secs(20), async {
        while !holds().await {
            sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "in vain: {what}");
}

#[tokio::test]
async fn data_survive_a_stop_and_nothing_is_left_running() {
    let dir = tempfile::tempdir().unwrap();
    let config = config_in(dir.path());
    let managed = Managed::start(&config).await.unwrap();
    let (pid, socket) = (pid_of(&managed), managed.socket_path().to_owned());
    assert_eq!(ask(&socket, "SET stock 17").await, "+OK");
    assert!(ask(&socket, "CONFIG GET appendonly").await.ends_with("yes"));
    assert!(ask(&socket, "CONFIG GET appendfsync").await.ends_with("always"));
    assert!(ask(&socket, "CONFIG GET maxmemory-policy").await.ends_with("noeviction"));
    assert!(ask(&socket, "CONFIG GET port").await.ends_with('0'), "it listens on its socket alone");
    managed.stop().await;
    assert!(test_kill_process(pid).is_err(), "neither running nor a zombie");
    assert!(!socket.exists());

    let managed = Managed::start(&config).await.unwrap();
    assert_eq!(ask(&socket, "GET stock").await, "$2\r\n17");
    managed.stop().await;
}

#[tokio::test]
async fn a_killed_child_is_started_again_with_its_data() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config_in(dir.path());
    config.managed.appendfsync = crate::config::AppendFsync::Always;
    let managed = Managed::start(&config).await.unwrap();
    let first = pid_of(&managed);
    assert_eq!(ask(managed.socket_path(), "SET stock 17").await, "+OK");
    for _ in 0..2 {
        let pid = pid_of(&managed);
        kill_process(pid, Signal::KILL).unwrap();
        until("another child", async || managed.pid().is_some_and(|now| now != pid.as_raw_nonzero().get() as u32))
            .await;
        assert_eq!(ask(managed.socket_path(), "GET stock").await, "$2\r\n17");
    }
    assert!(test_kill_process(first).is_err(), "the killed one is no zombie");
    managed.stop().await;
}

#[tokio::test]
async fn a_second_sidecar_in_the_same_place_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let config = config_in(dir.path());
    let managed = Managed::start(&config).await.unwrap();
    let error = Managed::start(&config).await.unwrap_err();
    assert!(matches!(error, ManagedError::Locked(_)), "{error}");
    assert!(error.to_string().contains("another sidecar"), "{error}");
    assert_eq!(ask(managed.socket_path(), "PING").await, "+PONG", "the first one is as it was");
    managed.stop().await;
}

#[tokio::test]
async fn the_orphan_of_a_killed_sidecar_is_ended_first() {
    let dir = tempfile::tempdir().unwrap();
    let config = config_in(dir.path());
    let data = data_dir(&config.sidecar.data_dir).unwrap();
    let server = find_server(std::env::var_os("PATH").as_deref()).unwrap();
    let socket = data.join("upstream.sock");
    let recipe = Recipe {
        server,
        log: data.join("upstream.log"),
        socket: socket.clone(),
        dir: data,
        appendfsync: crate::config::AppendFsync::Everysec,
    };
    let mut orphan = recipe.start().await.unwrap();
    assert_eq!(ask(&socket, "SET stock 17").await, "+OK");
    let managed = Managed::start(&config).await.unwrap();
    let ended = timeout(Duration::from_secs(5), orphan.wait()).await.unwrap().unwrap();
    assert!(ended.success(), "the orphan ended by itself and was not killed: {ended}");
    assert_eq!(ask(&socket, "GET stock").await, "$2\r\n17", "with its data written");
    managed.stop().await;
}

#[tokio::test]
async fn a_dropped_one_leaves_nothing_running() {
    let dir = tempfile::tempdir().unwrap();
    let managed = Managed::start(&config_in(dir.path())).await.unwrap();
    let pid = pid_of(&managed);
    drop(managed);
    until("its end", async || test_kill_process(pid).is_err()).await;
}

#[tokio::test]
async fn no_server_on_path_says_what_to_install() {
    let dir = tempfile::tempdir().unwrap();
    for path in [None, Some("".into()), Some(dir.path().as_os_str().to_owned())] {
        let error = Managed::start_with_path(&config_in(dir.path()), path).await.unwrap_err();
        assert!(error.to_string().contains("apt-get install redis-server"), "{error}");
    }
    assert!(!dir.path().join("data").exists(), "and leaves nothing behind");
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let error = Managed::start(&config_in(&dir.path().join("x".repeat(100)))).await.unwrap_err();
    assert!(error.to_string().contains("107 at most"), "{error}");
}

#[tokio::test]
async fn a_server_that_ends_at_once_is_reported_with_its_last_words() {
    let dir = tempfile::tempdir().unwrap();
    let config = config_in(dir.path());
    let data = data_dir(&config.sidecar.data_dir).unwrap();
    std::fs::create_dir(data.join("appendonlydir")).unwrap();
    std::fs::write(data.join("appendonlydir/appendonly.aof.manifest"), "no manifest\n").unwrap();
    let error = Managed::start(&config).await.unwrap_err();
    assert!(matches!(&error, ManagedError::Exited(..)), "{error}");
    assert!(error.to_string().contains("AOF manifest"), "{error}");
}

#[tokio::test]
async fn the_data_are_for_the_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let config = config_in(dir.path());
    let managed = Managed::start(&config).await.unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&config.sidecar.data_dir), mode(managed.socket_path())), (0o700, 0o700));
    managed.stop().await;
}
