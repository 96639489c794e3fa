//! What becomes of a tenant's simple commands, remembered by their names: rights and places of keys are looked up once, not
//! with each request.

use crate::command::{CommandTable, ShortName, upper_case};
use crate::config::Passthrough;
use crate::tenant::isolation::KeyPlaces;
use crate::tenant::{Tenant, acl};

/// As many names as most applications use.
const BITS: u32 = 5;

/// What becomes of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SimpleWay {
    /// As it came.
    AsItIs,
    /// With its keys in the tenant's space; and an error is told otherwise.
    Isolated(KeyPlaces),
    /// It is to be judged request by request.
    Judged,
}

/// See the module. Takes no memory before it is asked.
#[derive(Debug, Default)]
pub struct SimpleWays {
    /// The table that was looked up in.
    table: Option<u64>,
    /// By their hashes; one that comes later takes another's place.
    ways: Box<[Option<(ShortName, SimpleWay)>]>,
}

impl SimpleWays {
    /// Of this command of the tenant's, which the table calls [simple](CommandTable::is_simple).
    #[inline]
    pub fn of(&mut self, name: &[u8], tenant: &Tenant, table: &CommandTable) -> SimpleWay {
        let Some(short) = ShortName::new(name) else { return SimpleWay::Judged };
        if self.table == Some(table.id())
            && let Some(Some((known, way))) = self.ways.get(short.hash(BITS))
            && *known == short
        {
            return *way;
        }
        self.look_up(short, name, tenant, table)
    }

    #[cold]
    fn look_up(&mut self, short: ShortName, name: &[u8], tenant: &Tenant, table: &CommandTable) -> SimpleWay {
        if self.table != Some(table.id()) {
            (self.table, self.ways) = (Some(table.id()), vec![None; 1 << BITS].into());
        }
        let mut upper = [0; crate::command::NAME_BYTES_MAX];
        let way = upper_case(name, &mut upper).map_or(SimpleWay::Judged, |upper| way(upper, tenant, table));
        if let Some(place) = self.ways.get_mut(short.hash(BITS)) {
            *place = Some((short, way));
        }
        way
    }
}

fn way(upper: &[u8], tenant: &Tenant, table: &CommandTable) -> SimpleWay {
    let is_for_the_sidecar = acl::SIDECARS.iter().any(|name| name.as_bytes() == upper);
    // Where requests are counted each is.
    if tenant.limits.requests.is_some() || is_for_the_sidecar || !tenant.rights.may_always(upper, table) {
        return SimpleWay::Judged;
    }
    match tenant.passthrough {
        Passthrough::Full => SimpleWay::AsItIs,
        Passthrough::Isolated => {
            KeyPlaces::of(upper, &tenant.space, table).map_or(SimpleWay::Judged, SimpleWay::Isolated)
        }
        Passthrough::Off => SimpleWay::Judged,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::CommandFacts;
    use crate::config::InventoryRights;
    use crate::tenant::Limits;
    use crate::tenant::isolation::KeySpace;
    use crate::tenant::rights::Rights;

    fn tenant(passthrough: Passthrough) -> Tenant {
        Tenant { passthrough, space: KeySpace::new("acme"), ..Tenant::nobody() }
    }

    #[test]
    fn what_depends_on_more_than_the_name_is_judged_each_time() {
        let names = ["get", "set", "mget", "keys", "sort", "echo"].map(|name| (name.to_owned(), Vec::new()));
        let table = CommandTable::from_flags(names.to_vec());
        let deny = Rights::new(InventoryRights::All, &[], &["set".to_owned()]);
        let counted = Limits { requests: Some((1000, 1)), ..Limits::default() };
        let isolated = || tenant(Passthrough::Isolated);
        let of = |tenant: &Tenant, name: &[u8]| SimpleWays::default().of(name, tenant, &table);
        for (tenant, plain, judged) in [
            (tenant(Passthrough::Full), &["GET", "set", "Sort", "echo"][..], &["KEYS"][..]),
            (tenant(Passthrough::Off), &[], &["GET", "PING"]),
            (Tenant { limits: counted, ..isolated() }, &[], &["GET"]),
            (Tenant { rights: deny, ..tenant(Passthrough::Full) }, &["get"], &["set", "SET"]),
            (isolated(), &[], &["SORT", "KEYS", "ECHO"]),
            (Tenant { space: KeySpace::new("inv1"), ..isolated() }, &[], &["GET"]),
        ] {
            for name in plain {
                assert_eq!(of(&tenant, name.as_bytes()), SimpleWay::AsItIs, "{name}");
            }
            for name in judged {
                assert_eq!(of(&tenant, name.as_bytes()), SimpleWay::Judged, "{name}");
            }
        }
        for name in ["GET", "set", "MGet"] {
            assert!(matches!(of(&isolated(), name.as_bytes()), SimpleWay::Isolated(_)), "{name}");
        }
    }

    #[test]
    fn another_table_is_asked_anew() {
        let (mut ways, tenant) = (SimpleWays::default(), tenant(Passthrough::Isolated));
        let elsewhere = || {
            let mut facts = CommandFacts::default();
            facts.add("get", (2, 2, 1), false, []);
            CommandTable::new().with_facts(facts)
        };
        for _ in 0..2 {
            assert!(matches!(ways.of(b"get", &tenant, &CommandTable::new()), SimpleWay::Isolated(_)));
            assert_eq!(ways.of(b"get", &tenant, &elsewhere()), SimpleWay::Judged);
        }
        // More names than places: each is what it is.
        let table = CommandTable::new();
        let names: Vec<String> = (0..200).map(|number| format!("X{number}")).chain(["GET".to_owned()]).collect();
        for name in names.iter().chain(&names) {
            let way = ways.of(name.as_bytes(), &tenant, &table);
            assert_eq!(matches!(way, SimpleWay::Isolated(_)), name == "GET", "{name}");
        }
    }
}
