//! Keys that the tools print into the objects of their JSON. One that is misspelt would else say nothing, where what it means decides.

mod near;
mod sysctl;

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::reader::Reader;

pub use near::near;
pub(crate) use sysctl::{known, meant, of_device};

/// Keys of one file that are named at most.
const MOST_NAMED: usize = 256;

/// What stands behind a key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A text or a number.
    Plain,
    List,
    Object,
    /// Whoever reads it looks.
    Any,
}

/// Keys of one kind of object.
pub(crate) struct Keys {
    /// What prints them.
    of: &'static str,
    /// What is read has a form.
    all: HashMap<&'static str, Option<Form>>,
}

macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident $file:literal $of:literal;)*) => {
        $($(#[$doc])* pub(crate) static $name: LazyLock<Keys> =
            LazyLock::new(|| Keys::parse($of, include_str!(concat!("keys/", $file, ".txt"))));)*
        #[cfg(test)]
        fn all() -> Vec<&'static Keys> {
            vec![$(&*$name),*]
        }
    };
}

keys! {
    LINK "link" "`ip -d -j link`";
    ADDRESS "address" "`addr_info` of `ip -j addr`";
    LINKINFO "linkinfo" "`linkinfo` of `ip -d -j link`";
    INFO_DATA "info_data" "`info_data` of `ip -d -j link`";
    INFO_SLAVE_DATA "info_slave_data" "`info_slave_data` of `ip -d -j link`";
    ROUTE "route" "`ip -j route`";
    ROUTE_NEXTHOP "route_nexthop" "`nexthops` of `ip -j route`";
    METRICS "metrics" "`metrics` of `ip -j route`";
    NEXTHOP "nexthop" "`ip -j nexthop`";
    NEXTHOP_MEMBER "nexthop_member" "`group` of `ip -j nexthop`";
    RULE "rule" "`ip -j rule`";
    NEIGH "neigh" "`ip -j neigh`";
    FDB "fdb" "`bridge -j fdb`";
    TC "tc" "`tc -j qdisc`";
    /// Of this project's own form.
    TC_FILTER "tc_filter" "tc-filter.json";
    NFT_KIND "nft_kind" "`nft -j list ruleset`";
    NFT_TABLE "nft_table" "a table of `nft -j list ruleset`";
    NFT_CHAIN "nft_chain" "a chain of `nft -j list ruleset`";
    NFT_RULE "nft_rule" "a rule of `nft -j list ruleset`";
}

impl Keys {
    /// From lines of `+` (read; `[`: a list, `{`: an object, `?`: whatever), `-` (without effect on a walk) and `#`.
    fn parse(of: &'static str, text: &'static str) -> Keys {
        let mut all = HashMap::new();
        for (read, line) in text.lines().filter_map(|line| {
            Some((line.starts_with('+'), line.strip_prefix("+ ").or_else(|| line.strip_prefix("- "))?))
        }) {
            for word in line.split(' ') {
                let (name, form) = match word.chars().next_back() {
                    Some('[') => (&word[..word.len() - 1], Form::List),
                    Some('{') => (&word[..word.len() - 1], Form::Object),
                    Some('?') => (&word[..word.len() - 1], Form::Any),
                    _ => (word, Form::Plain),
                };
                all.insert(name, read.then_some(form));
            }
        }
        Keys { of, all }
    }

    /// Says which keys of an object nobody knows, each once for a file. One that is nearly the name of what is read and not there is an error: what it
    /// says is lost.
    pub(crate) fn check(&self, reader: &mut Reader<'_>, map: &Map<String, Value>, line: u32) {
        for (key, value) in map {
            match self.all.get(key.as_str()) {
                Some(None) => {}
                Some(Some(form)) => {
                    let fits = match form {
                        Form::Plain => value.is_string() || value.is_number(),
                        Form::List => value.is_array(),
                        Form::Object => value.is_object(),
                        Form::Any => true,
                    };
                    if !fits {
                        let what = match form {
                            Form::List => "a list",
                            Form::Object => "an object",
                            Form::Plain | Form::Any => "a text or a number",
                        };
                        reader.error(line, format!("'{key}' is not {what}, as {} prints it", self.of));
                    }
                }
                None => self.unknown(reader, map, line, key),
            }
        }
    }

    fn unknown(&self, reader: &mut Reader<'_>, map: &Map<String, Value>, line: u32, key: &str) {
        let lost = |known: &&str| !map.contains_key(*known);
        let read = self.all.iter().filter(|(_, form)| form.is_some()).map(|(known, _)| *known).filter(lost);
        let meant = near(key, read);
        // What is lost is lost of every object.
        reader.broken |= meant.is_some();
        if reader.named.len() >= MOST_NAMED || !reader.named.insert((self.of, key.to_owned())) {
            return;
        }
        if reader.named.len() == MOST_NAMED {
            return reader.error(line, format!("more than {MOST_NAMED} keys that are not understood"));
        }
        let what = format!("key '{key}' is not understood: {} prints none of this name", self.of);
        match meant {
            Some(meant) => reader.error(line, format!("{what}; did you mean '{meant}'?")),
            None => match near(key, self.all.keys().copied().filter(lost)) {
                Some(meant) => reader.warning(line, format!("{what}; did you mean '{meant}'?")),
                None => reader.warning(line, what),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_name() {
        for keys in all() {
            assert!(!keys.all.is_empty() && keys.all.keys().all(|key| !key.is_empty()), "{}", keys.of);
        }
    }
}
