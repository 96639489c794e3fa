//! An authority of the test's own, and what it issues.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use tempfile::TempDir;

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub struct Pair {
    pub cert: String,
    pub key: String,
}

pub struct Authority {
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // What OpenSSL asks of one where it is strict, as under newer Pythons.
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        // Each has a name of its own: of two of one name it is the signature that is found wrong.
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("authority {} of the tests", COUNT.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// For a server or a client of this name, or address.
    pub fn issue(&self, name: &str) -> Pair {
        self.issue_until(name, 2090)
    }

    /// One that is not valid any more from that year on.
    pub fn issue_until(&self, name: &str, year: i32) -> Pair {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate");
        Pair { cert: cert.pem(), key: key.serialize_pem() }
    }
}

/// A directory of PEM files.
pub struct Files {
    dir: TempDir,
}

impl Files {
    pub fn new() -> Self {
        Self { dir: TempDir::new().expect("a temporary directory") }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// As it stands in a setting.
    pub fn name(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Puts it there by renaming, as careful programs do.
    pub fn put(&self, name: &str, text: &str) {
        let next = self.path(&format!("{name}.next"));
        std::fs::write(&next, text).expect("a file");
        std::fs::rename(next, self.path(name)).expect("renamed");
    }

    /// `NAME.pem` and `NAME.key`.
    pub fn put_pair(&self, name: &str, pair: &Pair) {
        self.put(&format!("{name}.pem"), &pair.cert);
        self.put(&format!("{name}.key"), &pair.key);
    }

    /// Points a symbolic link at another directory in one step, as Kubernetes does with a mounted secret.
    pub fn link(&self, name: &str, target: &Path) {
        let next = self.path(&format!("{name}.next"));
        std::os::unix::fs::symlink(target, &next).expect("a link");
        std::fs::rename(next, self.path(name)).expect("renamed");
    }
}
