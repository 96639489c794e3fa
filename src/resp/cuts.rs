//! Where the tests of both scanners cut what they read into pieces.

use proptest::sample::Index;

/// These places of so many bytes, both ends among them, in their order.
pub(super) fn sorted_cuts(cuts: &[Index], len: usize) -> Vec<usize> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(len + 1)).collect();
    cuts.sort_unstable();
    cuts
}
