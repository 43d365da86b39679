//! Captures: what their headers say beside the packets, what is left out of them, and that the exit status is that of all of it.

mod common;

use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::router;
use pktwalk_capture::{CapturedFrame, LinkType, write_pcap, write_pcapng};
use pktwalk_packet::spec;
use serde_json::Value;

fn node(name: &str) -> PathBuf {
    router(&format!("captures-{name}"), 1500, &[])
}

/// Exit status, and both outputs as one line.
fn trace(node: &Path, args: &[&str]) -> (i32, String) {
    let (code, text) = common::trace(node, &[&["--no-reply"], args].concat());
    (code, text.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn frame(link_type: LinkType, head: &[u8], text: &str) -> CapturedFrame {
    let packet = spec::parse(text).expect("a packet");
    let data = [head, packet.bytes()].concat();
    CapturedFrame {
        number: 0,
        link_type,
        timestamp_ns: 0,
        orig_len: data.len() as u32,
        data,
        interface: None,
        comments: Vec::new(),
        flags: 0,
    }
}

fn save(node: &Path, name: &str, frames: &[CapturedFrame], ng: bool) -> String {
    let mut bytes = Vec::new();
    if ng { write_pcapng(&mut bytes, frames) } else { write_pcap(&mut bytes, frames) }.expect("written");
    let file =
        node.with_file_name(format!("{}-{name}", node.file_name().expect("a folder").to_string_lossy()));
    fs::write(&file, bytes).expect("file");
    file.display().to_string()
}

const FORWARD: &str = "udp 192.0.2.9:1 > 198.51.100.9:2 len=4";

/// A cooked frame of version 2: seen on the interface of this number, with this packet type.
fn cooked(ifindex: u8, packet_type: u8) -> CapturedFrame {
    let head = [8, 0, 0, 0, 0, 0, 0, ifindex, 0, 1, packet_type, 6, 2, 0, 0, 0, 0, 9, 0, 0];
    frame(LinkType::LINUX_SLL2, &head, FORWARD)
}

#[test]
fn packet_types_of_cooked_headers_count() {
    let node = node("types");
    let sll = |packet_type| {
        frame(LinkType::LINUX_SLL, &[0, packet_type, 0, 1, 0, 6, 2, 0, 0, 0, 0, 9, 0, 0, 8, 0], FORWARD)
    };
    let v1 = save(&node, "types.pcap", &[0, 1, 2, 3, 4].map(sll), false);
    let v2 = save(&node, "types2.pcap", &[0, 1, 2, 3, 4].map(|packet_type| cooked(2, packet_type)), false);
    for file in [v1, v2] {
        let (code, text) = trace(&node, &["--at", "eth0", "--detail", "minimal", "--pcap", &file]);
        assert_eq!(code, 1, "{text}");
        for words in [
            "1: FORWARDED out by eth1",
            "2: DROPPED",
            "LINK_BROADCAST_FORWARD",
            "3: DROPPED",
            "4: DROPPED receive: the frame is for fe:ff:ff:ff:ff:fe, which is not eth0 OTHER_HOST",
            "1 packet of the capture is left out: sent by the node that captured (the first is packet 5)",
            "not for this host alone: 3;",
        ] {
            assert!(text.contains(words), "`{words}`: {text}");
        }
    }
    // The other way round: what the node sent is what is made here.
    let file = save(&node, "made.pcap", &[0, 4].map(|packet_type| cooked(2, packet_type)), false);
    let (_, text) = trace(&node, &["--from-local", "--detail", "minimal", "--pcap", &file]);
    assert!(text.contains("received, not sent, by the node that captured (the first is packet 1)"), "{text}");
}

#[test]
fn interfaces_of_a_capture_are_matched_to_devices() {
    let node = node("interfaces");
    let file = save(&node, "any.pcap", &[cooked(3, 0), cooked(2, 0), cooked(3, 0)], false);
    // Received by eth1, the source is on the wrong side.
    let (_, text) = trace(&node, &["--detail", "full", "--pcap", &file]);
    for words in ["1: ", "2: FORWARDED out by eth1", "received by eth1", "received by eth0"] {
        assert!(text.contains(words), "`{words}`: {text}");
    }
    let (code, text) = trace(&node, &["--at", "eth0", "--pcap", &file]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("2 packets of the capture are left out: captured on eth1"), "{text}");
    assert!(text.contains("FORWARDED out by eth1") && !text.contains("received by eth1"), "{text}");
    let (code, text) = trace(&node, &["--pcap", &save(&node, "other.pcap", &[cooked(9, 0)], false)]);
    assert_eq!(code, 2);
    assert!(text.contains("packet 1 was captured on interface 9, which the node does not have"), "{text}");

    let named = |dev: &str, flags| {
        let text = format!("{FORWARD} smac=02:00:00:00:00:09 dmac=02:00:00:00:00:01");
        CapturedFrame { interface: Some(dev.to_owned()), flags, ..frame(LinkType::ETHERNET, &[], &text) }
    };
    let file = save(&node, "named.pcapng", &[named("eth1", 0), named("eth0", 1), named("eth0", 2)], true);
    let (code, text) = trace(&node, &["--at", "eth0", "--pcap", &file]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("1 packet of the capture is left out: captured on eth1"), "{text}");
    assert!(text.contains("left out: sent by the node that captured (the first is packet 3)"), "{text}");
    let file = save(&node, "elsewhere.pcapng", &[named("ens5", 0)], true);
    let (code, text) = trace(&node, &["--at", "eth0", "--pcap", &file]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("the capture is of ens5; its packets enter at eth0, as told"), "{text}");
}

#[test]
fn merged_segments_are_walked_as_segments() {
    let node = node("merged");
    let text =
        "tcp 192.0.2.9:1 > 198.51.100.9:2 flags=PA len=4344 df smac=02:00:00:00:00:09 dmac=02:00:00:00:00:01";
    let file = save(&node, "long.pcap", &[frame(LinkType::ETHERNET, &[], text)], false);
    let (code, text) = trace(&node, &["--at", "eth0", "--pcap", &file, "-o", "jsonl"]);
    assert_eq!(code, 0, "{text}");
    assert_eq!(text.matches("\"disposition\":\"FORWARDED\"").count(), 3, "{text}");
    assert!(text.contains("1 TCP packet of the capture, longer than the MTU of the device"), "{text}");
    let (code, text) = trace(&node, &["--at", "eth0", "-p", "tcp 192.0.2.9:1 > 198.51.100.9:2 len=4344 df"]);
    assert_eq!(code, 1, "a packet that is written is what is written: {text}");
}

#[test]
fn packets_keep_their_numbers() {
    let node = node("numbers");
    let own = format!("{FORWARD} smac=02:00:00:00:00:01 dmac=02:00:00:00:00:09");
    let theirs = format!("{FORWARD} smac=02:00:00:00:00:09 dmac=02:00:00:00:00:01");
    let frames = [&own, &theirs, &own, &theirs].map(|text| frame(LinkType::ETHERNET, &[], text));
    let file = save(&node, "numbers.pcap", &frames, false);
    let (_, text) = trace(&node, &["--at", "eth0", "--detail", "minimal", "--pcap", &file]);
    assert!(
        text.contains("2: FORWARDED") && text.contains("4: FORWARDED") && !text.contains("1: "),
        "{text}"
    );
    let (_, text) = trace(&node, &["--at", "eth0", "-q", "-o", "jsonl", "--pcap", &file]);
    assert_eq!(text, "");
    let output = Command::new(env!("CARGO_BIN_EXE_pktwalk"))
        .args(["trace", "--at", "eth0", "-o", "jsonl", "--pcap", &file, "--bundle"])
        .arg(&node)
        .output()
        .expect("pktwalk runs");
    let numbers: Vec<(Value, Value)> = String::from_utf8(output.stdout)
        .expect("UTF-8")
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .map(|document| (document["index"].clone(), document["number"].clone()))
        .collect();
    assert_eq!(numbers, [(0.into(), 2.into()), (1.into(), 4.into())]);
}

#[test]
fn what_was_said_of_a_capture_is_said_where_it_ends_in_an_error() {
    let node = node("errors");
    let frames = [frame(LinkType(105), &[0; 4], FORWARD)];
    let file = save(&node, "wlan.pcap", &frames, false);
    let (code, text) = trace(&node, &["--at", "eth0", "--pcap", &file]);
    assert_eq!(code, 2);
    assert!(
        text.contains("there is no packet to walk in it") && text.contains("packet 1: link type"),
        "{text}"
    );
    let file = save(&node, "nowhere.pcap", &[cooked(2, 4), cooked(2, 0)], false);
    let (code, text) = trace(&node, &["--at", "eth7", "--pcap", &file]);
    assert_eq!(code, 2);
    assert!(
        text.contains("left out: sent by the node") && text.contains("there is no device eth7"),
        "{text}"
    );
}

/// Many packets, of which the last one alone is dropped.
fn many(node: &Path, count: usize) -> String {
    let mut frames = vec![frame(LinkType::RAW, &[], FORWARD); count];
    frames.push(frame(LinkType::RAW, &[], "udp 192.0.2.9:1 > 203.0.113.9:2"));
    save(node, "many.pcap", &frames, false)
}

#[test]
fn a_reader_that_goes_away_changes_no_exit_status() {
    let node = node("pipe");
    let file = many(&node, 500);
    for _ in 0..3 {
        let mut child = Command::new(env!("CARGO_BIN_EXE_pktwalk"))
            .args(["trace", "--at", "eth0", "--pcap", &file, "--bundle"])
            .arg(&node)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("pktwalk runs");
        // One byte, as `head` would take, and then nothing more.
        let mut byte = [0];
        let mut stdout = child.stdout.take().expect("a pipe");
        stdout.read_exact(&mut byte).expect("something is printed");
        drop(stdout);
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Kilobytes of address space: the program, the capture and its packets, but not what was recorded of each.
const LIMIT_KB: u64 = 80_000;

#[test]
fn long_captures_are_not_kept() {
    let node = node("long");
    let file = many(&node, 40_000);
    for form in ["text", "jsonl"] {
        let mut command = String::new();
        write!(command, "ulimit -v {LIMIT_KB} && exec \"$0\" \"$@\" > /dev/null").expect("text");
        let status = Command::new("sh")
            .args(["-c", &command, env!("CARGO_BIN_EXE_pktwalk")])
            .args(["trace", "--no-reply", "--at", "eth0", "-o", form, "--pcap", &file, "--bundle"])
            .arg(&node)
            .stdin(Stdio::null())
            .status()
            .expect("sh runs");
        assert_eq!(status.code(), Some(1), "{form}");
    }
}
