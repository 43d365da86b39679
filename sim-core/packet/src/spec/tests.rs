use super::*;
use crate::verify::{ChecksumState, ip_header_ok, transport};

fn same(text: &str) {
    let packet = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(print(&packet), text);
}

#[test]
fn canonical_texts_print_as_themselves() {
    for text in [
        "tcp 10.244.1.5:40000 > 10.96.0.10:80 flags=S",
        "tcp 10.0.0.1:1 > 10.0.0.2:2 flags=PA seq=7 ack=9 win=512 urg=3 data=\"GET / \\\"\\\\\\r\\n\" ttl=63 tos=0x10 id=77 df",
        "tcp 10.0.0.1:1 > 10.0.0.2:2 flags=SEC mss=1460 sack-perm ts=1:0 wscale=7",
        "tcp 10.0.0.1:1 > 10.0.0.2:2 flags=SA mss=1460 sack-perm wscale=7",
        "tcp 10.0.0.1:1 > 10.0.0.2:2 flags=none tcpopts=01010101",
        "tcp 10.0.0.1:1 > 10.0.0.2:2 flags=A doff=3",
        "tcp 10.0.0.1:1 > 10.0.0.2:2 flags=A reserved=1 sum=0x1234 ipsum=0xabcd",
        "udp 10.0.0.1:1 > 10.0.0.2:2 len=100",
        "udp 10.0.0.1:1 > 10.0.0.2:2 sum=none data=00ff",
        "udp 10.0.0.1:1 > 10.0.0.2:2 ulen=7",
        "udp 10.0.0.1:1 > 10.0.0.2:2 len=1400 cut=1300",
        "udp 10.0.0.1:1 > 10.0.0.2:2 len=16 mf",
        "udp 10.0.0.1 > 10.0.0.2 len=16 off=16",
        "udplite 10.0.0.1:1 > 10.0.0.2:2 cov=8 data=01",
        "sctp 10.0.0.1:1 > 10.0.0.2:2 vtag=0x00000007 data=01000004",
        "sctp 10.0.0.1:1 > 10.0.0.2:2 sum=0x01020304",
        "icmp 10.0.0.1 > 10.0.0.2 type=echo-request id=5 seq=1 data=\"x\" ipid=9",
        "icmp 10.0.0.1 > 10.0.0.2 type=timestamp-request id=5 seq=1 org=09:30:00.250 recv=00:00:00.000 xmit=00:00:00.000 ipid=9",
        "icmp 10.0.0.1 > 10.0.0.2 type=timestamp-reply id=5 seq=1 org=23:59:59.999 recv=24:00:00.000 xmit=1193:02:47.295",
        "icmp 10.0.0.1 > 10.0.0.2 type=14 code=7 id=5 seq=1 org=00:00:00.000 recv=00:00:00.000 xmit=00:00:00.001 data=\"x\"",
        "icmp 10.0.0.1 > 10.0.0.2 type=timestamp-request id=0 seq=0 len=0",
        "icmp 10.0.0.1 > 10.0.0.2 type=timestamp-request id=0 seq=0 data=\"morning\"",
        "icmp 10.0.0.1 > 10.0.0.2 type=3 code=77",
        "icmp 10.0.0.1 > 10.0.0.2 type=fragmentation-needed mtu=1400 about (tcp 10.0.0.2:1 > 10.0.0.3:2 flags=none len=1400 ttl=3 cut=1412)",
        "icmp 10.0.0.1 > 10.0.0.2 type=host-redirect gateway=10.0.0.9 about (icmp 10.0.0.2 > 10.0.0.3 type=echo-request id=0 seq=0)",
        "icmp 10.0.0.1 > 10.0.0.2 type=parameter-problem pointer=20 about (ip 10.0.0.2 > 10.0.0.3 proto=gre data=01)",
        "ip 10.0.0.1 > 10.0.0.2 proto=esp len=20 opts=94040000",
        "ip 10.0.0.1 > 10.0.0.2 proto=200 totlen=99",
        "ip 10.0.0.1 > 10.0.0.2 proto=tcp len=3 pad=7",
        "arp 10.0.0.1 > 10.0.0.2 op=request sha=02:00:00:00:00:01 tha=00:00:00:00:00:00 pad=18 smac=02:00:00:00:00:01 dmac=ff:ff:ff:ff:ff:ff",
        "udp 10.0.0.1:1 > 10.0.0.2:2 vlan=100 pcp=3 dei smac=02:00:00:00:00:01 dmac=02:00:00:00:00:02",
        "raw ethertype=0x86dd data=60+39 missing=4",
    ] {
        same(text);
    }
}

#[test]
fn long_payloads_can_be_told_by_their_length() {
    for (text, short) in [
        ("tcp 1.2.3.4:5 > 6.7.8.9:10 flags=S mss=1460 df", None),
        ("udp 1.2.3.4:5 > 6.7.8.9:10 data=\"hello\"", None),
        ("raw ethertype=0x86dd data=60+39", None),
        (
            &format!("udp 1.2.3.4:5 > 6.7.8.9:10 data={}", "01".repeat(60)),
            Some("udp 1.2.3.4:5 > 6.7.8.9:10 len=60"),
        ),
        (
            &format!("raw ethertype=0x86dd data={} missing=2", "61".repeat(60)),
            Some("raw ethertype=0x86dd len=60 missing=2"),
        ),
    ] {
        let packet = parse(text).unwrap();
        assert_eq!(print_short(&packet), short.unwrap_or(text));
        assert_eq!(print_short(&parse(&print_short(&packet)).unwrap()), short.unwrap_or(text));
    }
}

#[test]
fn other_spellings() {
    for (text, canonical) in [
        ("tcp 1.2.3.4:5 > 6.7.8.9:10 SYN,ACK", "tcp 1.2.3.4:5 > 6.7.8.9:10 flags=SA"),
        ("tcp 1.2.3.4:5 > 6.7.8.9:10 flags=RST", "tcp 1.2.3.4:5 > 6.7.8.9:10 flags=R"),
        ("icmp 1.2.3.4 > 6.7.8.9 host-unreachable", "icmp 1.2.3.4 > 6.7.8.9 type=host-unreachable"),
        ("icmp 1.2.3.4 > 6.7.8.9 type=ping id=1", "icmp 1.2.3.4 > 6.7.8.9 type=echo-request id=1 seq=0"),
        ("tcp 1.2.3.4:5>6.7.8.9:10", "tcp 1.2.3.4:5 > 6.7.8.9:10 flags=S"),
        ("udp 1.2.3.4:5 > 6.7.8.9:10 ttl=0x40 dscp=ef ecn=1", "udp 1.2.3.4:5 > 6.7.8.9:10 tos=0xb9"),
        ("icmp 1.2.3.4 > 6.7.8.9 type=3 code=1", "icmp 1.2.3.4 > 6.7.8.9 type=host-unreachable"),
        (
            "icmp 1.2.3.4 > 6.7.8.9 timestamp-request",
            "icmp 1.2.3.4 > 6.7.8.9 type=timestamp-request id=0 seq=0 org=00:00:00.000 recv=00:00:00.000 xmit=00:00:00.000",
        ),
        (
            "icmp 1.2.3.4 > 6.7.8.9 timestamp-reply recv=0xffffffff org=34200250 len=2",
            "icmp 1.2.3.4 > 6.7.8.9 type=timestamp-reply id=0 seq=0 org=09:30:00.250 recv=1193:02:47.295 xmit=00:00:00.000 len=2",
        ),
        (
            "icmp 1.2.3.4 > 6.7.8.9 type=13 data=0208a37a+8",
            "icmp 1.2.3.4 > 6.7.8.9 type=timestamp-request id=0 seq=0 org=09:28:40.570 recv=00:00:00.000 xmit=00:00:00.000",
        ),
        (
            "arp 1.2.3.4 > 1.2.3.5 op=reply smac=02:00:00:00:00:01 dmac=02:00:00:00:00:02",
            "arp 1.2.3.4 > 1.2.3.5 op=reply sha=02:00:00:00:00:01 tha=02:00:00:00:00:02 smac=02:00:00:00:00:01 dmac=02:00:00:00:00:02",
        ),
    ] {
        assert_eq!(parse(text).map(|packet| print(&packet)).as_deref(), Ok(canonical));
        same(canonical);
    }
}

#[test]
fn checksums_are_right_unless_said() {
    for (text, state) in [
        ("tcp 1.2.3.4:5 > 6.7.8.9:10", ChecksumState::Ok),
        ("tcp 1.2.3.4:5 > 6.7.8.9:10 doff=9 data=\"abc\"", ChecksumState::Ok),
        ("tcp 1.2.3.4:5 > 6.7.8.9:10 cksum=bad", ChecksumState::Bad),
        ("udp 1.2.3.4:5 > 6.7.8.9:10 len=9", ChecksumState::Ok),
        ("udp 1.2.3.4:5 > 6.7.8.9:10 len=9 ulen=10", ChecksumState::Ok),
        ("udp 1.2.3.4:5 > 6.7.8.9:10 len=9 ulen=100", ChecksumState::Bad),
        ("udp 1.2.3.4:5 > 6.7.8.9:10 sum=bad", ChecksumState::Bad),
        ("udp 1.2.3.4:5 > 6.7.8.9:10 sum=none", ChecksumState::None),
        ("udp 1.2.3.4:5 > 6.7.8.9:10 len=9 cut=1", ChecksumState::NotKnown),
        ("udp 1.2.3.4:5 > 6.7.8.9:10 mf", ChecksumState::NotKnown),
        ("udplite 1.2.3.4:5 > 6.7.8.9:10 cov=9 len=9", ChecksumState::Ok),
        ("sctp 1.2.3.4:5 > 6.7.8.9:10 len=9", ChecksumState::Ok),
        ("sctp 1.2.3.4:5 > 6.7.8.9:10 sum=bad", ChecksumState::Bad),
        ("icmp 1.2.3.4 > 6.7.8.9 type=8 len=9", ChecksumState::Ok),
        ("icmp 1.2.3.4 > 6.7.8.9 type=8 sum=bad", ChecksumState::Bad),
        ("ip 1.2.3.4 > 6.7.8.9 proto=47 len=9", ChecksumState::None),
    ] {
        let packet = parse(text).unwrap();
        assert_eq!(transport(&packet), state, "{text}");
        assert!(ip_header_ok(packet.l3()));
    }
    assert!(!ip_header_ok(parse("udp 1.2.3.4:5 > 6.7.8.9:10 ipsum=bad").unwrap().l3()));
}

#[test]
fn refusals_point_at_the_word() {
    for (text, offset, part) in [
        ("", 0, "empty"),
        ("tpc 1.2.3.4:5 > 6.7.8.9:10", 0, "unknown protocol"),
        ("tcp 1.2.3.4 > 6.7.8.9:10", 4, "port is missing"),
        ("tcp 1.2.3.4:5 6.7.8.9:10", 14, "`>`"),
        ("tcp 1.2.3.4:5", 13, "`>`"),
        ("tcp 1.2.3.400:5 > 6.7.8.9:10", 4, "IPv4 address"),
        ("tcp 1.2.3.4:70000 > 6.7.8.9:10", 4, "65535"),
        ("tcp [::1]:5 > 6.7.8.9:10", 4, "IPv6"),
        ("udp 1.2.3.4:5 > 6.7.8.9:10 flags=S", 27, "no such key"),
        ("icmp 1.2.3.4:5 > 6.7.8.9 type=8", 5, "no ports"),
        ("icmp 1.2.3.4 > 6.7.8.9", 22, "type="),
        ("icmp 1.2.3.4 > 6.7.8.9 type=3 id=1", 30, "ipid="),
        ("icmp 1.2.3.4 > 6.7.8.9 type=host-unreachable code=2", 45, "another code"),
        ("icmp 1.2.3.4 > 6.7.8.9 type=8 recv=0", 30, "only timestamp"),
        ("icmp 1.2.3.4 > 6.7.8.9 type=13 org=1193:02:47.296", 31, "since midnight"),
        ("icmp 1.2.3.4 > 6.7.8.9 type=13 org=9:30:00.000", 31, "since midnight"),
        ("icmp 1.2.3.4 > 6.7.8.9 type=13 org=09:60:00.000", 31, "since midnight"),
        ("icmp 1.2.3.4 > 6.7.8.9 type=13 org=09:30:00", 31, "since midnight"),
        ("icmp 1.2.3.4 > 6.7.8.9 off=8 org=0", 29, "later fragment"),
        ("icmp 1.2.3.4 > 6.7.8.9 type=8 about (udp 1.2.3.4:5 > 6.7.8.9:10)", 30, "only ICMP errors"),
        ("icmp 1.2.3.4 > 6.7.8.9 type=3 about (udp 1.2.3.4:5 > 6.7.8.9:10", 63, "`)`"),
        ("udp 1.2.3.4:5 > 6.7.8.9:10 ttl=1 ttl=1", 33, "before"),
        ("udp 1.2.3.4:5 > 6.7.8.9:10 ttl=256", 27, "up to 255"),
        ("udp 1.2.3.4:5 > 6.7.8.9:10 ttl", 27, "value is missing"),
        ("udp 1.2.3.4:5 > 6.7.8.9:10 df=1", 27, "no value"),
        ("udp 1.2.3.4:5 > 6.7.8.9:10 len=1 data=00", 27, "already"),
        ("udp 1.2.3.4:5 > 6.7.8.9:10 off=8", 4, "no ports"),
        ("tcp 1.2.3.4 > 6.7.8.9 off=8 flags=S", 28, "later fragment"),
        ("tcp 1.2.3.4 > 6.7.8.9 off=7", 22, "multiple of 8"),
        ("udp 1.2.3.4 > 6.7.8.9 off=8 sum=0x1", 28, "all fragments"),
        ("udp 1.2.3.4:5 > 6.7.8.9:10 mf sum=bad", 30, "all fragments"),
        ("udp 1.2.3.4:5 > 6.7.8.9:10 tos=1 ecn=1", 33, "already"),
        ("tcp 1.2.3.4:5 > 6.7.8.9:10 tcpopts=01010101 mss=1", 44, "already"),
        ("udp 1.2.3.4:5 > 6.7.8.9:10 smac=02:00:00:00:00:01", 27, "both"),
        ("udp 1.2.3.4:5 > 6.7.8.9:10 cut=29", 27, "fewer bytes"),
        ("udp 1.2.3.4:5 > 6.7.8.9:10 data=\"x", 32, "closing"),
        ("udp 1.2.3.4:5 > 6.7.8.9:10 len=65536", 27, "65535"),
        ("arp 1.2.3.4 > 1.2.3.5", 21, "sha="),
        ("ip 1.2.3.4 > 6.7.8.9", 20, "proto="),
    ] {
        let error = parse(text).expect_err(text);
        assert!(error.to_string().contains(part), "{text}: {error}");
        assert_eq!(error.offset, offset, "{text}: {error}");
    }
    let long = format!("udp 1.2.3.4:5 > 6.7.8.9:10 {}", "x".repeat(1000));
    assert_eq!(parse(&long).expect_err("no key").word.len(), 60);
    assert!(parse(&" ".repeat(3_000_000)).is_err());
}

#[test]
fn cut_anywhere_prints_and_parses() {
    for text in [
        "tcp 10.0.0.1:1 > 10.0.0.2:2 flags=PA mss=9 data=\"hello\" opts=94040000 smac=02:00:00:00:00:01 dmac=02:00:00:00:00:02",
        "icmp 10.0.0.1 > 10.0.0.2 type=3 about (tcp 10.0.0.2:1 > 10.0.0.3:2 data=010203)",
        "icmp 10.0.0.1 > 10.0.0.2 timestamp-reply id=7 org=09:30:00.000 recv=1 xmit=2 data=0102",
        "udp 10.0.0.1:1 > 10.0.0.2:2 data=01020304 vlan=7",
        "sctp 10.0.0.1:1 > 10.0.0.2:2 data=01020304",
        "arp 10.0.0.1 > 10.0.0.2 sha=02:00:00:00:00:01",
    ] {
        let whole = parse(text).unwrap();
        for len in 0..=whole.l3().len() {
            for said in [0, whole.l3().len() - len, 1 << 40] {
                let mut cut = whole.clone();
                cut.set_l3(&whole.l3()[..len]);
                let cut = cut.with_missing(said.min(u32::MAX as usize));
                let printed = print(&cut);
                assert_eq!(parse(&printed).as_ref(), Ok(&cut), "{printed}");
            }
        }
        // Nothing that is typed half panics either.
        for len in 0..text.len() {
            let _ = parse(&text[..len]);
        }
    }
}
