//! Telling packets apart: by what no rule and no translation changes.

use pktwalk_packet::{Ipv4Fields, tcp_flag};

/// IP id and protocol, for ICMP its type, for TCP whether it is a reset (those that the stack makes have IP id 0, as others may). NAT, marks, TTL and MSS changes leave all of them alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Identity {
    /// IP id.
    pub id: u16,
    protocol: u8,
    /// Type of ICMP, RST bit of TCP.
    kind: Option<u8>,
}

impl Identity {
    /// Of an IPv4 packet; none if its header cannot be read.
    pub fn of(l3: &[u8]) -> Option<Identity> {
        let ip = Ipv4Fields::parse(l3).ok()?;
        let l4 = l3.get(usize::from(ip.header_len)..).unwrap_or(&[]);
        Some(Identity::new(&ip, l4))
    }

    /// Of a traced packet, whose options are not shown.
    pub fn of_parts(network: &[u8], transport: &[u8]) -> Option<Identity> {
        let mut header = network.to_vec();
        // The trace gives the fixed part only.
        header.resize(network.len().max(60), 0);
        let ip = Ipv4Fields::parse(&header).ok()?;
        Some(Identity::new(&ip, transport))
    }

    /// Whether this is of a fragment, not the first one, of a packet of that identity: only the first one shows more than the IP header.
    pub fn is_piece_of(self, whole: Identity) -> bool {
        self.kind.is_none() && (self.id, self.protocol) == (whole.id, whole.protocol)
    }

    /// Whether this is of a packet that tells a sender that its packet will not arrive: an ICMP error that is no redirect, or a RST.
    pub fn refuses(self) -> bool {
        match (self.protocol, self.kind) {
            (1, Some(icmp_type)) => matches!(icmp_type, 3 | 11 | 12),
            (6, Some(reset)) => reset != 0,
            _ => false,
        }
    }

    /// Whether this is a RST.
    pub fn is_reset(self) -> bool {
        self.protocol == 6 && self.kind.is_some_and(|reset| reset != 0)
    }

    /// Whether this is an ICMP error.
    pub fn is_icmp_error(self) -> bool {
        self.protocol == 1 && matches!(self.kind, Some(3 | 4 | 5 | 11 | 12))
    }

    /// Whether a packet of this identity may have been made because of one of that identity, as far as it tells itself; `transport` is what
    /// follows its IP header. None if it does not tell.
    pub fn because_of(self, transport: &[u8], cause: Identity) -> Option<bool> {
        // The quoted IP header comes after eight bytes of ICMP.
        let quoted = |at: usize| transport.get(8 + at).copied();
        match (self.protocol, self.kind) {
            (1, _) if self.is_icmp_error() => {
                let id = u16::from_be_bytes([quoted(4)?, quoted(5)?]);
                Some((id, quoted(9)?) == (cause.id, cause.protocol))
            }
            (6, Some(reset)) if reset != 0 => Some(cause.protocol == 6 && cause.kind == Some(0)),
            _ => None,
        }
    }

    fn new(ip: &Ipv4Fields, l4: &[u8]) -> Identity {
        let kind = match ip.protocol {
            _ if ip.frag_offset != 0 => None,
            1 => l4.first().copied(),
            6 => l4.get(13).map(|flags| flags & tcp_flag::RST),
            _ => None,
        };
        Identity { id: ip.id, protocol: ip.protocol, kind }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_fragment_belongs_to_its_packet() {
        let of = |text: &str| {
            let packet = pktwalk_packet::spec::parse(text).expect("a packet");
            Identity::of(packet.l3()).expect("an identity")
        };
        let whole = of("tcp 10.0.1.2:40000 > 10.0.2.2:80 flags=A ipid=7 len=1200");
        let later = of("tcp 10.0.1.2 > 10.0.2.2 ipid=7 off=1000 len=200");
        assert_ne!(later, whole);
        assert!(later.is_piece_of(whole));
        assert!(!of("tcp 10.0.1.2 > 10.0.2.2 ipid=8 off=1000 len=200").is_piece_of(whole));
        assert!(!of("tcp 10.0.1.2:40000 > 10.0.2.2:80 flags=R ipid=7").is_piece_of(whole));
    }
}
