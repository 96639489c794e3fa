//! The PEM files of one side: what is in them, whether that is new, and what is wrong with it.

use crate::metrics::TlsSide;
use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::hash::{BuildHasher, RandomState};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Every authority of a system is 200 kB.
const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Where certificates and keys are. An empty path is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// Whose they are.
    pub side: TlsSide,
    /// The own certificate and those between it and its authority.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities that the other side's certificate must be of.
    pub ca: PathBuf,
}

/// What was in them at one look; `Err` says why one could not be read. Never shown: a key is among it.
pub struct Contents {
    cert: Content,
    key: Content,
    ca: Content,
}

type Content = Option<Result<Vec<u8>, String>>;

impl Files {
    /// Reads them all, through whatever symbolic links there are now.
    pub(super) fn read(&self) -> Contents {
        Contents { cert: read(&self.cert), key: read(&self.key), ca: read(&self.ca) }
    }

    fn fault(&self, name: &str, path: &Path, what: &str) -> String {
        let table = match self.side {
            TlsSide::Listener => "listen",
            TlsSide::Upstream => "upstream",
        };
        format!("{table}.{name}: {}: {what}", path.display())
    }

    /// The own certificate's chain and key; None where there is none.
    pub(super) fn identity(
        &self,
        contents: &Contents,
    ) -> Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>, String> {
        let (Some(cert), Some(key)) = (&contents.cert, &contents.key) else { return Ok(None) };
        let chain = certificates(cert).map_err(|what| self.fault("tls_cert", &self.cert, &what))?;
        let key = key.as_deref().map_err(Clone::clone).and_then(|bytes| {
            PrivateKeyDer::from_pem_slice(bytes)
                .map_err(|error| said(&error, "private key (an encrypted one is not read)"))
        });
        Ok(Some((chain, key.map_err(|what| self.fault("tls_key", &self.key, &what))?)))
    }

    /// What to say where the key is not the certificate's, or is of no use.
    pub(super) fn identity_fault(&self, error: &rustls::Error) -> String {
        match error {
            rustls::Error::InconsistentKeys(_) => self.fault(
                "tls_key",
                &self.key,
                &format!("is not the key of the certificate in {}", self.cert.display()),
            ),
            rustls::Error::InvalidCertificate(error) => self.fault("tls_cert", &self.cert, &error.to_string()),
            error => self.fault("tls_key", &self.key, &error.to_string()),
        }
    }

    /// The authorities; None where there is no such file.
    pub(super) fn authorities(&self, contents: &Contents) -> Result<Option<RootCertStore>, String> {
        let Some(ca) = &contents.ca else { return Ok(None) };
        let name = match self.side {
            TlsSide::Listener => "tls_client_ca",
            TlsSide::Upstream => "tls_ca",
        };
        let mut roots = RootCertStore::empty();
        for authority in certificates(ca).map_err(|what| self.fault(name, &self.ca, &what))? {
            roots.add(authority).map_err(|error| self.fault(name, &self.ca, &error.to_string()))?;
        }
        Ok(Some(roots))
    }
}

impl Contents {
    /// Another one where anything in them is other.
    pub(super) fn stamp(&self, hasher: &RandomState) -> u64 {
        hasher.hash_one((&self.cert, &self.key, &self.ca))
    }
}

fn read(path: &Path) -> Content {
    if path.as_os_str().is_empty() {
        return None;
    }
    let read = || {
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(bytes)
    };
    Some(match read() {
        Ok(bytes) if bytes.len() as u64 > FILE_BYTES_MAX => Err(format!("is longer than {FILE_BYTES_MAX} bytes")),
        Ok(bytes) => Ok(bytes),
        Err(error) => Err(error.to_string()),
    })
}

fn certificates(content: &Result<Vec<u8>, String>) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = content.as_ref().map_err(Clone::clone)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    match found {
        Ok(found) if found.is_empty() => Err(said(&pem::Error::NoItemsFound, "certificate")),
        Ok(found) => Ok(found),
        Err(error) => Err(said(&error, "certificate")),
    }
}

fn said(error: &pem::Error, what: &str) -> String {
    match error {
        pem::Error::NoItemsFound => format!("there is no {what} in it, as PEM"),
        pem::Error::MissingSectionEnd { .. } => "is cut off: a section of it has no end".to_owned(),
        error => format!("is not PEM: {error}"),
    }
}
