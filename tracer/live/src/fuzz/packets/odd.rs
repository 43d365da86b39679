//! Packets that no sane host sends, and questions.

use pktwalk_scenario::case::Entry;

use super::super::pools;
use super::Maker;

impl Maker<'_> {
    /// Packets that no sane host sends.
    pub(super) fn odd(&mut self) {
        let (dev, _, src) = self.port();
        let dst = pools::addr(self.rng);
        let side = self.side(Entry::Device(dev.to_owned()), src, dst);
        let id = self.id();
        let (sport, dport) = (side.sport, side.dport);
        let text = match self.rng.below(14) {
            0 => {
                let flags =
                    *self.rng.pick(&["none", "F", "SF", "SR", "FPU", "SA", "R", "A", "FA", "RA", "U"]);
                format!("tcp {src}:{sport} > {dst}:{dport} flags={flags} seq=7 ipid={id}")
            }
            1 => format!("ip {src} > {dst} proto=6 data=9c4000500000 ipid={id}"),
            2 => format!("ip {src} > {dst} proto=17 data=9c40 ipid={id}"),
            3 => format!("ip {src} > {dst} proto=1 data=08 ipid={id}"),
            4 => format!("udp {src}:{sport} > {dst}:{dport} len=9 sum=bad ipid={id}"),
            5 => format!("tcp {src}:{sport} > {dst}:{dport} sum=bad ipid={id}"),
            6 => format!("icmp {src} > {dst} type=8 id=5 seq=1 sum=bad ipid={id}"),
            7 => format!("udp {src}:{sport} > {dst}:{dport} ipsum=bad ipid={id}"),
            8 => format!("udp 127.0.0.1:{sport} > {dst}:{dport} ipid={id}"),
            9 => format!("udp {src}:{sport} > 127.0.0.1:{dport} ipid={id}"),
            10 => {
                let to =
                    *self.rng.pick(&["255.255.255.255", "192.168.50.255", "224.0.0.1", "172.20.255.255"]);
                format!("udp {src}:{sport} > {to}:{dport} ipid={id}")
            }
            11 => format!("udp {src}:{sport} > {dst}:{dport} len=1400 ipid={id}"),
            12 => format!("udp {src}:{sport} > {dst}:{dport} len=1400 df ipid={id}"),
            _ => format!("udp {src}:{sport} > {dst}:{dport} opts=01010101 ipid={id}"),
        };
        self.send(&text, side.entry);
    }

    pub(super) fn arp(&mut self) {
        let (dev, _, src) = self.port();
        // Somebody who tells of himself asks for his own address.
        let dst = if self.rng.chance(30) { src } else { pools::addr(self.rng) };
        let mac = pools::neighbour_mac(src);
        let says = if self.rng.chance(20) { "02:00:00:00:02:fe".to_owned() } else { mac.to_string() };
        let op = match self.rng.below(10) {
            0 => format!("reply tha={mac}"),
            1 | 2 => format!("reply tha={says}"),
            _ => "request".to_owned(),
        };
        let text = format!("arp {src} > {dst} op={op} smac={mac} sha={says}");
        self.send(&text, Entry::Device(dev.to_owned()));
    }
}
