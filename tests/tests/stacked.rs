//! Devices that stand on another one (VLAN, macvlan, ipvlan, MACsec, and kinds that nobody knows): what they take is not known, everything else is
//! decided as without them. What a macvlan takes was seen on Linux 6.18, by frames to each of these addresses and counters of
//! `-i eth0` and `-i m0` in PREROUTING, in each mode, up and down; VLAN, ipvlan and MACsec follow its source.

use pktwalk_ingest::{Bundle, read_files};
use pktwalk_linux::choice::Seeded;
use pktwalk_linux::config::NetNsConfig;
use pktwalk_linux::netns::{NetNs, NetNsState};
use pktwalk_linux::reason::{Because, Disposition, DropCode, End};
use pktwalk_linux::trace::Recorder;
use pktwalk_linux::walk::{Inject, walk};
use pktwalk_packet::{Packet, spec};

/// Of the device below, which has 10.0.0.1; of what stands on it, which has 10.0.0.3; of nobody; of the sender.
const OWN: &str = "02:00:00:00:00:02";
const UPPER: &str = "02:00:00:00:00:33";
const OTHER: &str = "02:00:00:00:00:44";
const SENDER: &str = "02:00:00:00:00:99";
const MANY: &str = "ff:ff:ff:ff:ff:ff";

fn eth0() -> String {
    format!(
        r#"{{"ifindex":2,"ifname":"eth0","flags":["BROADCAST","UP","LOWER_UP"],"mtu":1500,"link_type":"ether","address":"{OWN}","promiscuity":0}}"#
    )
}

/// What `ip -d -j link` prints of the device on `eth0`: where that is, and its kind.
fn upper(below: &str, linkinfo: &str, mac: &str, up: bool) -> String {
    let flags = if up { r#""BROADCAST","UP","LOWER_UP""# } else { r#""BROADCAST""# };
    format!(
        r#"{{"ifindex":7,{below},"ifname":"up0","flags":[{flags}],"mtu":1500,"link_type":"ether","address":"{mac}","promiscuity":0{linkinfo}}}"#
    )
}

fn address(index: u32, name: &str, addr: &str) -> String {
    format!(
        r#"{{"ifindex":{index},"ifname":"{name}","flags":["UP","LOWER_UP"],"mtu":1500,"link_type":"ether","addr_info":[{{"family":"inet","local":"{addr}","prefixlen":24,"scope":"global"}}]}}"#
    )
}

fn of_kind(kind: &str, data: &str) -> String {
    format!(r#","linkinfo":{{"info_kind":"{kind}","info_data":{{{data}}}}}"#)
}

fn read(files: &[(&str, String)]) -> Bundle {
    let sysctl = "net.ipv4.ip_forward = 0\nnet.ipv4.conf.all.rp_filter = 0\n".to_owned();
    let files =
        files.iter().map(|(name, text)| (*name, text.as_bytes())).chain([("sysctl", sysctl.as_bytes())]);
    read_files("t", files).expect("a bundle")
}

fn config(linkinfo: &str, mac: &str, up: bool) -> NetNsConfig {
    let links = format!("[{},\n{}]\n", eth0(), upper(r#""link":"eth0""#, linkinfo, mac, up));
    let addrs = format!("[{},{}]\n", address(2, "eth0", "10.0.0.1"), address(7, "up0", "10.0.0.3"));
    read(&[("ip-link.json", links), ("ip-addr.json", addrs)]).host.config
}

/// The end of a frame that `eth0` receives, and how many copies for the device on it there are.
fn receive(ns: &NetNs, packet: Packet) -> (End, usize) {
    let mut recorder = Recorder::default();
    let dev = ns.dev("eth0").expect("it is there");
    let end =
        walk(ns, &mut NetNsState::start(ns), Inject::Rx { dev, packet }, &mut Seeded::new(1), &mut recorder);
    let upper = ns.dev("up0");
    let unknown = |end: &End| end.because == upper.map(Because::Device);
    let copies = recorder.packets.iter().skip(1).filter(|packet| packet.end.as_ref().is_some_and(unknown));
    (end, copies.count())
}

fn frame(text: &str) -> Packet {
    spec::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn udp(dst: &str, dmac: &str) -> Packet {
    frame(&format!("udp 10.0.0.77:1 > {dst}:2 smac={SENDER} dmac={dmac}"))
}

/// With an outermost tag of a protocol and a VLAN.
fn tagged(packet: &Packet, protocol: u16, id: u16) -> Packet {
    let mut bytes = packet.bytes().to_vec();
    let tag = [protocol.to_be_bytes(), id.to_be_bytes()].concat();
    bytes.splice(12..12, tag);
    Packet::from_ethernet(bytes).expect("a frame")
}

/// What a frame comes to: taken by the device on `eth0`, or as it would be without that (`code`: what it is dropped for).
#[derive(Clone, Copy, PartialEq, Debug)]
enum Comes {
    Taken,
    Goes,
    Dropped(DropCode),
}

#[track_caller]
fn holds(config: &NetNsConfig, packet: Packet, want: Comes, copies: usize) {
    let (ns, diagnostics) = NetNs::compile(config.clone());
    assert!(diagnostics.iter().all(|d| !d.message.contains("not known")), "{diagnostics:?}");
    let (end, heard) = receive(&ns, packet);
    let came = match (end.because, end.code) {
        (Some(Because::State(at)), _) => {
            let state = &ns.config.unmodelled[at as usize];
            assert!(state.what.contains("up0") && state.what.contains("on eth0"), "{}", state.what);
            assert!(state.source.line > 0);
            Comes::Taken
        }
        (_, Some(code)) => Comes::Dropped(code),
        _ => Comes::Goes,
    };
    assert_eq!((came, heard), (want, copies), "{end:?}");
    assert_eq!(want == Comes::Taken, end.disposition == Disposition::Unknown);
}

const OTHER_HOST: Comes = Comes::Dropped(DropCode::OtherHost);

#[test]
fn a_macvlan_takes_what_is_for_its_address_and_hears_what_is_for_many() {
    for mode in ["bridge", "private", "vepa"] {
        let kind = of_kind("macvlan", &format!(r#""mode":"{mode}""#));
        for (up, taken, copies) in [(true, Comes::Taken, 1), (false, OTHER_HOST, 0)] {
            let config = config(&kind, UPPER, up);
            holds(&config, udp("10.0.0.1", OWN), Comes::Goes, 0);
            holds(&config, udp("10.0.0.1", UPPER), taken, 0);
            holds(&config, tagged(&udp("10.0.0.1", UPPER), 0x8100, 9), taken, 0);
            holds(&config, udp("10.0.0.1", OTHER), OTHER_HOST, 0);
            holds(&config, udp("10.0.0.255", MANY), Comes::Goes, copies);
            // Nobody tells the frame's address: a neighbour sends to the device that has the packet's.
            if up {
                holds(&config, frame("udp 10.0.0.77:1 > 10.0.0.3:2"), Comes::Taken, 0);
            }
            let arp = frame(&format!("arp 10.0.0.77 > 10.0.0.1 smac={SENDER} dmac={MANY} sha={SENDER}"));
            holds(&config, arp, Comes::Goes, copies);
            let fragment =
                frame(&format!("udp 10.0.0.77:1 > 10.0.0.255:2 len=8 mf smac={SENDER} dmac={MANY}"));
            holds(&config, fragment, Comes::Taken, 0);
        }
    }
}

#[test]
fn a_macvlan_in_mode_passthru_takes_all_that_is_for_one() {
    for up in [true, false] {
        let config = config(&of_kind("macvlan", r#""mode":"passthru""#), OWN, up);
        for mac in [OWN, UPPER, OTHER] {
            holds(&config, udp("10.0.0.1", mac), Comes::Taken, 0);
        }
        holds(&config, udp("10.0.0.255", MANY), Comes::Goes, usize::from(up));
    }
}

#[test]
fn a_macvlan_in_mode_source_takes_what_comes_from_those_that_it_lists() {
    let of = |mac: &str| of_kind("macvtap", &format!(r#""mode":"source","macaddr_data":["{mac}"]"#));
    holds(&config(&of(SENDER), UPPER, true), udp("10.0.0.1", OWN), Comes::Taken, 0);
    holds(&config(&of(SENDER), UPPER, false), udp("10.0.0.1", OWN), Comes::Goes, 0);
    holds(&config(&of(OTHER), UPPER, true), udp("10.0.0.1", OWN), Comes::Goes, 0);
    holds(&config(&of(OTHER), UPPER, true), udp("10.0.0.1", UPPER), OTHER_HOST, 0);
}

#[test]
fn a_vlan_device_takes_its_vlan() {
    for up in [true, false] {
        let config = config(&of_kind("vlan", r#""protocol":"802.1Q","id":5"#), OWN, up);
        let plain = udp("10.0.0.1", OWN);
        holds(&config, plain.clone(), Comes::Goes, 0);
        holds(&config, tagged(&plain, 0x8100, 5), Comes::Taken, 0);
        // Priority bits are not of the number.
        holds(&config, tagged(&plain, 0x8100, 0xa005), Comes::Taken, 0);
        holds(&config, tagged(&plain, 0x8100, 0), Comes::Goes, 0);
        holds(&config, tagged(&plain, 0x8100, 6), OTHER_HOST, 0);
        holds(&config, tagged(&plain, 0x88a8, 5), OTHER_HOST, 0);
        holds(
            &config,
            tagged(&tagged(&plain, 0x8100, 5), 0x88a8, 7),
            Comes::Dropped(DropCode::UnhandledProtocol),
            0,
        );
        // Tags of VLAN 0 are taken off until one has a number.
        holds(&config, tagged(&tagged(&plain, 0x8100, 5), 0x88a8, 0), Comes::Taken, 0);
        holds(&config, tagged(&tagged(&plain, 0x8100, 6), 0x8100, 0), OTHER_HOST, 0);
        holds(&config, tagged(&tagged(&plain, 0x8100, 0), 0x88a8, 0), Comes::Goes, 0);
    }
    let config = config(&of_kind("vlan", ""), OWN, true);
    holds(&config, tagged(&udp("10.0.0.1", OWN), 0x88a8, 6), Comes::Taken, 0);
}

#[test]
fn an_ipvlan_takes_what_is_for_its_addresses() {
    for (mode, many) in [("l2", Comes::Goes), ("l3", Comes::Taken), ("l3s", Comes::Taken)] {
        let config = config(&of_kind("ipvlan", &format!(r#""mode":"{mode}""#)), OWN, true);
        holds(&config, udp("10.0.0.1", OWN), Comes::Goes, 0);
        holds(&config, udp("10.0.0.3", OWN), Comes::Taken, 0);
        holds(&config, udp("10.0.0.3", OTHER), Comes::Taken, 0);
        let arp = frame(&format!("arp 10.0.0.77 > 10.0.0.3 smac={SENDER} dmac={MANY} sha={SENDER}"));
        holds(&config, arp, many, usize::from(mode == "l2"));
    }
    let config = config(&of_kind("ipvlan", r#""mode":"l2""#), OWN, false);
    assert_eq!(config.unmodelled, []);
}

#[test]
fn macsec_takes_what_is_encrypted_if_it_is_strict() {
    let encrypted = |packet: Packet| {
        let mut bytes = packet.bytes().to_vec();
        bytes[12..14].copy_from_slice(&[0x88, 0xe5]);
        Packet::from_ethernet(bytes).expect("a frame")
    };
    let strict = config(&of_kind("macsec", r#""validate":"strict""#), OWN, true);
    holds(&strict, udp("10.0.0.1", OWN), Comes::Goes, 0);
    holds(&strict, encrypted(udp("10.0.0.1", OWN)), Comes::Taken, 0);
    for data in [r#""validate":"check""#, r#""validate":"strict","offload":"mac""#] {
        holds(&config(&of_kind("macsec", data), OWN, true), udp("10.0.0.1", OWN), Comes::Taken, 0);
    }
}

#[test]
fn kinds_that_nobody_knows_may_take_anything() {
    for linkinfo in [of_kind("dsa", ""), of_kind("macvlan", ""), of_kind("virt_wifi", ""), String::new()] {
        holds(&config(&linkinfo, UPPER, true), udp("10.0.0.1", OWN), Comes::Taken, 0);
    }
    // Both ends of a ring.
    let ring = of_kind("hsr", r#""slave1":"eth0","slave2":"eth1""#);
    let links = format!("[{},\n{}]\n", eth0(), upper(r#""x":1"#, &ring, UPPER, true));
    let config = read(&[("ip-link.json", links)]).host.config;
    let on: Vec<String> = config.unmodelled.iter().map(|state| format!("{:?}", state.point)).collect();
    assert!(on.len() == 2 && on[0].contains("eth0") && on[1].contains("eth1"), "{on:?}");
}

#[test]
fn tunnels_and_ends_of_cables_take_nothing_of_the_device_that_they_name() {
    for kind in ["vxlan", "gre", "sit", "veth", "netkit"] {
        holds(&config(&of_kind(kind, ""), UPPER, true), udp("10.0.0.1", OWN), Comes::Goes, 0);
        holds(&config(&of_kind(kind, ""), UPPER, true), udp("10.0.0.1", UPPER), OTHER_HOST, 0);
    }
}

/// Without `ip -d` nobody knows what a device on another one is.
#[test]
fn without_details_whatever_stands_on_a_device_may_take_anything() {
    let addrs = |link: &str| {
        let plain = |index: u32, name: &str, addr: &str, link: &str, mac: &str| {
            address(index, name, addr).replacen(
                "\"flags\"",
                &format!("{link}\"address\":\"{mac}\",\"flags\""),
                1,
            )
        };
        let below = plain(2, "eth0", "10.0.0.1", "", OWN);
        format!("[{below},\n{}]\n", plain(7, "up0", "10.0.0.3", link, OWN))
    };
    let alone = read(&[("ip-addr.json", addrs(""))]).host.config;
    holds(&alone, udp("10.0.0.1", OWN), Comes::Goes, 0);
    let config = read(&[("ip-addr.json", addrs(r#""link":"eth0","#))]).host.config;
    holds(&config, udp("10.0.0.1", OWN), Comes::Taken, 0);
}

/// A container's device on the node's: `ip` in the container tells the number of the device below, and that it is elsewhere.
#[test]
fn devices_of_other_namespaces_take_frames_too() {
    let kind = of_kind("macvlan", r#""mode":"bridge""#);
    let links = format!("[{}]\n", upper(r#""link_index":2,"link_netnsid":0"#, &kind, UPPER, true));
    let own = [
        ("ip-link.json", format!("[{}]\n", eth0())),
        ("ip-addr.json", format!("[{}]\n", address(2, "eth0", "10.0.0.1"))),
        ("netns/web/ip-link.json", links),
        ("netns/web/ip-addr.json", format!("[{}]\n", address(7, "up0", "10.0.0.3"))),
    ];
    let config = read(&own).host.config;
    holds(&config, udp("10.0.0.1", OWN), Comes::Goes, 0);
    holds(&config, udp("10.0.0.3", UPPER), Comes::Taken, 0);
    holds(&config, udp("10.0.0.255", MANY), Comes::Goes, 0);
    holds(&config, frame("udp 10.0.0.77:1 > 10.0.0.3:2"), Comes::Taken, 0);
    let state = &config.unmodelled[0];
    assert!(
        state.what.starts_with("up0 of namespace web (a device of kind macvlan on eth0)"),
        "{}",
        state.what
    );
    assert_eq!(config.files[state.source.file as usize], "t/netns/web/ip-link.json");
    // What is on a device with another number is none of its business.
    let mut other = own.clone();
    other[2].1 = other[2].1.replace(r#""link_index":2"#, r#""link_index":3"#);
    holds(&read(&other).host.config, udp("10.0.0.3", UPPER), OTHER_HOST, 0);
}

/// The node's `ip` does not tell of a container's device on its own.
#[test]
fn what_stands_on_a_device_unseen_takes_nothing() {
    let own = [
        ("ip-link.json", format!("[{}]\n", eth0())),
        ("ip-addr.json", format!("[{}]\n", address(2, "eth0", "10.0.0.1"))),
    ];
    holds(&read(&own).host.config, udp("10.0.0.3", UPPER), OTHER_HOST, 0);
}
