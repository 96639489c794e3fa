//! The one script, joined from lua/ at build time. Its contract is in lua/lib/input.lua.

/// What an engine from 7.0 on reads as: refuse the whole script where it could not write (OOM, READONLY).
const SHEBANG: &str = "#!lua\n";

const HEAD: &str = include_str!("../../lua/lib/input.lua");
const CLOCK: &str = include_str!("../../lua/lib/clock.lua");
const BODY: &str = concat!(
    include_str!("../../lua/lib/stock.lua"),
    include_str!("../../lua/lib/holds.lua"),
    include_str!("../../lua/lib/ops.lua"),
    include_str!("../../lua/lib/protected.lua"),
    include_str!("../../lua/lib/forget.lua"),
    include_str!("../../lua/lib/flush.lua"),
    include_str!("../../lua/ops/setstock.lua"),
    include_str!("../../lua/ops/addstock.lua"),
    include_str!("../../lua/ops/reserve.lua"),
    include_str!("../../lua/ops/commit.lua"),
    include_str!("../../lua/ops/rollback.lua"),
    include_str!("../../lua/ops/extend.lua"),
    include_str!("../../lua/ops/get.lua"),
    include_str!("../../lua/ops/stock.lua"),
    include_str!("../../lua/ops/protect.lua"),
    include_str!("../../lua/ops/reap.lua"),
    include_str!("../../lua/lib/run.lua"),
);

/// The script's text for an engine: `flags` where it reads a `#!lua` line (7.0 on).
///
/// `test_clock_key`: for tests alone, the key whose value is the time, unix ms, in place of the upstream's clock.
#[must_use]
pub fn source(flags: bool, test_clock_key: Option<&str>) -> String {
    let shebang = if flags { SHEBANG } else { "" };
    match test_clock_key {
        None => format!("{shebang}{HEAD}{CLOCK}{BODY}"),
        Some(key) => {
            let key = key.replace(['\\', '"', '\n'], "_");
            format!("{shebang}{HEAD}local now = tonumber(redis.call('GET', \"{key}\"))\n{BODY}")
        }
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
                assert!(source.contains(&std::fs::read_to_string(&path).unwrap()), "{} is not joined", path.display());
            }
        }
        assert!(source.starts_with("#!lua\n"));
    }

    #[test]
    fn no_key_is_named_in_the_script() {
        assert!(!super::source(false, None).contains("inv1"));
    }
}
