//! The listener's side: who the sidecar is to its clients, and whose clients it takes.

use super::files::{Contents, Files};
use super::watched::Watched;
use super::{TlsStream, provider, words};
use crate::config::Listen;
use crate::metrics::{TlsHandshake, TlsSide};
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

/// What every client of the TCP listener must go through. Cloning is cheap and yields the same.
#[derive(Clone)]
pub struct ListenerTls {
    config: Arc<Watched<ServerConfig>>,
    handshake: Duration,
}

/// A client with whom there is no TLS.
pub struct NoHandshake {
    /// How it ended, for the figures.
    pub end: TlsHandshake,
    /// What a person is told.
    pub reason: String,
    /// The connection; an alert may be on its way to the client.
    pub stream: Option<TcpStream>,
}

impl ListenerTls {
    /// What the configuration says; None where it has no certificate.
    ///
    /// # Errors
    /// The key, the file and the reason.
    pub fn load(listen: &Listen) -> Result<Option<Self>, String> {
        if listen.tls_cert.as_os_str().is_empty() {
            return Ok(None);
        }
        let files = Files {
            side: TlsSide::Listener,
            cert: listen.tls_cert.clone(),
            key: listen.tls_key.clone(),
            ca: listen.tls_client_ca.clone(),
        };
        let config = Arc::new(Watched::new(files, make)?);
        Ok(Some(Self { config, handshake: Duration::from_millis(listen.handshake_ms) }))
    }

    /// The certificates, to be kept fresh or changed for others.
    #[must_use]
    pub fn watched(&self) -> &Arc<Watched<ServerConfig>> {
        &self.config
    }

    /// Shakes hands, within `listen.handshake_ms`.
    ///
    /// # Errors
    /// Why there is no TLS with this client.
    ///
    /// # Cancel safety
    /// Dropped before it is done the connection is closed.
    pub async fn accept(&self, stream: TcpStream) -> Result<TlsStream, NoHandshake> {
        let shaking = TlsAcceptor::from(self.config.get()).accept(stream).into_fallible();
        match tokio::time::timeout(self.handshake, shaking).await {
            Ok(Ok(stream)) => Ok(TlsStream::new(tokio_rustls::TlsStream::Server(stream), TlsSide::Listener)),
            Ok(Err((error, stream))) => {
                let end = match words::of(&error) {
                    Some(rustls::Error::InvalidMessage(_)) => TlsHandshake::NotTls,
                    None if is_gone(&error) => TlsHandshake::Gone,
                    _ => TlsHandshake::Failed,
                };
                let reason = words::told(error, TlsSide::Listener).to_string();
                Err(NoHandshake { end, reason, stream: Some(stream) })
            }
            Err(_) => {
                let reason = format!("TLS: no handshake within {:?}", self.handshake);
                Err(NoHandshake { end: TlsHandshake::Timeout, reason, stream: None })
            }
        }
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

fn make(files: &Files, contents: &Contents) -> Result<ServerConfig, String> {
    let Some((chain, key)) = files.identity(contents)? else {
        return Err("listen.tls_cert and listen.tls_key must both be there".to_owned());
    };
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .map_err(|error| error.to_string())?;
    let builder = match files.authorities(contents)? {
        None => builder.with_no_client_auth(),
        Some(roots) => builder.with_client_cert_verifier(
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
                .build()
                .map_err(|error| format!("listen.tls_client_ca: {}: {error}", files.ca.display()))?,
        ),
    };
    builder.with_single_cert(chain, key).map_err(|error| files.identity_fault(&error))
}
