//! Strict decimal numbers, as the inventory takes them: no sign, no blank, no leading zero.

/// 2^53 - 1: the largest stock, for the script counts in doubles.
pub const STOCK_MAX: u64 = (1 << 53) - 1;
/// The largest quantity of one reservation.
pub const QUANTITY_MAX: u64 = (1 << 31) - 1;

/// `0`, or digits that begin with 1 … 9, up to u64::MAX.
#[must_use]
pub fn unsigned(text: &[u8]) -> Option<u64> {
    if text.is_empty() || (text[0] == b'0' && text.len() > 1) {
        return None;
    }
    let mut value: u64 = 0;
    for &digit in text {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
    }
    Some(value)
}

/// As [`unsigned`], with a `-` in front allowed where the number is not zero.
#[must_use]
pub fn signed(text: &[u8]) -> Option<i64> {
    match text.strip_prefix(b"-") {
        Some(digits) => {
            unsigned(digits).filter(|&value| value > 0).and_then(|value| i64::try_from(value).ok()).map(|value| -value)
        }
        None => unsigned(text).and_then(|value| i64::try_from(value).ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_strict_decimals_are_numbers() {
        assert_eq!(unsigned(b"0"), Some(0));
        assert_eq!(unsigned(b"9007199254740991"), Some(STOCK_MAX));
        assert_eq!(unsigned(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(signed(b"-5"), Some(-5));
        assert_eq!(signed(b"-9223372036854775807"), Some(i64::MIN + 1));
        for bad in
            ["", "-0", "+5", "05", "00", " 5", "5 ", "0x5", "5.0", "1e3", "--5", "-", "18446744073709551616", "٣"]
        {
            assert_eq!((unsigned(bad.as_bytes()), signed(bad.as_bytes())), (None, None), "{bad:?}");
        }
        assert_eq!(unsigned(b"-5"), None);
    }
}
