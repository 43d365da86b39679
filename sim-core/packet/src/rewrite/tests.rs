use super::*;
use crate::spec::{parse, print};
use crate::verify::{ChecksumState, ip_header_ok, transport};

/// A writer with the same argument types for all fields.
type Writer = fn(&mut [u8], u32) -> bool;

const WRITERS: [Writer; 8] = [
    set_src,
    set_dst,
    |l3, value| set_ttl(l3, value as u8),
    |l3, value| set_tos(l3, value as u8),
    |l3, value| set_id(l3, value as u16),
    |l3, value| set_port_src(l3, value as u16),
    |l3, value| set_port_dst(l3, value as u16),
    |l3, value| set_icmp_id(l3, value as u16),
];

const TEXTS: [&str; 7] = [
    "tcp 10.0.0.1:1 > 10.0.0.2:2 flags=S mss=1460",
    "udp 10.0.0.1:1 > 10.0.0.2:2 data=0102",
    "udp 10.0.0.1:1 > 10.0.0.2:2 data=0102 sum=none",
    "udplite 10.0.0.1:1 > 10.0.0.2:2 data=0102",
    "sctp 10.0.0.1:1 > 10.0.0.2:2 data=0102",
    "icmp 10.0.0.1 > 10.0.0.2 type=8 id=1 seq=1",
    "ip 10.0.0.1 > 10.0.0.2 proto=gre data=0102 opts=94040000",
];

#[test]
fn right_stays_right() {
    for text in TEXTS {
        for writer in WRITERS {
            for value in [0, 1, 0x0a00_0001, 0xffff_ffff, 0x0000_ffff, 0xffff_0000, 0x1234_5678] {
                let mut packet = parse(text).unwrap();
                let before = transport(&packet);
                writer(packet.l3_mut(), value);
                assert!(ip_header_ok(packet.l3()), "{text} {value:#x}: {}", print(&packet));
                assert_eq!(transport(&packet), before, "{text} {value:#x}: {}", print(&packet));
            }
        }
    }
}

#[test]
fn wrong_stays_wrong() {
    let mut packet = parse("tcp 10.0.0.1:1 > 10.0.0.2:2 flags=S sum=bad ipsum=bad").unwrap();
    assert!(set_src(packet.l3_mut(), 7) && set_port_dst(packet.l3_mut(), 7) && set_ttl(packet.l3_mut(), 7));
    assert!(!ip_header_ok(packet.l3()));
    assert_eq!(transport(&packet), ChecksumState::Bad);
}

#[test]
fn udp_zero_is_never_the_result() {
    for port in 0..=0xffff {
        let mut packet = parse("udp 10.0.0.1:1 > 10.0.0.2:2").unwrap();
        assert!(set_port_src(packet.l3_mut(), port));
        assert_eq!(transport(&packet), ChecksumState::Ok, "{port}");
    }
}

#[test]
fn fragments_and_cuts() {
    let mut later = parse("tcp 10.0.0.1 > 10.0.0.2 off=8 len=40").unwrap();
    let data = later.l3()[20..].to_vec();
    assert!(set_src(later.l3_mut(), 7) && !set_port_src(later.l3_mut(), 7));
    assert_eq!(later.l3()[20..], data);

    for text in TEXTS {
        let whole = parse(text).unwrap();
        for len in 0..whole.l3().len() {
            for writer in WRITERS {
                let mut bytes = whole.l3()[..len].to_vec();
                writer(&mut bytes, 0x0102_0304);
                assert_eq!(bytes.len(), len);
            }
            let mut bytes = whole.l3()[..len].to_vec();
            let _ = set_mss(&mut bytes, 100);
            let _ = redo_icmp_checksum(&mut bytes);
        }
    }
    // Eight bytes of TCP, as an ICMP error quotes them: the port changes, there is no checksum.
    let mut quoted = parse("tcp 10.0.0.1:1 > 10.0.0.2:2 cut=12").unwrap();
    assert!(set_port_src(quoted.l3_mut(), 9));
    assert_eq!(quoted.l3()[20..28], [0, 9, 0, 2, 0, 0, 0, 0]);
}

#[test]
fn mss_is_lowered_or_inserted() {
    let change = |text: &str, mss: u16| {
        let mut packet = parse(text).unwrap();
        let mut l3 = packet.l3().to_vec();
        let changed = set_mss(&mut l3, mss).unwrap();
        packet.set_l3(&l3);
        assert_eq!(transport(&packet), ChecksumState::Ok);
        assert!(ip_header_ok(packet.l3()));
        (changed, print(&packet))
    };
    assert_eq!(
        change("tcp 1.2.3.4:5 > 6.7.8.9:10 mss=1460 wscale=7", 1400),
        (true, "tcp 1.2.3.4:5 > 6.7.8.9:10 flags=S mss=1400 wscale=7".into())
    );
    assert!(!change("tcp 1.2.3.4:5 > 6.7.8.9:10 mss=1300", 1400).0);
    assert_eq!(
        change("tcp 1.2.3.4:5 > 6.7.8.9:10", 1400),
        (true, "tcp 1.2.3.4:5 > 6.7.8.9:10 flags=S mss=536".into())
    );
    assert!(!change("tcp 1.2.3.4:5 > 6.7.8.9:10 data=00", 1400).0);
    // At an odd place the kernel's update of the checksum is wrong.
    let mut packet = parse("tcp 1.2.3.4:5 > 6.7.8.9:10 tcpopts=010204058c010101").unwrap();
    let mut l3 = packet.l3().to_vec();
    assert_eq!(set_mss(&mut l3, 1000), Ok(true));
    packet.set_l3(&l3);
    assert_eq!(transport(&packet), ChecksumState::Bad);
}
