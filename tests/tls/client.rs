//! A client over TLS: the tests' own, by rustls.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, SupportedProtocolVersion};

use super::certs::Pair;
use crate::common::Conn;
use crate::common::resp::Through;

/// Both that are spoken.
pub const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// Who a client trusts and who it is.
#[derive(Clone)]
pub struct Client {
    pub authority: String,
    pub identity: Option<Pair>,
    pub versions: Vec<&'static SupportedProtocolVersion>,
}

impl Client {
    pub fn new(authority: &str) -> Self {
        Self { authority: authority.to_owned(), identity: None, versions: VERSIONS.to_vec() }
    }

    pub fn with(mut self, identity: &Pair) -> Self {
        self.identity = Some(identity.clone());
        self
    }

    pub fn speaking(mut self, version: &'static SupportedProtocolVersion) -> Self {
        self.versions = vec![version];
        self
    }

    fn config(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.as_bytes()).expect("PEM")).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions)
            .expect("versions")
            .with_webpki_verifier(verifier.build().expect("a verifier"));
        match &self.identity {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let chain = vec![CertificateDer::from_pem_slice(pair.cert.as_bytes()).expect("PEM")];
                let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).expect("PEM");
                builder.with_client_auth_cert(chain, key).expect("an identity")
            }
        }
    }

    /// Shakes hands; which version that was, and the certificate that was shown.
    pub fn try_open(&self, addr: &str) -> io::Result<(Conn, ProtocolVersion, Vec<u8>)> {
        let mut tcp = TcpStream::connect(addr)?;
        tcp.set_read_timeout(Some(crate::common::SOON))?;
        let name = ServerName::try_from("127.0.0.1").expect("a name");
        let mut tls = ClientConnection::new(Arc::new(self.config()), name).map_err(io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp)?;
        }
        let version = tls.protocol_version().expect("a version");
        let shown = tls.peer_certificates().expect("certificates")[0].to_vec();
        Ok((Conn::on(tcp, addr)?.through(Tls(tls)), version, shown))
    }

    #[track_caller]
    pub fn open(&self, addr: &str) -> Conn {
        self.try_open(addr).unwrap_or_else(|error| panic!("TLS to {addr}: {error}")).0
    }

    /// The error of the handshake or of the first request, for with TLS 1.3 the client's certificate is judged after it.
    #[track_caller]
    pub fn refused(&self, addr: &str) -> String {
        let answered = self.try_open(addr).and_then(|(mut conn, ..)| conn.try_call("PING"));
        answered.expect_err("a refusal").to_string()
    }
}

/// The certificate of a PEM file, as it is shown.
pub fn der(pair: &Pair) -> Vec<u8> {
    CertificateDer::from_pem_slice(pair.cert.as_bytes()).expect("PEM").to_vec()
}

struct Tls(ClientConnection);

impl Through for Tls {
    fn read(&mut self, tcp: &mut TcpStream, bytes: &mut [u8]) -> io::Result<usize> {
        rustls::Stream::new(&mut self.0, tcp).read(bytes)
    }

    fn write_all(&mut self, tcp: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
        let mut stream = rustls::Stream::new(&mut self.0, tcp);
        stream.write_all(bytes)?;
        stream.flush()
    }

    fn goodbye(&mut self, tcp: &mut TcpStream) -> io::Result<()> {
        self.0.send_close_notify();
        while self.0.wants_write() {
            self.0.write_tls(tcp)?;
        }
        Ok(())
    }
}
