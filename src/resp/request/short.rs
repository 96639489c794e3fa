//! The way of nearly all requests: arrays of few and short arguments that are here as a whole. Says nothing of others: what
//! is wrong with them, if anything, is the scanner's to say.

use super::number;
use super::{ArgRange, RequestLimits};

/// Arguments of a short request.
pub const SHORT_ARGS_MAX: usize = 9;
/// Bytes of one of them.
const BULK_BYTES_MAX: usize = 9999;

/// Where the arguments of a short request stand.
pub type ShortArgs = [ArgRange; SHORT_ARGS_MAX];

/// May a client of these limits send whatever is short?
#[inline]
pub(super) fn is_within(limits: &RequestLimits) -> bool {
    limits.args_max >= SHORT_ARGS_MAX && limits.bulk_bytes_max >= BULK_BYTES_MAX
}

/// The request that `buf` begins with: its length; its arguments, one at the least and none of more than 999 bytes, go to `args`.
/// None: it is not a short one, or not all here, or there is something wrong with it; `args` is to be cleared.
#[inline]
pub(super) fn scan(buf: &[u8], args: &mut Vec<ArgRange>) -> Option<usize> {
    let [b'*', count @ b'1'..=b'9', b'\r', b'\n', ..] = buf else { return None };
    let digit = |byte: u8| usize::from(byte - b'0');
    args.reserve(SHORT_ARGS_MAX);
    let mut pos = 4;
    for _ in 0..digit(*count) {
        let (len, head) = match buf.get(pos..)? {
            [b'$', a @ b'0'..=b'9', b'\r', b'\n', ..] => (digit(*a), 4),
            [b'$', a @ b'1'..=b'9', b @ b'0'..=b'9', b'\r', b'\n', ..] => (digit(*a) * 10 + digit(*b), 5),
            [b'$', a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b'\r', b'\n', ..] => {
                (digit(*a) * 100 + digit(*b) * 10 + digit(*c), 6)
            }
            _ => return None,
        };
        let (start, end) = (pos + head, pos + head + len);
        if buf.get(end..end + 2)? != b"\r\n" {
            return None;
        }
        args.push(ArgRange { start, end });
        pos = end + 2;
    }
    Some(pos)
}

/// How a short request begins: up to the end of its first argument, which has one to eight bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct ShortHead {
    /// `*n`, `$n` and their line ends.
    headers: u64,
    /// The argument, and zeros behind it.
    name: u64,
    /// Where that has bytes.
    mask: u64,
    name_len: usize,
}

impl ShortHead {
    /// Before the first argument.
    const HEADERS_LEN: usize = b"*1\r\n$1\r\n".len();

    /// Of the request that `buf` begins with; all behind the first argument may still be faulty or missing. None: it begins
    /// otherwise.
    #[must_use]
    pub fn of(buf: &[u8]) -> Option<Self> {
        match buf {
            [b'*', b'1'..=b'9', b'\r', b'\n', b'$', len @ b'1'..=b'8', b'\r', b'\n', rest @ ..] => {
                let name_len = usize::from(len - b'0');
                let mut name = [0; 8];
                name[..name_len].copy_from_slice(rest.get(..name_len)?);
                let headers = u64::from_le_bytes(*buf.first_chunk()?);
                let mask = u64::MAX >> (8 * (name.len() - name_len));
                Some(Self { headers, name: u64::from_le_bytes(name), mask, name_len })
            }
            _ => None,
        }
    }

    /// Does this one begin so too? Not said of less than 16 bytes, which most requests have.
    #[inline(always)]
    #[must_use]
    pub fn begins(&self, buf: &[u8]) -> bool {
        let Some((headers, rest)) = buf.split_first_chunk() else { return false };
        let Some(name) = rest.first_chunk() else { return false };
        u64::from_le_bytes(*headers) == self.headers && u64::from_le_bytes(*name) & self.mask == self.name
    }

    /// The first argument of `buf`, which begins so.
    #[must_use]
    pub fn name<'b>(&self, buf: &'b [u8]) -> &'b [u8] {
        buf.get(Self::HEADERS_LEN..Self::HEADERS_LEN + self.name_len).unwrap_or_default()
    }

    /// The request that `buf` begins with, which begins so: its length, and how many arguments there are in `args`. None: as
    /// [`scan`], but that bulks may be longer.
    #[inline(always)]
    pub(super) fn scan(&self, buf: &[u8], args: &mut ShortArgs) -> Option<(usize, usize)> {
        let count = usize::from(((self.headers >> 8) as u8).wrapping_sub(b'0'));
        let end = Self::HEADERS_LEN + self.name_len;
        let [name, others @ ..] = args.get_mut(..count)? else { return None };
        if !number::ends_at(buf, end) {
            return None;
        }
        *name = ArgRange { start: Self::HEADERS_LEN, end };
        bulks(buf, end + 2, others).map(|len| (len, count))
    }
}

/// As many bulks as `args` has places, from `pos` on. Returns where they end.
#[inline(always)]
fn bulks(buf: &[u8], mut pos: usize, args: &mut [ArgRange]) -> Option<usize> {
    for arg in args {
        let (len, head) = number::short_bulk(buf.get(pos..)?)?;
        let (start, end) = (pos + head, pos + head + len);
        if !number::ends_at(buf, end) {
            return None;
        }
        *arg = ArgRange { start, end };
        pos = end + 2;
    }
    Some(pos)
}
