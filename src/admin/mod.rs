//! HTTP for those who watch the sidecar: `/metrics`, `/healthz`, `/readyz`, and where it is wanted `/config`.
//!
//! Owns what these answer. Never touches a client's connection, never asks the upstream: it tells what others recorded.

mod bounded;
mod readiness;

#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::timeout;

pub use readiness::{Readiness, ReadinessSnapshot};

use crate::config::ShownConfig;
use crate::metrics::Metrics;
use bounded::BoundedListener;

const PATHS: [&str; 4] = ["/metrics", "/healthz", "/readyz", "/config"];
/// The text format's version, without which Prometheus 3 refuses a scrape.
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// For answering one request: each is a walk over memory, so this is reached only where the machine is stalled.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// What the answers are made of.
#[derive(Clone)]
pub struct AdminState {
    /// For `/metrics`.
    pub metrics: Metrics,
    /// For `/readyz`.
    pub readiness: Arc<Readiness>,
    /// For `/config`; None: it is not told.
    pub config: Option<Arc<ArcSwap<ShownConfig>>>,
}

/// Answers on this listener until `shutdown` is ready, and then until the answers under way are out.
///
/// # Errors
///
/// Where the listener itself cannot be used; a failed accept is tried again.
///
/// # Cancel safety
///
/// Dropping it closes the listener; connections under way are then cut.
pub async fn serve(
    listener: TcpListener,
    state: AdminState,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    serve_bounded(BoundedListener::new(listener), state, shutdown).await
}

async fn serve_bounded(
    listener: BoundedListener,
    state: AdminState,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(listener, router(state)).with_graceful_shutdown(shutdown).await
}

fn router(state: AdminState) -> Router {
    let started = Instant::now();
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(move || async move { alive(started) }))
        .route("/readyz", get(ready))
        .route("/config", get(config))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn(bounded_in_time))
        .with_state(state)
}

async fn metrics(State(state): State<AdminState>) -> Response {
    ([(header::CONTENT_TYPE, PROMETHEUS_TEXT)], state.metrics.render()).into_response()
}

/// Alive is whoever can answer: nothing of the upstream is in it, or a lost Redis would have every sidecar killed.
fn alive(started: Instant) -> Response {
    let body = json!({
        "status": "alive",
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": started.elapsed().as_secs(),
    });
    answer(StatusCode::OK, &body)
}

async fn ready(State(state): State<AdminState>) -> Response {
    let ReadinessSnapshot { ready, reasons, since } = state.readiness.snapshot();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    answer(status, &json!({ "ready": ready, "reasons": reasons, "for_seconds": since.elapsed().as_secs() }))
}

async fn config(State(state): State<AdminState>) -> Response {
    match &state.config {
        Some(config) => answer(StatusCode::OK, &json!(**config.load())),
        None => answer(StatusCode::FORBIDDEN, &json!({ "error": "it is told where admin.show_config = true" })),
    }
}

async fn unknown() -> Response {
    answer(StatusCode::NOT_FOUND, &json!({ "error": "no such path", "paths": PATHS }))
}

async fn wrong_method(method: Method) -> Response {
    let body = json!({ "error": format!("{method} is not GET"), "paths": PATHS });
    answer(StatusCode::METHOD_NOT_ALLOWED, &body)
}

async fn bounded_in_time(request: Request, next: Next) -> Response {
    match timeout(ANSWER_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => answer(StatusCode::SERVICE_UNAVAILABLE, &json!({ "error": "took too long" })),
    }
}

fn answer(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response()
}
