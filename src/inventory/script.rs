//! The one script, joined from lua/ at build time. Its contract is in lua/lib/input.lua.

/// What an engine from 7.0 on reads as: refuse the whole script where it could not write (OOM, READONLY).
const SHEBANG: &str = "#!lua\n";

const HEAD: &str = include_str!("../../lua/lib/input.lua");
const CLOCK: &str = include_str!("../../lua/lib/clock.lua");
const FORMAT: &str = include_str!("../../lua/lib/format.lua");
const EASY: &str = include_str!("../../lua/lib/easy.lua");
const LIBRARY: &str = concat!(
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
);
/// The operations by their letters. A call defines only those that its batch has: to define all of them costs the upstream
/// more than to execute one.
const OPERATIONS: [(&str, &str); 10] = [
    ("Rr", include_str!("../../lua/ops/reserve.lua")),
    ("Cc", include_str!("../../lua/ops/commit.lua")),
    ("Bb", include_str!("../../lua/ops/rollback.lua")),
    ("E", include_str!("../../lua/ops/extend.lua")),
    ("G", include_str!("../../lua/ops/get.lua")),
    ("S", include_str!("../../lua/ops/stock.lua")),
    ("T", include_str!("../../lua/ops/setstock.lua")),
    ("A", include_str!("../../lua/ops/addstock.lua")),
    ("PUQL", include_str!("../../lua/ops/protect.lua")),
    ("X", include_str!("../../lua/ops/reap.lua")),
];
const RUN: &str = include_str!("../../lua/lib/run.lua");

/// The script's text for an engine: `flags` where it reads a `#!lua` line (7.0 on).
///
/// `test_clock_key`: for tests alone, the key whose value is the time, unix ms, in place of the upstream's clock.
#[must_use]
pub fn source(flags: bool, test_clock_key: Option<&str>) -> String {
    let shebang = if flags { SHEBANG } else { "" };
    let clock = match test_clock_key {
        None => CLOCK.to_owned(),
        Some(key) => {
            let key = key.replace(['\\', '"', '\n'], "_");
            format!("local now = tonumber(redis.call('GET', \"{key}\"))\n")
        }
    };
    let mut operations = String::new();
    for (letters, file) in OPERATIONS {
        // Those of lots are not named: a batch of nothing else goes the easy way.
        let named: Vec<_> =
            letters.chars().filter(|letter| letter.is_uppercase()).map(|letter| format!("has.{letter}")).collect();
        let always = letters.chars().any(char::is_lowercase);
        let condition = if always { "true".to_owned() } else { named.join(" or ") };
        operations.push_str(&format!("if {condition} then\n{file}end\n"));
    }
    format!("{shebang}{HEAD}{clock}{FORMAT}{EASY}{LIBRARY}{operations}{RUN}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_operations_file_is_joined() {
        let source = super::source(true, None);
        for folder in ["lua/lib", "lua/ops"] {
            for entry in std::fs::read_dir(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap() {
                let path = entry.unwrap().path();
                assert!(source.contains(&std::fs::read_to_string(&path).unwrap()), "{} is not joined", path.display());
            }
        }
        assert!(source.starts_with("#!lua\n"));
    }

    #[test]
    fn each_operation_is_defined_where_its_letter_is_in_the_batch() {
        for (letters, file) in super::OPERATIONS {
            let defined: String = file
                .lines()
                .filter_map(|line| line.strip_prefix("OPERATIONS."))
                .filter_map(|definition| definition.chars().next())
                .collect();
            assert_eq!(defined, letters);
        }
    }

    #[test]
    fn no_key_is_named_in_the_script() {
        assert!(!super::source(false, None).contains("inv1"));
    }
}
