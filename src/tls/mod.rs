//! TLS on both sides: what is made of PEM files, made anew when they change; the handshakes; the words for what goes wrong.
//!
//! One provider of cryptography, ring. Owns certificates, keys and trust; never what is said over a connection.

mod files;
mod listener;
mod stream;
mod upstream;
mod watched;
mod words;

#[cfg(test)]
mod tests;

use crate::config::Config;
use rustls::crypto::CryptoProvider;
use std::sync::Arc;

pub use files::Files;
pub use listener::{ListenerTls, NoHandshake};
pub use stream::TlsStream;
pub use upstream::UpstreamTls;
pub use watched::{Loaded, Watched, keep_fresh};

/// Reads all files that this configuration names for TLS, and says what is wrong with them.
///
/// # Errors
/// The key, the file and the reason.
pub fn check(config: &Config) -> Result<(), String> {
    ListenerTls::load(&config.listen)?;
    UpstreamTls::load(&config.upstream)?;
    Ok(())
}

/// The only one; it is given by name everywhere, so that none is ever looked for.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
