//! Captures written and read back, of both formats; files of other writers, built byte by byte; damage at each byte; tcpdump's opinion.

use std::process::Command;

use crate::{
    Capture, CaptureError, CapturedFrame, Format, FrameError, LinkType, Problem, WriteError, read,
    read_bytes, write_pcap, write_pcapng,
};
use pktwalk_packet::spec::{parse, print};

const TEXTS: [&str; 4] = [
    "tcp 10.0.0.1:40000 > 10.0.0.2:80 flags=S mss=1460 smac=02:00:00:00:00:01 dmac=02:00:00:00:00:02",
    "udp 10.0.0.1:40000 > 10.0.0.2:53 len=400 cut=380 smac=02:00:00:00:00:01 dmac=02:00:00:00:00:02",
    "arp 10.0.0.1 > 10.0.0.2 op=request sha=02:00:00:00:00:01 tha=00:00:00:00:00:00 smac=02:00:00:00:00:01 dmac=ff:ff:ff:ff:ff:ff",
    "icmp 10.0.0.1 > 10.0.0.2 type=echo-request id=1 seq=2 smac=02:00:00:00:00:01 dmac=02:00:00:00:00:02",
];

fn frames() -> Vec<CapturedFrame> {
    (1..)
        .zip(TEXTS)
        .map(|(number, text)| {
            let time = 1_700_000_000_123_456_789 + number;
            CapturedFrame { number, ..CapturedFrame::of(&parse(text).unwrap(), time, None) }
        })
        .collect()
}

fn texts(capture: &Capture) -> Vec<String> {
    capture.frames.iter().map(|frame| print(&frame.packet().unwrap())).collect()
}

#[test]
fn classic_round_trip() {
    let mut file = Vec::new();
    write_pcap(&mut file, &frames()).unwrap();
    let capture = read(file.as_slice()).unwrap();
    assert_eq!((capture.format, capture.diagnostics.len()), (Format::Pcap, 0));
    assert_eq!(capture.frames, frames());
    assert_eq!(texts(&capture), TEXTS);
}

fn named() -> Vec<CapturedFrame> {
    let mut frames = frames();
    frames[0].interface = Some("eth0".into());
    frames[1].interface = Some("cali123".into());
    frames[2].interface = Some("eth0".into());
    frames[0].flags = 2;
    frames[1].comments = vec!["dropped by filter FORWARD".into(), "ü".into()];
    let raw = parse("tcp 10.0.0.1:1 > 10.0.0.2:2 flags=RA").unwrap();
    frames.push(CapturedFrame { number: 5, ..CapturedFrame::of(&raw, 7, Some("eth0".into())) });
    frames
}

#[test]
fn pcapng_round_trip() {
    let mut file = Vec::new();
    write_pcapng(&mut file, &named()).unwrap();
    let capture = read(file.as_slice()).unwrap();
    assert_eq!((capture.format, capture.diagnostics.len()), (Format::PcapNg, 0));
    assert_eq!(capture.frames, named());
    assert!(matches!(
        write_pcap(Vec::new(), &named()),
        Err(WriteError::LinkTypes { number: 5, first: LinkType::ETHERNET, other: LinkType::RAW })
    ));
}

#[test]
fn both_byte_orders_and_resolutions_of_pcap() {
    let frame = parse(TEXTS[0]).unwrap().bytes().to_vec();
    for big in [false, true] {
        for (magic, fraction, nanos) in [(0xa1b2_c3d4u32, 123_456, 123_456_000), (0xa1b2_3c4d, 5, 5)] {
            let u32_bytes = |v: u32| if big { v.to_be_bytes() } else { v.to_le_bytes() };
            let u16_bytes = |v: u16| if big { v.to_be_bytes() } else { v.to_le_bytes() };
            let mut file = Vec::new();
            file.extend(u32_bytes(magic));
            file.extend([u16_bytes(2), u16_bytes(4)].concat());
            file.extend([u32_bytes(0), u32_bytes(0), u32_bytes(65535), u32_bytes(1)].concat());
            let len = frame.len() as u32;
            file.extend(
                [u32_bytes(1_700_000_000), u32_bytes(fraction), u32_bytes(len), u32_bytes(len)].concat(),
            );
            file.extend(&frame);
            let capture = read_bytes(&file).unwrap();
            assert_eq!(capture.frames[0].timestamp_ns, 1_700_000_000_000_000_000 + nanos);
            assert_eq!(texts(&capture), [TEXTS[0]]);
        }
    }
}

/// A pcapng block of either byte order.
fn block(big: bool, kind: u32, body: &[u8]) -> Vec<u8> {
    let number = |v: u32| if big { v.to_be_bytes() } else { v.to_le_bytes() };
    let padded = body.len().next_multiple_of(4);
    let len = number(padded as u32 + 12);
    let mut bytes = [number(kind), len].concat();
    bytes.extend_from_slice(body);
    bytes.resize(8 + padded, 0);
    bytes.extend(len);
    bytes
}

/// A section with one interface and the blocks of `rest`.
fn section(big: bool, options: &[u8], rest: &[Vec<u8>]) -> Vec<u8> {
    let number = |v: u32| if big { v.to_be_bytes() } else { v.to_le_bytes() };
    let half = |v: u16| if big { v.to_be_bytes() } else { v.to_le_bytes() };
    let header = [number(0x1a2b_3c4d).to_vec(), half(1).to_vec(), half(0).to_vec(), vec![0xff; 8]].concat();
    let interface = [half(1).to_vec(), half(0).to_vec(), number(0).to_vec(), options.to_vec()].concat();
    let mut file = block(big, 0x0a0d_0d0a, &header);
    file.extend(block(big, 1, &interface));
    file.extend(rest.concat());
    file
}

fn enhanced(big: bool, interface: u32, time: u64, data: &[u8]) -> Vec<u8> {
    let number = |v: u32| if big { v.to_be_bytes() } else { v.to_le_bytes() };
    let len = data.len() as u32;
    let mut body = [interface, (time >> 32) as u32, time as u32, len, len].map(number).concat();
    body.extend_from_slice(data);
    block(big, 6, &body)
}

#[test]
fn pcapng_of_other_writers() {
    let frame = parse(TEXTS[0]).unwrap().bytes().to_vec();
    for big in [false, true] {
        let half = |v: u16| if big { v.to_be_bytes() } else { v.to_le_bytes() };
        let number = |v: u32| if big { v.to_be_bytes() } else { v.to_le_bytes() };
        // Microseconds unless said.
        let simple = block(big, 3, &[number(frame.len() as u32).to_vec(), frame.clone()].concat());
        let unknown = block(big, 0x0000_0bad, &[1, 2, 3, 4, 5]);
        let time = 1_700_000_000_123_456;
        let mut file = section(big, &[], &[enhanced(big, 0, time, &frame), unknown, simple]);
        // A second section, named, with seconds.
        let name = [half(2).to_vec(), half(4).to_vec(), b"eth7".to_vec()].concat();
        let seconds = [half(9).to_vec(), half(1).to_vec(), vec![0, 0, 0, 0]].concat();
        file.extend(section(!big, &[], &[]));
        file.extend(section(big, &[name, seconds].concat(), &[enhanced(big, 0, 5, &frame)]));
        let capture = read_bytes(&file).unwrap();
        assert_eq!(capture.diagnostics, []);
        let seen: Vec<_> =
            capture.frames.iter().map(|f| (f.number, f.timestamp_ns, f.interface.as_deref())).collect();
        assert_eq!(
            seen,
            [(1, 1_700_000_000_123_456_000, None), (2, 0, None), (3, 5_000_000_000, Some("eth7"))]
        );
        assert_eq!(texts(&capture), [TEXTS[0]; 3]);
    }
}

#[test]
fn damage_inside_a_block_loses_that_block_only() {
    let frame = parse(TEXTS[0]).unwrap().bytes().to_vec();
    let file = section(
        true,
        &[],
        &[enhanced(true, 0, 1, &frame), enhanced(true, 9, 2, &frame), enhanced(true, 0, 3, &frame)],
    );
    let capture = read_bytes(&file).unwrap();
    assert_eq!(capture.frames.iter().map(|frame| frame.number).collect::<Vec<_>>(), [1, 3]);
    let [diagnostic] = capture.diagnostics.as_slice() else { panic!("{:?}", capture.diagnostics) };
    assert_eq!(diagnostic.frame, Some(2));
    let at = diagnostic.offset as usize;
    assert_eq!(file[at..at + 4], [0, 0, 0, 6]);
    assert!(matches!(diagnostic.problem, Problem::Block(_)));

    // An interface name that is no UTF-8: the frames are kept.
    let name = [0, 2, 0, 2, 0xff, 0xfe, 0, 0];
    let capture = read_bytes(&section(true, &name, &[enhanced(true, 0, 1, &frame)])).unwrap();
    assert_eq!(texts(&capture), [TEXTS[0]]);
    assert!(matches!(capture.diagnostics[0].problem, Problem::Interface(_)));
}

#[test]
fn broken_off_at_each_byte() {
    let mut classic = Vec::new();
    write_pcap(&mut classic, &frames()).unwrap();
    let mut ng = Vec::new();
    write_pcapng(&mut ng, &named()).unwrap();
    for file in [classic, ng] {
        let whole = read_bytes(&file).unwrap();
        let mut last = 0;
        for len in 0..file.len() {
            match read_bytes(&file[..len]) {
                Ok(capture) => {
                    let count = capture.frames.len();
                    assert!(count >= last && count <= whole.frames.len());
                    assert_eq!(capture.frames, whole.frames[..count]);
                    last = count;
                    if let [diagnostic] = capture.diagnostics.as_slice() {
                        assert!(
                            matches!(diagnostic.problem, Problem::BrokenOff { .. }),
                            "{len}: {diagnostic}"
                        );
                        assert!(diagnostic.offset < len as u64);
                    } else {
                        // Broken off between two records: nothing tells.
                        assert_eq!(capture.diagnostics, [], "{len}");
                    }
                }
                Err(CaptureError::Empty | CaptureError::Header(_) | CaptureError::Magic(_)) => {
                    assert!(len < 28);
                }
                Err(error) => panic!("{len}: {error}"),
            }
        }
    }
}

#[test]
fn garbled_at_each_byte() {
    let mut classic = Vec::new();
    write_pcap(&mut classic, &frames()).unwrap();
    let mut ng = Vec::new();
    write_pcapng(&mut ng, &named()).unwrap();
    for file in [classic, ng] {
        for at in 0..file.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff, file[at] ^ 1, file[at].wrapping_add(4)] {
                let mut garbled = file.clone();
                garbled[at] = value;
                if let Ok(capture) = read_bytes(&garbled) {
                    for frame in &capture.frames {
                        if let Ok(packet) = frame.packet() {
                            assert_eq!(parse(&print(&packet)), Ok(packet));
                        }
                        let _ = frame.cooked();
                    }
                    for diagnostic in &capture.diagnostics {
                        assert!(diagnostic.to_string().starts_with("byte "));
                    }
                }
            }
        }
    }
}

#[test]
fn link_types() {
    let ip = parse("udp 10.0.0.1:1 > 10.0.0.2:2 data=\"x\"").unwrap();
    let frame = |link_type: LinkType, head: &[u8]| CapturedFrame {
        number: 1,
        link_type,
        timestamp_ns: 0,
        orig_len: 0,
        data: [head, ip.bytes()].concat(),
        interface: None,
        comments: Vec::new(),
        flags: 0,
    };
    let sll = [0, 4, 0, 1, 0, 6, 2, 0, 0, 0, 0, 9, 0, 0, 8, 0];
    let sll2 = [8, 0, 0, 0, 0, 0, 0, 7, 0, 1, 4, 6, 2, 0, 0, 0, 0, 9, 0, 0];
    for (link_type, head) in [
        (LinkType::RAW, &[][..]),
        (LinkType::IPV4, &[]),
        (LinkType::NULL, &[2, 0, 0, 0]),
        (LinkType::NULL, &[0, 0, 0, 2]),
        (LinkType::LOOP, &[0, 0, 0, 2]),
        (LinkType::LINUX_SLL, &sll),
        (LinkType::LINUX_SLL2, &sll2),
    ] {
        let frame = frame(link_type, head);
        assert_eq!(frame.packet().as_ref(), Ok(&ip), "{link_type}");
        for len in 0..frame.data.len() {
            let _ = CapturedFrame { data: frame.data[..len].to_vec(), ..frame.clone() }.packet();
        }
    }
    let cooked = frame(LinkType::LINUX_SLL2, &sll2).cooked().unwrap();
    assert_eq!((cooked.packet_type, cooked.ifindex), (4, Some(7)));
    assert_eq!(cooked.source.unwrap().to_string(), "02:00:00:00:00:09");
    assert_eq!(frame(LinkType(105), &[]).packet(), Err(FrameError::LinkType(LinkType(105))));
    assert_eq!(frame(LinkType::NULL, &[0, 0, 0, 99]).packet(), Err(FrameError::Family(99)));
    assert_eq!(frame(LinkType::RAW, &[0x12]).packet(), Err(FrameError::NotIp(0x12)));
    // ARP without a link-layer header goes into a cooked frame and comes out.
    let arp = parse("arp 10.0.0.1 > 10.0.0.2 op=request sha=02:00:00:00:00:01").unwrap();
    assert_eq!(CapturedFrame::of(&arp, 0, None).packet(), Ok(arp));
}

#[test]
fn no_captures() {
    assert!(matches!(read_bytes(&[]), Err(CaptureError::Empty)));
    assert!(matches!(read_bytes(&[0x1f, 0x8b, 8, 0]), Err(CaptureError::Compressed("gzip"))));
    assert!(matches!(read_bytes(b"# nothing"), Err(CaptureError::Magic(_))));
}

/// What tcpdump makes of a file, one line for each frame; `None` if tcpdump is not there.
fn tcpdump(file: &[u8]) -> Option<String> {
    let mut temp = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut temp, file).unwrap();
    let output = Command::new("tcpdump").args(["-nn", "-tt", "--nano", "-r"]).arg(temp.path()).output();
    let Ok(output) = output else {
        pktwalk_skip::skip("tcpdump_reads_the_same", "tcpdump is not installed");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn tcpdump_reads_the_same() {
    let mut classic = Vec::new();
    write_pcap(&mut classic, &frames()).unwrap();
    let mut ng = Vec::new();
    let mut same_link = named();
    same_link.truncate(4);
    write_pcapng(&mut ng, &same_link).unwrap();
    for file in [classic, ng] {
        let Some(text) = tcpdump(&file) else { return };
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        let capture = read_bytes(&file).unwrap();
        let told = [
            "IP 10.0.0.1.40000 > 10.0.0.2.80: Flags [S], seq 0, win 64240, options [mss 1460], length 0",
            "IP 10.0.0.1.40000 > 10.0.0.2.53: ",
            "ARP, Request who-has 10.0.0.2 tell 10.0.0.1, length 28",
            "IP 10.0.0.1 > 10.0.0.2: ICMP echo request, id 1, seq 2, length 8",
        ];
        for ((line, frame), told) in lines.iter().zip(&capture.frames).zip(told) {
            let time =
                format!("{}.{:09}", frame.timestamp_ns / 1_000_000_000, frame.timestamp_ns % 1_000_000_000);
            assert!(line.starts_with(&time), "{time}: {line}");
            assert!(line.contains(told), "{line}");
        }
    }
}

/// What is no capture may have no end, and a capture may be too long.
#[test]
fn what_has_no_end_is_refused() {
    assert!(matches!(read(std::io::repeat(0)), Err(CaptureError::Magic(_))));
    let header = [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0];
    let endless = std::io::Read::chain(&header[..], std::io::repeat(0));
    assert!(matches!(crate::read_at_most(endless, 10_000), Err(CaptureError::TooLarge(10_000))));
    assert_eq!(crate::read_at_most(&header[..], 24).unwrap().frames.len(), 0);
    assert!(matches!(crate::read_at_most(&header[..], 23), Err(CaptureError::TooLarge(23))));
}
