//! IPv4 options, judged as `ip_options_compile` judges those of a received packet. The pointers were seen on Linux 6.18.
//!
//! What the kernel writes into options on the way (addresses, times, zeros behind the end) is not done here.

use thiserror::Error;

/// An option that the kernel refuses: the packet is dropped, and a parameter problem (ICMP 12/0) with this pointer is sent to its source.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Error)]
#[error("malformed IPv4 option, at byte {pointer} of the header")]
pub struct MalformedOption {
    /// Byte of the IPv4 header that is wrong, counted from 0: what stands in the ICMP error.
    pub pointer: u8,
}

/// One IPv4 option. `offset` is where it starts, in bytes from the start of the IPv4 header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ipv4Option<'a> {
    /// End of options (0). What follows does not count; the kernel overwrites it with zeros.
    End,
    /// Filler (1).
    Nop,
    /// Record route (7).
    RecordRoute {
        /// Where it starts.
        offset: u8,
        /// Where the next address goes, counted from 1 at the option's first byte; beyond its length: full.
        pointer: u8,
        /// Room for addresses, behind the pointer.
        room: &'a [u8],
    },
    /// Timestamp (68).
    Timestamp {
        /// Where it starts.
        offset: u8,
        /// Where the next entry goes, as in [`Ipv4Option::RecordRoute`].
        pointer: u8,
        /// Hosts that found no room.
        overflow: u8,
        /// 0: times only; 1: addresses too; 3: addresses were given.
        flag: u8,
        /// Room for entries.
        room: &'a [u8],
    },
    /// Loose (131) or strict (137) source route.
    SourceRoute {
        /// Where it starts.
        offset: u8,
        /// Strict.
        strict: bool,
        /// Which address is next, as in [`Ipv4Option::RecordRoute`].
        pointer: u8,
        /// The addresses.
        route: &'a [u8],
    },
    /// Router alert (148).
    RouterAlert {
        /// Its value; 0 is the one that the kernel heeds.
        value: u16,
    },
    /// CIPSO (134): the kernel checks it further if it was built with NetLabel, which is not modelled here.
    Cipso(&'a [u8]),
    /// Basic security (130): not looked into.
    Security(&'a [u8]),
    /// Any other: not looked into. The data is what stands behind kind and length.
    Unknown {
        /// Kind.
        kind: u8,
        /// Data.
        data: &'a [u8],
    },
}

/// Iterates over the options of a header; ends after [`Ipv4Option::End`], after the last byte, or after the first malformed one.
#[derive(Clone, Debug)]
pub struct Ipv4Options<'a> {
    options: &'a [u8],
    at: usize,
    seen: [bool; 4],
}

/// Indices into `seen`: options that may stand once.
const ROUTE: usize = 0;
const RECORD: usize = 1;
const TIME: usize = 2;
const CIPSO: usize = 3;

impl<'a> Ipv4Options<'a> {
    /// Over the bytes of a header behind its first 20 (`header[20..header_len]`).
    pub fn new(options: &'a [u8]) -> Ipv4Options<'a> {
        Ipv4Options { options, at: 0, seen: [false; 4] }
    }

    /// The first malformed option, if there is one.
    pub fn check(self) -> Result<(), MalformedOption> {
        self.into_iter().try_for_each(|option| option.map(|_| ()))
    }

    fn once(&mut self, which: usize) -> Result<(), usize> {
        if std::mem::replace(&mut self.seen[which], true) { Err(0) } else { Ok(()) }
    }

    /// Reads an option with a length. The error is the place of the wrong byte, from the option's start.
    fn read(&mut self, option: &'a [u8], offset: u8) -> Result<Ipv4Option<'a>, usize> {
        let len = option.len();
        let byte = |at: usize| option.get(at).copied().unwrap_or(0);
        let rest = |at: usize| option.get(at..).unwrap_or(&[]);
        let pointer = usize::from(byte(2));
        match byte(0) {
            kind @ (131 | 137) => {
                if len < 3 {
                    return Err(1);
                }
                if pointer < 4 {
                    return Err(2);
                }
                self.once(ROUTE)?;
                Ok(Ipv4Option::SourceRoute { offset, strict: kind == 137, pointer: byte(2), route: rest(3) })
            }
            7 => {
                self.once(RECORD)?;
                if len < 3 {
                    return Err(1);
                }
                if pointer < 4 || (pointer <= len && pointer + 3 > len) {
                    return Err(2);
                }
                Ok(Ipv4Option::RecordRoute { offset, pointer: byte(2), room: rest(3) })
            }
            68 => {
                let twice = self.seen[TIME];
                if twice {
                    return Err(0);
                }
                if len < 4 {
                    return Err(1);
                }
                let flag = byte(3) & 0xf;
                let entry = if matches!(flag, 1 | 3) { 8 } else { 4 };
                if pointer < 5 || (pointer <= len && pointer + entry - 1 > len) {
                    return Err(2);
                }
                let overflow = byte(3) >> 4;
                if pointer > len && overflow == 15 {
                    return Err(3);
                }
                // An option with room and an unknown flag is passed over, and another may follow.
                self.seen[TIME] = pointer > len || matches!(flag, 0 | 1 | 3);
                Ok(Ipv4Option::Timestamp { offset, pointer: byte(2), overflow, flag, room: rest(4) })
            }
            148 => {
                if len < 4 {
                    return Err(1);
                }
                Ok(Ipv4Option::RouterAlert { value: u16::from_be_bytes([byte(2), byte(3)]) })
            }
            134 => {
                self.once(CIPSO)?;
                Ok(Ipv4Option::Cipso(rest(2)))
            }
            130 => Ok(Ipv4Option::Security(rest(2))),
            kind => Ok(Ipv4Option::Unknown { kind, data: rest(2) }),
        }
    }
}

impl<'a> Iterator for Ipv4Options<'a> {
    type Item = Result<Ipv4Option<'a>, MalformedOption>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.options.get(self.at..)?;
        let &kind = rest.first()?;
        let start = self.at;
        let offset = (20 + start) as u8;
        match kind {
            0 => {
                self.at = self.options.len();
                return Some(Ok(Ipv4Option::End));
            }
            1 => {
                self.at += 1;
                return Some(Ok(Ipv4Option::Nop));
            }
            _ => {}
        }
        let option =
            rest.get(1).map(|len| usize::from(*len)).filter(|len| *len >= 2).and_then(|len| rest.get(..len));
        let read = match option {
            Some(option) => {
                self.at += option.len();
                self.read(option, offset)
            }
            None => Err(0),
        };
        Some(read.map_err(|place| {
            self.at = self.options.len();
            MalformedOption { pointer: offset.saturating_add(place as u8) }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointer(options: &[u8]) -> Option<u8> {
        Ipv4Options::new(options).check().err().map(|error| error.pointer)
    }

    #[test]
    fn good_ones() {
        let options = [1, 148, 4, 0, 0, 7, 7, 4, 0, 0, 0, 0, 200, 3, 9, 0, 5, 6];
        let read: Vec<_> = Ipv4Options::new(&options).collect::<Result<_, _>>().unwrap();
        assert_eq!(
            read,
            [
                Ipv4Option::Nop,
                Ipv4Option::RouterAlert { value: 0 },
                Ipv4Option::RecordRoute { offset: 25, pointer: 4, room: &[0; 4] },
                Ipv4Option::Unknown { kind: 200, data: &[9] },
                Ipv4Option::End,
            ]
        );
    }

    #[test]
    fn pointers_of_the_kernel() {
        assert_eq!(pointer(&[7, 1]), Some(20));
        assert_eq!(pointer(&[7, 9, 4, 0]), Some(20));
        assert_eq!(pointer(&[1, 7]), Some(21));
        assert_eq!(pointer(&[7, 2, 0, 0]), Some(21));
        assert_eq!(pointer(&[7, 7, 3, 0, 0, 0, 0, 0]), Some(22));
        assert_eq!(pointer(&[7, 7, 5, 0, 0, 0, 0, 0]), Some(22));
        assert_eq!(pointer(&[7, 7, 8, 0, 0, 0, 0, 0]), None);
        assert_eq!(pointer(&[7, 3, 4, 7, 3, 4, 0, 0]), Some(23));
        assert_eq!(pointer(&[131, 3, 4, 137, 3, 4, 0, 0]), Some(23));
        assert_eq!(pointer(&[68, 4, 5, 0xf0]), Some(23));
        assert_eq!(pointer(&[68, 8, 5, 1, 0, 0, 0, 0]), Some(22));
        assert_eq!(pointer(&[148, 3, 0, 0]), Some(21));
        assert_eq!(pointer(&[0, 7]), None);
    }

    #[test]
    fn any_bytes() {
        for kind in 0..=255 {
            for len in 0..=41 {
                for pointer in [0, 3, 4, 5, 9, 255] {
                    let mut bytes = [kind; 40];
                    bytes[1] = len;
                    bytes[2] = pointer;
                    for end in 0..=40 {
                        let _ = Ipv4Options::new(&bytes[..end]).check();
                    }
                }
            }
        }
    }
}
