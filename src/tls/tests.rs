//! The words for errors that are hard to come by, and which of two looks takes a change.

use super::words::reason;
use crate::metrics::TlsSide::{Listener, Upstream};
use rustls::pki_types::{ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, Error};
use std::time::Duration;

#[test]
fn what_went_wrong_is_said_in_words() {
    let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let name = || ServerName::try_from("db.example").unwrap();
    let for_names = |presented: &[&str]| CertificateError::NotValidForNameContext {
        expected: name(),
        presented: presented.iter().map(|name| (*name).to_owned()).collect(),
    };
    for (error, side, said) in [
        (
            CertificateError::UnknownIssuer,
            Upstream,
            "its certificate is not trusted: it is of none of the authorities (upstream.tls_ca)",
        ),
        (
            CertificateError::UnknownIssuer,
            Listener,
            "its certificate is not trusted: it is of none of the authorities (listen.tls_client_ca)",
        ),
        (
            for_names(&["DnsName(\"a.example\")", "IpAddress(10.0.0.1)"]),
            Upstream,
            "its certificate is for a.example, 10.0.0.1, not for db.example (upstream.tls_server_name)",
        ),
        (
            for_names(&[]),
            Upstream,
            "its certificate is for no name at all (subjectAltName), not for db.example (upstream.tls_server_name)",
        ),
        (
            CertificateError::ExpiredContext { time: at(1_000_000), not_after: at(100_000) },
            Upstream,
            "its certificate has expired, 10 days ago",
        ),
        (
            CertificateError::NotValidYetContext { time: at(0), not_before: at(119) },
            Upstream,
            "its certificate is not valid yet, for another 119 seconds",
        ),
    ] {
        assert_eq!(reason(&Error::InvalidCertificate(error), side), said);
    }
    let alert = |alert| reason(&Error::AlertReceived(alert), Upstream);
    assert_eq!(
        alert(AlertDescription::HandshakeFailure),
        "it refuses the handshake; it may demand a client certificate (upstream.tls_cert)"
    );
    assert_eq!(alert(AlertDescription::InternalError), "it ended the connection (InternalError)");
}
