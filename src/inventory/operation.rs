//! What goes to the script, and what its answer means. The script's own contract is in lua/.

use super::id::{Minted, Token};
use super::reply::{Insufficient, Outcome, Refusal, Reservation, State, StockView};
use crate::metrics::{Operation, Status};
use crate::resp::write::RequestWriter;
use bb8_redis::redis::Value;

/// One operation's letter and arguments, as they go upstream.
#[derive(Debug, Clone)]
pub struct ScriptArgs(RequestWriter);

impl ScriptArgs {
    /// Begins with the operation's letter (lua/ops).
    #[must_use]
    pub fn new(letter: u8) -> Self {
        let mut args = RequestWriter::with_capacity(USUAL_BYTES);
        args.arg(&[letter]);
        Self(args)
    }

    /// How many, the letter among them.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "there is always a letter")]
    pub fn len(&self) -> usize {
        self.0.count()
    }

    /// The operation's letter.
    #[must_use]
    pub fn letter(&self) -> u8 {
        self.0.written().get(LETTER_AT).copied().unwrap_or(b'?')
    }

    /// One more argument.
    pub fn push(&mut self, arg: &[u8]) {
        self.0.arg(arg);
    }

    /// A number.
    pub fn push_number(&mut self, number: impl itoa::Integer) {
        self.0.number(number);
    }

    /// All, in order, the letter first.
    #[must_use]
    pub fn written(&self) -> &RequestWriter {
        &self.0
    }
}

/// Room for the arguments of an operation with names of usual length.
const USUAL_BYTES: usize = 96;
/// It is the first argument.
const LETTER_AT: usize = "$1\r\n".len();

/// Bytes that are kept in place where they are few, as SKUs mostly are.
#[derive(Debug, Clone)]
pub enum Name {
    /// How many, and the bytes.
    Short(u8, [u8; NAME_IN_PLACE]),
    /// More.
    Long(Box<[u8]>),
}

const NAME_IN_PLACE: usize = 30;

impl Name {
    /// A copy of these bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let mut short = [0; NAME_IN_PLACE];
        match short.get_mut(..bytes.len()) {
            Some(place) => {
                place.copy_from_slice(bytes);
                Self::Short(bytes.len() as u8, short)
            }
            None => Self::Long(bytes.into()),
        }
    }
}

impl std::ops::Deref for Name {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Self::Short(len, bytes) => &bytes[..usize::from(*len).min(NAME_IN_PLACE)],
            Self::Long(bytes) => bytes,
        }
    }
}

/// How an answer is to be read.
#[derive(Debug, Clone)]
pub enum Expect {
    /// `R`: the id that the client gets, its own.
    Reserved(Vec<u8>),
    /// `C`, `B`: 1.
    Done,
    /// `T`: 1, or 0 where the condition was not met.
    Set,
    /// `A`.
    Available,
    /// `E`.
    ExpiresAt,
    /// `G`: the id as the client gave it.
    Found(Vec<u8>),
    /// `S`: the SKUs, each with its place in the client's request.
    Stocks(Vec<(usize, Vec<u8>)>),
    /// `P`, `U`: the SKUs and the mark they bear from now on.
    Marked(Vec<Vec<u8>>, bool),
    /// `Q`: the SKUs' places in the client's request.
    Marks(Vec<usize>),
    /// `X`.
    Reaped,
    /// `L`.
    MarkedList,
}

/// One operation on one cell.
#[derive(Debug, Clone)]
pub struct ScriptOperation {
    /// Which of the commands, for the metrics.
    pub operation: Operation,
    /// The cell that it works on.
    pub cell: u16,
    /// What the script is to do.
    pub work: Work,
}

/// What the script is to do. Those that a sale consists of travel together with others of their kind.
#[derive(Debug, Clone)]
pub enum Work {
    /// Reserve, the sidecar mints the id.
    Reserve {
        /// Of what.
        sku: Name,
        /// How many.
        quantity: u32,
        /// For how long.
        ttl_ms: u64,
        /// The id, from the first sending on.
        minted: Option<Minted>,
    },
    /// Commit, without a reference, what may have been reserved under a minted id; the token from the first sending on.
    Commit(Minted, Option<Token>),
    /// Roll it back.
    RollBack(Minted),
    /// Any other operation.
    Script(ScriptArgs, Expect),
}

impl ScriptOperation {
    /// How much of a batch it takes, in arguments of the script.
    #[must_use]
    pub fn weight(&self) -> usize {
        if let Work::Script(args, _) = &self.work { args.len() } else { 1 }
    }

    /// May it change anything upstream?
    #[must_use]
    pub fn writes(&self) -> bool {
        !matches!(self.operation, Operation::Get | Operation::Stock | Operation::IsProtected)
    }

    /// An operation that travels alone.
    #[must_use]
    pub fn script(operation: Operation, cell: u16, args: ScriptArgs, expect: Expect) -> Self {
        Self { operation, cell, work: Work::Script(args, expect) }
    }
}

impl Expect {
    /// The outcome that this answer of the script means. An answer that is not of the contract's form is a fault of the
    /// sidecar's: what became of the operation is then not known.
    #[must_use]
    pub fn outcome(&self, value: &Value) -> Outcome {
        self.read(value).unwrap_or_else(|| {
            tracing::error!(expected = ?self, ?value, "the script gave an answer that is not of its contract");
            Outcome::Refused(Refusal::new(Status::Uncertain, "the upstream's answer could not be read"))
        })
    }

    fn read(&self, value: &Value) -> Option<Outcome> {
        let items = match value {
            Value::Array(items) => items.as_slice(),
            _ => &[],
        };
        // GET's state and the list's SKUs are texts too, but one letter long or not in front.
        if items.first().and_then(text).is_some_and(|word| word.len() > 1) {
            return refused(value);
        }
        Some(match self {
            Self::Reserved(id) => (int(value)? == 1).then(|| Outcome::Id(id.clone()))?,
            Self::Done => (int(value)? == 1).then_some(Outcome::Ok)?,
            Self::Set => {
                if int(value)? == 1 {
                    Outcome::Ok
                } else {
                    Outcome::Nil
                }
            }
            Self::Available => Outcome::Integer(int(items.get(1)?)?),
            Self::ExpiresAt => Outcome::Integer(int(value)?),
            Self::Reaped => Outcome::Reaped { taken: int(items.first()?)?, more: int(items.get(1)?)? == 1 },
            Self::Found(id) => {
                if items.is_empty() {
                    return Some(Outcome::Nil);
                }
                let reference = text(items.get(4)?)?;
                Outcome::Reservation(Reservation {
                    id: id.clone(),
                    state: State::from_letter(text(items.first()?)?)?,
                    sku: text(items.get(1)?)?.to_vec(),
                    quantity: int(items.get(2)?)?,
                    expires_ms: int(items.get(3)?)?,
                    reference: (!reference.is_empty()).then(|| reference.to_vec()),
                })
            }
            Self::Stocks(skus) => {
                let mut views = Vec::with_capacity(skus.len());
                for ((place, sku), item) in skus.iter().zip(items) {
                    let view = match item {
                        Value::Array(stock) => Some(StockView {
                            sku: sku.clone(),
                            available: int(stock.first()?)?,
                            reserved: int(stock.get(1)?)?,
                            committed: int(stock.get(2)?)?,
                            protected: int(stock.get(3)?)? == 1,
                        }),
                        _ => None,
                    };
                    views.push((*place, view));
                }
                (views.len() == skus.len()).then_some(Outcome::Stocks(views))?
            }
            Self::Marked(..) => Outcome::Marked {
                changed: int(items.first()?)?,
                version_before: int(items.get(1)?)?,
                version_after: int(items.get(2)?)?,
            },
            Self::Marks(places) => Outcome::Marks(
                places.iter().zip(items).map(|(&place, item)| Some((place, int(item)? == 1))).collect::<Option<_>>()?,
            ),
            Self::MarkedList => Outcome::MarkedList {
                version: int(items.first()?)?,
                skus: items[1..].iter().map(|item| text(item).map(<[u8]>::to_vec)).collect::<Option<_>>()?,
            },
        })
    }
}

pub(super) fn int(value: &Value) -> Option<i64> {
    match value {
        Value::Int(int) => Some(*int),
        _ => None,
    }
}

pub(super) fn text(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}

/// The refusal that an answer is; None: it is none.
pub(super) fn refused(value: &Value) -> Option<Outcome> {
    let Value::Array(items) = value else { return None };
    let word = items.first().and_then(text)?;
    match word {
        b"STALE" => Some(Outcome::Stale),
        _ => refusal(word, &items[1..]),
    }
}

/// The script's refusals: a word and its numbers.
fn refusal(word: &[u8], numbers: &[Value]) -> Option<Outcome> {
    let number = |index: usize| numbers.get(index).and_then(int);
    if word == b"INSUFFICIENTSTOCK" {
        let (requested, available, retry_ms) = (number(0)?, number(1)?, number(2)?);
        return Some(Outcome::Insufficient(Insufficient { requested, available, retry_ms }));
    }
    Some(Outcome::Refused(match word {
        b"BELOWRESERVED" => Refusal::new(
            Status::BelowReserved,
            format!(
                "fewer than are reserved; FORCE sets it all the same requested={} reserved={}",
                number(0)?,
                number(1)?
            ),
        ),
        b"INVALIDTTL" => Refusal::new(
            Status::InvalidTtl,
            format!(
                "the reservation may live no longer than reservation_ttl_max from its making left_ms={}",
                number(0)?.max(0)
            ),
        ),
        b"NOTFOUND" => Refusal::not_found(),
        b"EXPIRED" => Refusal::new(Status::Expired, "the reservation expired and its stock was given back"),
        b"ALREADYCOMMITTED" => Refusal::new(Status::AlreadyCommitted, "the reservation was committed"),
        b"ROLLEDBACK" => Refusal::new(Status::RolledBack, "the reservation was rolled back"),
        b"UNKNOWNSKU" => Refusal::new(Status::UnknownSku, "stock was never set for this SKU"),
        b"CONFLICT" => Refusal::new(Status::Conflict, "the same ID was used with other arguments"),
        b"OVERFLOW" => Refusal::new(Status::Overflow, "the sum would be more than 9007199254740991"),
        _ => return None,
    }))
}
