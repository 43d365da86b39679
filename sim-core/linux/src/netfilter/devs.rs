//! Tests of device names (`-i`, `-o`, `physdev`) as numbers, so that a packet's rules compare no names and rules and devices may both be many.
//!
//! A test of a whole name is the number of that name. A test with `+` is the number of what stands before it: for each device there is a list of
//! those that its name begins with, of which there are as many as a name is long at most.

use rustc_hash::FxHashMap;

use crate::config::NetNsConfig;
use crate::ids::DevId;
use crate::iptables::ast::DevPattern;

/// A compiled test. 0 always holds.
pub(super) type DevTest = u32;

/// The test is inverted.
const NOT: DevTest = 1 << 31;
/// The test is of the beginning of a name.
const PREFIX: DevTest = 1 << 30;
const VALUE: DevTest = PREFIX - 1;
/// The number of a name that no device has.
const NOBODY: DevTest = VALUE;

/// What tests are compared with: one row for no device (whose name counts as empty), then one for each device.
#[derive(Clone, Debug, Default)]
pub(super) struct DevTests {
    /// The number of each row's name, from 1.
    names: Vec<DevTest>,
    /// Where each row's part of `prefixes` begins, and the end of the last.
    starts: Vec<u32>,
    prefixes: Vec<DevTest>,
}

/// A device, as tests see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct DevRow<'a> {
    name: DevTest,
    prefixes: &'a [DevTest],
}

impl DevTests {
    pub fn row(&self, dev: Option<DevId>) -> DevRow<'_> {
        let at = dev.map_or(0, |dev| dev.index() + 1);
        let range = match (self.starts.get(at), self.starts.get(at + 1)) {
            (Some(&start), Some(&end)) => start as usize..end as usize,
            _ => 0..0,
        };
        DevRow {
            name: self.names.get(at).copied().unwrap_or(NOBODY - 1),
            prefixes: self.prefixes.get(range).unwrap_or(&[]),
        }
    }
}

impl DevRow<'_> {
    #[inline]
    pub fn passes(self, test: DevTest) -> bool {
        if test == 0 {
            return true;
        }
        let value = test & VALUE;
        let holds = if test & PREFIX == 0 { value == self.name } else { self.prefixes.contains(&value) };
        holds == (test & NOT == 0)
    }
}

/// Gives tests their numbers.
pub(super) struct DevTestCompiler<'a> {
    rows: Vec<&'a str>,
    names: FxHashMap<&'a str, DevTest>,
    prefixes: FxHashMap<&'a str, DevTest>,
}

impl<'a> DevTestCompiler<'a> {
    pub fn new(config: &'a NetNsConfig) -> DevTestCompiler<'a> {
        let mut names = FxHashMap::default();
        let rows: Vec<&str> =
            std::iter::once("").chain(config.devices.iter().map(|device| device.name.as_str())).collect();
        for name in &rows {
            let next = names.len() as DevTest + 1;
            names.entry(*name).or_insert(next);
        }
        DevTestCompiler { rows, names, prefixes: FxHashMap::default() }
    }

    pub fn test(&mut self, pattern: &'a DevPattern, not: bool) -> DevTest {
        let inverted = if not { NOT } else { 0 };
        if pattern.prefix {
            let next = self.prefixes.len() as DevTest + 1;
            return PREFIX | inverted | *self.prefixes.entry(&pattern.name).or_insert(next);
        }
        inverted | self.names.get(pattern.name.as_str()).copied().unwrap_or(NOBODY)
    }

    pub fn finish(self) -> DevTests {
        let mut tests = DevTests { starts: vec![0], ..DevTests::default() };
        let longest = self.prefixes.keys().map(|prefix| prefix.len()).max().unwrap_or(0);
        for name in &self.rows {
            tests.names.push(self.names.get(name).copied().unwrap_or(NOBODY));
            let beginnings = (0..=name.len().min(longest)).filter_map(|len| name.get(..len));
            tests.prefixes.extend(beginnings.filter_map(|beginning| self.prefixes.get(beginning)).copied());
            tests.starts.push(tests.prefixes.len() as u32);
        }
        tests
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Device, DeviceKind};
    use pktwalk_packet::MacAddr;

    #[test]
    fn names_beginnings_and_their_inverses() {
        let device = |name: &str| Device::new(name, 1, DeviceKind::Dummy, MacAddr::default());
        let config = NetNsConfig {
            devices: ["cali1", "eth0", "cali1"].into_iter().map(device).collect(),
            ..NetNsConfig::default()
        };
        let pattern = |name: &str, prefix| DevPattern { name: name.into(), prefix };
        let patterns = [
            pattern("cali1", false),
            pattern("cali", true),
            pattern("cali1", true),
            pattern("cali12", true),
            pattern("", true),
            pattern("eth1", false),
            pattern("", false),
        ];
        let mut compiler = DevTestCompiler::new(&config);
        let numbers: Vec<[DevTest; 2]> =
            patterns.iter().map(|p| [compiler.test(p, false), compiler.test(p, true)]).collect();
        let tests = compiler.finish();
        let rows = [(None, ""), (Some(0), "cali1"), (Some(1), "eth0"), (Some(2), "cali1")];
        for (pattern, [plain, inverted]) in patterns.iter().zip(numbers) {
            for (dev, name) in rows {
                let row = tests.row(dev.map(DevId));
                let want =
                    if pattern.prefix { name.starts_with(&pattern.name) } else { name == pattern.name };
                assert_eq!(row.passes(plain), want, "{pattern:?} {name}");
                assert_eq!(row.passes(inverted), !want, "! {pattern:?} {name}");
            }
        }
        assert!(tests.row(None).passes(0));
    }
}
