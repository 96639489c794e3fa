//! The one script, joined from lua/ at build time. Its contract is in lua/lib/input.lua.

use std::borrow::Cow;

/// What an engine from 7.0 on reads as: refuse the whole script where it could not write (OOM, READONLY).
const SHEBANG: &str = "#!lua\n";

/// The operations by their letters. A call defines only those that its batch has: to define all of them costs the upstream
/// more than to execute one. Those of lots are not named: a batch of nothing else goes the easy way.
macro_rules! operations {
    ($($letters:literal $condition:literal $file:literal)*) => {
        #[cfg(test)]
        const OPERATIONS: &[(&str, &str, &str)] = &[$(($letters, $condition, include_str!($file))),*];
        /// Joined by the compiler: each sidecar would hold some 60 kB twice that lie in the program anyhow.
        const SCRIPT: &str = concat!(
            "#!lua\n",
            include_str!("../../lua/lib/input.lua"),
            include_str!("../../lua/lib/clock.lua"),
            include_str!("../../lua/lib/format.lua"),
            include_str!("../../lua/lib/idle.lua"),
            include_str!("../../lua/lib/easy.lua"),
            include_str!("../../lua/lib/general.lua"),
            include_str!("../../lua/lib/write.lua"),
            include_str!("../../lua/lib/stock.lua"),
            include_str!("../../lua/lib/open.lua"),
            include_str!("../../lua/lib/lots.lua"),
            include_str!("../../lua/lib/holds.lua"),
            include_str!("../../lua/lib/listed.lua"),
            include_str!("../../lua/lib/settle.lua"),
            include_str!("../../lua/lib/ops.lua"),
            include_str!("../../lua/lib/protected.lua"),
            include_str!("../../lua/lib/forget.lua"),
            include_str!("../../lua/lib/flush.lua"),
            $("if ", $condition, " then\n", include_str!($file), "end\n",)*
            include_str!("../../lua/lib/run.lua"),
        );
    };
}

operations! {
    "Rr" "true" "../../lua/ops/reserve.lua"
    "Cc" "true" "../../lua/ops/commit.lua"
    "Bb" "true" "../../lua/ops/rollback.lua"
    "E" "has.E" "../../lua/ops/extend.lua"
    "G" "has.G" "../../lua/ops/get.lua"
    "S" "has.S" "../../lua/ops/stock.lua"
    "T" "has.T" "../../lua/ops/setstock.lua"
    "A" "has.A" "../../lua/ops/addstock.lua"
    "PUQL" "has.P or has.U or has.Q or has.L" "../../lua/ops/protect.lua"
    "X" "has.X" "../../lua/ops/reap.lua"
}

/// What tells the time, as it stands in the script.
const CLOCK: &str = include_str!("../../lua/lib/clock.lua");

/// The script's text for an engine: `flags` where it reads a `#!lua` line (7.0 on).
///
/// `test_clock_key`: for tests alone, the key whose value is the time, unix ms, in place of the upstream's clock.
#[must_use]
pub fn source(flags: bool, test_clock_key: Option<&str>) -> Cow<'static, str> {
    let text = if flags { SCRIPT } else { SCRIPT.strip_prefix(SHEBANG).unwrap_or(SCRIPT) };
    match test_clock_key {
        None => Cow::Borrowed(text),
        Some(key) => {
            let key = key.replace(['\\', '"', '\n'], "_");
            let clock = format!("local now = tonumber(redis.call('GET', \"{key}\"))\n");
            Cow::Owned(text.replacen(CLOCK, &clock, 1))
        }
    }
}

/// The command that tells the time that the script reads, as `TIME` does or as a number of milliseconds.
#[must_use]
pub fn clock(test_clock_key: Option<&str>) -> Vec<Cow<'static, str>> {
    match test_clock_key {
        None => vec![Cow::Borrowed("TIME")],
        Some(key) => vec![Cow::Borrowed("GET"), Cow::Owned(key.to_owned())],
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_operations_file_is_joined() {
        let source = super::source(true, None);
        for folder in ["lua/lib", "lua/ops"] {
            for entry in std::fs::read_dir(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap() {
                let path = entry.unwrap().path();
                assert!(source.contains(&*std::fs::read_to_string(&path).unwrap()), "{} is not joined", path.display());
            }
        }
        assert_eq!(source.matches(super::CLOCK).count(), 1);
        assert_eq!(source.strip_prefix(super::SHEBANG), Some(&*super::source(false, None)));
    }

    #[test]
    fn each_operation_is_defined_where_its_letter_is_in_the_batch() {
        for (letters, condition, file) in super::OPERATIONS {
            let defined: String = file
                .lines()
                .filter_map(|line| line.strip_prefix("OPERATIONS."))
                .filter_map(|definition| definition.chars().next())
                .collect();
            assert_eq!(defined, *letters);
            let named: Vec<_> = letters.chars().map(|letter| format!("has.{letter}")).collect();
            let always = letters.chars().any(char::is_lowercase);
            assert_eq!(*condition, if always { "true".to_owned() } else { named.join(" or ") });
        }
    }

    #[test]
    fn no_key_is_named_in_the_script() {
        assert!(!super::SCRIPT.contains("inv1"));
    }
}
