//! What the commands' grammars share.

use crate::inventory::id::{NAME_BYTES_MAX, cell_of, split};
use crate::inventory::number::{QUANTITY_MAX, unsigned};
use crate::inventory::reply::Refusal;
use crate::metrics::Status;
use crate::tenant::Tenant;

/// SKUs of one command: one script call answers for all of them at one instant, and it must stay short.
pub const SKUS_MAX: usize = 1024;
/// The longest `<cell>-` in front of a client's own id.
const ID_PREFIX_BYTES_MAX: usize = 6;

/// A SKU, a client's own id, a reference: 1 to 512 bytes of any kind.
pub fn name<'a>(arg: &'a [u8], what: &str) -> Result<&'a [u8], Refusal> {
    if arg.is_empty() {
        return Err(Refusal::new(Status::EmptyKey, format!("the {what} is empty")));
    }
    if arg.len() > NAME_BYTES_MAX {
        return Err(Refusal::err(format!("the {what} is too long: {} bytes, at most {NAME_BYTES_MAX}", arg.len())));
    }
    Ok(arg)
}

/// A reservation's id: its cell and the id within it. What this namespace never gave out is not found.
pub fn id<'a>(arg: &'a [u8], tenant: &Tenant) -> Result<(u16, &'a [u8]), Refusal> {
    if arg.is_empty() {
        return Err(Refusal::new(Status::EmptyKey, "the id is empty"));
    }
    if arg.len() > NAME_BYTES_MAX + ID_PREFIX_BYTES_MAX {
        return Err(Refusal::err(format!(
            "the id is too long: {} bytes, at most {}",
            arg.len(),
            NAME_BYTES_MAX + ID_PREFIX_BYTES_MAX
        )));
    }
    split(arg, tenant.cells).ok_or_else(Refusal::not_found)
}

/// How many to reserve.
pub fn quantity(arg: &[u8]) -> Result<u32, Refusal> {
    let quantity = unsigned(arg).filter(|quantity| (1..=QUANTITY_MAX).contains(quantity));
    quantity.and_then(|quantity| u32::try_from(quantity).ok()).ok_or_else(|| {
        Refusal::new(Status::InvalidAmount, format!("the quantity must be a whole number from 1 to {QUANTITY_MAX}"))
    })
}

/// `EX seconds` or `PX milliseconds`, as ms.
pub fn ttl(unit: &[u8], arg: &[u8], tenant: &Tenant) -> Result<u64, Refusal> {
    let factor = if unit.eq_ignore_ascii_case(b"EX") { 1000 } else { 1 };
    unsigned(arg)
        .and_then(|number| number.checked_mul(factor))
        .filter(|ms| (1..=tenant.reservation_ttl_max_ms).contains(ms))
        .ok_or_else(|| {
            let max = tenant.reservation_ttl_max_ms;
            Refusal::new(Status::InvalidTtl, format!("the time to live must be a whole number from 1 ms to {max} ms"))
        })
}

/// As Redis words it.
pub fn syntax() -> Refusal {
    Refusal::err("syntax error")
}

/// An option that the grammar has and this release does not.
pub fn later(option: &str) -> Refusal {
    Refusal::err(format!("syntax error, {option} is not supported yet"))
}

/// SKUs by cell, each with its place in the command.
pub type ByCell = Vec<(u16, Vec<(usize, Vec<u8>)>)>;

/// The SKUs of a command, by cell, each with its place in the command.
pub fn by_cell<'a>(skus: impl Iterator<Item = &'a [u8]>, tenant: &Tenant) -> Result<ByCell, Refusal> {
    let mut cells = ByCell::new();
    for (place, sku) in skus.enumerate() {
        if place >= SKUS_MAX {
            return Err(Refusal::err(format!("too many SKUs: at most {SKUS_MAX} in one command")));
        }
        let sku = name(sku, "SKU")?;
        let cell = cell_of(sku, tenant.cells);
        match cells.iter_mut().find(|(known, _)| *known == cell) {
            Some((_, skus)) => skus.push((place, sku.to_vec())),
            None => cells.push((cell, vec![(place, sku.to_vec())])),
        }
    }
    Ok(cells)
}
