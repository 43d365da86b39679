//! What needs no kernel to be seen: diagnostics, and packets that the comparison with the kernel does not send.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use pktwalk_packet::{EtherType, Ipv4Fields, Packet};

use super::*;
use crate::config::NetNsConfig;
use crate::diag::Diagnostic;
use crate::ids::SetId;
use crate::iptables::ast::{CounterTest, SetDir, SetMatch};
use crate::skb::Skb;

fn skb(protocol: u8, frag: u16, l4: &[u8]) -> Skb {
    let mut bytes = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    bytes[6..8].copy_from_slice(&frag.to_be_bytes());
    bytes.extend_from_slice(l4);
    let ip = Ipv4Fields::parse(&bytes).unwrap();
    Skb::new(Packet::from_l3(EtherType::IPV4, bytes), ip)
}

fn test(dirs: &[SetDir]) -> SetMatch {
    SetMatch {
        not: false,
        name: String::new(),
        dirs: dirs.to_vec(),
        return_nomatch: false,
        no_update_counters: false,
        no_update_subcounters: false,
        packets: None,
        bytes: None,
    }
}

fn compile(text: &str) -> (CompiledSets, Vec<Diagnostic>) {
    let (sets, mut diagnostics) = parse(text.as_bytes(), 0);
    let config = NetNsConfig { sets, ..NetNsConfig::default() };
    let compiled = CompiledSets::compile(&config, &mut diagnostics);
    (compiled, diagnostics)
}

fn udp(sport: u16) -> Vec<u8> {
    let mut l4 = sport.to_be_bytes().to_vec();
    l4.resize(8, 0);
    l4
}

const SRC: [SetDir; 2] = [SetDir::Src, SetDir::Src];

#[test]
fn fragments_and_cut_packets() {
    let (sets, _) = compile("create a hash:ip,port\nadd a 10.0.0.1,udp:53\nadd a 10.0.0.1,gre:0\n");
    let matches = |skb: &Skb| sets.matches_at(SetId(0), &test(&SRC), skb, 0, &mut SetCounters::default());
    assert_eq!(matches(&skb(17, 0x2000, &udp(53))), Some(true), "a first fragment has its ports");
    assert_eq!(matches(&skb(17, 1, &udp(53))), Some(false), "a later one has none");
    assert_eq!(matches(&skb(47, 1, &[])), Some(true), "a protocol without ports has none to miss");
    assert_eq!(matches(&skb(17, 0, &udp(53)[..7])), Some(false), "no whole header: no match");
    let mut cut = skb(17, 0, &udp(53)[..7]);
    cut.packet = cut.packet.clone().with_missing(1);
    assert_eq!(matches(&cut), None, "a capture cut the port off");
    assert_eq!(matches(&skb(0, 0, &[])), Some(false));
}

#[test]
fn elements_end_with_their_time() {
    let (sets, diagnostics) = compile(
        "create a hash:net timeout 9\nadd a 10.0.0.0/8 timeout 0\nadd a 10.0.0.1 timeout 2 nomatch\n",
    );
    assert_eq!(diagnostics, []);
    let at = |seconds: u64| {
        sets.matches_at(
            SetId(0),
            &test(&SRC),
            &skb(17, 0, &udp(1)),
            seconds * 1_000_000_000,
            &mut SetCounters::default(),
        )
    };
    assert_eq!((at(0), at(1)), (Some(false), Some(false)));
    assert_eq!(at(2), Some(true), "what is over lets the wider one answer");
}

#[test]
fn counters_go_on_from_what_was_saved() {
    let packet = skb(17, 0, &udp(1));
    let (sets, diagnostics) = compile("create c hash:ip counters\nadd c 10.0.0.1 packets 2 bytes 100\n");
    assert_eq!(diagnostics, []);
    let mut counted = SetCounters::default();
    let over = SetMatch { packets: Some(CounterTest::Gt(3)), ..test(&SRC) };
    let looks = SetMatch { no_update_counters: true, ..over.clone() };
    let other = SetMatch { dirs: vec![SetDir::Dst], ..over.clone() };
    let matched = [&over, &looks, &other, &over, &looks]
        .map(|test| sets.matches_at(SetId(0), test, &packet, 0, &mut counted));
    assert_eq!(matched, [false, false, false, true, true].map(Some));
}

#[test]
fn what_cannot_be_known_is_none() {
    let packet = skb(17, 0, &udp(1));
    let (sets, _) = compile(
        "create c hash:ip counters\nadd c 10.0.0.1 packets some\n\
         create m hash:ip,mark\nadd m 10.0.0.1,0x1\n\
         create e hash:ip,mark\n\
         create w hash:what\n",
    );
    assert_eq!(sets.matches_at(SetId(0), &test(&SRC), &packet, 0, &mut SetCounters::default()), None);
    assert_eq!(sets.matches_at(SetId(1), &test(&SRC), &packet, 0, &mut SetCounters::default()), None);
    assert_eq!(
        sets.matches_at(SetId(1), &test(&SRC[..1]), &packet, 0, &mut SetCounters::default()),
        Some(false),
        "too few flags"
    );
    assert_eq!(
        sets.matches_at(SetId(2), &test(&SRC), &packet, 0, &mut SetCounters::default()),
        Some(false),
        "nothing is in it"
    );
    assert_eq!(
        sets.matches_at(SetId(9), &test(&SRC), &packet, 0, &mut SetCounters::default()),
        None,
        "no such set"
    );
}

#[test]
fn what_cannot_be_read_is_said_and_makes_the_set_unknown() {
    let text = "create a hash:ip\nadd a 10.0.0.300\nadd a 10.0.0.1\nadd b 1.1.1.1\ncreate d hash:net frobs 3\nadd d 10.0.0.0/8\n\
                destroy x\ncreate a hash:net\nadd a 1.1.1.1 comment \"x";
    let (sets, diagnostics) = parse(text.as_bytes(), 4);
    let lines: Vec<u32> = diagnostics.iter().map(|d| d.source.line).collect();
    assert_eq!(lines, [2, 4, 5, 7, 8, 9, 9]);
    assert!(diagnostics.iter().all(|d| d.source.file == 4));
    assert_eq!(sets.len(), 2);
    let (compiled, _) = compile(text);
    assert_eq!(
        compiled.matches_at(SetId(0), &test(&SRC), &skb(17, 0, &udp(1)), 0, &mut SetCounters::default()),
        None
    );
    assert_eq!(
        compiled.matches_at(SetId(1), &test(&SRC), &skb(17, 0, &udp(1)), 0, &mut SetCounters::default()),
        None
    );
}

#[test]
fn more_elements_than_the_set_holds() {
    for text in [
        "create a hash:ip maxelem 4\nadd a 10.0.0.0/29\n",
        "create a hash:ip\nadd a 0.0.0.0-255.255.255.255\n",
    ] {
        let (sets, diagnostics) = compile(text);
        assert_eq!(diagnostics.len(), 1, "{text}");
        assert_eq!(
            sets.matches_at(SetId(0), &test(&SRC), &skb(17, 0, &udp(1)), 0, &mut SetCounters::default()),
            None
        );
    }
}

#[test]
fn masks_of_the_whole_space() {
    let blocks: Vec<_> = element::blocks(0, u32::MAX).collect();
    assert_eq!(blocks, [(0, 1), (1 << 31, 1)]);
    assert_eq!(element::blocks(u32::MAX, u32::MAX).collect::<Vec<_>>(), [(u32::MAX, 32)]);
    let ten: Vec<_> = element::blocks(0x0a00_0000, 0x0a00_000a).collect();
    assert_eq!(ten, [(0x0a00_0000, 29), (0x0a00_0008, 31), (0x0a00_000a, 32)]);
}
