//! One routing table: longest prefix match over the routes of a table (`net/ipv4/fib_trie.c`).
//!
//! Prefixes are flattened into disjoint address ranges; each range knows its longest prefix, each prefix the next shorter one that holds
//! it. A lookup is a binary search, then a walk up the parents for as long as no route of a prefix fits.

/// No prefix.
const NONE: u32 = u32::MAX;

/// A prefix and its routes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prefix {
    /// Network, host order.
    pub addr: u32,
    /// 0 to 32.
    pub len: u8,
    parent: u32,
    first: u32,
    count: u32,
}

/// A compiled table.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    /// First address of each range, ascending.
    starts: Vec<u32>,
    /// Longest prefix of each range, or [`NONE`].
    leaves: Vec<u32>,
    prefixes: Vec<Prefix>,
    /// Positions in the caller's list, the routes of one prefix together and in the caller's order.
    members: Vec<u32>,
    /// More than one route for 0.0.0.0/0.
    pub several_defaults: bool,
}

/// The network mask of a prefix length.
pub(super) fn mask(len: u8) -> u32 {
    if len == 0 { 0 } else { u32::MAX << (32 - u32::from(len.min(32))) }
}

impl Table {
    /// `entries` are (network, length, position in the caller's list); those of one prefix are kept in the order given.
    pub fn build(mut entries: Vec<(u32, u8, u32)>) -> Table {
        entries.sort_by_key(|&(addr, len, _)| (addr, len));
        let mut table = Table::default();
        let mut open: Vec<u32> = Vec::new();
        let mut at = 0;
        while at < entries.len() {
            let (addr, len, _) = entries[at];
            let first = table.members.len() as u32;
            while at < entries.len() && (entries[at].0, entries[at].1) == (addr, len) {
                table.members.push(entries[at].2);
                at += 1;
            }
            table.close_before(&mut open, Some(addr));
            let index = table.prefixes.len() as u32;
            let count = table.members.len() as u32 - first;
            table.several_defaults |= len == 0 && count > 1;
            table.prefixes.push(Prefix {
                addr,
                len,
                parent: open.last().copied().unwrap_or(NONE),
                first,
                count,
            });
            table.start_range(addr, index);
            open.push(index);
        }
        table.close_before(&mut open, None);
        table
    }

    /// Ends every open prefix that does not reach to `addr`: the range behind it belongs to its parent.
    fn close_before(&mut self, open: &mut Vec<u32>, addr: Option<u32>) {
        while let Some(&top) = open.last() {
            let prefix = self.prefixes[top as usize];
            let last = prefix.addr | !mask(prefix.len);
            if addr.is_some_and(|addr| addr <= last) {
                return;
            }
            open.pop();
            if let Some(next) = last.checked_add(1) {
                self.start_range(next, open.last().copied().unwrap_or(NONE));
            }
        }
    }

    fn start_range(&mut self, start: u32, leaf: u32) {
        if self.starts.last() == Some(&start) {
            if let Some(last) = self.leaves.last_mut() {
                *last = leaf;
            }
        } else {
            self.starts.push(start);
            self.leaves.push(leaf);
        }
    }

    /// The prefixes that hold `addr`, longest first, each with the positions of its routes.
    pub fn matching(&self, addr: u32) -> impl Iterator<Item = (Prefix, &[u32])> {
        let range = self.starts.partition_point(|&start| start <= addr);
        let mut next = if range == 0 { NONE } else { self.leaves[range - 1] };
        std::iter::from_fn(move || {
            let prefix = *self.prefixes.get(next as usize)?;
            next = prefix.parent;
            let first = prefix.first as usize;
            Some((prefix, &self.members[first..first + prefix.count as usize]))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lens(table: &Table, addr: u32) -> Vec<u8> {
        table.matching(addr).map(|(p, _)| p.len).collect()
    }

    #[test]
    fn longest_prefix_first_then_its_parents() {
        let table = Table::build(vec![
            (0x0a00_0000, 8, 1),
            (0, 0, 0),
            (0x0a01_0000, 16, 2),
            (0x0a01_00ff, 32, 3),
            (0xffff_ffff, 32, 4),
        ]);
        assert_eq!(lens(&table, 0x0a01_00ff), [32, 16, 8, 0]);
        assert_eq!(lens(&table, 0x0a01_0100), [16, 8, 0]);
        assert_eq!(lens(&table, 0x0a02_0000), [8, 0]);
        assert_eq!(lens(&table, 0x0b00_0000), [0]);
        assert_eq!(lens(&table, 0xffff_ffff), [32, 0]);
        assert_eq!(lens(&table, 0xffff_fffe), [0]);
        assert_eq!(lens(&table, 0), [0]);
    }

    #[test]
    fn without_a_default_there_are_gaps() {
        let table = Table::build(vec![(0x0a00_0000, 24, 0), (0x0a00_0000, 24, 1), (0x0a00_0000, 25, 2)]);
        assert_eq!(lens(&table, 0x09ff_ffff), [] as [u8; 0]);
        assert_eq!(lens(&table, 0x0a00_0001), [25, 24]);
        assert_eq!(lens(&table, 0x0a00_0080), [24]);
        assert_eq!(lens(&table, 0x0a00_0100), [] as [u8; 0]);
        assert_eq!(table.matching(0x0a00_0080).next().map(|(_, m)| m.to_vec()), Some(vec![0, 1]));
        assert!(lens(&Table::default(), 7).is_empty());
    }

    #[test]
    fn agrees_with_a_plain_scan() {
        let mut seed = crate::choice::Seeded::new(7);
        for _ in 0..200 {
            let entries: Vec<(u32, u8, u32)> = (0..(seed.next_u64() % 12) as u32)
                .map(|i| {
                    let len = (seed.next_u64() % 33) as u8;
                    // Few distinct high and low bits, so that prefixes nest.
                    let addr = (seed.next_u64() as u32) & 0xc000_0013;
                    (addr & mask(len), len, i)
                })
                .collect();
            let table = Table::build(entries.clone());
            for _ in 0..50 {
                let addr = (seed.next_u64() as u32) & 0xc000_0017;
                let mut want: Vec<u8> =
                    entries.iter().filter(|&&(net, len, _)| addr & mask(len) == net).map(|e| e.1).collect();
                want.sort_unstable();
                want.dedup();
                want.reverse();
                assert_eq!(lens(&table, addr), want, "{entries:x?} {addr:x}");
            }
        }
    }
}
