//! What a client is told of what was not sent, and how much of the reason is its to know.

use crate::error::{Kind, UpstreamError};

/// Who reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// A client of a sidecar without tenants: where the upstream is, and why it cannot be reached, is no secret.
    Anybody,
    /// A tenant's, that is not to know where the upstream is nor who the sidecar is there.
    Tenant,
    /// The same of one whose requests go as an upstream user of its tenant's own.
    TenantWithUser,
}

impl Reader {
    /// Why nothing can be sent.
    #[must_use]
    pub fn reason(self, error: &UpstreamError) -> String {
        let refused = matches!(error.kind, Kind::Auth | Kind::NoPassword);
        match self {
            Self::Anybody if error.kind == Kind::NoPassword => format!("the upstream {}", error.detail),
            Self::Anybody => format!("the upstream cannot be reached ({})", error.detail.replace(['\r', '\n'], " ")),
            Self::Tenant if refused => "the upstream refuses the sidecar's user".to_owned(),
            Self::TenantWithUser if refused => "the upstream refuses this tenant's user".to_owned(),
            Self::Tenant | Self::TenantWithUser => "the upstream cannot be reached".to_owned(),
        }
    }

    /// The reply for what was never sent.
    #[must_use]
    pub fn unavailable(self, error: &UpstreamError) -> String {
        format!("-UNAVAILABLE {}; this was not sent\r\n", self.reason(error))
    }

    /// The reply for what was not sent because of this error: the upstream's own word where it has one for the client.
    #[must_use]
    pub fn refusal(self, error: &UpstreamError) -> String {
        match (error.kind, self) {
            // As it answers any command of a client that has not said who it is.
            (Kind::Auth, Self::Anybody) if error.is_noauth() => "-NOAUTH Authentication required.\r\n".to_owned(),
            // The credentials were right, and the database was refused: of a greeting nothing else is refused so.
            (Kind::Auth, Self::Tenant | Self::TenantWithUser) if error.detail.starts_with("NOPERM") => {
                "-NOPERM this user has no permissions to run the 'select' command\r\n".to_owned()
            }
            (Kind::Auth, Self::Tenant | Self::TenantWithUser) => self.unavailable(error),
            // BUSY and LOADING too: it answers, and these are its words.
            (Kind::Auth | Kind::Reply | Kind::Refused, _) => {
                format!("-{}\r\n", error.detail.replace(['\r', '\n'], " "))
            }
            _ => self.unavailable(error),
        }
    }

    /// The reply for what was sent on a connection that was lost.
    #[must_use]
    pub fn uncertain(self, error: &UpstreamError) -> String {
        let why = if self == Self::Anybody { format!(" ({error})") } else { String::new() };
        format!("-UNCERTAIN the connection to the upstream was lost{why}; this may have been executed\r\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_told_neither_where_the_upstream_is_nor_who_it_is_there() {
        let lost = || UpstreamError::new(Kind::Connect, "db.example:6379: connection refused");
        let all = [
            lost(),
            UpstreamError::new(Kind::Io, "db.example:6379: closed"),
            UpstreamError::new(Kind::Timeout, "db.example:6379: no reply within 1s"),
            UpstreamError::new(Kind::NoPassword, "db.example:6379 wants a password, and upstream.url has none"),
            UpstreamError::new(Kind::Unfit, "db.example is too old"),
            UpstreamError::new(Kind::Auth, "db.example: it refuses the user name or the password (WRONGPASS no)"),
            UpstreamError::from_reply("WRONGPASS invalid username-password pair or user is disabled."),
            UpstreamError::from_reply("NOAUTH Authentication required."),
            UpstreamError::from_reply("NOPERM User db.example has no permissions to run the 'select' command"),
        ];
        for error in all {
            for reader in [Reader::Tenant, Reader::TenantWithUser] {
                for line in [reader.refusal(&error), reader.unavailable(&error), reader.uncertain(&error)] {
                    let word = line.split(' ').next().unwrap_or_default();
                    assert!(["-UNAVAILABLE", "-UNCERTAIN", "-NOPERM"].contains(&word), "{line}");
                    assert!(!line.contains("db.example") && !line.contains("upstream.url"), "{line}");
                }
            }
        }
        assert_eq!(
            Reader::Anybody.refusal(&lost()),
            "-UNAVAILABLE the upstream cannot be reached (db.example:6379: connection refused); this was not sent\r\n"
        );
    }

    #[test]
    fn the_upstreams_own_word_is_the_clients_where_it_is_about_the_request() {
        for line in ["ERR DB index is out of range", "LOADING Redis is loading the dataset in memory"] {
            for reader in [Reader::Anybody, Reader::Tenant, Reader::TenantWithUser] {
                assert_eq!(reader.refusal(&UpstreamError::from_reply(line)), format!("-{line}\r\n"));
            }
        }
    }
}
