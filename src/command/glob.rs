//! Patterns as Redis matches them (`stringmatchlen` in its util.c): `*`, `?`, `[a-z]`, `[^a]`, `\`. Pure.

/// Does the whole text match, whatever the case of either? At most their lengths' product of steps.
#[must_use]
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Behind the last `*`, and how much of the text it has taken so far.
    let mut star: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            star = Some((p, t));
        } else if t == text.len() {
            return p == pattern.len();
        } else if let Some(width) = one(&pattern[p..], text[t]) {
            p += width;
            t += 1;
        } else if let Some((behind, taken)) = &mut star {
            *taken += 1;
            (p, t) = (*behind, *taken);
        } else {
            return false;
        }
    }
}

/// How much of the pattern, at its front, stands for this byte. None: it does not.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', class @ ..] => {
            let (found, width) = in_class(class, byte);
            found.then_some(1 + width)
        }
        [b'\\', literal, ..] => literal.eq_ignore_ascii_case(&byte).then_some(2),
        [literal, ..] => literal.eq_ignore_ascii_case(&byte).then_some(1),
    }
}

/// Whether the byte is of the class, and how long that is. One without its `]` ends where the pattern does.
fn in_class(class: &[u8], byte: u8) -> (bool, usize) {
    let byte = byte.to_ascii_lowercase();
    let not = class.first() == Some(&b'^');
    let (mut at, mut found) = (usize::from(not), false);
    loop {
        match &class[at..] {
            [] => break,
            [b']', ..] => {
                at += 1;
                break;
            }
            [b'\\', literal, ..] => {
                found |= literal.to_ascii_lowercase() == byte;
                at += 2;
            }
            [from, b'-', to, ..] => {
                let (from, to) = (from.to_ascii_lowercase(), to.to_ascii_lowercase());
                found |= (from.min(to)..=from.max(to)).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                found |= literal.to_ascii_lowercase() == byte;
                at += 1;
            }
        }
    }
    (found != not, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_redis_matches_them() {
        for (pattern, text, expected) in [
            ("inv.*", "inv.reserve", true),
            ("INV.*", "inv.reserve", true),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("inv", "inv.get", false),
            ("*e*e*e", "inv.reserve", true),
            ("*e*e*e*e", "inv.reserve", false),
            ("inv.?et", "inv.get", true),
            ("inv.[e-h]et", "inv.get", true),
            ("inv.[h-e]et", "inv.get", true),
            ("inv.[^e-h]et", "inv.get", false),
            ("inv\\.get", "inv.get", true),
            ("inv.ge[t", "inv.get", true),
            ("inv.get\\", "inv.get", false),
            ("inv.get\\", "inv.get\\", true),
            ("inv.get[", "inv.get", false),
            ("[\\i]nv.get", "inv.get", true),
            ("inv.get**", "inv.get", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }
}
