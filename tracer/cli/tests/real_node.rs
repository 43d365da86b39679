//! What stands in bundles of real nodes and in no scenario: tunnels, JSON in one line, processes that listen, rules of an unknown backend.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pktwalk_capture::{CapturedFrame, LinkType, write_pcap};
use pktwalk_packet::checksum::{finish, pseudo_header};
use pktwalk_packet::spec;
use pktwalk_skip::skip_unprivileged;

const LINK: &str = concat!(
    r#"[{"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP","LOWER_UP"],"mtu":65536,"link_type":"loopback","address":"00:00:00:00:00:00"},"#,
    r#"{"ifindex":2,"ifname":"eth0","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],"mtu":1500,"link_type":"ether","address":"02:00:00:00:00:01"},"#,
    r#"{"ifindex":3,"ifname":"vx0","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],"mtu":1450,"link_type":"ether","address":"02:00:00:00:00:03","#,
    r#""linkinfo":{"info_kind":"vxlan","info_data":{"id":7,"link":"eth0","port":4789}}}]"#
);

const ADDR: &str = concat!(
    r#"[{"ifindex":1,"ifname":"lo","addr_info":[{"family":"inet","local":"127.0.0.1","prefixlen":8,"scope":"host"}]},"#,
    r#"{"ifindex":2,"ifname":"eth0","addr_info":[{"family":"inet","local":"192.0.2.1","prefixlen":24,"broadcast":"192.0.2.255","scope":"global"}]},"#,
    r#"{"ifindex":3,"ifname":"vx0","addr_info":[{"family":"inet","local":"10.8.0.0","prefixlen":32,"scope":"global"}]}]"#
);

const ROUTES: &str = concat!(
    r#"[{"dst":"default","gateway":"192.0.2.254","dev":"eth0","flags":[]},"#,
    r#"{"dst":"10.8.1.0/24","gateway":"10.8.1.0","dev":"vx0","flags":["onlink"]},"#,
    r#"{"dst":"192.0.2.0/24","dev":"eth0","protocol":"kernel","scope":"link","prefsrc":"192.0.2.1","flags":[]},"#,
    r#"{"type":"local","dst":"10.8.0.0","dev":"vx0","table":"local","protocol":"kernel","scope":"host","prefsrc":"10.8.0.0","flags":[]},"#,
    r#"{"type":"local","dst":"192.0.2.1","dev":"eth0","table":"local","protocol":"kernel","scope":"host","prefsrc":"192.0.2.1","flags":[]}]"#
);

const ROUTE_TEXT: &str = "\
default via 192.0.2.254 dev eth0 
10.8.1.0/24 via 10.8.1.0 dev vx0 onlink 
192.0.2.0/24 dev eth0 proto kernel scope link src 192.0.2.1 
local 10.8.0.0 dev vx0 table local proto kernel scope host src 10.8.0.0 
local 192.0.2.1 dev eth0 table local proto kernel scope host src 192.0.2.1 
fe80::/64 dev eth0 proto kernel metric 256 pref medium
";

const NEIGH: &str = r#"[{"dst":"192.0.2.254","dev":"eth0","lladdr":"02:00:00:00:00:fe","state":["REACHABLE"]},{"dst":"192.0.2.9","dev":"eth0","lladdr":"02:00:00:00:00:09","state":["REACHABLE"]}]"#;

const FDB: &str =
    r#"[{"mac":"02:00:00:00:00:04","ifname":"vx0","dst":"192.0.2.77","flags":["self"],"state":"permanent"}]"#;

/// Two processes share port 22, and the last socket is the kernel's own.
const SS: &str = "\
tcp LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:((\"sshd\",pid=812,fd=3)) ino:1 sk:1 <->
tcp LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:((\"sshd\",pid=813,fd=3)) ino:2 sk:2 <->
udp UNCONN 0 0 0.0.0.0:4789 0.0.0.0:* ino:3 sk:3 <->
";

const RULES: &str = "\
*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -p udp -m udp --dport 4789 -j NOTRACK
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -p tcp -m tcp --dport 23 -j DROP
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
";

const SYSCTL: &str = "net.ipv4.ip_forward = 1\nnet.netfilter.nf_log.2 = NONE\n";

fn node(name: &str) -> String {
    let folder: PathBuf = Path::new(env!("CARGO_TARGET_TMPDIR")).join("real_node").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("folder");
    for (file, text) in [
        ("ip-link.json", LINK),
        ("ip-addr.json", ADDR),
        ("ip-route.json", ROUTES),
        ("ip-route", ROUTE_TEXT),
        ("ip-neigh.json", NEIGH),
        ("bridge-fdb.json", FDB),
        ("ss", SS),
        ("iptables-save", RULES),
        ("sysctl", SYSCTL),
    ] {
        fs::write(folder.join(file), text).expect("file");
    }
    folder.display().to_string()
}

/// Exit code, and both outputs with the breaks of lines taken out.
fn run(args: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_pktwalk"))
        .args(args)
        .env_remove("COLUMNS")
        .stdin(Stdio::null())
        .output()
        .expect("pktwalk runs");
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    (output.status.code().expect("it was not killed"), text)
}

#[test]
fn who_listens_and_where_things_stand_is_told() {
    let node = node("told");
    let (code, text) =
        run(&["trace", "--bundle", &node, "--at", "eth0", "-p", "tcp 192.0.2.9:1 > 192.0.2.1:22 flags=S"]);
    assert_eq!(code, 0, "{text}");
    for words in [
        "DELIVERED to a local tcp socket, 192.0.2.1:22 (sshd pid 812)",
        // Not line 1 of the JSON, where all of them stand.
        "192.0.2.1 ip-route:5",
        // Nothing says which backend the rules run on.
        "assumed: the rules run on nft",
    ] {
        assert!(text.contains(words), "`{words}` is not told: {text}");
    }
    let (code, text) =
        run(&["trace", "--bundle", &node, "--at", "eth7", "-s", "192.0.2.9", "-d", "192.0.2.1:22"]);
    assert_eq!(code, 2);
    assert!(text.contains("there is no device eth7; there is lo, eth0, vx0"), "{text}");
}

#[test]
fn a_process_that_sends_takes_the_reply() {
    let node = node("sender");
    for protocol in ["tcp", "udp"] {
        let packet = format!("{protocol} 192.0.2.1:40000 > 192.0.2.9:80");
        let (code, text) = run(&["trace", "--bundle", &node, "--from-local", "-p", &packet]);
        assert_eq!(code, 0, "{text}");
        let words = format!("reply: DELIVERED to a local {protocol} socket, 192.0.2.1:40000 (the sender)");
        assert!(text.contains(&words), "{text}");
    }
}

#[test]
fn tunnels_are_named_and_not_guessed() {
    let node = node("tunnel");
    let (code, text) =
        run(&["trace", "--bundle", &node, "--from-local", "-p", "udp 10.8.0.0:1 > 10.8.1.5:2"]);
    assert_eq!(code, 3, "{text}");
    assert!(
        text.contains("UNKNOWN device vx0: not modelled: a device of kind vxlan UNKNOWN_DEVICE"),
        "{text}"
    );
    assert!(text.contains("vx0, a device of kind vxlan ip-link.json:1"), "{text}");
    // The kernel unpacks what comes to the port of the tunnel, though a socket stands in the list.
    let (code, text) =
        run(&["trace", "--bundle", &node, "--at", "eth0", "-p", "udp 192.0.2.77:1 > 192.0.2.1:4789 len=50"]);
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("vx0 (a vxlan device), which takes UDP port 4789 ip-link.json:1"), "{text}");
    // What made the packet untracked is told, though it changed no byte.
    assert!(text.contains("1 -p udp -m udp --dport 4789 -j NOTRACK iptables-save:4"), "{text}");
}

/// As a capture at `eth0` of two hosts on one machine: both directions, sums left to the device, and one frame that was cut off.
#[test]
fn captures_hold_both_directions_and_unfinished_checksums() {
    let frame = |number: u64, text: &str, keep: usize| {
        let packet = spec::parse(text).expect("a packet");
        let mut data = packet.bytes().to_vec();
        let orig_len = data.len() as u32;
        let (src, dst) = (u32::from_be_bytes([192, 0, 2, 9]), u32::from_be_bytes([192, 0, 2, 1]));
        let pseudo = !finish(pseudo_header(src, dst, 6, orig_len - 34));
        data[50..52].copy_from_slice(&pseudo.to_be_bytes());
        data.truncate(keep);
        CapturedFrame {
            number,
            link_type: LinkType::ETHERNET,
            timestamp_ns: number,
            orig_len,
            data,
            interface: None,
            comments: Vec::new(),
            flags: 0,
        }
    };
    let (theirs, ours) = ("02:00:00:00:00:09", "02:00:00:00:00:01");
    let frames = [
        frame(1, &format!("tcp 192.0.2.9:1 > 192.0.2.1:22 flags=S smac={theirs} dmac={ours}"), 100),
        frame(2, &format!("tcp 192.0.2.1:22 > 192.0.2.9:1 flags=SA smac={ours} dmac={theirs}"), 100),
        frame(3, &format!("tcp 192.0.2.9:2 > 192.0.2.1:22 flags=S len=200 smac={theirs} dmac={ours}"), 60),
        frame(4, &format!("tcp 192.0.2.9:3 > 192.0.2.1:22 flags=S smac={theirs} dmac={ours}"), 40),
    ];
    let node = node("captures");
    let file = Path::new(&node).join("../both.pcap");
    let mut bytes = Vec::new();
    write_pcap(&mut bytes, &frames).expect("written");
    fs::write(&file, bytes).expect("file");
    let trace = |file: &str| run(&["trace", "--bundle", &node, "--at", "eth0", "--no-reply", "--pcap", file]);
    let file = file.display().to_string();
    let (code, text) = trace(&file);
    assert_eq!(code, 3, "the last one is not known: {text}");
    for words in [
        "1: DELIVERED to a local tcp socket, 192.0.2.1:22",
        // Cut off behind its headers.
        "3: DELIVERED to a local tcp socket, 192.0.2.1:22",
        "4: UNKNOWN the capture cut the packet off where its bytes decide",
        "1 packet of the capture is left out: sent by the device itself",
        "(offload): 2; it is filled in",
    ] {
        assert!(text.contains(words), "`{words}`: {text}");
    }
    let (code, text) = trace(&format!("{file}:2"));
    assert_eq!(code, 2);
    assert!(text.contains("holds nothing that the device received"), "{text}");
}

#[test]
fn copies_stand_beside_what_the_kernel_saw_of_them() {
    if skip_unprivileged("copies_stand_beside_what_the_kernel_saw_of_them") {
        return;
    }
    for folder in ["50-local/heard-by-its-sender", "60-bridge/promiscuous", "40-routing/redirect"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios").join(folder);
        let (code, text) = run(&["verify", &folder.display().to_string()]);
        assert_eq!(code, 0, "{text}");
        assert!(text.contains("AGREE "), "{text}");
        // The legend's own is none.
        assert_eq!(text.matches('!').count(), 1, "{text}");
    }
}

/// The verdict of each backend, and of both first and last.
fn agree_on_both(text: &str) -> bool {
    let overall = "AGREE rules on legacy AGREE, on nft AGREE";
    text.starts_with(overall)
        && text.rfind(overall) > text.rfind(", rules on nft, kernel ")
        && text.matches("AGREE 1 packet, ").count() + text.matches("AGREE 2 packets, ").count() == 2
}

#[test]
fn the_kernel_agrees_on_such_a_node() {
    if skip_unprivileged("the_kernel_agrees_on_such_a_node") {
        return;
    }
    let node = node("kernel");
    let verify =
        |more: &[&str]| run(&[&["verify", "--backend", "both", "--bundle", node.as_str()], more].concat());
    for packet in [
        // A process answers in truth; here the answer is a packet of its own.
        &["--at", "eth0", "-p", "tcp 192.0.2.9:1 > 192.0.2.1:22 flags=S"][..],
        &["--at", "eth0", "-p", "tcp 192.0.2.9:1 > 192.0.2.1:23 flags=S"],
        &["--at", "eth0", "-p", "tcp 192.0.2.9:1 > 192.0.2.1:24 flags=S"],
        // The kernel would choose an identification.
        &["--from-local", "-p", "udp 192.0.2.1:40000 > 192.0.2.9:80"],
    ] {
        let (code, text) = verify(packet);
        assert_eq!(code, 0, "{packet:?}: {text}");
        assert!(agree_on_both(&text), "{packet:?}: {text}");
        assert_eq!(text.contains("sent by raw sockets"), packet[0] == "--from-local", "{text}");
    }
    let (code, text) = verify(&["--from-local", "-p", "udp 10.8.0.0:1 > 10.8.1.5:2"]);
    assert_eq!(code, 3, "{text}");
    assert_eq!(text.matches("UNKNOWN 1 packet, ").count(), 2, "{text}");
    // An `iptables-legacy-save` of tables that were once looked at must not flush the rules: the packet to port 23 is dropped.
    let empty = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n";
    fs::write(Path::new(&node).join("iptables-legacy-save"), empty).expect("file");
    let packet = ["--at", "eth0", "-p", "tcp 192.0.2.9:1 > 192.0.2.1:23 flags=S"];
    for backend in ["both", "bundle"] {
        let (code, text) =
            run(&[&["verify", "--backend", backend, "--bundle", node.as_str()], &packet[..]].concat());
        assert_eq!(code, 0, "{text}");
        assert!(text.contains("= filter INPUT rule 1 DROP = DROPPED RULE_DROP"), "{text}");
        assert!(text.contains("tables of legacy hold no rules: they are left out"), "{text}");
    }
    // Without a file of settings the model takes the node to forward, and so has the kernel to.
    fs::remove_file(Path::new(&node).join("sysctl")).expect("file");
    let (code, text) = verify(&["--at", "eth0", "-p", "udp 192.0.2.9:1 > 198.51.100.7:2"]);
    assert_eq!(code, 0, "{text}");
    assert!(agree_on_both(&text), "{text}");
}
