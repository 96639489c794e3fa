//! From a file and what overrides it to a [`Config`], or to all that is wrong with them.
//!
//! Owns the order of the sources and where each value was given. Never knows what a value means: bounds stand in the
//! list of keys, spelling in the types, and what must hold between keys in `relations`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::fault::{ConfigError, Fault, did_you_mean};
use super::{Config, KEYS, Key, relations, tenants};

/// The one table of which there may be several.
const TENANTS: &str = "tenants";

/// A value that is not from the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// What an error calls it: `--listen`, `INVENTORY_SENTINEL_LISTEN`.
    pub source: String,
    /// `table.key`.
    pub key: String,
    /// Taken as a TOML value if it is one that fits the key, else as a string.
    pub value: String,
}

/// The file (if any) over the defaults, and the overrides `(table.key, value)` over both, later ones over earlier.
///
/// # Errors
///
/// All faults that could be found: unreadable or malformed file, unknown keys, values of a wrong type or out of bounds,
/// values that contradict each other. Each with its line and key.
pub fn load(file: Option<&Path>, overrides: &[(String, String)]) -> Result<Config, ConfigError> {
    let named = |(key, value): &(String, String)| Override {
        source: "--set".to_owned(),
        key: key.clone(),
        value: value.clone(),
    };
    load_from(file, &overrides.iter().map(named).collect::<Vec<_>>())
}

/// As [`load`], with overrides that say where they come from.
///
/// # Errors
///
/// As [`load`].
pub fn load_from(file: Option<&Path>, overrides: &[Override]) -> Result<Config, ConfigError> {
    let mut loader = Loader::default();
    if let Some(path) = file {
        let name = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => loader.file(&name, &text),
            Err(error) => loader.fault(name, "", format!("cannot be read: {error}")),
        }
    }
    for given in overrides {
        loader.override_with(given);
    }
    loader.finish()
}

#[derive(Default)]
struct Loader {
    /// Every value that is right in itself.
    accepted: Table,
    /// Where the value in force was given, by `table.key`; what is not here has its default.
    places: BTreeMap<String, String>,
    /// Keys that have a fault: what is said of them in relation to others would only confuse.
    faulty: BTreeSet<String>,
    faults: Vec<Fault>,
}

impl Loader {
    fn fault(&mut self, place: String, key: &str, message: String) {
        self.faulty.insert(key.to_owned());
        self.faults.push(Fault { place, key: key.to_owned(), message });
    }

    fn file(&mut self, name: &str, text: &str) {
        let (spans, mut errors) = DeTable::parse_recoverable(text);
        errors.sort_by_key(|error| error.span().map(|span| span.start));
        for error in &errors {
            let line = error.span().map_or(1, |span| line_of(text, span.start));
            self.fault(format!("{name}:{line}"), "", format!("not TOML: {}", error.message().replace('\n', "; ")));
        }
        // After a syntax error the rest is a guess, and its faults would be noise.
        let Ok(values) = text.parse::<Table>() else {
            return;
        };
        for (line, table, key) in keys_in_order(text, spans.get_ref()) {
            let place = format!("{name}:{line}");
            if table == TENANTS {
                self.tenants(name, line, text, spans.get_ref(), values.get(TENANTS));
                continue;
            }
            let given = values.get(&table).map(|found| key.as_ref().map_or(Some(found), |key| found.get(key)));
            if let Some(Some(value)) = given {
                self.accept(place, &table, key.as_deref(), std::slice::from_ref(value));
            }
        }
    }

    /// The entries of `[[tenants]]`, which begin at line `first`, each key by itself.
    fn tenants(&mut self, name: &str, first: usize, text: &str, spans: &DeTable<'_>, given: Option<&Value>) {
        let (Some(Value::Array(entries)), Some(DeValue::Array(places))) =
            (given, spans.get(TENANTS).map(toml::Spanned::get_ref))
        else {
            let message = "is a list of tables: write [[tenants]]".to_owned();
            return self.fault(format!("{name}:{first}"), TENANTS, message);
        };
        let mut accepted = Vec::new();
        for (at, (entry, place)) in entries.iter().zip(places.iter()).enumerate() {
            let line = |offset: usize| format!("{name}:{}", line_of(text, offset));
            let (Value::Table(entry), DeValue::Table(keys)) = (entry, place.get_ref()) else {
                self.fault(line(place.span().start), TENANTS, "is a list of tables: write [[tenants]]".to_owned());
                continue;
            };
            self.places.insert(format!("{TENANTS}.{at}"), line(place.span().start));
            let mut kept = Table::new();
            let offset =
                |key: &str| keys.keys().find(|known| known.get_ref() == key).map_or(0, |known| known.span().start);
            let mut in_order: Vec<_> = entry.iter().map(|(key, value)| (offset(key), key, value)).collect();
            in_order.sort_by_key(|(offset, ..)| *offset);
            for (offset, key, value) in in_order {
                self.places.insert(format!("{TENANTS}.{at}.{key}"), line(offset));
                match tenants::fits(key, value) {
                    Ok(()) => drop(kept.insert(key.clone(), value.clone())),
                    Err(message) => self.fault(line(offset), &format!("{TENANTS}.{key}"), message),
                }
            }
            accepted.push(Value::Table(kept));
        }
        self.accepted.insert(TENANTS.to_owned(), Value::Array(accepted));
    }

    fn override_with(&mut self, given: &Override) {
        let Some((table, key)) = given.key.split_once('.') else {
            let message = "is not of the form table.key, such as inventory.cells".to_owned();
            return self.fault(given.source.clone(), &given.key, message);
        };
        let as_toml = format!("v = {}", given.value).parse::<Table>().ok().and_then(|mut table| table.remove("v"));
        let as_string = Value::String(given.value.clone());
        let readings: Vec<Value> = as_toml.into_iter().chain([as_string]).collect();
        self.accept(given.source.clone(), table, Some(key), &readings);
    }

    /// Takes the first reading of a value that fits its key; else notes the fault of the first.
    fn accept(&mut self, place: String, table: &str, key: Option<&str>, readings: &[Value]) {
        let path = key.map_or_else(|| table.to_owned(), |key| format!("{table}.{key}"));
        let declared = match declared(table, key) {
            Ok(declared) => declared,
            Err(message) => return self.fault(place, &path, message),
        };
        let mut first_fault = None;
        for value in readings {
            match fits(declared, value) {
                Ok(()) => {
                    let entries = self.accepted.entry(table).or_insert_with(|| Value::Table(Table::new()));
                    if let Value::Table(entries) = entries {
                        entries.insert(declared.name.to_owned(), value.clone());
                    }
                    self.places.insert(path, place);
                    return;
                }
                Err(message) => first_fault.get_or_insert(message),
            };
        }
        self.fault(place, &path, first_fault.unwrap_or_default());
    }

    fn finish(mut self) -> Result<Config, ConfigError> {
        match Config::deserialize(self.accepted.clone()) {
            Err(error) => self.fault("configuration".to_owned(), "", error.message().to_owned()),
            Ok(config) => {
                for relation in relations::broken(&config) {
                    if relation.keys.iter().any(|key| self.faulty.contains(*key)) {
                        continue;
                    }
                    // The first of its keys that somebody gave is at fault, not the one that is a default.
                    let given = relation.keys.iter().find_map(|key| Some((*key, self.places.get(*key)?.clone())));
                    let (key, place) = given.unwrap_or((relation.keys[0], "default".to_owned()));
                    self.faults.push(Fault { place, key: key.to_owned(), message: relation.message });
                }
                // Of entries that are not whole nothing more is said: it would be of what was left out.
                let whole = !self.faulty.iter().any(|key| key.starts_with(TENANTS));
                let broken = if whole { tenants::broken(&config) } else { Vec::new() };
                for (at, key, message) in broken {
                    let entry = || self.places.get(&format!("{TENANTS}.{at}"));
                    let place = self.places.get(&format!("{TENANTS}.{at}.{key}")).or_else(entry);
                    let place = place.cloned().unwrap_or_default();
                    self.faults.push(Fault { place, key: format!("{TENANTS}.{key}"), message });
                }
                if self.faults.is_empty() {
                    return Ok(config);
                }
            }
        }
        Err(ConfigError { faults: self.faults })
    }
}

/// Every `table.key` of the file and its line, in the file's order. A table that is none, or is unknown, comes without key.
fn keys_in_order(text: &str, tables: &DeTable<'_>) -> Vec<(usize, String, Option<String>)> {
    let mut found = Vec::new();
    for (table, value) in tables {
        let known = KEYS.iter().any(|key| key.table == table.get_ref());
        match value.get_ref() {
            DeValue::Table(entries) if known => found.extend(
                entries
                    .keys()
                    .map(|key| (key.span().start, table.get_ref().to_string(), Some(key.get_ref().to_string()))),
            ),
            _ => found.push((table.span().start, table.get_ref().to_string(), None)),
        }
    }
    found.sort();
    found.into_iter().map(|(at, table, key)| (line_of(text, at), table, key)).collect()
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

/// The key's declaration, or what to say to one who names a table or key that there is not.
fn declared(table: &str, key: Option<&str>) -> Result<&'static Key, String> {
    let known: Vec<&Key> = KEYS.iter().filter(|declared| declared.table == table).collect();
    if table == TENANTS {
        return Err("tenants are told in the file alone".to_owned());
    }
    if known.is_empty() {
        let mut tables: Vec<&str> = KEYS.iter().map(|key| key.table).collect();
        tables.dedup();
        if !did_you_mean(table, [TENANTS].into_iter()).is_empty() {
            return Err(format!("no such table (did you mean [[{TENANTS}]]?)"));
        }
        // A key that stands before the first [table] looks like a table to TOML.
        let hint = match KEYS.iter().find(|declared| declared.name == table) {
            Some(declared) => format!(" (did you mean {}.{}?)", declared.table, declared.name),
            None => did_you_mean(table, tables.iter().copied()),
        };
        return Err(format!("no such table{hint}; there are {} and [[{TENANTS}]]", tables.join(", ")));
    }
    let Some(key) = key else {
        return Err(format!("is a table: write [{table}]"));
    };
    if let Some(declared) = known.iter().find(|declared| declared.name == key) {
        return Ok(declared);
    }
    let names: Vec<&str> = known.iter().map(|declared| declared.name).collect();
    let hint = match KEYS.iter().find(|declared| declared.name == key) {
        Some(elsewhere) => format!(" (did you mean {}.{key}?)", elsewhere.table),
        None => did_you_mean(key, names.iter().copied()),
    };
    Err(format!("no such key{hint}; [{table}] has {}", names.join(", ")))
}

/// Whether the value has the key's type and is within its bounds; else what would be right.
fn fits(key: &Key, value: &Value) -> Result<(), String> {
    if let Some(bounds) = &key.bounds {
        let right = format!("{}..={}", bounds.start(), bounds.end());
        return match value {
            Value::Integer(number) if u64::try_from(*number).is_ok_and(|number| bounds.contains(&number)) => Ok(()),
            Value::Integer(number) => Err(format!("{number} is not in {right}")),
            other => Err(format!("{other} is not a whole number in {right}")),
        };
    }
    let with = |value: Value| {
        Table::from_iter([(key.table.to_owned(), Value::Table(Table::from_iter([(key.name.to_owned(), value)])))])
    };
    let is_switch = Config::deserialize(with(Value::Boolean(true))).is_ok();
    match Config::deserialize(with(value.clone())) {
        Ok(_) => Ok(()),
        Err(_) if is_switch => Err(format!("{value} is neither true nor false")),
        Err(error) if value.is_str() => Err(error.message().to_owned()),
        // Everything that is no number is written as a string.
        Err(_) => Err(format!("{value} is not a string (write it in quotes)")),
    }
}
