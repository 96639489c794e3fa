//! The names of a namespace's keys upstream. All of a cell's keys share one hash slot.

/// The layout's version: a sidecar of another layout does not touch these keys.
const LAYOUT: &str = "inv1";
/// In the order of the script's KEYS.
const PARTS: [&str; 9] = ["stock", "holds", "open", "due", "ended", "ops", "protected", "meta", "lots"];

/// One cell's keys, in the order of the script's KEYS.
pub type CellKeys = [String; PARTS.len()];

/// The keys of this cell.
#[must_use]
pub fn cell_keys(namespace: &str, cell: u16) -> CellKeys {
    PARTS.map(|part| format!("{LAYOUT}:{{{namespace}/{cell}}}:{part}"))
}

/// The hash where the namespace's number of cells is remembered (field `cells`).
#[must_use]
pub fn meta_key(namespace: &str) -> String {
    format!("{LAYOUT}:{{{namespace}/0}}:meta")
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_cells_keys_share_a_hash_slot_and_name_the_namespace() {
        let keys = super::cell_keys("acme", 3);
        assert_eq!(keys[0], "inv1:{acme/3}:stock");
        let slots: std::collections::HashSet<_> =
            keys.iter().map(|key| redis_protocol::redis_keyslot(key.as_bytes())).collect();
        assert_eq!(slots.len(), 1);
        assert_eq!(super::meta_key("acme"), super::cell_keys("acme", 0)[7]);
    }
}
