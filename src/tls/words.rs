//! What went wrong with TLS, for a person. "It" is the other side.

use crate::metrics::TlsSide;
use rustls::{AlertDescription, CertificateError, Error};
use std::io;

/// The error of TLS within one of reading or writing.
pub(super) fn of(error: &io::Error) -> Option<&Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

/// The same error in our words; one that is not of TLS as it is.
pub(super) fn told(error: io::Error, side: TlsSide) -> io::Error {
    match of(&error) {
        Some(tls) => io::Error::new(error.kind(), format!("TLS: {}", reason(tls, side))),
        // tokio-rustls has no other words for an end within the handshake.
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            io::Error::new(error.kind(), "TLS: it closed the connection within the handshake")
        }
        None => error,
    }
}

/// What is said of this error.
pub(super) fn reason(error: &Error, side: TlsSide) -> String {
    let hint = |key: &str| if side == TlsSide::Upstream { format!(" ({key})") } else { String::new() };
    match error {
        Error::InvalidCertificate(error) => certificate(error, side),
        Error::NoCertificatesPresented => "it shows no certificate".to_owned(),
        Error::InvalidMessage(_) => "what it says is not TLS".to_owned(),
        Error::PeerIncompatible(what) => format!("it has no version or cipher in common with us ({what:?})"),
        Error::AlertReceived(alert) => match alert {
            AlertDescription::CertificateRequired => {
                format!("it demands a client certificate{}", hint("upstream.tls_cert"))
            }
            AlertDescription::UnknownCA => {
                format!("it does not trust the authority of our certificate{}", { hint("upstream.tls_cert") })
            }
            AlertDescription::CertificateExpired => "it says that our certificate has expired".to_owned(),
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateRevoked => format!("it refuses our certificate ({alert:?})"),
            AlertDescription::ProtocolVersion => "it speaks other versions of TLS than 1.2 and 1.3".to_owned(),
            // With TLS 1.2 a missing client certificate is told so.
            AlertDescription::HandshakeFailure => {
                format!("it refuses the handshake; it may demand a client certificate{}", hint("upstream.tls_cert"))
            }
            alert => format!("it ended the connection ({alert:?})"),
        },
        error => error.to_string(),
    }
}

fn certificate(error: &CertificateError, side: TlsSide) -> String {
    let keys = match side {
        TlsSide::Upstream => " (upstream.tls_ca)",
        TlsSide::Listener => " (listen.tls_client_ca)",
    };
    match error {
        CertificateError::UnknownIssuer => {
            format!("its certificate is not trusted: it is of none of the authorities{keys}")
        }
        CertificateError::BadSignature => {
            format!("its certificate is not trusted: it says that it is of an authority that did not sign it{keys}")
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names: Vec<&str> = presented.iter().map(|name| bare(name)).collect();
            let names = if names.is_empty() { "no name at all (subjectAltName)".to_owned() } else { names.join(", ") };
            format!("its certificate is for {names}, not for {} (upstream.tls_server_name)", expected.to_str())
        }
        CertificateError::NotValidForName => {
            "its certificate is for another name (upstream.tls_server_name)".to_owned()
        }
        CertificateError::ExpiredContext { time, not_after } => {
            format!("its certificate has expired, {} ago", span(time.as_secs().saturating_sub(not_after.as_secs())))
        }
        CertificateError::Expired => "its certificate has expired".to_owned(),
        CertificateError::NotValidYetContext { time, not_before } => {
            let until = not_before.as_secs().saturating_sub(time.as_secs());
            format!("its certificate is not valid yet, for another {}", span(until))
        }
        CertificateError::NotValidYet => "its certificate is not valid yet".to_owned(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            let role = if side == TlsSide::Upstream { "server" } else { "client" };
            format!("its certificate is not for a {role} (extendedKeyUsage)")
        }
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "its certificate is an authority's own (CA:TRUE); it must be one that the authority signed".to_owned()
        }
        error => format!("its certificate is not accepted: {error}"),
    }
}

/// `DnsName("host")` and `IpAddress(127.0.0.1)` without what is around them.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
    inner.trim_matches('"')
}

fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} seconds"),
        120..7_200 => format!("{} minutes", seconds / 60),
        7_200..172_800 => format!("{} hours", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}
