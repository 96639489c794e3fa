//! The upstream's side: who the sidecar takes for the upstream, and who it is to it.

use super::files::{Contents, Files};
use super::watched::Watched;
use super::{TlsStream, provider, words};
use crate::config::{Address, Upstream, UpstreamUrl};
use crate::metrics::TlsSide;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::fmt;
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What every connection to a `rediss://` upstream must go through.
pub struct UpstreamTls {
    config: Arc<Watched<ClientConfig>>,
    name: ServerName<'static>,
}

impl UpstreamTls {
    /// What the configuration says; None where its URL is not `rediss://`.
    ///
    /// # Errors
    /// The key, the file and the reason.
    pub fn load(upstream: &Upstream) -> Result<Option<Arc<Self>>, String> {
        let UpstreamUrl::Server { address: Address::Tcp { host, .. }, tls: true, .. } = &upstream.url else {
            return Ok(None);
        };
        let name = if upstream.tls_server_name.is_empty() { host } else { &upstream.tls_server_name };
        let name = ServerName::try_from(name.clone()).map_err(|_| {
            format!("{name:?} is not a name that a certificate can be for; set upstream.tls_server_name")
        })?;
        let files = Files {
            side: TlsSide::Upstream,
            cert: upstream.tls_cert.clone(),
            key: upstream.tls_key.clone(),
            ca: upstream.tls_ca.clone(),
        };
        Ok(Some(Arc::new(Self { config: Arc::new(Watched::new(files, make)?), name })))
    }

    /// The certificates, to be kept fresh or changed for others.
    #[must_use]
    pub fn watched(&self) -> &Arc<Watched<ClientConfig>> {
        &self.config
    }

    /// Shakes hands. The caller limits the time.
    ///
    /// # Errors
    /// What was wrong, in words.
    ///
    /// # Cancel safety
    /// Dropped before it is done the connection is closed.
    pub async fn connect(&self, stream: TcpStream) -> io::Result<TlsStream> {
        match TlsConnector::from(self.config.get()).connect(self.name.clone(), stream).await {
            Ok(stream) => Ok(TlsStream::new(tokio_rustls::TlsStream::Client(stream), TlsSide::Upstream)),
            Err(error) => Err(words::told(error, TlsSide::Upstream)),
        }
    }
}

impl fmt::Debug for UpstreamTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UpstreamTls({:?})", self.name.to_str())
    }
}

fn make(files: &Files, contents: &Contents) -> Result<ClientConfig, String> {
    let roots = match files.authorities(contents)? {
        Some(roots) => roots,
        None => system_authorities()?,
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    match files.identity(contents)? {
        None => Ok(builder.with_no_client_auth()),
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|error| files.identity_fault(&error)),
    }
}

/// Those that the system trusts, where `SSL_CERT_FILE` and `SSL_CERT_DIR` do not name others.
fn system_authorities() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // A few that are malformed or ancient are in many a system's list.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        return Err(format!("upstream.tls_ca: this system has no list of authorities{why}; name a file of them"));
    }
    Ok(roots)
}
