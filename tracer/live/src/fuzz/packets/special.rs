//! Packets of kinds that a connection rarely has: fragments, options, other protocols, frames addressed in odd ways.

use std::net::Ipv4Addr;

use pktwalk_linux::skb::SkbSocket;
use pktwalk_packet::MacAddr;
use pktwalk_scenario::case::Entry;

use super::super::pools::{self, BRIDGE, NODE, STRANGER_MAC, dev_mac, peer_mac};
use super::super::world::BRIDGE_IFINDEX;
use super::Maker;

/// Where a special packet comes in, and what it says of its ends.
struct Ends {
    dev: &'static str,
    ifindex: u32,
    src: Ipv4Addr,
    dst: Ipv4Addr,
    sport: u16,
    dport: u16,
    id: u16,
}

impl Maker<'_> {
    pub(super) fn special(&mut self) {
        let (dev, ifindex, src) = self.port();
        let ends = Ends {
            dev,
            ifindex,
            src,
            dst: pools::addr(self.rng),
            sport: *self.rng.pick(&pools::CLIENT_PORTS),
            dport: *self.rng.pick(&pools::SERVICE_PORTS),
            id: self.id(),
        };
        match self.rng.below(7) {
            0 => self.fragments(&ends),
            6 => self.special_local(),
            1 => self.options(&ends),
            2 => self.frame(&ends),
            3 => self.icmp(&ends),
            4 => self.other_protocol(&ends),
            _ => self.header(&ends),
        }
    }

    fn give(&mut self, ends: &Ends, text: &str) {
        self.send(text, Entry::Device(ends.dev.to_owned()));
    }

    /// The first or a later one, or both, in either order.
    fn fragments(&mut self, ends: &Ends) {
        let Ends { src, dst, sport, dport, id, .. } = *ends;
        let first = match self.rng.below(4) {
            0 => format!("tcp {src}:{sport} > {dst}:{dport} len=36 mf ipid={id}"),
            1 => format!("icmp {src} > {dst} type=8 id=5 seq=1 len=56 mf ipid={id}"),
            _ => format!("udp {src}:{sport} > {dst}:{dport} len=48 mf ipid={id}"),
        };
        let protocol = first.split(' ').next().unwrap_or("udp").to_owned();
        let more = if self.rng.chance(20) { " mf" } else { "" };
        let offset = *self.rng.pick(&[56, 64, 8, 65_528]);
        let later = format!("{protocol} {src} > {dst} off={offset} len=16{more} ipid={id}");
        match self.rng.below(4) {
            0 => self.give(ends, &first),
            1 => self.give(ends, &later),
            2 => {
                self.give(ends, &first);
                let later = later.replace(&format!("ipid={id}"), &format!("ipid={}", self.id()));
                self.give(ends, &later);
            }
            _ => {
                self.give(ends, &later);
                let first = first.replace(&format!("ipid={id}"), &format!("ipid={}", self.id()));
                self.give(ends, &first);
            }
        }
    }

    fn options(&mut self, ends: &Ends) {
        let Ends { src, dst, sport, dport, id, .. } = *ends;
        let hop = |addr: Ipv4Addr| addr.octets().map(|byte| format!("{byte:02x}")).concat();
        let options = match self.rng.below(16) {
            // Record route: with room, without, with a pointer that is none.
            0 | 1 => "0707040000000000".to_owned(),
            2 => format!("070708{}00", hop(NODE)),
            3 => "0707030000000000".to_owned(),
            // Timestamps: full, with room, with a flag that is none.
            4 => "440c0d10000000000000000000000000".to_owned(),
            5 => "44080500000000000000000000000000"[..16].to_owned(),
            6 => "4408050400000000".to_owned(),
            // Source routes: strict and loose, still under way and at their end.
            7 => format!("890704{}00", hop(NODE)),
            8 => format!("830704{}00", hop(pools::NEAR_HOST)),
            9 => format!("830708{}00", hop(NODE)),
            // Router alert, CIPSO, one that nobody knows.
            10 => "94040000".to_owned(),
            11 => "8604000000000000"[..8].to_owned(),
            12 => "99040102".to_owned(),
            // Lengths that are none.
            13 => "07000000".to_owned(),
            14 => "07ff0400".to_owned(),
            _ => "94030000".to_owned(),
        };
        let text = match self.rng.below(3) {
            0 => format!("icmp {src} > {dst} type=8 id=5 seq=1"),
            1 => format!("tcp {src}:{sport} > {dst}:{dport}"),
            _ => format!("udp {src}:{sport} > {dst}:{dport}"),
        };
        let ttl = if self.rng.chance(15) { " ttl=1" } else { "" };
        self.give(ends, &format!("{text} opts={options}{ttl} ipid={id}"));
    }

    /// A packet like any other in a frame that says something else.
    fn frame(&mut self, ends: &Ends) {
        let Ends { src, dst, sport, dport, id, ifindex, .. } = *ends;
        let port = ifindex > BRIDGE_IFINDEX;
        let own = dev_mac(if port { BRIDGE_IFINDEX } else { ifindex });
        let group = MacAddr([0x01, 0, 0x5e, 0, 0, 1]);
        let (to, mut from) = (own, self.neighbour(ifindex));
        let to = match self.rng.below(9) {
            // Addresses that bridges keep to themselves: of STP, of pauses, of LLDP.
            8 if port => MacAddr([0x01, 0x80, 0xc2, 0, 0, *self.rng.pick(&[0, 1, 0x0e])]),
            0 | 1 => STRANGER_MAC,
            2 => MacAddr::BROADCAST,
            3 => group,
            // The port's own address is another than the bridge's; the neighbour on the bridge's other port.
            4 => dev_mac(ifindex),
            5 if port => peer_mac(if ifindex == 6 { 7 } else { 6 }),
            6 => {
                from = *self.rng.pick(&[group, MacAddr::default(), STRANGER_MAC, own]);
                to
            }
            _ => to,
        };
        let tag = match self.rng.below(8) {
            0 => " vlan=5",
            1 => " vlan=0",
            _ => "",
        };
        let l4 = match self.rng.below(3) {
            // More than a narrow port takes.
            _ if port && self.rng.chance(40) => format!("udp {src}:{sport} > {dst}:{dport} len=1400"),
            0 => format!("icmp {src} > {dst} type=8 id=5 seq=1"),
            1 => format!("tcp {src}:{sport} > {dst}:{dport}"),
            _ => format!("udp {src}:{sport} > {dst}:{dport}"),
        };
        let text = match self.rng.below(12) {
            0 => format!("raw ethertype=0x88b5 data=0102030405060708 smac={from} dmac={to}"),
            1 => format!("raw ethertype=0x0800 data=65000014 smac={from} dmac={to}"),
            _ => format!("{l4} ipid={id} smac={from} dmac={to}{tag}"),
        };
        self.give(ends, &text);
    }

    fn icmp(&mut self, ends: &Ends) {
        let Ends { src, mut dst, id, .. } = *ends;
        if self.rng.chance(60) {
            dst = *self.rng.pick(&[NODE, NODE, BRIDGE]);
        }
        let text = match self.rng.below(10) {
            0 | 1 => *self.rng.pick(&[
                "type=13 id=5 seq=1 len=2",
                "type=13 id=5 seq=1 len=4",
                "type=13 id=5 seq=1 org=09:30:00.250",
                "type=13 code=1 id=5 seq=1 recv=1 len=4",
            ]),
            2 => "type=14 id=5 seq=1 recv=09:30:00.250",
            3 => "type=17 id=5 seq=1 len=4",
            4 => "type=42 rest=00050100 len=4",
            5 => "type=43 rest=00050100",
            6 => "type=9 len=8",
            7 => *self.rng.pick(&["type=37 rest=00050001", "type=200 len=8"]),
            // Errors that quote no whole header.
            8 => *self.rng.pick(&[
                "type=3 code=1 data=45000054",
                "type=11 code=0",
                "type=5 code=1 gateway=192.168.50.20 data=4500",
                "type=3 code=4 mtu=1200 len=19",
            ]),
            _ => "type=0 id=5 seq=1 len=8",
        };
        self.give(ends, &format!("icmp {src} > {dst} {text} ipid={id}"));
    }

    fn other_protocol(&mut self, ends: &Ends) {
        let Ends { src, dst, sport, dport, id, .. } = *ends;
        let text = match self.rng.below(9) {
            0 | 1 => {
                // INIT, as SCTP's tracking wants it, and DATA, which begins nothing.
                let chunk = *self.rng.pick(&[
                    "01000014000000010001000000010001000000ff",
                    "0003001000000001000000000000000061",
                ]);
                format!("sctp {src}:{sport} > {dst}:{dport} data={chunk}")
            }
            2 => format!("ip {src} > {dst} proto=33 data=9c400050040000000202000000000001"),
            3 | 4 => format!("udplite {src}:{sport} > {dst}:{dport} len=8"),
            5 => format!("udplite {src}:{sport} > {dst}:{dport} len=8 cov=8"),
            6 => format!("ip {src} > {dst} proto=2 data=1600f6f6e0000909"),
            7 => format!("ip {src} > {dst} proto=2 data=1600"),
            _ => format!(
                "ip {src} > {dst} proto={} data=0000000100000001",
                self.rng.pick(&[50, 51, 4, 103, 0, 255])
            ),
        };
        self.give(ends, &format!("{text} ipid={id}"));
    }

    /// What a socket of the namespace sends that no router takes further.
    fn special_local(&mut self) {
        let id = self.id();
        let text = match self.rng.below(4) {
            0 => format!("udp {NODE}:53 > 224.0.0.1:600 ttl=0 ipid={id}"),
            1 => format!("udp {NODE}:53 > 224.0.0.9:600 ttl=1 ipid={id}"),
            2 => format!("udp {NODE}:53 > {}:600 len=1600 ipid={id}", pools::addr(self.rng)),
            _ => format!("udp {NODE}:53 > 192.168.50.255:600 ipid={id}"),
        };
        let socket = SkbSocket { uid: Some(0), gid: Some(0), bound_dev: None, raw: true };
        self.send(&text, Entry::Local(socket));
    }

    /// Ends and lengths that cannot be.
    fn header(&mut self, ends: &Ends) {
        let Ends { src, dst, sport, dport, id, .. } = *ends;
        let from =
            *self.rng.pick(&["0.0.0.0", "255.255.255.255", "224.0.0.5", "240.0.0.1", "192.168.50.255"]);
        let to = *self.rng.pick(&["0.0.0.0", "240.0.0.1", "10.0.1.0", "192.168.50.0", "239.1.2.3"]);
        let text = match self.rng.below(8) {
            0 | 1 => format!("udp {from}:{sport} > {dst}:{dport}"),
            2 | 3 => format!("udp {src}:{sport} > {to}:{dport}"),
            4 => format!("udp {from}:{sport} > 255.255.255.255:{dport}"),
            5 => format!("udp {src}:{sport} > {dst}:{dport} totlen=400"),
            6 => format!("udp {src}:{sport} > {dst}:{dport} totlen=24 len=8"),
            _ => format!("tcp {src}:{sport} > {dst}:{dport} pad=4 doff=15"),
        };
        self.give(ends, &format!("{text} ipid={id}"));
    }

    /// The hardware address of who lives behind a device.
    pub(super) fn neighbour(&mut self, ifindex: u32) -> MacAddr {
        peer_mac(if ifindex == 2 && self.rng.chance(30) { 20 } else { ifindex })
    }
}
