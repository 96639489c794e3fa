//! What became of an operation, and how a client reads it.

use super::id::{Minted, MintedText};
use crate::metrics::Status;
use crate::resp::{Proto, write};
use bytes::BytesMut;

/// A reservation's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Holds stock.
    Open,
    /// Sold.
    Committed,
    /// Given back by its client.
    RolledBack,
    /// Given back by time.
    Expired,
}

impl State {
    /// As the script's records have it.
    #[must_use]
    pub fn from_letter(letter: &[u8]) -> Option<Self> {
        Some(match letter {
            b"o" => Self::Open,
            b"c" => Self::Committed,
            b"r" => Self::RolledBack,
            b"x" => Self::Expired,
            _ => return None,
        })
    }

    /// As clients read it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Committed => "committed",
            Self::RolledBack => "rolledback",
            Self::Expired => "expired",
        }
    }
}

/// What `INV.GET` tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// As the client knows it.
    pub id: Vec<u8>,
    /// What it holds.
    pub sku: Vec<u8>,
    /// How many.
    pub quantity: i64,
    /// Open, or how it ended.
    pub state: State,
    /// Unix ms.
    pub expires_ms: i64,
    /// Of the commit.
    pub reference: Option<Vec<u8>>,
}

/// What `INV.STOCK` tells of one SKU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StockView {
    /// Whose.
    pub sku: Vec<u8>,
    /// Free to be reserved; negative only by FORCE.
    pub available: i64,
    /// In open reservations.
    pub reserved: i64,
    /// Sold.
    pub committed: i64,
    /// Marked by `INV.PROTECT`.
    pub protected: bool,
}

/// A refusal: the error word and a sentence with what a program can use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The word.
    pub status: Status,
    /// All that follows it.
    pub text: String,
    /// The word of an upstream's own refusal, which goes through as it is (OOM, READONLY, …).
    pub upstream_word: bool,
}

impl Refusal {
    /// A refusal with one of the inventory's own words.
    #[must_use]
    pub fn new(status: Status, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), upstream_word: false }
    }

    /// `-ERR …`
    #[must_use]
    pub fn err(text: impl Into<String>) -> Self {
        Self::new(Status::Err, text)
    }

    /// An error reply of the upstream, word and all.
    #[must_use]
    pub fn upstream(line: impl Into<String>) -> Self {
        Self { status: Status::Err, text: line.into(), upstream_word: true }
    }

    /// The one text for every id that this namespace does not know.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(Status::NotFound, "no such reservation")
    }

    /// The error line, without its `-`.
    #[must_use]
    pub fn line(&self) -> String {
        if self.upstream_word { self.text.clone() } else { format!("{} {}", word(self.status), self.text) }
    }
}

/// The first word of an error line.
#[must_use]
pub fn word(status: Status) -> &'static str {
    match status {
        Status::Ok => "OK",
        Status::InsufficientStock => "INSUFFICIENTSTOCK",
        Status::NotFound => "NOTFOUND",
        Status::Expired => "EXPIRED",
        Status::AlreadyCommitted => "ALREADYCOMMITTED",
        Status::RolledBack => "ROLLEDBACK",
        Status::InvalidAmount => "INVALIDAMOUNT",
        Status::InvalidTtl => "INVALIDTTL",
        Status::EmptyKey => "EMPTYKEY",
        Status::UnknownSku => "UNKNOWNSKU",
        Status::Conflict => "CONFLICT",
        Status::Limit => "LIMIT",
        Status::BelowReserved => "BELOWRESERVED",
        Status::Overflow => "OVERFLOW",
        Status::CrossCell => "CROSSCELL",
        Status::Uncertain => "UNCERTAIN",
        Status::Overloaded => "OVERLOADED",
        Status::Unavailable => "UNAVAILABLE",
        Status::NoPerm => "NOPERM",
        Status::NoAuth => "NOAUTH",
        Status::Err => "ERR",
    }
}

/// Why there was not enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Insufficient {
    /// So many were asked for.
    pub requested: i64,
    /// So many were available.
    pub available: i64,
    /// In so many ms the next open reservation of the SKU expires; -1: none is open.
    pub retry_ms: i64,
}

/// What became of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// `+OK`
    Ok,
    /// null
    Nil,
    /// A reservation's id.
    Id(Vec<u8>),
    /// The same, a minted one of this cell.
    Minted(u16, Minted),
    /// Fewer were available than were asked for.
    Insufficient(Insufficient),
    /// An integer.
    Integer(i64),
    /// `INV.GET`
    Reservation(Reservation),
    /// `INV.STOCK`: by place in the request. One alone is the map itself.
    Stocks(Vec<(usize, Option<StockView>)>),
    /// `INV.ISPROTECTED`: by place in the request. One alone is the integer itself.
    Marks(Vec<(usize, bool)>),
    /// `INV.PROTECT`, `INV.UNPROTECT`: how many changed, and the versions of the set before and after.
    Marked {
        /// How many changed.
        changed: i64,
        /// Before; -1 where this was an operation sent again.
        version_before: i64,
        /// After.
        version_after: i64,
    },
    /// `INV.REAP`.
    Reaped {
        /// How many gave their stock back.
        taken: i64,
        /// There may be more to do.
        more: bool,
    },
    /// All protected SKUs, where the version differs from the one asked with.
    MarkedList {
        /// Now.
        version: i64,
        /// Empty where the version is the same.
        skus: Vec<Vec<u8>>,
    },
    /// The minted id is older than the memory of it: the batcher's own to handle, never a client's to see.
    Stale,
    /// Lines for a person.
    Lines(Vec<String>),
    /// An error.
    Refused(Refusal),
}

impl Outcome {
    /// The metric's label.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::Refused(refusal) => refusal.status,
            Self::Insufficient(_) => Status::InsufficientStock,
            _ => Status::Ok,
        }
    }

    /// The outcome of a request whose parts went to several cells.
    #[must_use]
    pub fn merge(parts: Vec<Self>) -> Self {
        let refused = parts.iter().any(|part| matches!(part, Self::Refused(_)));
        let effect = |part: &Self| {
            matches!(part, Self::Marked { .. } | Self::Reaped { .. }) || part.status() == Status::Uncertain
        };
        if refused && parts.iter().any(effect) {
            // Some of it may have happened: whatever refused the rest is not the whole truth.
            return Self::Refused(Refusal::new(
                Status::Uncertain,
                "a part of it happened and a part did not, for its SKUs live in several cells; send the same again",
            ));
        }
        let mut merged: Option<Self> = None;
        for part in parts {
            merged = Some(match (merged, part) {
                (None, part) => part,
                (Some(Self::Refused(refusal)), _) | (Some(_), Self::Refused(refusal)) => Self::Refused(refusal),
                (Some(Self::Stocks(mut all)), Self::Stocks(more)) => {
                    all.extend(more);
                    Self::Stocks(all)
                }
                (Some(Self::Marks(mut all)), Self::Marks(more)) => {
                    all.extend(more);
                    Self::Marks(all)
                }
                (Some(Self::Reaped { taken, more }), Self::Reaped { taken: taken_too, more: more_too }) => {
                    Self::Reaped { taken: taken + taken_too, more: more || more_too }
                }
                (Some(Self::Marked { changed: sum, .. }), Self::Marked { changed, version_before, version_after }) => {
                    Self::Marked { changed: sum + changed, version_before, version_after }
                }
                (Some(first), _) => first,
            });
        }
        match merged {
            Some(Self::Stocks(mut all)) => {
                all.sort_by_key(|(place, _)| *place);
                Self::Stocks(all)
            }
            Some(Self::Marks(mut all)) => {
                all.sort_by_key(|(place, _)| *place);
                Self::Marks(all)
            }
            Some(outcome) => outcome,
            None => Self::Nil,
        }
    }

    /// Appends the reply as this client reads it.
    pub fn write(&self, out: &mut BytesMut, proto: Proto) {
        match self {
            Self::Ok => out.extend_from_slice(b"+OK\r\n"),
            Self::Nil | Self::Stale => write::null(out, proto),
            Self::Id(id) => write::bulk(out, id),
            Self::Minted(cell, minted) => write_minted(out, *cell, minted),
            Self::Insufficient(insufficient) => insufficient.write(out),
            Self::Integer(integer) | Self::Marked { changed: integer, .. } | Self::Reaped { taken: integer, .. } => {
                write::integer(out, *integer);
            }
            Self::Reservation(reservation) => write_reservation(out, proto, reservation),
            Self::Stocks(views) => {
                if views.len() != 1 {
                    write::array_header(out, views.len());
                }
                views.iter().for_each(|(_, view)| write_stock(out, proto, view.as_ref()));
            }
            Self::Marks(marks) => {
                if marks.len() != 1 {
                    write::array_header(out, marks.len());
                }
                marks.iter().for_each(|(_, mark)| write::integer(out, i64::from(*mark)));
            }
            Self::MarkedList { skus, .. } => {
                write::array_header(out, skus.len());
                skus.iter().for_each(|sku| write::bulk(out, sku));
            }
            Self::Lines(lines) => {
                write::array_header(out, lines.len());
                lines.iter().for_each(|line| write::bulk(out, line.as_bytes()));
            }
            Self::Refused(refusal) => write::error(out, &refusal.line()),
        }
    }
}

impl Insufficient {
    /// Appends the error line, which both protocols have.
    pub(super) fn write(&self, out: &mut BytesMut) {
        let mut digits = itoa::Buffer::new();
        out.extend_from_slice(b"-INSUFFICIENTSTOCK fewer are available than were asked for requested=");
        out.extend_from_slice(digits.format(self.requested).as_bytes());
        out.extend_from_slice(b" available=");
        out.extend_from_slice(digits.format(self.available).as_bytes());
        if self.retry_ms >= 0 {
            out.extend_from_slice(b" retry_ms=");
            out.extend_from_slice(digits.format(self.retry_ms).as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// In one piece: nearly every reservation is answered so.
fn write_minted(out: &mut BytesMut, cell: u16, minted: &Minted) {
    const TEXT: usize = size_of::<MintedText>();
    let mut digits = itoa::Buffer::new();
    let cell = digits.format(cell).as_bytes();
    // A cell has one digit to five, so that the length has two.
    let (mut line, length, behind) = ([0; 5 + 5 + 1 + TEXT + 2], cell.len() + 1 + TEXT, 5 + cell.len());
    line[..5].copy_from_slice(&[b'$', b'0' + (length / 10) as u8, b'0' + (length % 10) as u8, b'\r', b'\n']);
    line[5..behind].copy_from_slice(cell);
    line[behind] = b'-';
    line[behind + 1..=behind + TEXT].copy_from_slice(&minted.text());
    line[behind + TEXT + 1..behind + TEXT + 3].copy_from_slice(b"\r\n");
    out.extend_from_slice(&line[..behind + TEXT + 3]);
}

fn write_reservation(out: &mut BytesMut, proto: Proto, reservation: &Reservation) {
    write::map_header(out, proto, 7);
    write::bulk(out, b"id");
    write::bulk(out, &reservation.id);
    write::bulk(out, b"sku");
    write::bulk(out, &reservation.sku);
    write::bulk(out, b"quantity");
    write::integer(out, reservation.quantity);
    write::bulk(out, b"state");
    write::bulk(out, reservation.state.word().as_bytes());
    write::bulk(out, b"expires_ms");
    write::integer(out, reservation.expires_ms);
    write::bulk(out, b"customer");
    write::null(out, proto);
    write::bulk(out, b"reference");
    match &reservation.reference {
        Some(reference) => write::bulk(out, reference),
        None => write::null(out, proto),
    }
}

fn write_stock(out: &mut BytesMut, proto: Proto, view: Option<&StockView>) {
    let Some(view) = view else { return write::null(out, proto) };
    write::map_header(out, proto, 7);
    write::bulk(out, b"sku");
    write::bulk(out, &view.sku);
    for (field, integer) in [
        ("total", view.available + view.reserved + view.committed),
        ("available", view.available),
        ("reserved", view.reserved),
        ("committed", view.committed),
        ("protected", i64::from(view.protected)),
    ] {
        write::bulk(out, field.as_bytes());
        write::integer(out, integer);
    }
    write::bulk(out, b"limit");
    write::null(out, proto);
}
