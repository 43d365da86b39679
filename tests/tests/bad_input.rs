//! Broken input: no reader and no walk panics, what is lost is said, and nothing that was lost makes a verdict that sounds certain.

use std::collections::BTreeMap;
use std::fs;

use pktwalk_capture::{CapturedFrame, LinkType, read_bytes, write_pcap, write_pcapng};
use pktwalk_ingest::{Bundle, read_files};
use pktwalk_linux::choice::Seeded;
use pktwalk_linux::config::{NetNsConfig, Ruleset};
use pktwalk_linux::diag::Severity;
use pktwalk_linux::hook::{Backend, Family};
use pktwalk_linux::ids::DevId;
use pktwalk_linux::iptables;
use pktwalk_linux::netns::{NetNs, NetNsState};
use pktwalk_linux::reason::{Disposition, DropCode, End};
use pktwalk_linux::skb::SkbSocket;
use pktwalk_linux::trace::{NullSink, Recorder};
use pktwalk_linux::walk::{Inject, walk};
use pktwalk_packet::{EtherType, Packet, spec};
use pktwalk_tests::repo_root;
use proptest::prelude::*;

type Files = BTreeMap<String, Vec<u8>>;

const BUNDLES: [&str; 5] = [
    "demo/bundle",
    "10-filter/sets/bundle",
    "30-nat/published-port/bundle",
    "50-local/input-chains/bundle",
    "60-bridge/bridge-netfilter/bundle",
];

/// One packet of every protocol and with every kind of option that packet texts know.
const PACKETS: [&str; 19] = [
    "tcp 203.0.113.5:40000 > 192.168.50.1:8080 flags=S mss=1460 sack-perm ts=1:0 wscale=7",
    "tcp 203.0.113.5:40001 > 192.168.50.1:9090 flags=S",
    "tcp 203.0.113.5:40000 > 10.0.1.2:80 flags=PA seq=1 ack=1 data=\"GET /\" tcpopts=0101080a0000000100000002",
    "tcp 203.0.113.5:40000 > 10.0.1.2:80 flags=none doff=15",
    "udp 203.0.113.5:40000 > 10.0.1.2:53 data=\"hello\" dscp=ef",
    "udp 203.0.113.5:40000 > 192.168.50.1:53 opts=94040000 len=8",
    "udp 203.0.113.5:40000 > 192.168.50.1:53 opts=830704c0a8320100 len=8",
    "udp 203.0.113.5:40000 > 10.0.1.2:53 opts=0707040000000000 len=8",
    "udplite 203.0.113.5:1 > 10.0.1.2:2 cov=8 data=00112233",
    "sctp 203.0.113.5:1 > 10.0.1.2:2 vtag=0 data=0100001400000001000010000001000100000001",
    "icmp 203.0.113.5 > 10.0.1.2 type=echo-request id=7 seq=1 len=56",
    "icmp 203.0.113.254 > 10.0.1.2 type=host-unreachable about (udp 10.0.1.2:5353 > 203.0.113.5:53 len=20)",
    "icmp 203.0.113.254 > 10.0.1.2 type=fragmentation-needed about (tcp 10.0.1.2:80 > 203.0.113.5:40000)",
    "arp 203.0.113.5 > 192.168.50.1 op=request sha=02:00:00:00:00:01",
    "ip 203.0.113.5 > 10.0.1.2 proto=gre data=2001880b0000000000000000",
    "ip 203.0.113.5 > 10.0.1.2 proto=132 ttl=1 data=00",
    "udp 203.0.113.5 > 10.0.1.2 off=1480 len=200",
    "udp 203.0.113.5:1 > 10.0.1.2:2 mf len=64",
    "raw ethertype=0x86dd data=6000000000003b40",
];

/// A rule with each match and target that looks into packets.
const RICH: &str = "\
*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -p udp -m udp --dport 9 -j NOTRACK
-A PREROUTING -m rpfilter --loose --invert -j DROP
COMMIT
*mangle
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A PREROUTING -p tcp -m tcp --tcp-option 8 -j MARK --set-xmark 0x1/0x1
-A PREROUTING -p tcp -m multiport --ports 22,80:90 -j CONNMARK --save-mark
-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu
-A POSTROUTING -p udp -j CHECKSUM --checksum-fill
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A PREROUTING -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.0.1.2:80
-A PREROUTING -p udp -m udp --dport 53 -j REDIRECT --to-ports 5353
-A POSTROUTING -o eth0 -j MASQUERADE
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:deep - [0:0]
-A INPUT -m conntrack --ctstate INVALID -j DROP
-A INPUT -m recent --name seen --set
-A INPUT -p udp -m limit --limit 5/sec -j LOG --log-ip-options
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -f -j ACCEPT
-A FORWARD -p icmp -m icmp --icmp-type 8 -j ACCEPT
-A FORWARD -m pkttype --pkt-type broadcast -j DROP
-A FORWARD -m addrtype --dst-type LOCAL -j deep
-A FORWARD -p tcp -m tcp --dport 1:79 -j REJECT --reject-with tcp-reset
-A FORWARD -m iprange --src-range 203.0.113.1-203.0.113.9 -j deep
-A FORWARD -m hashlimit --hashlimit-upto 5/sec --hashlimit-burst 5 --hashlimit-mode srcip,dstport --hashlimit-name h -j ACCEPT
-A deep -p tcp -m tcp --dport 80 -j ACCEPT
-A deep -p udp -m udp --sport 1 -j ACCEPT
-A deep -p sctp -j ACCEPT
-A deep -j REJECT --reject-with icmp-admin-prohibited
COMMIT
";

fn files(bundle: &str) -> Files {
    let folder = repo_root().join("scenarios").join(bundle);
    fs::read_dir(&folder)
        .expect("the scenario has a bundle")
        .flatten()
        .map(|entry| {
            (entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path()).expect("file"))
        })
        .collect()
}

fn read(files: &Files) -> Option<Bundle> {
    read_files("bundle", files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())))
}

fn packets() -> Vec<Packet> {
    PACKETS.iter().map(|text| spec::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))).collect()
}

/// What a broken bundle led to.
struct Outcome {
    ends: Vec<End>,
    /// Whether something was said that is more than a note.
    told: bool,
    rules: usize,
    /// `file:line: message`.
    remarks: Vec<String>,
    /// Those that are more than notes.
    warnings: Vec<String>,
}

fn outcome(files: &Files) -> Option<Outcome> {
    let bundle = read(files)?;
    let config = bundle.host.config.clone();
    let rules = config.rulesets.iter().flat_map(|r| &r.save.tables).flat_map(|t| &t.chains);
    let rules = rules.map(|chain| chain.rules.len()).sum();
    let (ns, more) = NetNs::compile(config);
    let mut remarks: Vec<(Severity, String)> = bundle.remarks().collect();
    remarks
        .extend(more.iter().map(|d| (d.severity, format!("{}: {}", bundle.host.place(d.source), d.message))));
    let told = remarks.iter().any(|(severity, _)| *severity != Severity::Note);
    let mut ends = Vec::new();
    for dev in ["eth0", "vetha"] {
        // Each packet through a namespace that has seen none: what one does must not hide what another does.
        for packet in packets() {
            let Some(dev) = ns.dev(dev) else { continue };
            let inject = Inject::Rx { dev, packet };
            ends.push(walk(&ns, &mut NetNsState::default(), inject, &mut Seeded::new(1), &mut NullSink));
        }
    }
    let warnings = remarks.iter().filter(|(severity, _)| *severity != Severity::Note);
    let warnings = warnings.map(|(_, text)| text.clone()).collect();
    let remarks = remarks.into_iter().map(|(_, text)| text).collect();
    Some(Outcome { ends, told, rules, remarks, warnings })
}

/// A cheap generator: the same broken files in every run.
struct Rng(u64);

impl Rng {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % most.max(1)
    }
}

/// Ends that a broken file made different from those of the whole one, and that sound certain.
fn certain(whole: &Outcome, broken: &Outcome) -> bool {
    whole.ends.len() == broken.ends.len()
        && whole.ends.iter().zip(&broken.ends).any(|(whole, broken)| {
            broken.disposition != Disposition::Unknown
                && (broken.disposition, broken.code) != (whole.disposition, whole.code)
        })
}

/// Whether a broken file is named, with a line, by more than a note and than the whole one was.
fn named(file: &str, whole: &Outcome, broken: &Outcome) -> bool {
    let place = format!("bundle/{file}:");
    let new = broken.warnings.iter().filter(|text| !whole.warnings.contains(text));
    new.filter_map(|text| text.strip_prefix(&place))
        .any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// Whether a broken file led to another answer that sounds certain, and nothing names the file.
fn misleads(file: &str, whole: &Outcome, broken: &Outcome) -> bool {
    (certain(whole, broken) || whole.ends.len() != broken.ends.len()) && !named(file, whole, broken)
}

/// Whether the broken file left something open that the whole one did not.
fn more_unknown(whole: &Outcome, broken: &Outcome) -> bool {
    let unknown = |one: &Outcome| one.ends.iter().filter(|e| e.disposition == Disposition::Unknown).count();
    unknown(broken) > unknown(whole)
}

/// Whether rules end where a table ends: nothing in the file says then that there was another.
fn between_tables(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let last = text.lines().rfind(|line| !line.starts_with('#') && !line.is_empty());
    last.is_none_or(|line| line == "COMMIT")
}

#[test]
fn cut_files_are_named_and_mislead_nobody() {
    let mut rng = Rng(1);
    for name in BUNDLES {
        let whole_files = files(name);
        let whole = outcome(&whole_files).expect("the bundle is read");
        for (file, bytes) in &whole_files {
            let mut cuts: Vec<usize> = (0..24).map(|_| rng.below(bytes.len())).collect();
            cuts.extend([0, bytes.len().min(1), bytes.len() / 2]);
            for cut in cuts {
                let mut broken = whole_files.clone();
                broken.insert(file.clone(), bytes[..cut].to_vec());
                let outcome = outcome(&broken).expect("the other files are read");
                // The other files have no end that could be missing.
                let ends_are_seen = file.ends_with(".json") || file == "iptables-save";
                let inside = cut > 0 && !bytes[cut..].trim_ascii().is_empty();
                if ends_are_seen && inside && !between_tables(&bytes[..cut]) {
                    let named =
                        outcome.remarks.iter().any(|text| text.starts_with(&format!("bundle/{file}")));
                    assert!(
                        named,
                        "{name}/{file} cut at {cut}: nothing is said of it: {:?}",
                        outcome.remarks
                    );
                    assert!(outcome.told, "{name}/{file} cut at {cut}: nothing more than notes");
                }
                // Where a line ends, nobody can see that there was another; and a file of nothing tells of nothing.
                let seen = ends_are_seen && !between_tables(&bytes[..cut])
                    || !ends_are_seen && cut > 0 && bytes[cut - 1] != b'\n';
                if inside && seen {
                    let text = String::from_utf8_lossy(&bytes[..cut]);
                    let tail = text.lines().last().unwrap_or_default();
                    assert!(
                        !misleads(file, &whole, &outcome),
                        "{name}/{file} cut at {cut} after `{tail}`: {:?}",
                        outcome.remarks
                    );
                }
            }
        }
    }
}

/// Files of lines, and what is read of them.
const LINES: [&str; 4] = ["sysctl", "ss", "conntrack", "ipset-save"];

/// A bundle whose files of lines all have something in them.
fn with_lines() -> Files {
    let mut all = files("10-filter/sets/bundle");
    let text = "tcp LISTEN 0 128 0.0.0.0:8080 0.0.0.0:* users:((\"web\",pid=7,fd=3)) ino:1 sk:1 <->\n\
        udp UNCONN 0 0 192.168.50.1:53 0.0.0.0:* uid:101 ino:2 sk:2 <->\n\
        tcp LISTEN 0 128 127.0.0.1:9090 0.0.0.0:* ino:3 sk:3 <->\n";
    all.insert("ss".to_owned(), text.into());
    let text = "ipv4     2 tcp      6 431999 ESTABLISHED src=203.0.113.5 dst=10.0.1.2 sport=40000 dport=80 \
        src=10.0.1.2 dst=203.0.113.5 sport=80 dport=40000 [ASSURED] mark=0 use=1\n\
        ipv4     2 udp      17 29 src=203.0.113.5 dst=10.0.1.2 sport=1 dport=53 [UNREPLIED] \
        src=10.0.1.2 dst=203.0.113.5 sport=53 dport=1 mark=0 use=1\n";
    all.insert("conntrack".to_owned(), text.into());
    all
}

/// What is read of the files of lines, one text a thing.
#[derive(PartialEq, Debug)]
struct Held {
    sysctls: Vec<String>,
    sockets: Vec<String>,
    connections: Vec<String>,
    sets: Vec<String>,
}

/// What is read of the files of lines, but the lines where it stands and elements that are lost.
fn held(bundle: &Bundle) -> Held {
    let config = &bundle.host.config;
    let mut sets: Vec<String> = Vec::new();
    for set in &config.sets {
        sets.push(format!("{} {} {:?}", set.name, set.set_type.name(), set.options));
        let whole = set.entries.iter().filter(|entry| !entry.element.is_empty());
        sets.extend(whole.map(|entry| format!("{} {} {:?}", set.name, entry.element, entry.options)));
    }
    let connections =
        bundle.host.conntrack.iter().map(|line| format!("{:?} {:?}", line.original, line.reply));
    Held {
        sysctls: config.sysctls.iter().map(|(key, value)| format!("{key} = {value}")).collect(),
        sockets: config.sockets.iter().flatten().map(|socket| format!("{socket:?}")).collect(),
        connections: connections.collect(),
        sets,
    }
}

/// For each line of each such file: what no line can be is named with its place, all other lines are read as if it were not there, and no verdict is
/// made certain by what is lost.
#[test]
fn a_broken_line_costs_that_line_alone() {
    let whole_files = with_lines();
    let whole = outcome(&whole_files).expect("the bundle is read");
    for file in LINES {
        let text = String::from_utf8(whole_files[file].clone()).expect("UTF-8");
        let lines: Vec<&[u8]> = text.lines().map(str::as_bytes).collect();
        assert!(lines.len() > 1, "{file} holds nothing");
        // Settings are many, and alike.
        for at in (0..lines.len()).step_by(if file == "sysctl" { 97 } else { 1 }) {
            let with = |line: &[u8]| {
                let mut lines = lines.clone();
                lines[at] = line;
                let mut files = whole_files.clone();
                files.insert(file.to_owned(), [lines.join(&b'\n').as_slice(), b"\n"].concat());
                files
            };
            // A set that was not created takes its elements with it.
            let creates = lines[at].starts_with(b"create");
            let without = held(&read(&with(b"")).expect("the bundle is read"));
            for broken in [&b"what is this"[..], b"\xff\xfe\xfd", b"\"", b"[{", b"tcp", b"add"] {
                let files = with(broken);
                let bundle = read(&files).expect("the bundle is read");
                let shown = format!("{file}:{}: `{}`", at + 1, String::from_utf8_lossy(broken));
                assert_eq!(held(&bundle), without, "{shown}");
                let outcome = outcome(&files).expect("the bundle is read");
                let place = format!("bundle/{file}:{}: ", at + 1);
                assert!(outcome.told, "{shown}: nothing more than notes");
                assert!(
                    outcome.remarks.iter().any(|text| text.starts_with(&place)),
                    "{shown}: {:?}",
                    outcome.remarks
                );
                assert!(creates || !guessed(file, &whole, outcome), "{shown}: a certain verdict");
            }
        }
    }
}

/// At each place at which such a file can be cut off: lines before it are kept, and a line that is cut in two is named, and is read as it was or not at
/// all or as what its whole words say.
#[test]
fn a_cut_off_line_is_named_and_those_before_it_are_kept() {
    let whole_files = with_lines();
    let whole = outcome(&whole_files).expect("the bundle is read");
    let cut_files = |file: &str, bytes: &[u8]| {
        let mut files = whole_files.clone();
        files.insert(file.to_owned(), bytes.to_vec());
        files
    };
    for file in LINES {
        let bytes = &whole_files[file];
        // The last lines at each byte.
        let cuts = bytes.len().saturating_sub(250)..bytes.len();
        for cut in cuts {
            let files = cut_files(file, &bytes[..cut]);
            let begin = bytes[..cut].iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
            let before = held(&read(&cut_files(file, &bytes[..begin])).expect("the bundle is read"));
            let cut_held = held(&read(&files).expect("the bundle is read"));
            let keeps =
                |before: &[String], now: &[String]| now.starts_with(before) && now.len() <= before.len() + 1;
            // Settings are sorted: the new one may stand anywhere.
            let lost = before.sysctls.iter().find(|one| !cut_held.sysctls.contains(one));
            assert_eq!(lost, None, "{file} cut at {cut}");
            assert!(cut_held.sysctls.len() <= before.sysctls.len() + 1, "{file} cut at {cut}");
            assert!(keeps(&before.sockets, &cut_held.sockets), "{file} cut at {cut}");
            assert!(keeps(&before.connections, &cut_held.connections), "{file} cut at {cut}");
            assert!(keeps(&before.sets, &cut_held.sets), "{file} cut at {cut}");
            if begin < cut {
                let outcome = outcome(&files).expect("the bundle is read");
                let line = 1 + bytes[..cut].iter().filter(|&&b| b == b'\n').count();
                let place = format!("bundle/{file}:{line}: ");
                let named = outcome.remarks.iter().any(|text| text.starts_with(&place));
                assert!(named && outcome.told, "{file} cut at {cut}: {:?}", outcome.remarks);
                // What a cut off set or list lacks is not known to be lacking.
                assert!(!guessed(file, &whole, outcome), "{file} cut at {cut}: a certain verdict");
            }
        }
    }
}

/// As [`certain`], but for what a list of sockets lacks: something is assumed to listen there, and the assumption is printed.
fn guessed(file: &str, whole: &Outcome, mut broken: Outcome) -> bool {
    if file == "ss" {
        for (whole, broken) in whole.ends.iter().zip(&mut broken.ends) {
            if broken.disposition == Disposition::Delivered && whole.code == Some(DropCode::NoSocket) {
                *broken = *whole;
            }
        }
    }
    certain(whole, &broken)
}

#[test]
fn garbled_files_do_not_panic_and_are_named_by_line() {
    let mut rng = Rng(2);
    let mut misled: Vec<String> = Vec::new();
    for name in BUNDLES {
        let whole_files = files(name);
        let whole = outcome(&whole_files).expect("the bundle is read");
        for (file, bytes) in &whole_files {
            if bytes.is_empty() {
                continue;
            }
            // Bytes that no tool prints: the answer stays, or the line is named.
            for round in 0..60 {
                let mut garbled = bytes.clone();
                for _ in 0..=round % 3 {
                    let at = rng.below(garbled.len());
                    match round % 4 {
                        0 => garbled[at] = 0xff,
                        1 => garbled[at] = 0,
                        2 => garbled.insert(at, 0x1b),
                        _ => garbled.insert(at, 0xc3),
                    }
                }
                let shown = String::from_utf8_lossy(&garbled).into_owned();
                let mut broken = whole_files.clone();
                broken.insert(file.clone(), garbled);
                let Some(outcome) = outcome(&broken) else { continue };
                if misleads(file, &whole, &outcome) {
                    let odd = |c: char| matches!(c, '\u{fffd}' | '\0' | '\u{1b}');
                    let lines: Vec<&str> = shown.lines().filter(|line| line.contains(odd)).collect();
                    misled.push(format!("{name}/{file}: {lines:?}"));
                }
            }
            // Others can make a file that is whole, and says something else.
            for round in 0..12 {
                let mut garbled = bytes.clone();
                for _ in 0..=round / 2 {
                    let at = rng.below(garbled.len());
                    match round % 3 {
                        0 => garbled[at] = rng.below(256) as u8,
                        1 => drop(garbled.remove(at.min(garbled.len() - 1))),
                        _ => garbled.insert(at, rng.below(256) as u8),
                    }
                    if garbled.is_empty() {
                        garbled.push(0);
                    }
                }
                let mut broken = whole_files.clone();
                broken.insert(file.clone(), garbled);
                let _ = outcome(&broken);
            }
            // Nothing but rubbish, and nothing at all.
            for bytes in [vec![0xff; 300], vec![0; 300], b"[[[[{\"".repeat(50), Vec::new(), b"\n\n".to_vec()]
            {
                let mut broken = whole_files.clone();
                let rubbish = !bytes.trim_ascii().is_empty();
                broken.insert(file.clone(), bytes);
                let outcome = outcome(&broken);
                if let Some(outcome) = outcome.filter(|_| rubbish) {
                    let place = format!("bundle/{file}");
                    let named = outcome.remarks.iter().any(|text| text.starts_with(&place));
                    assert!(named && outcome.told, "{name}/{file}: {:?}", outcome.remarks);
                }
            }
        }
    }
    assert!(misled.is_empty(), "{}", misled.join("\n"));
}

#[test]
fn a_rule_that_cannot_be_read_stays_and_its_walk_is_not_known() {
    let mut unknown = 0;
    for name in BUNDLES {
        let whole_files = files(name);
        let whole = outcome(&whole_files).expect("the bundle is read");
        assert!(whole.ends.len() >= PACKETS.len(), "{name}: packets are walked");
        let text = String::from_utf8(whole_files["iptables-save"].clone()).expect("UTF-8");
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("-A ")) {
            let (chain, rest) = line[3..].split_once(' ').unwrap_or((&line[3..], ""));
            for broken in [
                format!("-A {chain} --no-such-option 1 {rest}").into_bytes(),
                format!("-A {chain} {rest} --no-such-option").into_bytes(),
                [format!("-A {chain} ").as_bytes(), b"-s \xff\xfe ", rest.as_bytes()].concat(),
                format!("-A {chain} -m nosuchmatch --x 1 {rest}").into_bytes(),
            ] {
                let mut all: Vec<Vec<u8>> = lines.iter().map(|line| line.as_bytes().to_vec()).collect();
                let shown = String::from_utf8_lossy(&broken).into_owned();
                all[number] = broken;
                let mut files = whole_files.clone();
                files.insert("iptables-save".to_owned(), all.join(&b'\n'));
                let outcome = outcome(&files).expect("the bundle is read");
                assert_eq!(outcome.rules, whole.rules, "{name}: a rule is lost by `{shown}`");
                assert!(!certain(&whole, &outcome), "{name}: a certain verdict in spite of `{shown}`");
                unknown += usize::from(more_unknown(&whole, &outcome));
                if !shown.contains("nosuchmatch") {
                    let place = format!("bundle/iptables-save:{}: ", number + 1);
                    assert!(outcome.remarks.iter().any(|text| text.starts_with(&place)), "{name}: `{shown}`");
                }
            }
        }
    }
    assert!(unknown > 20, "broken rules are met by packets, {unknown} times only");
}

#[test]
fn what_is_lost_of_routes_and_devices_makes_no_certain_verdict() {
    let mut rng = Rng(3);
    for name in BUNDLES {
        let whole_files = files(name);
        let whole = outcome(&whole_files).expect("the bundle is read");
        for file in ["ip-link.json", "ip-addr.json", "ip-route.json", "ip-rule.json"] {
            let Some(bytes) = whole_files.get(file) else { continue };
            for _ in 0..24 {
                let cut = 1 + rng.below(bytes.trim_ascii_end().len() - 1);
                let mut broken = whole_files.clone();
                broken.insert(file.to_owned(), bytes[..cut].to_vec());
                let Some(outcome) = outcome(&broken) else { continue };
                assert!(!certain(&whole, &outcome), "{name}/{file} cut at {cut}: {:?}", outcome.remarks);
            }
        }
    }
}

#[test]
fn chain_loops_are_named_and_end() {
    let text = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n:a - [0:0]\n:b - [0:0]\n\
        -A INPUT -j a\n-A FORWARD -j a\n-A a -j b\n-A b -g a\n-A b -j b\n-A a -j FORWARD\nCOMMIT\n";
    for backend in [Backend::Nft, Backend::Legacy] {
        let mut config = demo();
        let (save, diagnostics) = iptables::parse(text.as_bytes(), 0, Family::V4);
        for line in [9, 10] {
            assert!(diagnostics.iter().any(|d| d.source.line == line), "line {line}: {diagnostics:?}");
        }
        config.rulesets = vec![Ruleset { backend, save: save.into() }];
        let (ns, _) = NetNs::compile(config);
        let ends = both_sinks(&ns, spec::parse("tcp 203.0.113.5:1 > 192.168.50.1:2").expect("packet"));
        assert!(ends.iter().all(|end| end.code.is_none()), "{ends:?}");
        // The kernel refuses such rules; who comes to them goes round until a bound ends it.
        assert!(ends.iter().any(|end| end.disposition == Disposition::LimitReached), "{ends:?}");
    }
}

fn demo() -> NetNsConfig {
    read(&files("demo/bundle")).expect("the bundle is read").host.config
}

fn rich(backend: Backend) -> NetNs {
    let mut config = demo();
    let (save, diagnostics) = iptables::parse(RICH.as_bytes(), 0, Family::V4);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    config.rulesets = vec![Ruleset { backend, save: save.into() }];
    NetNs::compile(config).0
}

/// Walks a packet in at every device and as one made here, with both sinks: they must come to the same end and leave the same state.
fn both_sinks(ns: &NetNs, packet: Packet) -> Vec<End> {
    let mut injects: Vec<Inject> = (0..ns.config.devices.len())
        .map(|dev| Inject::Rx { dev: DevId(dev as u32), packet: packet.clone() })
        .collect();
    if packet.mac_header().is_none() {
        injects.push(Inject::Local { packet, socket: SkbSocket::default() });
    }
    injects
        .into_iter()
        .map(|inject| {
            let (mut quiet, mut told) = (NetNsState::default(), NetNsState::default());
            let mut recorder = Recorder::default();
            let end = walk(ns, &mut quiet, inject.clone(), &mut Seeded::new(7), &mut NullSink);
            let same = walk(ns, &mut told, inject.clone(), &mut Seeded::new(7), &mut recorder);
            assert_eq!(end, same, "{inject:?}");
            assert_eq!(format!("{quiet:?}"), format!("{told:?}"), "{inject:?}");
            assert_eq!(recorder.packets.first().and_then(|packet| packet.end), Some(end));
            assert!(recorder.packets.iter().all(|packet| packet.end.is_some()));
            end
        })
        .collect()
}

#[test]
fn packets_cut_at_each_byte_end() {
    for backend in [Backend::Nft, Backend::Legacy] {
        let ns = rich(backend);
        for packet in packets() {
            let l3 = packet.l3().to_vec();
            for cut in 0..=l3.len() {
                let short = Packet::from_l3(packet.ethertype(), l3[..cut].to_vec());
                both_sinks(&ns, short.clone());
                both_sinks(&ns, short.with_missing(l3.len() - cut));
                let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
                frame.extend(packet.ethertype().0.to_be_bytes());
                frame.extend(&l3[..cut]);
                both_sinks(&ns, Packet::from_ethernet(frame).expect("a whole header"));
            }
        }
    }
}

#[test]
fn captures_cut_and_garbled_keep_what_is_whole() {
    let frames: Vec<CapturedFrame> = packets()
        .iter()
        .zip(1..)
        .map(|(packet, number)| CapturedFrame {
            number,
            link_type: LinkType::ETHERNET,
            timestamp_ns: number * 1_000,
            orig_len: 14 + packet.l3().len() as u32,
            data: [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0], packet.l3()].concat(),
            interface: None,
            comments: Vec::new(),
            flags: 0,
        })
        .collect();
    let (mut pcap, mut ng) = (Vec::new(), Vec::new());
    write_pcap(&mut pcap, &frames).expect("written");
    write_pcapng(&mut ng, &frames).expect("written");
    let ns = rich(Backend::Nft);
    for bytes in [pcap, ng] {
        assert_eq!(read_bytes(&bytes).expect("read").frames.len(), frames.len());
        for cut in 0..bytes.len() {
            let Ok(capture) = read_bytes(&bytes[..cut]) else { continue };
            let whole = capture.frames.iter().zip(&frames).take_while(|(a, b)| a.data == b.data).count();
            assert!(whole + 1 >= capture.frames.len(), "cut at {cut}");
        }
        let mut rng = Rng(4);
        for _ in 0..2_000 {
            let mut garbled = bytes.clone();
            for _ in 0..3 {
                let at = rng.below(garbled.len());
                garbled[at] = rng.below(256) as u8;
            }
            let Ok(capture) = read_bytes(&garbled) else { continue };
            if let Some(packet) = capture.frames.last().and_then(|frame| frame.packet().ok()) {
                both_sinks(&ns, packet);
            }
        }
    }
}

/// 20 MB of short rules. What 200 MB cost is measured by hand: `docs/model/limits.md`.
#[test]
fn large_rulesets_are_read() {
    let rule = "-A FORWARD -s 10.0.0.1/32 -j DROP\n";
    let count = 20_000_000 / rule.len();
    let mut text = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n".to_owned();
    text.push_str(&rule.repeat(count));
    text.push_str("COMMIT\n");
    let mut files = files("demo/bundle");
    files.insert("iptables-save".to_owned(), text.into_bytes());
    let whole = outcome(&files).expect("the bundle is read");
    assert_eq!(whole.rules, count);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_end_the_same_with_and_without_a_recorder(
        bytes in proptest::collection::vec(any::<u8>(), 0..120),
        frame in any::<bool>(),
        missing in 0usize..64,
        legacy in any::<bool>(),
    ) {
        let ns = rich(if legacy { Backend::Legacy } else { Backend::Nft });
        let packet = if frame {
            Packet::from_ethernet([&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0][..], &bytes].concat())
        } else {
            Some(Packet::from_l3(EtherType::IPV4, bytes))
        };
        both_sinks(&ns, packet.expect("a whole header").with_missing(missing));
    }

    /// A header that holds, and anything behind it: these come further.
    #[test]
    fn any_transport_ends_the_same_with_and_without_a_recorder(
        protocol in prop_oneof![Just(6u8), Just(17), Just(1), Just(132), Just(136), Just(47), any::<u8>()],
        bytes in proptest::collection::vec(any::<u8>(), 0..100),
        options in proptest::collection::vec(any::<u8>(), 0..=40),
        legacy in any::<bool>(),
        to_host in any::<bool>(),
    ) {
        let ns = rich(if legacy { Backend::Legacy } else { Backend::Nft });
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let to = if to_host { "192.168.50.1" } else { "10.0.1.2" };
        let mut text = format!("ip 203.0.113.5 > {to} proto={protocol}");
        let options = &options[..options.len() / 4 * 4];
        if !options.is_empty() {
            text.push_str(&format!(" opts={}", hex(options)));
        }
        if !bytes.is_empty() {
            text.push_str(&format!(" data={}", hex(&bytes)));
        }
        both_sinks(&ns, spec::parse(&text).expect("a packet"));
    }
}
