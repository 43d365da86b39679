//! Choices that the kernel (6.18) was seen to make, with `iptables -t nat` rules and crafted packets.

use super::manip;
use super::unique::{Chooser, Range};
use crate::choice::{Choice, ChoicePoint, Seeded};
use crate::conntrack::tuple::{CtL4, CtTuple, proto};
use crate::conntrack::{Conntrack, CtEntry};
use crate::skb::CtZones;
use crate::trace::Manip;
use pktwalk_packet::checksum;

fn net(a: u32, host: u32) -> u32 {
    0x0a00_0000 | a << 16 | host
}

fn udp(src: u32, sport: u16, dst: u32, dport: u16) -> CtTuple {
    CtTuple { src, dst, protocol: proto::UDP, l4: CtL4::Ports { src: sport, dst: dport } }
}

/// Chooses for a new connection, puts it into the table, and says what came out and whether chance had a part in it.
fn connect(table: &mut Conntrack, tuple: CtTuple, range: &Range, manip: Manip) -> (CtTuple, bool) {
    let reply = tuple.invert().expect("an inverse");
    let mut probe = table.clone();
    let own = probe.push_unconfirmed(CtEntry::new(tuple, reply));
    let mut choice = Seeded::new(3);
    let mut chooser = Chooser {
        table: &mut probe,
        choice: &mut choice,
        own,
        zones: CtZones::default(),
        now_ns: 1,
        chose: false,
    };
    let new = chooser.unique(&tuple, range, manip);
    let chose = chooser.chose;
    let mut entry = CtEntry::new(tuple, new.invert().expect("an inverse"));
    entry.expires_ns = u64::MAX;
    // A choice that found nothing free leaves a tuple that is taken.
    let _ = table.insert(entry);
    (new, chose)
}

#[test]
fn the_address_of_a_range_is_a_hash_of_both_addresses() {
    let addrs = Some((net(2, 50), net(2, 60)));
    let snat = |src, dst, persistent| {
        let range = Range { addrs, persistent, ..Range::default() };
        connect(&mut Conntrack::default(), udp(src, 1000, dst, 53), &range, Manip::Src).0.src
    };
    assert_eq!(snat(net(1, 2), net(2, 2), false), net(2, 54));
    assert_eq!(snat(net(1, 3), net(2, 2), false), net(2, 51));
    assert_eq!(snat(net(1, 2), net(2, 2), true), net(2, 51));
    assert_eq!(snat(net(1, 3), net(2, 2), true), net(2, 58));
    let range = Range { addrs: Some((net(2, 3), net(2, 20))), ..Range::default() };
    let dnat =
        |src, dst| connect(&mut Conntrack::default(), udp(src, 1000, dst, 53), &range, Manip::Dst).0.dst;
    assert_eq!(dnat(net(1, 2), net(2, 2)), net(2, 10));
    assert_eq!(dnat(net(1, 3), net(2, 2)), net(2, 4));
    assert_eq!(dnat(net(1, 3), net(2, 9)), net(2, 16));
}

#[test]
fn a_source_keeps_its_translation() {
    // 10.1.0.3 got port 667 for the first destination because 1000 was taken, and the same port for the second, where 1000 was free.
    let range = Range { addrs: Some((net(2, 50), net(2, 50))), ..Range::default() };
    let mut table = Conntrack::default();
    let (first, chose) = connect(&mut table, udp(net(1, 2), 1000, net(2, 2), 53), &range, Manip::Src);
    assert_eq!((first.l4, chose), (CtL4::Ports { src: 1000, dst: 53 }, false), "a port that is free is kept");
    let (second, chose) = connect(&mut table, udp(net(1, 3), 1000, net(2, 2), 53), &range, Manip::Src);
    assert!(chose);
    let CtL4::Ports { src: port, .. } = second.l4 else { panic!("UDP has ports") };
    assert!((600..1024).contains(&port), "{port} is of the class of 1000");
    let (third, chose) = connect(&mut table, udp(net(1, 3), 1000, net(2, 4), 53), &range, Manip::Src);
    assert_eq!((third.src, third.l4, chose), (net(2, 50), CtL4::Ports { src: port, dst: 53 }, false));
}

#[test]
fn destination_ports_of_a_range_are_taken_in_order() {
    // 10.2.0.3:2000-2003 with four connections of one source port; the fifth finds none free and keeps the last.
    let ports = Some((2000, 2003));
    let range = Range { addrs: Some((net(2, 3), net(2, 3))), ports, ..Range::default() };
    let mut table = Conntrack::default();
    for (dport, expected) in [(53, 2000), (54, 2001), (55, 2002), (2002, 2003), (56, 2003)] {
        let tuple = udp(net(1, 2), 1000, net(2, 2), dport);
        let (new, chose) = connect(&mut table, tuple, &range, Manip::Dst);
        assert_eq!(new.l4, CtL4::Ports { src: 1000, dst: expected }, "port {dport}");
        assert!(!chose, "nothing is random in it");
    }
}

/// Answers with one port and remembers what it was asked.
struct Fixed(u32, Option<ChoicePoint>);

impl Choice for Fixed {
    fn choose(&mut self, point: ChoicePoint) -> u32 {
        self.1 = Some(point);
        self.0
    }
}

#[test]
fn the_port_that_the_kernel_took_can_be_replayed() {
    let mut table = Conntrack::default();
    let tuple = udp(net(1, 3), 40_000, net(2, 2), 53);
    let own = table.push_unconfirmed(CtEntry::new(tuple, tuple.invert().expect("an inverse")));
    let mut choice = Fixed(7777, None);
    let mut chooser = Chooser {
        table: &mut table,
        choice: &mut choice,
        own,
        zones: CtZones::default(),
        now_ns: 1,
        chose: false,
    };
    let range = Range { addrs: Some((net(2, 1), net(2, 1))), random: true, ..Range::default() };
    let new = chooser.unique(&tuple, &range, Manip::Src);
    assert_eq!(new, udp(net(2, 1), 7777, net(2, 2), 53));
    let asked = ChoicePoint::NatPort {
        original: tuple,
        zone: 0,
        manip: Manip::Src,
        tuple: udp(net(2, 1), 40_000, net(2, 2), 53),
        lo: 1024,
        hi: 65_535,
    };
    assert_eq!(choice.1, Some(asked));
}

#[test]
fn rewriting_keeps_checksums() {
    let (src, dst) = (net(1, 2), net(2, 2));
    let mut l4 = vec![0x10, 0, 0, 53, 0, 10, 0, 0, b'h', b'i'];
    let sum = checksum::finish(checksum::sum(&l4, checksum::pseudo_header(src, dst, proto::UDP, 10)));
    l4[6..8].copy_from_slice(&sum.to_be_bytes());
    let mut ip = vec![0x45, 0, 0, 30, 0, 1, 0, 0, 64, proto::UDP, 0, 0];
    ip.extend(src.to_be_bytes());
    ip.extend(dst.to_be_bytes());
    let sum = checksum::checksum(&ip);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    ip.extend(&l4);
    let before = ip.clone();
    let target = udp(net(2, 1), 1025, net(2, 9), 5353);
    for manip in [Manip::Src, Manip::Dst] {
        assert_eq!(manip::rewrite(&mut ip, 30, &target, manip), Ok(()));
    }
    assert_eq!(checksum::checksum(&ip[..20]), 0);
    let pseudo = checksum::pseudo_header(target.src, target.dst, proto::UDP, 10);
    assert_eq!(checksum::finish(checksum::sum(&ip[20..], pseudo)), 0);
    for (half, manip) in [(udp(src, 0x1000, dst, 53), Manip::Src), (udp(src, 0x1000, dst, 53), Manip::Dst)] {
        assert_eq!(manip::rewrite(&mut ip, 30, &half, manip), Ok(()));
    }
    assert_eq!(ip, before, "there and back");
}

#[test]
fn no_bytes_make_rewriting_panic() {
    let target = udp(1, 2, 3, 4);
    for protocol in [proto::TCP, proto::UDP, proto::ICMP, proto::SCTP, proto::GRE, proto::UDPLITE, 50] {
        for len in 0..64 {
            for first in [0x00, 0x41, 0x45, 0x4f] {
                let mut bytes = vec![first; len];
                let target = CtTuple { protocol, ..target };
                let _ = manip::rewrite(&mut bytes, len, &target, Manip::Dst);
            }
        }
    }
}
