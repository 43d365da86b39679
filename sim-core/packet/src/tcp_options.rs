//! TCP options, read as `tcp_parse_options` reads them.

use thiserror::Error;

/// One TCP option. Numbers in host byte order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TcpOption<'a> {
    /// End of options (0).
    End,
    /// Filler (1).
    Nop,
    /// Maximum segment size (2).
    Mss(u16),
    /// Window scale (3).
    WindowScale(u8),
    /// Selective acknowledgments permitted (4).
    SackPermitted,
    /// Selective acknowledgments (5): pairs of sequence numbers, 8 bytes each.
    Sack(&'a [u8]),
    /// Timestamps (8).
    Timestamps {
        /// Clock of the sender.
        value: u32,
        /// Echo of the other side's clock.
        echo: u32,
    },
    /// Any other kind, and one of the above with a length that is not its own. The data is what stands behind kind and length.
    Unknown {
        /// Kind.
        kind: u8,
        /// Data.
        data: &'a [u8],
    },
}

/// An option whose length is below 2 or beyond the header: the kernel stops reading there and keeps what it read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Error)]
#[error("malformed TCP option, at byte {offset} of the header")]
pub struct MalformedTcpOption {
    /// Where it starts, in bytes from the start of the TCP header.
    pub offset: u8,
}

/// Iterates over the options of a TCP header; ends after [`TcpOption::End`], after the last byte, or after the first malformed one.
#[derive(Clone, Debug)]
pub struct TcpOptions<'a> {
    options: &'a [u8],
    at: usize,
}

impl<'a> TcpOptions<'a> {
    /// Over the bytes of a header behind its first 20.
    pub fn new(options: &'a [u8]) -> TcpOptions<'a> {
        TcpOptions { options, at: 0 }
    }

    /// The options of the segment `l4`; `None` if its header is not wholly there or its data offset is below 5.
    pub fn of(l4: &'a [u8]) -> Option<TcpOptions<'a>> {
        let header_len = usize::from(l4.get(12)? >> 4) * 4;
        l4.get(20..header_len).map(TcpOptions::new)
    }
}

impl<'a> Iterator for TcpOptions<'a> {
    type Item = Result<TcpOption<'a>, MalformedTcpOption>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.options.get(self.at..)?;
        let &kind = rest.first()?;
        match kind {
            0 => {
                self.at = self.options.len();
                return Some(Ok(TcpOption::End));
            }
            1 => {
                self.at += 1;
                return Some(Ok(TcpOption::Nop));
            }
            _ => {}
        }
        let data = rest.get(1).and_then(|len| rest.get(2..usize::from(*len)));
        let Some(data) = data else {
            let offset = (20 + self.at).min(255) as u8;
            self.at = self.options.len();
            return Some(Err(MalformedTcpOption { offset }));
        };
        self.at += 2 + data.len();
        Some(Ok(match (kind, data) {
            (2, [a, b]) => TcpOption::Mss(u16::from_be_bytes([*a, *b])),
            (3, [shift]) => TcpOption::WindowScale(*shift),
            (4, []) => TcpOption::SackPermitted,
            (5, blocks) if !blocks.is_empty() && blocks.len().is_multiple_of(8) => TcpOption::Sack(blocks),
            (8, [a, b, c, d, e, f, g, h]) => TcpOption::Timestamps {
                value: u32::from_be_bytes([*a, *b, *c, *d]),
                echo: u32::from_be_bytes([*e, *f, *g, *h]),
            },
            (kind, data) => TcpOption::Unknown { kind, data },
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_kinds() {
        let options = [
            2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 3, 3, 7, 5, 10, 0, 0, 0, 1, 0, 0, 0, 9, 2,
            3, 9, 0, 2,
        ];
        let read: Vec<_> = TcpOptions::new(&options).collect::<Result<_, _>>().unwrap();
        assert_eq!(
            read,
            [
                TcpOption::Mss(1460),
                TcpOption::SackPermitted,
                TcpOption::Timestamps { value: 1, echo: 2 },
                TcpOption::Nop,
                TcpOption::WindowScale(7),
                TcpOption::Sack(&[0, 0, 0, 1, 0, 0, 0, 9]),
                TcpOption::Unknown { kind: 2, data: &[9] },
                TcpOption::End,
            ]
        );
    }

    #[test]
    fn malformed_ends_it() {
        for options in [&[1, 2][..], &[1, 2, 0, 0], &[1, 2, 1, 0], &[1, 2, 9, 0]] {
            let read: Vec<_> = TcpOptions::new(options).collect();
            assert_eq!(read, [Ok(TcpOption::Nop), Err(MalformedTcpOption { offset: 21 })]);
        }
    }
}
