//! Every path's answer, as bytes over TCP.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::*;

struct Running {
    address: SocketAddr,
    state: AdminState,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<io::Result<()>>,
}

async fn start(idle_max: Option<Duration>) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let state = AdminState { metrics: Metrics::new(), readiness: Arc::new(Readiness::new()), config: None };
    let (stop, stopped) = oneshot::channel();
    let shutdown = async move { stopped.await.unwrap_or(()) };
    let listener = match idle_max {
        Some(idle_max) => BoundedListener::with_idle_max(listener, idle_max),
        None => BoundedListener::new(listener),
    };
    let task = tokio::spawn(serve_bounded(listener, state.clone(), shutdown));
    Running { address, state, stop, task }
}

async fn send(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn get_path(address: SocketAddr, path: &str) -> (String, String) {
    let answer = send(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let running = start(None).await;
    running.state.metrics.retries.increment(3);
    let (head, body) = get_path(running.address, "/metrics").await;
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    assert!(body.contains("\ninventory_sentinel_retries_total 3\n"), "{body}");
}

#[tokio::test]
async fn readiness_says_why_not_and_liveness_does_not_depend_on_it() {
    let running = start(None).await;
    for (reason, said) in [(None, "starting"), (Some("upstream h:1: \"refused\""), "upstream h:1: \"refused\"")] {
        if let Some(reason) = reason {
            running.state.readiness.set_not_ready(reason.to_owned());
        }
        let (head, body) = get_path(running.address, "/readyz").await;
        assert!(head.starts_with("HTTP/1.1 503"), "{head}");
        assert!(head.contains("content-type: application/json"), "{head}");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((&body["ready"], &body["reasons"]), (&json!(false), &json!([said])));
        let (head, body) = get_path(running.address, "/healthz").await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["status"], "alive");
    }
    running.state.readiness.set_ready();
    let (head, body) = get_path(running.address, "/readyz").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&body["ready"], &body["reasons"]), (&json!(true), &json!([])));
}

#[tokio::test]
async fn what_is_not_there_lists_what_is() {
    let running = start(None).await;
    let (head, body) = get_path(running.address, "/").await;
    assert!(head.starts_with("HTTP/1.1 404"), "{head}");
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["paths"], json!(PATHS));
    let post = "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let answer = send(running.address, post).await;
    assert!(answer.starts_with("HTTP/1.1 405") && answer.contains("POST is not GET"), "{answer}");
}

#[tokio::test]
async fn a_header_that_never_ends_does_not_hold_its_connection() {
    let running = start(Some(Duration::from_millis(50))).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHo").await.unwrap();
    let mut answer = Vec::new();
    let ended = timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
    assert!(ended.is_ok(), "the connection was closed");
}

#[tokio::test]
async fn it_ends_when_it_is_told_to_though_a_connection_is_kept() {
    let running = start(None).await;
    let mut kept = TcpStream::connect(running.address).await.unwrap();
    kept.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    kept.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    running.stop.send(()).unwrap();
    timeout(Duration::from_secs(10), running.task).await.unwrap().unwrap().unwrap();
}

#[test]
fn another_reason_does_not_start_the_time_anew() {
    let readiness = Readiness::new();
    let since = readiness.snapshot().since;
    readiness.set_not_ready("other".to_owned());
    assert_eq!(readiness.snapshot().since, since);
    readiness.set_ready();
    assert!(readiness.snapshot().since > since);
}
