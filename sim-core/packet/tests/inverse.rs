//! Printing and parsing packets are inverse, over generated texts, over packets that are nearly right, and over any bytes.

use pktwalk_packet::spec::{parse, print};
use pktwalk_packet::verify::{ip_header_ok, transport};
use pktwalk_packet::{EtherType, Packet, TcpOptions, summary};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn addr() -> impl Strategy<Value = String> {
    any::<u32>().prop_map(|bits| std::net::Ipv4Addr::from(bits).to_string())
}

fn mac() -> impl Strategy<Value = String> {
    any::<[u8; 6]>().prop_map(|mac| pktwalk_packet::MacAddr(mac).to_string())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// ` key=VALUE` half of the time, else nothing.
fn key<T: std::fmt::Display + std::fmt::Debug>(
    name: &'static str,
    value: impl Strategy<Value = T>,
) -> impl Strategy<Value = String> {
    option::of(value).prop_map(move |value| value.map_or(String::new(), |value| format!(" {name}={value}")))
}

fn flag(name: &'static str) -> impl Strategy<Value = String> {
    any::<bool>().prop_map(move |set| if set { format!(" {name}") } else { String::new() })
}

fn options() -> impl Strategy<Value = String> {
    (0usize..=10).prop_flat_map(|words| vec(any::<u8>(), words * 4)).prop_map(|bytes| hex(&bytes))
}

fn payload() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        (0u32..2000).prop_map(|len| format!(" len={len}")),
        vec(any::<u8>(), 1..40).prop_map(|bytes| format!(" data={}", hex(&bytes))),
        (vec(any::<u8>(), 1..9), 0u32..99)
            .prop_map(|(bytes, zeros)| format!(" data={}+{zeros}", hex(&bytes))),
        "[ -!#-\\[\\]-~]{0,20}".prop_map(|text| format!(" data=\"{text}\"")),
    ]
}

fn ip_keys() -> impl Strategy<Value = String> {
    let first = (
        key("ttl", any::<u8>()),
        key("tos", any::<u8>()),
        key("ipid", any::<u16>()),
        flag("df"),
        flag("rf"),
        key("opts", options()).prop_filter("a value", |text| !text.ends_with('=')),
    );
    let second = (
        key("totlen", any::<u16>()),
        key("ipsum", any::<u16>()),
        key("pad", 0u16..50),
        key("cut", 0u16..20),
        option::of((mac(), mac())),
        key("vlan", 0u16..4096),
    );
    (first, second).prop_map(|((a, b, c, d, e, f), (g, h, i, j, macs, k))| {
        let macs = macs.map_or(String::new(), |(src, dst)| format!(" smac={src} dmac={dst}"));
        [a, b, c, d, e, f, g, h, i, j, macs, k].concat()
    })
}

fn tcp_options() -> impl Strategy<Value = String> {
    prop_oneof![
        (
            key("mss", any::<u16>()),
            flag("sack-perm"),
            option::of(any::<(u32, u32)>()),
            key("wscale", any::<u8>())
        )
            .prop_map(|(mss, sack, ts, wscale)| {
                let ts = ts.map_or(String::new(), |(value, echo)| format!(" ts={value}:{echo}"));
                [mss, sack, ts, wscale].concat()
            }),
        key("tcpopts", options()).prop_filter("a value", |text| !text.ends_with('=')),
    ]
}

fn text() -> impl Strategy<Value = String> {
    let ends = (addr(), any::<u16>(), addr(), any::<u16>());
    let tcp_keys = (
        key("flags", "[SFRPAUEC]{1,8}"),
        key("seq", any::<u32>()),
        key("ack", any::<u32>()),
        key("win", any::<u16>()),
        key("urg", any::<u16>()),
        key("reserved", 0u8..16),
        key("doff", 0u8..16),
        tcp_options(),
        key("sum", any::<u16>()),
    )
        .prop_map(|(a, b, c, d, e, f, g, h, i)| [a, b, c, d, e, f, g, h, i].concat());
    let l4 = prop_oneof![
        (Just("tcp"), tcp_keys),
        (Just("udp"), (key("ulen", any::<u16>()), key("sum", any::<u16>())).prop_map(|(a, b)| a + &b)),
        (Just("udplite"), (key("cov", 0u16..100), key("sum", any::<u16>())).prop_map(|(a, b)| a + &b)),
        (Just("sctp"), (key("vtag", any::<u32>()), key("sum", any::<u32>())).prop_map(|(a, b)| a + &b)),
    ];
    let with_ports = (ends, l4, payload(), ip_keys(), flag("mf")).prop_map(
        |((src, sport, dst, dport), (word, keys), payload, ip, mf)| {
            format!("{word} {src}:{sport} > {dst}:{dport}{keys}{payload}{ip}{mf}")
        },
    );
    let icmp = (addr(), addr(), any::<u8>(), any::<u8>(), key("rest", any::<u32>()), payload(), ip_keys())
        .prop_map(|(src, dst, icmp_type, code, rest, payload, ip)| {
            format!("icmp {src} > {dst} type={icmp_type} code={code}{rest}{payload}{ip}")
        });
    let times = (key("org", any::<u32>()), key("recv", any::<u32>()), key("xmit", any::<u32>()))
        .prop_map(|(org, recv, xmit)| org + &recv + &xmit);
    let timestamp = (addr(), addr(), 13u8..=14, key("code", any::<u8>()), times, payload(), ip_keys())
        .prop_map(|(src, dst, icmp_type, code, times, payload, ip)| {
            format!("icmp {src} > {dst} type={icmp_type}{code}{times}{payload}{ip}")
        });
    let later =
        (addr(), addr(), "tcp|udp|icmp|sctp|ip proto=47|ip proto=6", 0u32..8192, payload(), ip_keys())
            .prop_map(|(src, dst, word, off, payload, ip)| {
                let (word, proto) = word.split_once(' ').map_or((word.as_str(), ""), |(a, b)| (a, b));
                let off = off * 8;
                format!("{word} {src} > {dst} {proto} off={off}{payload}{ip}")
            });
    let arp = (addr(), addr(), any::<u16>(), mac(), mac(), key("pad", 0u16..30)).prop_map(
        |(sender, target, op, sha, tha, pad)| {
            format!("arp {sender} > {target} op={op} sha={sha} tha={tha}{pad}")
        },
    );
    let inner = with_ports.boxed();
    let about = (addr(), addr(), prop_oneof![Just(3), Just(4), Just(5), Just(11), Just(12)], inner.clone())
        .prop_map(|(src, dst, icmp_type, inner)| {
            // What stands around a frame is not part of a quote.
            let inner: Vec<&str> = inner
                .split(' ')
                .filter(|word| !["pad=", "vlan=", "smac=", "dmac="].iter().any(|key| word.starts_with(key)))
                .collect();
            format!("icmp {src} > {dst} type={icmp_type} about ({})", inner.join(" "))
        });
    prop_oneof![4 => inner, 2 => icmp, 1 => timestamp, 1 => later, 1 => arp, 2 => about]
}

fn inverse(packet: &Packet) -> Result<(), TestCaseError> {
    let printed = print(packet);
    let again = parse(&printed);
    prop_assert_eq!(again.as_ref(), Ok(packet), "{}", printed);
    prop_assert!(!summary(packet).to_string().is_empty());
    Ok(())
}

/// Everything that reads or writes bytes, for its panics.
fn touch(packet: &Packet) {
    let _ = transport(packet);
    let _ = ip_header_ok(packet.l3());
    let _ = TcpOptions::new(packet.l3()).count();
    let _ = pktwalk_packet::build::fragment(packet.l3(), 200, false);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn texts(text in text()) {
        // A cut, offset or total length may be refused or make another kind of packet; what is accepted must be stable.
        if let Ok(packet) = parse(&text) {
            inverse(&packet)?;
            let canonical = print(&packet);
            prop_assert_eq!(print(&parse(&canonical).unwrap()), canonical.as_str());
            // The words of the protocol say all that a text can say; only where header bytes are cut off they do not.
            prop_assert!(!canonical.starts_with("raw") || text.contains("cut="), "{} is {}", text, canonical);
            touch(&packet);
        } else {
            prop_assert!(text.contains("cut=") || text.contains("off="), "refused: {} {:?}", text, parse(&text));
        }
    }

    #[test]
    fn nearly_right_packets(
        text in text(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in option::of(any::<prop::sample::Index>()),
        missing in 0usize..2000,
    ) {
        if let Ok(mut packet) = parse(&text) {
            let l3 = packet.l3_mut();
            for (at, value) in changes {
                if !l3.is_empty() {
                    l3[at.index(l3.len())] = value;
                }
            }
            if let Some(cut) = cut {
                let keep = cut.index(packet.l3().len() + 1);
                let kept = packet.l3()[..keep].to_vec();
                packet.set_l3(&kept);
                packet = packet.with_missing(missing);
            }
            inverse(&packet)?;
            touch(&packet);
        }
    }

    #[test]
    fn any_bytes(
        bytes in vec(any::<u8>(), 0..120),
        ethertype in prop_oneof![Just(0x0800u16), Just(0x0806), Just(0x8100), Just(0x86dd), any::<u16>()],
        version in any::<bool>(),
        missing in prop_oneof![Just(0usize), 1usize..3000, Just(u32::MAX as usize)],
    ) {
        let mut bytes = bytes;
        if version && let Some(first) = bytes.first_mut() {
            *first = 0x45;
        }
        let packet = Packet::from_l3(EtherType(ethertype), bytes).with_missing(missing);
        inverse(&packet)?;
        touch(&packet);
    }

    #[test]
    fn any_text(text in "\\PC{0,80}", words in vec("tcp|udp|icmp|>|\\(|\\)|about|1\\.2\\.3\\.4|1\\.2\\.3\\.4:5|len=|data=\"|cut=9|type=3", 0..12)) {
        let _ = parse(&text);
        let _ = parse(&words.join(" "));
    }
}
