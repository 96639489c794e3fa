//! Lines of a known form, which are there whole or are waited for.

use super::ReplyError;
use crate::resp::number::{self, Number};

/// The number behind the type byte, and how many bytes the line has. `None`: it is not all there.
#[inline]
pub(super) fn header(buf: &[u8]) -> Result<Option<(i64, usize)>, ReplyError> {
    match number::line(&buf[1..]) {
        Number::Whole { value, len } => Ok(Some((value, 1 + len))),
        Number::Partial => Ok(None),
        Number::Bad => Err(ReplyError::BadNumber),
    }
}

/// Whether `buf` begins with `text`; false: as much of it as there is.
pub(super) fn whole(buf: &[u8], text: &[u8]) -> Result<bool, ReplyError> {
    let here = buf.len().min(text.len());
    if buf[..here] != text[..here] {
        return Err(ReplyError::BadConstant);
    }
    Ok(here == text.len())
}
