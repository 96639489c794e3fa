//! What a server answers, as a test asks for it.

use std::fmt;

use super::super::show;

/// A reply, as decoded. Equality is by wire meaning: `$-1`, `*-1` and `_` stay different things.
#[derive(Clone, PartialEq)]
pub enum Reply {
    Simple(String),
    Error(String),
    Int(i64),
    Bulk(Vec<u8>),
    NilBulk,
    NilArray,
    Null,
    Array(Vec<Reply>),
    Map(Vec<(Reply, Reply)>),
    Set(Vec<Reply>),
    Push(Vec<Reply>),
    Bool(bool),
    /// Doubles, big numbers and verbatim strings: compared as text.
    Text(char, Vec<u8>),
}

/// As a person reads it: a bulk string in quotes, not as numbers.
impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Simple(line) => write!(f, "+{line}"),
            Self::Error(line) => write!(f, "-{line}"),
            Self::Int(number) => write!(f, ":{number}"),
            Self::Bulk(bytes) => write!(f, "\"{}\"", show(bytes)),
            Self::NilBulk => f.write_str("$-1"),
            Self::NilArray => f.write_str("*-1"),
            Self::Null => f.write_str("_"),
            Self::Array(items) => f.debug_list().entries(items).finish(),
            Self::Set(items) => f.debug_set().entries(items).finish(),
            Self::Push(items) => f.debug_tuple("push").field(items).finish(),
            Self::Map(pairs) => f.debug_map().entries(pairs.iter().map(|(key, value)| (key, value))).finish(),
            Self::Bool(yes) => write!(f, "#{yes}"),
            Self::Text(kind, bytes) => write!(f, "{kind}{}", show(bytes)),
        }
    }
}

impl Reply {
    pub fn ok() -> Self {
        Self::Simple("OK".into())
    }

    pub fn bulk(text: impl AsRef<[u8]>) -> Self {
        Self::Bulk(text.as_ref().to_vec())
    }

    pub fn is_nil(&self) -> bool {
        matches!(self, Self::NilBulk | Self::NilArray | Self::Null)
    }

    pub fn is_ok(&self) -> bool {
        *self == Self::ok()
    }

    /// The first word of an error, or "" where this is none.
    pub fn error_word(&self) -> &str {
        match self {
            Self::Error(line) => line.split(' ').next().unwrap_or(""),
            _ => "",
        }
    }

    /// An error's line, without its sign.
    #[track_caller]
    pub fn error(&self) -> &str {
        match self {
            Self::Error(line) => line,
            other => panic!("expected an error, got {other:?}"),
        }
    }

    /// The `key=value` of an error's line.
    pub fn error_field(&self, key: &str) -> Option<i64> {
        let Self::Error(line) = self else { return None };
        line.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('=')?.parse().ok())
    }

    #[track_caller]
    pub fn int(&self) -> i64 {
        match self {
            Self::Int(number) => *number,
            other => panic!("expected an integer, got {other:?}"),
        }
    }

    /// Not an error's: that is no answer to what asks for a text.
    #[track_caller]
    pub fn text(&self) -> String {
        match self {
            Self::Bulk(bytes) | Self::Text(_, bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Self::Simple(line) => line.clone(),
            other => panic!("expected a string, got {other:?}"),
        }
    }

    #[track_caller]
    pub fn items(&self) -> &[Reply] {
        match self {
            Self::Array(items) | Self::Set(items) | Self::Push(items) => items,
            other => panic!("expected an array, got {other:?}"),
        }
    }

    /// A field of a map, whether it came as a RESP3 map or as the flat array of RESP2.
    #[track_caller]
    pub fn field(&self, name: &str) -> Reply {
        let is =
            |key: &Reply| matches!(key, Reply::Bulk(b) if b == name.as_bytes()) || *key == Reply::Simple(name.into());
        match self {
            Self::Map(pairs) => pairs.iter().find(|(key, _)| is(key)).map(|(_, value)| value.clone()),
            Self::Array(flat) => flat.chunks(2).find(|pair| is(&pair[0])).map(|pair| pair[1].clone()),
            _ => None,
        }
        .unwrap_or_else(|| panic!("no field {name} in {self:?}"))
    }

    #[track_caller]
    pub fn expect_ok(&self) {
        assert!(self.is_ok(), "expected +OK, got {self:?}");
    }

    #[track_caller]
    pub fn expect_error(&self, word: &str) {
        assert_eq!(self.error_word(), word, "expected -{word}, got {self:?}");
    }
}
