//! Walks through a namespace without rules: an uplink, two hosts on veths, a bridge with two ports. What is expected here was seen on
//! Linux 6.18 with the same namespace and the same packets.

use std::net::{IpAddr, Ipv4Addr};

use pktwalk_packet::build::{self, Ipv4Header};
use pktwalk_packet::{EtherType, Ipv4Fields, MacAddr, Packet, checksum};

use super::{Inject, walk};
use crate::choice::Seeded;
use crate::config::*;
use crate::fib::{AddrType, TABLE_LOCAL, TABLE_MAIN};
use crate::hook::{Backend, Family};
use crate::ids::SourceLine;
use crate::iptables;
use crate::netns::{NetNs, NetNsState};
use crate::pipeline;
use crate::reason::{Because, Disposition, DropCode, End, Locus};
use crate::skb::{MadeBy, SkbSocket};
use crate::trace::{Assumption, Recorder, Step};

const POD_A: &str = "10.0.1.2";
const POD_B: &str = "10.0.2.2";
const NODE: &str = "192.168.50.1";

fn addr(text: &str) -> u32 {
    u32::from(text.parse::<Ipv4Addr>().expect("an address"))
}

fn mac(peer: u8, index: u32) -> MacAddr {
    MacAddr([2, 0, 0, 0, peer, index as u8])
}

fn device(name: &str, ifindex: u32, kind: DeviceKind, addresses: &[(&str, u8)]) -> Device {
    let host = kind == DeviceKind::Loopback;
    let mut device = Device::new(name, ifindex, kind, mac(0, ifindex));
    device.addresses.extend(addresses.iter().map(|(local, prefix_len)| {
        let local: Ipv4Addr = local.parse().expect("an address");
        Address {
            local: IpAddr::V4(local),
            prefix_len: *prefix_len,
            peer: None,
            broadcast: (!host).then(|| Ipv4Addr::from(u32::from(local) | (u32::MAX >> prefix_len))),
            scope: if host { 254 } else { 0 },
            secondary: false,
        }
    }));
    device
}

fn route(dst: &str, via: Option<&str>, dev: Option<&str>) -> Route {
    Route::new(dst.parse().expect("a prefix"), via.map(|via| via.parse().expect("an address")), dev)
}

fn typed(kind: RouteType, dst: &str) -> Route {
    Route { kind, scope: 0, ..route(dst, None, None) }
}

fn world() -> NetNsConfig {
    let veth = |index: u32| DeviceKind::Veth { peer_ifindex: None, peer_netns: Some(index as i32) };
    let mut config = NetNsConfig {
        devices: vec![
            device("lo", 1, DeviceKind::Loopback, &[("127.0.0.1", 8)]),
            device("eth0", 2, DeviceKind::Physical, &[(NODE, 24)]),
            device("va", 3, veth(3), &[]),
            device("vb", 4, veth(4), &[]),
            device(
                "br0",
                5,
                DeviceKind::Bridge { vlan_filtering: false, nf_call_iptables: false },
                &[("172.20.0.1", 16)],
            ),
            device("p0", 6, veth(6), &[]),
            device("p1", 7, veth(7), &[]),
            device("dum", 8, DeviceKind::Dummy, &[]),
            device("tun", 9, DeviceKind::Other("ipip".to_owned()), &[]),
        ],
        routes: vec![
            Route { prefsrc: NODE.parse().ok(), ..route("192.168.50.0/24", None, Some("eth0")) },
            Route { prefsrc: "172.20.0.1".parse().ok(), ..route("172.20.0.0/16", None, Some("br0")) },
            route("10.0.1.2/32", None, Some("va")),
            route("10.0.2.2/32", None, Some("vb")),
            route("10.0.3.0/24", None, Some("dum")),
            route("10.0.4.0/24", None, Some("tun")),
            route("203.0.113.0/24", Some("192.168.50.254"), Some("eth0")),
            typed(RouteType::Blackhole, "198.18.1.0/24"),
            typed(RouteType::Unreachable, "198.18.2.0/24"),
            typed(RouteType::Prohibit, "198.18.3.0/24"),
            typed(RouteType::Throw, "198.18.4.0/24"),
        ],
        sockets: Some(Vec::new()),
        ..NetNsConfig::default()
    };
    for port in 5..=6 {
        config.devices[port].master = Some("br0".to_owned());
    }
    for (dev, index, host) in [
        ("eth0", 2, "192.168.50.254"),
        ("eth0", 2, "192.168.50.20"),
        ("va", 3, POD_A),
        ("vb", 4, POD_B),
        ("br0", 6, "172.20.0.10"),
        ("br0", 7, "172.20.0.11"),
    ] {
        config.neighbours.push(Neighbour {
            dev: dev.to_owned(),
            addr: host.parse().expect("an address"),
            mac: Some(mac(1, index)),
            state: NudState::Permanent,
            source: SourceLine::default(),
        });
    }
    set(&mut config, "net.ipv4.ip_forward", "1");
    config
}

fn set(config: &mut NetNsConfig, key: &str, value: &str) {
    config.sysctls.insert(key.to_owned(), value.to_owned());
}

#[derive(Clone, Copy)]
struct Ip<'a> {
    src: &'a str,
    dst: &'a str,
    protocol: u8,
    ttl: u8,
    tos: u8,
    df: bool,
}

fn ip<'a>(src: &'a str, dst: &'a str, protocol: u8) -> Ip<'a> {
    Ip { src, dst, protocol, ttl: 64, tos: 0, df: false }
}

impl Ip<'_> {
    fn with(self, payload: &[u8]) -> Packet {
        let header = Ipv4Header {
            tos: self.tos,
            ttl: self.ttl,
            id: 1,
            dont_fragment: self.df,
            ..Ipv4Header::new(addr(self.src), addr(self.dst))
        };
        let mut payload = payload.to_vec();
        let pseudo = checksum::pseudo_header(header.src, header.dst, self.protocol, payload.len() as u32);
        match self.protocol {
            1 => checksum::put(&mut payload, 2, 0),
            6 => checksum::put(&mut payload, 16, pseudo),
            17 => checksum::put(&mut payload, 6, pseudo),
            _ => {}
        }
        let bytes = build::ipv4(&header, self.protocol, &payload).expect("a packet");
        Packet::from_l3(EtherType::IPV4, bytes)
    }
}

fn udp(src: &str, dst: &str, data: usize) -> Packet {
    ip(src, dst, 17).with(&udp_bytes(data))
}

fn udp_bytes(data: usize) -> Vec<u8> {
    let mut bytes = vec![0x03, 0xe8, 0, 53];
    bytes.extend_from_slice(&((8 + data) as u16).to_be_bytes());
    bytes.extend_from_slice(&[0, 0]);
    bytes.resize(8 + data, b'x');
    bytes
}

fn tcp_bytes(flags: u8) -> Vec<u8> {
    let mut bytes = vec![0x03, 0xe8, 0, 53, 0, 0, 3, 0xe8, 0, 0, 0, 77, 0x50, flags];
    bytes.resize(20, 0);
    bytes
}

fn echo(src: &str, dst: &str) -> Packet {
    ip(src, dst, 1).with(&[8, 0, 0, 0, 0, 1, 0, 2, b'a', b'b'])
}

/// Walks packets through one namespace one after the other.
struct Run {
    ns: NetNs,
    state: NetNsState,
    recorder: Recorder,
}

impl Run {
    fn new(config: NetNsConfig) -> Run {
        Run { ns: NetNs::compile(config).0, state: NetNsState::default(), recorder: Recorder::default() }
    }

    fn inject(&mut self, inject: Inject) -> End {
        self.recorder = Recorder::default();
        let end = walk(&self.ns, &mut self.state, inject, &mut Seeded::new(1), &mut self.recorder);
        for packet in &self.recorder.packets {
            if let Err(misstep) = pipeline::check(packet) {
                panic!("{misstep}: {:#?}", packet.steps);
            }
            assert!(packet.end.is_some());
        }
        end
    }

    fn rx(&mut self, dev: &str, packet: Packet) -> End {
        let dev = self.ns.dev(dev).expect("a device");
        self.inject(Inject::Rx { dev, packet })
    }

    fn local(&mut self, packet: Packet) -> End {
        self.inject(Inject::Local { packet, socket: SkbSocket::default() })
    }

    /// Device name and IPv4 header of every frame, of the given packet first.
    fn frames(&self) -> Vec<(String, Ipv4Fields)> {
        let mut frames = Vec::new();
        for packet in &self.recorder.packets {
            for (dev, frame) in &packet.frames {
                let ip = Ipv4Fields::parse(frame.l3()).expect("IPv4");
                frames.push((self.ns.device(*dev).name.clone(), ip));
            }
        }
        frames
    }

    /// The ICMP type and code, and what of it lies at bytes 4 to 7, of the only answer.
    fn icmp(&self) -> (u8, u8, u32) {
        let answer = self.recorder.packets.get(1).expect("an answer");
        let l4 = &answer.start.l3()[20..];
        assert_eq!(checksum::checksum(l4), 0);
        (l4[0], l4[1], u32::from_be_bytes([l4[4], l4[5], l4[6], l4[7]]))
    }
}

fn forwarded() -> End {
    End::plain(Disposition::Forwarded)
}

fn code(end: End) -> (Disposition, Option<DropCode>) {
    (end.disposition, end.code)
}

#[test]
fn forwards_with_a_lower_ttl_and_a_new_frame() {
    let mut run = Run::new(world());
    assert_eq!(run.rx("va", udp(POD_A, POD_B, 1)), forwarded());
    let frames = run.frames();
    assert_eq!(frames.len(), 1);
    assert_eq!((frames[0].0.as_str(), frames[0].1.ttl), ("vb", 63));
    let frame = &run.recorder.packets[0].frames[0].1;
    assert_eq!((frame.mac_dst(), frame.mac_src()), (Some(mac(1, 4)), Some(mac(0, 4))));
    assert_eq!(checksum::checksum(&frame.l3()[..20]), 0);
}

#[test]
fn a_next_hop_that_is_left_to_chance_is_told() {
    let mut config = world();
    let mut multipath = route("198.51.100.0/24", Some(POD_A), Some("va"));
    let mut other = multipath.nexthops[0].clone();
    (other.via, other.dev) = (POD_B.parse().ok(), Some("vb".to_owned()));
    multipath.nexthops.push(other);
    multipath.nexthops.iter_mut().for_each(|hop| hop.onlink = true);
    config.routes.push(multipath);
    let mut run = Run::new(config);
    let choices = |run: &Run, packet: usize| {
        let steps = &run.recorder.packets[packet].steps;
        steps.iter().filter(|r| matches!(r.step, Step::Assumed(Assumption::Choice(_)))).count()
    };
    assert_eq!(run.rx("eth0", udp("192.168.50.20", "198.51.100.1", 1)), forwarded());
    assert_eq!(choices(&run, 0), 1, "a packet that is forwarded");
    assert_eq!(run.local(udp(NODE, "198.51.100.1", 1)), forwarded());
    assert_eq!(choices(&run, 0), 1, "one made here");
    let refused = run.rx("va", udp("198.51.100.1", NODE, 1));
    assert_eq!(code(refused), (Disposition::Rejected, Some(DropCode::NoSocket)));
    assert_eq!((choices(&run, 0), choices(&run, 1)), (0, 1), "an answer");
    run.rx("va", udp(POD_A, POD_B, 1));
    assert_eq!(choices(&run, 0), 0, "no choice");
}

#[test]
fn every_kind_of_route() {
    use Disposition::{Delivered, Dropped, Rejected, Unknown};
    let mut run = Run::new(world());
    for (dst, want, answer) in [
        ("198.18.1.1", (Dropped, Some(DropCode::RouteBlackhole)), None),
        ("198.18.2.1", (Rejected, Some(DropCode::RouteUnreachable)), Some((3, 1, 0))),
        ("198.18.3.1", (Rejected, Some(DropCode::RouteProhibit)), Some((3, 13, 0))),
        ("198.18.4.1", (Rejected, Some(DropCode::NoRoute)), Some((3, 0, 0))),
        ("8.8.8.8", (Rejected, Some(DropCode::NoRoute)), Some((3, 0, 0))),
        ("10.0.3.1", (Dropped, Some(DropCode::DummyDevice)), None),
        ("10.0.4.1", (Unknown, None), None),
        (NODE, (Rejected, Some(DropCode::NoSocket)), Some((3, 3, 0))),
        ("0.0.0.0", (Dropped, Some(DropCode::InvalidDest)), None),
        ("127.0.0.1", (Dropped, Some(DropCode::MartianLoopbackDest)), None),
        ("224.1.1.1", (Dropped, Some(DropCode::NoMulticastMember)), None),
        ("192.168.50.255", (Dropped, Some(DropCode::NoSocketBroadcast)), None),
    ] {
        run.state = NetNsState::default();
        assert_eq!(code(run.rx("va", udp(POD_A, dst, 1))), want, "{dst}");
        assert_eq!(run.recorder.packets.len() > 1, answer.is_some(), "{dst}");
        if let Some(answer) = answer {
            assert_eq!(run.icmp(), answer, "{dst}");
            assert_eq!(run.frames().last().map(|f| f.0.as_str()), Some("va"));
        }
    }
    assert_eq!(run.rx("va", echo(POD_A, NODE)).disposition, Delivered);
}

#[test]
fn martian_sources() {
    let mut run = Run::new(world());
    for (src, want) in [
        ("127.0.0.1", DropCode::MartianLoopbackSource),
        ("224.0.0.5", DropCode::InvalidSource),
        ("255.255.255.255", DropCode::InvalidSource),
        ("0.0.0.0", DropCode::InvalidSource),
        (NODE, DropCode::LocalSource),
    ] {
        assert_eq!(code(run.rx("va", udp(src, POD_B, 1))), (Disposition::Dropped, Some(want)), "{src}");
    }
    let mut config = world();
    set(&mut config, "net.ipv4.conf.all.rp_filter", "1");
    config.devices[2].addresses = device("x", 0, DeviceKind::Dummy, &[("10.9.0.1", 24)]).addresses;
    let mut run = Run::new(config);
    let dropped = |code| (Disposition::Dropped, Some(code));
    assert_eq!(code(run.rx("va", udp("203.0.113.5", POD_B, 1))), dropped(DropCode::RpFilterStrict));
    assert_eq!(code(run.rx("va", udp("8.8.8.8", POD_B, 1))), dropped(DropCode::RpFilterNoRoute));
}

#[test]
fn broken_headers() {
    let mut run = Run::new(world());
    let dropped = |code| (Disposition::Dropped, Some(code));
    let broken = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = udp(POD_A, POD_B, 4).l3().to_vec();
        change(&mut bytes);
        Packet::from_l3(EtherType::IPV4, bytes)
    };
    assert_eq!(code(run.rx("va", broken(&|b| b[0] = 0x65))), dropped(DropCode::BadIpHeader));
    assert_eq!(code(run.rx("va", broken(&|b| b[0] = 0x44))), dropped(DropCode::BadIpHeader));
    assert_eq!(code(run.rx("va", broken(&|b| b[10] ^= 1))), dropped(DropCode::BadIpChecksum));
    assert_eq!(code(run.rx("va", broken(&|b| b.truncate(25)))), dropped(DropCode::Truncated));
    assert_eq!(code(run.rx("va", broken(&|b| b.truncate(15)))), dropped(DropCode::BadIpHeader));
    assert_eq!(run.rx("va", broken(&|b| b.extend_from_slice(&[0; 9]))), forwarded());
    assert_eq!(run.frames()[0].1.total_len, 32);
    assert_eq!(run.recorder.packets[0].frames[0].1.l3().len(), 32);
    let mut other = udp(POD_A, POD_B, 1);
    other.set_mac_header(MacAddr([2, 9, 9, 9, 9, 9]), mac(1, 3));
    assert_eq!(code(run.rx("va", other)), dropped(DropCode::OtherHost));
    let mut link = udp(POD_A, POD_B, 1);
    link.set_mac_header(MacAddr::BROADCAST, mac(1, 3));
    assert_eq!(code(run.rx("va", link)), dropped(DropCode::LinkBroadcastForward));
    let strange =
        Packet::from_ethernet([&[2, 0, 0, 0, 0, 3, 2, 0, 0, 0, 1, 3, 0x88, 0xb5][..], &[0; 30]].concat());
    assert_eq!(code(run.rx("va", strange.expect("a frame"))), dropped(DropCode::UnhandledProtocol));
    let within = [&[2, 0, 0, 0, 0, 3, 2, 0, 0, 0, 1, 3, 0x81, 0, 0, 0, 0x88, 0xb5][..], &[0; 30]].concat();
    let end = run.rx("va", Packet::from_ethernet(within).expect("a frame"));
    assert_eq!(code(end), dropped(DropCode::UnhandledProtocol));
    assert_eq!(run.recorder.packets[0].ethertype.0, 0x88b5, "as it is when it is dropped");
    for vlan in [0u8, 5] {
        let mut tagged = vec![2, 0, 0, 0, 0, 3, 2, 0, 0, 0, 1, 3, 0x81, 0, 0, vlan, 0x08, 0];
        tagged.extend_from_slice(udp(POD_A, POD_B, 1).l3());
        let end = run.rx("va", Packet::from_ethernet(tagged).expect("a frame"));
        let want = if vlan == 0 { (Disposition::Forwarded, None) } else { dropped(DropCode::OtherHost) };
        assert_eq!(code(end), want);
    }
}

#[test]
fn ttl_and_mtu() {
    let mut config = world();
    config.routes[3].mtu = Some(1200);
    let mut run = Run::new(config);
    let expired = Ip { ttl: 1, tos: 0x1f, ..ip(POD_A, POD_B, 17) }.with(&udp_bytes(1));
    assert_eq!(code(run.rx("va", expired)), (Disposition::Rejected, Some(DropCode::TtlExpired)));
    assert_eq!(run.icmp(), (11, 0, 0));
    let frames = run.frames();
    assert_eq!((frames[0].1.tos, frames[0].1.total_len), (0xde, 57));
    assert_eq!(frames[0].1.src, addr(NODE));

    let big = Ip { df: true, ..ip(POD_A, POD_B, 17) }.with(&udp_bytes(1300));
    assert_eq!(code(run.rx("va", big)), (Disposition::Rejected, Some(DropCode::FragNeeded)));
    assert_eq!(run.icmp(), (3, 4, 1200));
    assert_eq!(run.frames()[0].1.total_len, 576);

    assert_eq!(run.rx("va", udp(POD_A, POD_B, 1300)), forwarded());
    let frames: Vec<_> =
        run.frames().iter().map(|(_, f)| (f.total_len, f.frag_offset, f.more_fragments)).collect();
    assert_eq!(frames, [(1196, 0, true), (152, 0x93, false)]);
}

#[test]
fn answers_of_the_transport_layer() {
    let mut run = Run::new(world());
    let rejected = |code| (Disposition::Rejected, Some(code));
    let dropped = |code| (Disposition::Dropped, Some(code));
    let syn = Ip { tos: 0x1f, ..ip(POD_A, NODE, 6) }.with(&tcp_bytes(2));
    assert_eq!(code(run.rx("va", syn)), rejected(DropCode::NoSocket));
    let reset = &run.recorder.packets[1];
    assert_eq!(reset.made_by, MadeBy::TcpReset);
    let frame = reset.frames[0].1.l3();
    let fields = Ipv4Fields::parse(frame).expect("IPv4");
    assert_eq!((fields.tos, fields.id, fields.dont_fragment, fields.total_len), (0x1c, 0, true, 40));
    assert_eq!(frame[20..], *b"\x00\x35\x03\xe8\0\0\0\0\0\0\x03\xe9\x50\x14\0\0\xaa\x1f\0\0");
    let reset = ip(POD_A, NODE, 6).with(&tcp_bytes(4));
    assert_eq!(code(run.rx("va", reset)), dropped(DropCode::NoSocket));
    assert_eq!(code(run.rx("va", ip(POD_A, NODE, 200).with(&[0; 24]))), rejected(DropCode::NoProtocol));
    assert_eq!(run.icmp(), (3, 2, 0));
    for (protocol, at, bytes, want) in [
        (6, 36, tcp_bytes(2), DropCode::TcpChecksum),
        (17, 26, udp_bytes(1), DropCode::UdpChecksum),
        (1, 22, vec![8, 0, 0, 0, 0, 1, 0, 2], DropCode::IcmpChecksum),
    ] {
        let mut bad = ip(POD_A, NODE, protocol).with(&bytes);
        bad.l3_mut()[at] ^= 0x55;
        assert_eq!(code(run.rx("va", bad)), dropped(want));
    }
    assert_eq!(code(run.rx("va", ip(POD_A, NODE, 1).with(&[19; 8]))), dropped(DropCode::IcmpUnhandled));
    let many = echo(POD_A, "224.0.0.1");
    assert_eq!(code(run.rx("va", many)), dropped(DropCode::IcmpBroadcast));
    assert_eq!(run.rx("va", echo(POD_A, NODE)).disposition, Disposition::Delivered);
    let frames = run.frames();
    assert_eq!((frames[0].0.as_str(), frames[0].1.src, frames[0].1.dst), ("va", addr(NODE), addr(POD_A)));
}

#[test]
fn sockets_take_what_fits_them_best() {
    let mut config = world();
    let socket = |protocol, local: &str, dev: Option<&str>, v6_only| Socket {
        protocol,
        local: local.parse().expect("an address"),
        port: 53,
        remote: None,
        dev: dev.map(str::to_owned),
        v6_only,
        listening: protocol == 6,
        owner: None,
        uid: None,
    };
    config.sockets = Some(vec![
        socket(17, "::", None, true),
        socket(17, "0.0.0.0", None, false),
        socket(17, NODE, Some("vb"), false),
        socket(17, NODE, None, false),
        socket(6, "::", None, false),
    ]);
    let mut run = Run::new(config);
    let taken = |run: &Run| match run.recorder.packets[0].steps.last().map(|s| s.step) {
        Some(Step::Deliver { socket, .. }) => socket,
        _ => None,
    };
    run.rx("va", udp(POD_A, NODE, 1));
    assert_eq!(taken(&run), Some(3));
    run.rx("vb", udp(POD_B, NODE, 1));
    assert_eq!(taken(&run), Some(2));
    run.rx("va", udp(POD_A, "172.20.0.1", 1));
    assert_eq!(taken(&run), Some(1));
    run.rx("va", ip(POD_A, NODE, 6).with(&tcp_bytes(2)));
    assert_eq!(taken(&run), Some(4));
}

#[test]
fn errors_of_routes_are_limited_per_source() {
    let mut run = Run::new(world());
    for number in 0..7 {
        let end = run.rx("va", udp(POD_A, "8.8.8.8", 1));
        // The limits of error routes and of ICMP messages to a host draw on one account: each error costs twice.
        let want = if number < 2 { Disposition::Rejected } else { Disposition::Dropped };
        assert_eq!(end.disposition, want, "{number}");
    }
    run.state.now_ns += 1_000_000_000;
    assert_eq!(run.rx("va", udp(POD_A, "8.8.8.8", 1)).disposition, Disposition::Dropped);
    run.state.now_ns += 2_000_000_000;
    assert_eq!(run.rx("va", udp(POD_A, "8.8.8.8", 1)).disposition, Disposition::Rejected);
}

#[test]
fn made_here() {
    let mut run = Run::new(world());
    assert_eq!(run.local(udp("0.0.0.0", "203.0.113.5", 1)), forwarded());
    let frames = run.frames();
    assert_eq!((frames[0].0.as_str(), frames[0].1.src, frames[0].1.ttl), ("eth0", addr(NODE), 64));
    let frame = &run.recorder.packets[0].frames[0].1;
    assert_eq!(frame.mac_dst(), Some(mac(1, 2)));
    let sum = checksum::pseudo_header(addr(NODE), addr("203.0.113.5"), 17, 9);
    assert_eq!(checksum::finish(checksum::sum(&frame.l3()[20..], sum)), 0);
    assert_eq!(
        code(run.local(udp("0.0.0.0", "8.8.8.8", 1))),
        (Disposition::Dropped, Some(DropCode::NoOutputRoute))
    );
    // To an own address: out and in by lo, no socket, and the error is the sender's.
    assert_eq!(code(run.local(udp(NODE, NODE, 1))), (Disposition::Rejected, Some(DropCode::NoSocket)));
    assert_eq!(run.recorder.packets.len(), 2);
    assert_eq!(run.recorder.packets[1].end.map(|e| e.disposition), Some(Disposition::Delivered));
}

#[test]
fn forwarding_off_and_devices_down() {
    let mut config = world();
    set(&mut config, "net.ipv4.ip_forward", "0");
    let mut run = Run::new(config);
    let dropped = |code| (Disposition::Dropped, Some(code));
    assert_eq!(code(run.rx("va", udp(POD_A, POD_B, 1))), dropped(DropCode::ForwardingOff));
    let mut config = world();
    config.devices[2].up = false;
    let mut run = Run::new(config);
    assert_eq!(code(run.rx("va", udp(POD_A, POD_B, 1))), dropped(DropCode::DeviceDown));
    let mut config = world();
    config.neighbours[3].state = NudState::Failed;
    let mut run = Run::new(config);
    let end = run.rx("va", udp(POD_A, POD_B, 1));
    assert_eq!(code(end), (Disposition::Rejected, Some(DropCode::NeighFailed)));
    assert_eq!(run.icmp(), (3, 1, 0));
}

#[test]
fn redirects() {
    let mut run = Run::new(world());
    assert_eq!(run.rx("eth0", udp("192.168.50.20", "203.0.113.5", 1)), forwarded());
    assert_eq!(run.icmp(), (5, 1, addr("192.168.50.254")));
    assert_eq!(run.recorder.packets[1].start.l3()[20 + 8 + 8], 63);
}

#[test]
fn bridges() {
    let mut run = Run::new(world());
    let frame = |dst: MacAddr, packet: Packet| {
        let mut packet = packet;
        packet.set_mac_header(dst, mac(1, 6));
        packet
    };
    let (host, other) = ("172.20.0.10", "172.20.0.11");
    // Unknown: flooded to the other port only. Known after it spoke.
    assert_eq!(run.rx("p0", frame(mac(1, 7), udp(host, other, 1))), forwarded());
    assert_eq!(run.frames()[0].0, "p1");
    assert_eq!(run.frames()[0].1.ttl, 64);
    // To the bridge itself.
    let end = run.rx("p0", frame(mac(0, 5), echo(host, "172.20.0.1")));
    assert_eq!(end.disposition, Disposition::Delivered);
    assert_eq!(run.frames()[0].0, "p0", "learned");
    // Everywhere.
    let end = run.rx("p0", frame(MacAddr::BROADCAST, udp(host, "172.20.255.255", 1)));
    assert_eq!(code(end), (Disposition::Dropped, Some(DropCode::NoSocketBroadcast)));
    assert_eq!(run.recorder.packets[1].made_by, MadeBy::Copy);
    assert_eq!(run.frames()[0].0, "p1");
    // Back out of the port that it came by.
    let end = run.rx("p0", frame(mac(1, 6), udp(host, host, 1)));
    assert_eq!(code(end), (Disposition::Dropped, Some(DropCode::BridgeNoPort)));
    let end = run.rx("p0", frame(mac(1, 7), udp(host, other, 1600)));
    assert_eq!(code(end), (Disposition::Dropped, Some(DropCode::VethMtu)));
    let mut config = world();
    config.devices[5].mtu = 9000;
    let mut run = Run::new(config);
    let end = run.rx("p0", frame(mac(1, 7), udp(host, other, 1600)));
    assert_eq!(code(end), (Disposition::Dropped, Some(DropCode::BridgePortMtu)));
    let mut bad = udp(host, other, 1);
    bad.set_mac_header(mac(1, 7), MacAddr([1, 0, 0, 0, 0, 1]));
    assert_eq!(code(run.rx("p0", bad)), (Disposition::Dropped, Some(DropCode::BadMacSource)));
    let mut config = world();
    config.devices[5].port.forwarding = false;
    let mut run = Run::new(config);
    let end = run.rx("p0", frame(mac(1, 7), udp(host, other, 1)));
    assert_eq!(code(end), (Disposition::Dropped, Some(DropCode::BridgePortState)));
    let mut config = world();
    config.devices[5].port.isolated = true;
    config.devices[6].port.isolated = true;
    let mut run = Run::new(config);
    // Nobody knows yet where it is, so it would be flooded.
    let end = run.rx("p0", frame(mac(1, 7), udp(host, other, 1)));
    assert_eq!(code(end), (Disposition::Dropped, Some(DropCode::BridgeNoFlood)));
    let mut spoken = echo(other, "172.20.0.1");
    spoken.set_mac_header(mac(0, 5), mac(1, 7));
    run.rx("p1", spoken);
    let end = run.rx("p0", frame(mac(1, 7), udp(host, other, 1)));
    assert_eq!(code(end), (Disposition::Dropped, Some(DropCode::BridgeNoPort)));
}

fn arp(sender: &str, target: &str) -> Packet {
    let mut bytes = vec![0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 1, 3];
    bytes.extend_from_slice(&addr(sender).to_be_bytes());
    bytes.extend_from_slice(&[0; 6]);
    bytes.extend_from_slice(&addr(target).to_be_bytes());
    let mut packet = Packet::from_l3(EtherType::ARP, bytes);
    packet.set_mac_header(MacAddr::BROADCAST, mac(1, 3));
    packet
}

#[test]
fn arp_answers() {
    let mut config = world();
    let ignored = (Disposition::Dropped, Some(DropCode::ArpIgnored));
    let mut run = Run::new(config.clone());
    assert_eq!(run.rx("va", arp(POD_A, NODE)).disposition, Disposition::Consumed);
    let (dev, frame) = &run.recorder.packets[1].frames[0];
    assert_eq!(run.ns.device(*dev).name, "va");
    assert_eq!(frame.l3()[6..18], [0, 2, 2, 0, 0, 0, 0, 3, 192, 168, 50, 1]);
    assert_eq!(code(run.rx("va", arp(POD_A, "203.0.113.9"))), ignored);
    set(&mut config, "net.ipv4.conf.va.proxy_arp", "1");
    let mut run = Run::new(config.clone());
    assert_eq!(run.rx("va", arp(POD_A, "203.0.113.9")).disposition, Disposition::Consumed);
    assert_eq!(code(run.rx("va", arp(POD_A, POD_A))), ignored);
    set(&mut config, "net.ipv4.conf.all.arp_ignore", "1");
    let mut run = Run::new(config);
    assert_eq!(code(run.rx("va", arp(POD_A, NODE))), ignored);
}

#[test]
fn broadcast_addresses_are_those_of_broadcast_type() {
    let mut given = world();
    for (table, dst) in [(254, "10.9.0.16/28"), (254, "10.9.0.24/32"), (100, "10.9.0.64/28")] {
        given.routes.push(Route { table, kind: RouteType::Broadcast, ..route(dst, None, Some("eth0")) });
    }
    for config in [world(), given] {
        let (ns, _) = NetNs::compile(config);
        let near = ["10.9.0.0", "172.19.255.200", "172.20.255.200", "192.168.50.200", "127.255.255.200"];
        let near = near.iter().flat_map(|start| (0..80).map(move |n| addr(start) + n));
        let mut found = 0;
        for at in near.chain([0, 1, u32::MAX - 1, u32::MAX, addr("224.0.0.1"), addr("239.255.255.255")]) {
            let is = ns.fib.addr_type(at, None) == AddrType::Broadcast;
            assert_eq!(ns.fib.is_broadcast(at), is, "{at:#x}");
            found += usize::from(is);
        }
        assert!(found > 4, "{found}");
    }
}

#[test]
fn no_bytes_break_the_walk() {
    let mut run = Run::new(world());
    let mut seed = Seeded::new(3);
    for packet in
        [udp(POD_A, NODE, 20), echo(POD_A, POD_B), ip(POD_A, NODE, 6).with(&tcp_bytes(2)), arp(POD_A, NODE)]
    {
        for cut in 0..=packet.l3().len() {
            let short = Packet::from_l3(packet.ethertype(), packet.l3()[..cut].to_vec());
            run.rx("va", short.clone());
            run.rx("p0", short.clone());
            run.local(short);
        }
        for _ in 0..400 {
            let mut bytes = packet.l3().to_vec();
            for _ in 0..=seed.next_u64() % 3 {
                let at = seed.next_u64() as usize % bytes.len();
                bytes[at] = seed.next_u64() as u8;
            }
            if seed.next_u64().is_multiple_of(2) && packet.ethertype() == EtherType::IPV4 {
                checksum::put_ipv4(&mut bytes);
            }
            let broken = Packet::from_l3(packet.ethertype(), bytes);
            run.rx("va", broken.clone());
            run.rx("p0", broken.clone());
            run.local(broken);
        }
    }
}

#[test]
fn the_time_of_a_timestamp_reply_is_a_choice() {
    let mut run = Run::new(world());
    let request = |text: &str| {
        let text = format!("icmp {POD_A} > {NODE} type=13 id=1 seq=2 {text}");
        pktwalk_packet::spec::parse(&text).expect("a packet")
    };
    for whole in ["org=7", "len=4 code=9", "org=7 len=9 cut=17"] {
        assert_eq!(run.rx("va", request(whole)).disposition, Disposition::Delivered, "{whole}");
        assert_eq!(run.icmp(), (14, 0, 0x0001_0002), "{whole}");
        let reply = &run.recorder.packets[1];
        assert_eq!((reply.made_by, reply.start.l3().len()), (MadeBy::TimestampReply, 40));
        assert!(reply.steps.iter().any(|r| r.step == Step::Assumed(Assumption::TimeOfDay)));
    }
    // The time to send back was there, and is not known.
    assert_eq!(run.rx("va", request("org=7 cut=9")).because, Some(Because::CutPacket));
    assert_eq!(run.recorder.packets.len(), 1);
    assert_eq!(run.rx("va", request("len=3")).code, Some(DropCode::Truncated));
}

#[test]
fn answers_that_echo_options_are_not_guessed() {
    // Record route, with room for one address: the kernel's port unreachable and echo reply carry it.
    let mut run = Run::new(world());
    for text in [
        format!("udp {POD_A}:1 > {NODE}:9 opts=0707040000000000"),
        format!("icmp {POD_A} > {NODE} type=8 id=1 seq=1 opts=0707040000000000"),
        format!("icmp {POD_A} > {NODE} type=13 id=1 seq=1 opts=0707040000000000"),
    ] {
        let end = run.rx("va", pktwalk_packet::spec::parse(&text).expect("a packet"));
        assert_eq!(end.disposition, Disposition::Unknown, "{text}: {end:?}");
    }
}

/// `world` with these rules, of iptables-nft.
fn with_rules(mut config: NetNsConfig, text: &str) -> NetNsConfig {
    let (save, diagnostics) = iptables::parse(text.as_bytes(), 0, Family::V4);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    config.rulesets.push(Ruleset { backend: Backend::Nft, save: save.into() });
    config
}

/// Two default routes that are equal but for their gateways: which one the kernel takes depends on what it remembers.
fn equal_defaults() -> NetNsConfig {
    let mut config = world();
    for gateway in ["192.168.50.254", "192.168.50.20"] {
        config.routes.push(route("0.0.0.0/0", Some(gateway), Some("eth0")));
    }
    config
}

#[test]
fn an_answer_whose_way_back_is_not_known_is_not_guessed() {
    let refusing = "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -p udp --dport 77 -j REJECT\n-A FORWARD -p tcp -j REJECT --reject-with tcp-reset\nCOMMIT\n";
    let mut run = Run::new(with_rules(equal_defaults(), refusing));
    for text in [
        format!("udp 8.8.8.8:1 > {POD_A}:53 ttl=1"),
        format!("udp 8.8.8.8:1 > {NODE}:53"),
        format!("tcp 8.8.8.8:1 > {NODE}:53 flags=S"),
        format!("icmp 8.8.8.8 > {NODE} type=8 id=1 seq=1"),
        format!("udp 8.8.8.8:1 > {POD_A}:77"),
        format!("tcp 8.8.8.8:1 > {POD_A}:53 flags=S"),
    ] {
        let end = run.rx("eth0", pktwalk_packet::spec::parse(&text).expect("a packet"));
        let unknown = matches!(end.because, Some(Because::Route(_)));
        assert!(unknown && run.recorder.packets.len() == 1, "{text}: {end:?}");
        let told = run.recorder.packets[0].steps.iter().any(|s| matches!(s.step, Step::NotAnswered { .. }));
        assert!(told, "{text}");
    }
    // What is known stays known.
    assert_eq!(code(run.rx("eth0", udp("192.168.50.20", NODE, 1))).1, Some(DropCode::NoSocket));
}

#[test]
fn a_second_routing_that_is_not_known_is_not_a_failed_one() {
    let translating =
        "*nat\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -p udp -j DNAT --to-destination 8.8.8.8\nCOMMIT\n";
    let mut run = Run::new(with_rules(equal_defaults(), translating));
    let end = run.local(udp(NODE, "192.168.50.20", 1));
    assert!(matches!(end.because, Some(Because::Route(_))), "{end:?}");

    let marking = "*mangle\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -p udp -j MARK --set-mark 1\nCOMMIT\n";
    let mut config = with_rules(equal_defaults(), marking);
    for route in config.routes.iter_mut().rev().take(2) {
        route.table = 200;
    }
    let lookup = |priority, table| RoutingRule::new(priority, RoutingAction::Lookup(table));
    config.routing_rules = vec![
        lookup(0, TABLE_LOCAL),
        RoutingRule { fwmark: Some((1, u32::MAX)), ..lookup(100, 200) },
        lookup(32766, TABLE_MAIN),
    ];
    let mut run = Run::new(config);
    let end = run.local(udp(NODE, "203.0.113.5", 1));
    assert!(matches!(end.because, Some(Because::Route(_))), "{end:?}");
}

#[test]
fn who_refuses_a_martian() {
    let mut run = Run::new(world());
    for (src, dst, code, function) in [
        ("127.0.0.1", POD_B, DropCode::MartianLoopbackSource, "ip_route_input_slow"),
        ("224.0.0.5", POD_B, DropCode::InvalidSource, "ip_route_input_slow"),
        ("0.0.0.0", POD_B, DropCode::InvalidSource, "ip_route_input_slow"),
        (POD_A, "127.0.0.1", DropCode::MartianLoopbackDest, "ip_route_input_slow"),
        (POD_A, "0.0.0.0", DropCode::InvalidDest, "ip_route_input_slow"),
        (POD_A, "239.1.1.1", DropCode::NoMulticastMember, "ip_route_input_rcu"),
        ("127.0.0.1", "224.0.0.1", DropCode::MartianLoopbackSource, "ip_mc_validate_source"),
        (NODE, "224.0.0.1", DropCode::LocalSource, "fib_validate_source"),
        (NODE, POD_B, DropCode::LocalSource, "fib_validate_source"),
    ] {
        let end = run.rx("va", udp(src, dst, 1));
        assert_eq!(end, End::dropped(code, Locus::Subsystem(function)), "{src} > {dst}");
    }
}

#[test]
fn a_raw_socket_says_its_length_itself_and_keeps_to_the_mtu() {
    let mut run = Run::new(world());
    let raw = |packet| Inject::Local { packet, socket: SkbSocket { raw: true, ..SkbSocket::default() } };
    let end = run.inject(raw(udp(NODE, "192.168.50.20", 1472)));
    assert_eq!(end, forwarded());
    let end = run.inject(raw(udp(NODE, "192.168.50.20", 1473)));
    assert_eq!(end, End::dropped(DropCode::MessageTooLong, Locus::Subsystem("raw_send_hdrinc")));
    // Any other socket's is cut.
    assert_eq!(run.local(udp(NODE, "192.168.50.20", 1473)), forwarded());
    assert_eq!(run.frames().len(), 2);
    // Unless it asks not to be.
    let mut uncut = udp(NODE, "192.168.50.20", 1473).l3().to_vec();
    uncut[6] |= 0x40;
    checksum::put_ipv4(&mut uncut);
    let end = run.local(Packet::from_l3(EtherType::IPV4, uncut));
    assert_eq!(end, End::dropped(DropCode::MessageTooLong, Locus::Subsystem("__ip_append_data")));
    let mut bytes = udp(NODE, "192.168.50.20", 10).l3().to_vec();
    bytes[2..4].copy_from_slice(&200u16.to_be_bytes());
    let end = run.inject(raw(Packet::from_l3(EtherType::IPV4, bytes)));
    assert_eq!((end, run.frames()[0].1.total_len), (forwarded(), 38));
}

#[test]
fn echo_replies_count_against_the_limit_of_all_where_they_are_limited() {
    for (mask, replies) in [("6168", 5), ("6169", 2)] {
        let mut config = world();
        set(&mut config, "net.ipv4.icmp_ratemask", mask);
        set(&mut config, "net.ipv4.icmp_msgs_burst", "2");
        let mut run = Run::new(config);
        let mut answered = 0;
        for _ in 0..5 {
            run.rx("va", echo(POD_A, NODE));
            answered += run.recorder.packets.len() - 1;
        }
        assert_eq!(answered, replies, "{mask}");
    }
}

fn socket_of(protocol: u8, port: u16) -> Socket {
    Socket {
        protocol,
        local: NODE.parse().expect("an address"),
        port,
        remote: Some(("203.0.113.5".parse().expect("an address"), 53)),
        dev: None,
        v6_only: false,
        listening: false,
        owner: None,
        uid: None,
    }
}

#[test]
fn any_socket_but_one_of_tcp_may_have_joined_a_group() {
    let group = || udp(POD_A, "224.1.1.1", 1);
    for (protocol, dropped) in [(6, true), (17, false), (1, false), (89, false)] {
        let mut config = world();
        config.sockets = Some(vec![socket_of(protocol, 1000)]);
        let want = if dropped { Some(DropCode::NoMulticastMember) } else { None };
        assert_eq!(Run::new(config).rx("va", group()).code, want, "{protocol}");
    }
    let mut config = world();
    config.missing.push(MissingState::RawSockets);
    assert_eq!(Run::new(config).rx("va", group()).disposition, Disposition::Unknown);
    let mut config = world();
    set(&mut config, "net.ipv4.conf.all.mc_forwarding", "1");
    set(&mut config, "net.ipv4.conf.va.mc_forwarding", "1");
    let mut run = Run::new(config);
    assert_eq!(run.rx("va", group()).disposition, Disposition::Unknown);
    let local = udp(POD_A, "224.0.0.9", 1);
    assert_eq!(run.rx("va", local).code, Some(DropCode::NoMulticastMember), "not of groups of the link");
}

#[test]
fn protocols_of_modules_are_said_to_be_assumed_away() {
    let mut run = Run::new(world());
    let end = run.rx("va", ip(POD_A, NODE, 132).with(&[0; 12]));
    assert_eq!(code(end), (Disposition::Rejected, Some(DropCode::NoProtocol)));
    let assumed = Step::Assumed(Assumption::NoModule { protocol: 132 });
    assert!(run.recorder.packets[0].steps.iter().any(|recorded| recorded.step == assumed));
}

#[test]
fn a_bridge_whose_ports_are_connected_goes_round_in_a_circle() {
    // Seen on 6.18: one such frame was sent 31,793 times in 50 milliseconds.
    let mut config = world();
    for (port, peer) in [(5, 7), (6, 6)] {
        config.devices[port].kind = DeviceKind::Veth { peer_ifindex: Some(peer), peer_netns: None };
    }
    config.devices[2].master = Some("br0".to_owned());
    // Otherwise the frame leaves here, and its copies go round.
    config.devices[2].port.flood = false;
    let mut run = Run::new(config);
    let mut frame = udp(POD_A, "172.20.0.99", 1);
    frame.set_mac_header(mac(9, 9), mac(9, 1));
    let end = run.rx("va", frame);
    assert_eq!(end, End::plain(Disposition::Loop));
    assert!(run.recorder.packets[0].steps.len() < 60);
}

#[test]
fn a_multicast_with_ttl_0_stays_here_if_anybody_listens() {
    let ttl_0 = |dst| Ip { ttl: 0, ..ip(NODE, dst, 17) }.with(&udp_bytes(1));
    let mut run = Run::new(world());
    let mut config = world();
    config.routes.push(route("224.0.0.0/4", None, Some("eth0")));
    let mut to_many = Run::new(config.clone());
    assert_eq!(code(run.local(ttl_0("224.0.0.1"))), (Disposition::Dropped, Some(DropCode::MulticastTtl)));
    assert_eq!(to_many.local(ttl_0("239.1.1.1")), forwarded());
    // Who has a socket may have joined.
    config.sockets = None;
    let mut untold = Run::new(config);
    let end = untold.local(ttl_0("239.1.1.1"));
    assert!(matches!(end.because, Some(Because::NotModelled(_))), "{end:?}");
    assert_eq!(untold.local(ip(NODE, "239.1.1.1", 17).with(&udp_bytes(1))), forwarded());
}
