//! What of a bundle cannot be read: it is said, it is not taken for what is not there, and it takes no more memory than it may.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::process::Command;

use pktwalk_ingest::{Bundle, read_bundle, read_files, write_bundle};
use pktwalk_linux::config::{DeviceKind, MissingState, UNTOLD_KIND, UnmodelledPoint};
use pktwalk_linux::diag::MOST_REMARKS;

fn bundle(files: &[(&str, &str)]) -> Bundle {
    read_files("t", files.iter().map(|(name, text)| (*name, text.as_bytes()))).unwrap()
}

/// What makes every walk end `Unknown`, with the line.
fn everywhere(bundle: &Bundle) -> Vec<(String, String)> {
    let all = bundle.host.config.unmodelled.iter().filter(|u| u.point == UnmodelledPoint::Everywhere);
    all.map(|u| (bundle.host.place(u.source), u.what.clone())).collect()
}

#[test]
fn what_is_lost_of_rules_is_not_known() {
    let head = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n";
    let whole = format!("{head}-A FORWARD -j DROP\nCOMMIT\n");
    assert_eq!(everywhere(&bundle(&[("iptables-save", &whole)])), []);
    for (text, line) in [
        (format!("{head}XA FORWARD -j DROP\nCOMMIT\n"), 5),
        (format!("{head}-A FORWARD -j DR"), 5),
        (format!("{head}-A FORWARD -j DROP\n"), 6),
        (head.replace("FORWARD ACCEPT [0:0]", "FORWARD DRO") + "COMMIT\n", 3),
        (whole.replace("*filter", "*filtex"), 1),
        (whole.replace("-A FORWARD", "-A FORWAR"), 5),
        (whole.replace("-A FORWARD", "-D FORWARD 3"), 5),
        (whole.replace("-A FORWARD -j DROP", "-A"), 5),
        (whole.replace("COMMIT\n", "*nat\nCOMMIT\n"), 6),
        (whole.replace("COMMIT", "COMMITx"), 6),
        ("bash: iptables-save: command not found\n".to_owned(), 1),
        ("\u{1}\u{2}\u{3}".repeat(100), 1),
    ] {
        let bundle = bundle(&[("iptables-save", &text)]);
        let lost = everywhere(&bundle);
        assert_eq!(lost.len(), 1, "{text}: {lost:?}");
        assert_eq!(lost[0].0, format!("t/iptables-save:{line}"), "{text}: {lost:?}");
    }
    // The walk is of IPv4.
    assert_eq!(everywhere(&bundle(&[("ip6tables-save", "XA\n"), ("iptables-save", &whole)])), []);
}

#[test]
fn rules_that_the_tool_does_not_print_are_not_known() {
    let table = "*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n";
    let nft = ("nft.json", r#"{"nftables": [{"metainfo": {"version": "1.0.6"}}]}"#);
    let legacy =
        format!("{table}# Warning: iptables-legacy tables present, use iptables-legacy-save to see them\n");
    let named = everywhere(&bundle(&[("iptables-save", &legacy), nft]));
    assert!(named[0].1.contains("iptables-legacy-save") && named[0].0.ends_with(":4"), "{named:?}");
    assert_eq!(everywhere(&bundle(&[("iptables-save", &legacy), ("iptables-legacy-save", table)])), []);
    for remark in [
        "# Table `filter' is incompatible, use 'nft' tool.",
        "# Table `filter' contains incompatible base-chains, use 'nft' tool to list them.",
    ] {
        let text = format!("{remark}\n{table}");
        let named = everywhere(&bundle(&[("iptables-save", &text), ("iptables-legacy-save", table)]));
        assert!(named[0].1.contains("nft.json") && named[0].0.ends_with(":1"), "{named:?}");
        assert_eq!(everywhere(&bundle(&[("iptables-save", &text), nft])), []);
    }
}

#[test]
fn what_is_lost_of_sets_may_be_in_any() {
    let sets = "create a hash:ip\nadd a 10.0.0.1\ncreate b hash:ip\nadd b 10.0.0.2\n";
    let lost = |text: &str| {
        let bundle = bundle(&[("ipset-save", text)]);
        let lost = bundle.host.config.sets.iter().map(|set| set.entries.iter().any(|e| e.element.is_empty()));
        lost.collect::<Vec<_>>()
    };
    assert_eq!(lost(sets), [false, false]);
    for line in ["xdd a 192.168.50.9", "-exist add a 192.168.50.9", "swap a b", "\"add a 192.168.50.9"] {
        assert_eq!(lost(&format!("{sets}{line}\n")), [true, true], "{line}");
    }
    for line in ["add b", "add b 10.0.0.3 x", "add c 10.0.0.3"] {
        assert_eq!(lost(&format!("{sets}{line}\n")), [false, true], "{line}");
    }
    assert_eq!(lost(&format!("{sets}add b 10.0.0.")), [false, true]);
}

#[test]
fn what_is_lost_of_other_files_is_not_known() {
    let fdb = r#"[{"mac":"02:00:00:00:00:01","ifname":"a","master":"br0"},{"mac":"02:00:00"#;
    for (name, text) in [
        ("ip-neigh.json", r#"[{"dst":"10.0.0.1","dev":"a","state":["REACHABLE"]},{"dst":"10.0"#),
        ("ip-neigh.json", r#"[{"dev":"a","state":["REACHABLE"]}]"#),
        ("ip-addr.json", r#"[{"ifname":"a"}]"#),
        ("ip-nexthop.json", r#"[{"gateway":"10.0.0.1"}]"#),
        ("neigh-proxy", "10.0.0.1 dev a\n10.0.0."),
        ("bridge-fdb.json", fdb),
        ("nft.json", r#"{"nftables": [{"metainfo": {}}, {"table": {"family"#),
        ("nft.json", "[]"),
    ] {
        let named = everywhere(&bundle(&[(name, text)]));
        assert!(named.iter().any(|(_, what)| what.contains(name)), "{name}: {text}: {named:?}");
    }
    // `sysctl -a` always tells whether packets are forwarded.
    let cut = bundle(&[("sysctl", "net.ipv4.conf.all.accept_local = 0\n")]);
    assert!(cut.host.config.missing.contains(&MissingState::Sysctls));
    let whole = bundle(&[("sysctl", "net.ipv4.conf.all.accept_local = 0\nnet.ipv4.ip_forward = 0\n")]);
    assert!(!whole.host.config.missing.contains(&MissingState::Sysctls));
}

#[test]
fn a_file_that_cannot_be_opened_is_not_missing() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("sysctl"), "net.ipv4.ip_forward = 1\n").unwrap();
    std::fs::create_dir(dir.path().join("ip-route.json")).unwrap();
    std::os::unix::fs::symlink("nowhere", dir.path().join("ipset-save")).unwrap();
    // To open a pipe would be to wait.
    assert!(Command::new("mkfifo").arg(dir.path().join("iptables-save")).status().unwrap().success());
    let named = everywhere(&read_bundle(dir.path()).unwrap());
    for name in ["ip-route.json", "ipset-save", "iptables-save"] {
        assert!(named.iter().any(|(_, what)| *what == format!("{name}, which cannot be read")), "{named:?}");
    }
}

#[test]
fn links_of_archives_are_followed() {
    let mut tar = tar::Builder::new(Vec::new());
    let mut file = |name: &str, kind, target: Option<&str>, text: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(text.len() as u64);
        match target {
            Some(target) => tar.append_link(&mut header, name, target).unwrap(),
            None => tar.append_data(&mut header, name, text).unwrap(),
        }
    };
    let rules = b"*filter\n:FORWARD DROP [0:0]\nCOMMIT\n";
    file("b/netns/web/rules", tar::EntryType::Regular, None, rules);
    file("b/iptables-save", tar::EntryType::Link, Some("b/netns/web/rules"), b"");
    file("b/netns/web/iptables-save", tar::EntryType::Symlink, Some("../web/rules"), b"");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("b.tar");
    std::fs::write(&path, tar.into_inner().unwrap()).unwrap();
    let bundle = read_bundle(&path).unwrap();
    assert!(bundle.namespaces().all(|ns| ns.config.rulesets.len() == 1));
    let remarks: Vec<_> = bundle.remarks().map(|(_, text)| text).collect();
    assert!(
        remarks.iter().any(|text| text.contains("netns/web/rules: not a file of a bundle")),
        "{remarks:?}"
    );

    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    tar.append_link(&mut header, "iptables-save", "elsewhere").unwrap();
    std::fs::write(&path, tar.into_inner().unwrap()).unwrap();
    assert!(read_bundle(&path).unwrap_err().to_string().contains("elsewhere"));
}

#[test]
fn keys_that_stand_twice_do_not_replace_the_first() {
    // Printed by `ip -j route` for `ip route add 20.1.13.0/24 encap ip id 5 dst 1.2.3.4 dev eth1`.
    let text = r#"[{"dst":"20.1.13.0/24","encap":"ip","id":"5","src":"0.0.0.0","dst":"1.2.3.4","ttl":0,"dev":"eth1","scope":"link","flags":[]}]"#;
    let config = bundle(&[("ip-route.json", text)]).host.config;
    assert_eq!(config.routes[0].dst.to_string(), "20.1.13.0/24");
    assert!(config.unmodelled.iter().any(|u| u.point == UnmodelledPoint::Tx("eth1".to_owned())));
    for (name, text) in [
        ("ip-route.json", r#"[{"dst":"20.1.13.0/24","dst":"1.2.3.4","dev":"eth1"}]"#),
        ("ip-route.json", r#"[{"dst":"20.1.13.0/24","encap":"ip","tos":"8","dev":"eth1"}]"#),
        ("ip-rule.json", r#"[{"priority":0,"src":"all","table":"main","table":"local"}]"#),
    ] {
        let bundle = bundle(&[(name, text)]);
        assert!(bundle.host.config.routes.is_empty() && bundle.host.config.routing_rules.is_empty());
        assert!(!everywhere(&bundle).is_empty(), "{text}");
    }
}

/// What whole files of rubbish cost is measured by hand: `docs/model/limits.md`.
#[test]
fn remarks_are_bounded_and_what_is_lost_is_still_known() {
    let rubbish = "x\n".repeat(200_000);
    for name in ["sysctl", "ss", "ipset-save", "conntrack", "iptables-save", "neigh-proxy"] {
        let bundle = bundle(&[(name, &rubbish)]);
        let count = bundle.remarks().count();
        assert!(count <= MOST_REMARKS + 4, "{name}: {count}");
        assert!(bundle.remarks().any(|(_, text)| text.contains("more remarks are left out")), "{name}");
    }
    let late = format!("{}{}", "# Table `filter' is incompatible\n".repeat(MOST_REMARKS), "XA FORWARD\n");
    assert_eq!(everywhere(&bundle(&[("iptables-save", &late)])).len(), 2);
    // Many broken objects, each of which could swallow the rest.
    for text in [format!("[{}", "1,".repeat(200_000)), format!("[{}", "{\"x\":{},".repeat(200_000))] {
        let start = std::time::Instant::now();
        let bundle = bundle(&[("ip-route.json", &text)]);
        assert!(bundle.remarks().count() < 1000 && !everywhere(&bundle).is_empty());
        assert!(start.elapsed().as_secs() < 5);
    }
}

#[test]
fn connections_are_read_and_written() {
    let dump = "\
        ipv4     2 tcp      6 431999 ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 src=10.0.0.3 dst=10.0.0.1 sport=4 dport=1 [ASSURED] mark=7 zone-orig=3 use=1\n\
        ipv4     2 udp      17 29 src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 [UNREPLIED] src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1 mark=0 zone=5 use=1\n\
        ipv4     2 gre      47 29 src=10.0.0.1 dst=10.0.0.2 srckey=0x1 dstkey=0xff src=10.0.0.2 dst=10.0.0.1 srckey=0xff dstkey=0x1 mark=0 use=1\n\
        ipv4     2 icmp     1 29 src=10.0.0.1 dst=10.0.0.2 type=8 code=0 id=77 src=10.0.0.2 dst=10.0.0.1 type=0 code=0 id=77 mark=0 use=1\n";
    let config = bundle(&[("conntrack", dump), ("ip-link.json", "[]")]).host.config;
    assert_eq!(config.connections.len(), 4);
    assert!(!config.missing.contains(&MissingState::Conntrack));
    let dir = tempfile::tempdir().unwrap();
    write_bundle(dir.path(), &Default::default(), &config).unwrap();
    let mut again = read_bundle(dir.path()).unwrap().host.config.connections;
    for (one, other) in again.iter_mut().zip(&config.connections) {
        one.source = other.source;
    }
    assert_eq!(again, config.connections);
    // What is lost of the list is as good as missing.
    for lost in [
        "tcp 6 10 ESTABLISHED src=10.0",
        "tcp 6 10 NOSUCH src=1.1.1.1 dst=1.1.1.2 sport=1 dport=2 src=1.1.1.2 dst=1.1.1.1 sport=2 dport=1\n",
    ] {
        let config = bundle(&[("conntrack", &format!("{dump}{lost}"))]).host.config;
        assert!(config.missing.contains(&MissingState::Conntrack) && config.connections.len() == 4, "{lost}");
    }
    let offloaded = dump.replace("431999 ESTABLISHED", "").replace("[ASSURED]", "[OFFLOAD]");
    assert!(bundle(&[("conntrack", &offloaded)]).host.config.connections[0].unmodelled.is_some());
}

#[test]
fn what_other_files_would_tell_is_an_assumption() {
    let rules = ("iptables-save", "*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n");
    let nft = ("nft.json", r#"{"nftables": []}"#);
    let missing = |files: &[(&str, &str)], state| bundle(files).host.config.missing.contains(&state);
    assert!(missing(&[rules], MissingState::OtherRules));
    assert!(missing(&[rules, nft], MissingState::OtherRules));
    assert!(!missing(&[rules, nft, ("iptables-legacy-save", "")], MissingState::OtherRules));
    let listener = "tcp LISTEN 0 128 0.0.0.0:80 0.0.0.0:* ino:1 sk:1 <->\n";
    assert!(missing(&[("ss", listener)], MissingState::ConnectedSockets));
    let connected = format!("{listener}tcp ESTAB 0 0 10.0.0.1:45364 10.0.0.2:80 ino:69240\n");
    assert!(!missing(&[("ss", &connected)], MissingState::ConnectedSockets));
}

#[test]
fn ports_are_told_once_and_control_characters_are_shown() {
    let head = "*filter\n:FORWARD ACCEPT [0:0]\n";
    let twice = format!("{head}-A FORWARD -p tcp -m multiport --sports 5 --dports 6 -j DROP\nCOMMIT\n");
    let remarks = bundle(&[("iptables-save", &twice)]);
    assert!(remarks.remarks().any(|(_, text)| text.contains("iptables-save:3")), "the tool refuses it");
    let escape = format!("{head}\u{1b}[31mred\nCOMMIT\n");
    let bundle = bundle(&[("iptables-save", &escape)]);
    assert!(bundle.remarks().all(|(_, text)| !text.contains('\u{1b}')));
    // A line of more words than any tool takes.
    let long = format!("{head}-A FORWARD {}\nCOMMIT\n", "-m a ".repeat(20_000));
    let lost = everywhere(&read_files("t", [("iptables-save", long.as_bytes())]).unwrap());
    assert_eq!(lost.len(), 1, "{lost:?}");
}

/// Output of ip6tables-save, or of the other backend, in a file of iptables-save: named, and not taken for rules of IPv4.
#[test]
fn rules_of_the_other_family_are_not_read_as_rules_of_this_one() {
    let of = |tool: &str, verdict: &str| {
        format!(
            "# Generated by {tool} on Mon Jan  1 00:00:00 2026\n*filter\n:INPUT {verdict} [0:0]\n-A INPUT -j {verdict}\nCOMMIT\n# Completed\n"
        )
    };
    let (four, six) =
        (of("iptables-save v1.8.9 (nf_tables)", "ACCEPT"), of("ip6tables-save v1.8.9 (nf_tables)", "DROP"));
    let legacy = of("iptables-save v1.8.9", "DROP");
    let read = |name: &str, text: &str| {
        let files = [("ip-addr.json", &b"[]\n"[..]), (name, text.as_bytes())];
        read_files("t", files).expect("a bundle").host
    };
    let everywhere = |ns: &pktwalk_ingest::NetNsBundle| {
        ns.config.unmodelled.iter().any(|u| u.point == UnmodelledPoint::Everywhere)
    };
    let tables = |ns: &pktwalk_ingest::NetNsBundle| {
        ns.config.rulesets.iter().map(|ruleset| ruleset.save.tables.len()).sum::<usize>()
    };
    let said =
        |ns: &pktwalk_ingest::NetNsBundle, line: u32| ns.diagnostics.iter().any(|d| d.source.line == line);
    // Nothing else in it: the rules of IPv4 are not known.
    let ns = read("iptables-save", &six);
    assert!(everywhere(&ns) && tables(&ns) == 0 && said(&ns, 1), "{:?}", ns.diagnostics);
    // Behind or before those of IPv4: these stand.
    for (text, line) in [(format!("{four}{six}"), 7), (format!("{six}{four}"), 1)] {
        let ns = read("iptables-save", &text);
        assert!(!everywhere(&ns) && tables(&ns) == 1 && said(&ns, line), "{:?}", ns.diagnostics);
        let table = &ns.config.rulesets[0].save.tables[0];
        assert_eq!(table.chains[0].policy, Some(pktwalk_linux::iptables::ast::Policy::Accept));
    }
    // The other way round, too.
    let ns = read("ip6tables-save", &four);
    assert!(tables(&ns) == 0 && said(&ns, 1), "{:?}", ns.diagnostics);
    // Of two backends, one has no place here.
    let ns = read("iptables-save", &format!("{four}{legacy}"));
    assert!(everywhere(&ns) && tables(&ns) == 1 && said(&ns, 7), "{:?}", ns.diagnostics);
}

#[test]
fn missing_rules_are_told_though_an_empty_list_of_legacy_rules_is_there() {
    let empty = ("iptables-legacy-save", "");
    let legacy = ("iptables-legacy-save", "*filter\n:INPUT DROP [0:0]\nCOMMIT\n");
    let nft = ("nft.json", r#"{"nftables": []}"#);
    let addr = ("ip-addr.json", "[]");
    let missing = |files: &[(&str, &str)]| {
        let all = bundle(files).host.config.missing;
        let rules = [MissingState::Rulesets, MissingState::OtherRules, MissingState::NftRules];
        all.into_iter().filter(|state| rules.contains(state)).collect::<Vec<_>>()
    };
    assert_eq!(missing(&[addr]), [MissingState::Rulesets]);
    assert_eq!(missing(&[empty]), [MissingState::Rulesets]);
    assert_eq!(missing(&[empty, nft]), [MissingState::Rulesets]);
    assert_eq!(missing(&[legacy]), [MissingState::NftRules]);
    assert_eq!(missing(&[legacy, nft]), []);
}

#[test]
fn links_without_details_are_told_and_a_master_is_of_no_kind() {
    // As `ip -j link` prints a bridge and its port, and as `ip -d -j link` prints the bridge.
    let plain = |more: &str| {
        format!(
            r#"[{{"ifindex":2,"ifname":"eth0","flags":["UP","LOWER_UP"],"mtu":1500,"master":"br0","link_type":"ether","address":"02:00:00:00:00:02"}},
{{"ifindex":3,"ifname":"br0","flags":["UP","LOWER_UP"],"mtu":1500,"link_type":"ether","address":"02:00:00:00:00:02"{more}}}]"#
        )
    };
    let kind = |files: &[(&str, &str)]| bundle(files).host.config.devices[1].kind.clone();
    let text = plain("");
    let told = bundle(&[("ip-link.json", &text)]);
    let remarks: Vec<String> = told.remarks().map(|(_, remark)| remark).collect();
    assert!(
        remarks.iter().any(|remark| remark.contains("collect ip-link.json with `ip -d -j link`")),
        "{remarks:?}"
    );
    assert_eq!(kind(&[("ip-link.json", &text)]), DeviceKind::Other(UNTOLD_KIND.to_owned()));
    let addrs = text.replace("}", ",\"addr_info\":[]}");
    assert_eq!(kind(&[("ip-addr.json", &addrs)]), DeviceKind::Other(UNTOLD_KIND.to_owned()));
    let text = plain(
        r#","promiscuity":0,"linkinfo":{"info_kind":"bridge","info_data":{"vlan_filtering":0,"nf_call_iptables":0}}"#,
    );
    let told = bundle(&[("ip-link.json", &text)]);
    assert!(!told.remarks().any(|(_, remark)| remark.contains("without -d")));
    assert!(matches!(told.host.config.devices[1].kind, DeviceKind::Bridge { .. }));
}

#[test]
fn tables_of_iptables_nft_without_its_file_name_that_file() {
    let table = |chain: &str| {
        format!(
            r#"{{"nftables": [{{"table": {{"family": "ip", "name": "filter", "handle": 1}}}},
{{"chain": {{"family": "ip", "table": "filter", "name": "{chain}", "handle": 1, "type": "filter", "hook": "forward", "prio": 0, "policy": "drop"}}}}]}}"#
        )
    };
    let named = |chain: &str| everywhere(&bundle(&[("nft.json", &table(chain))])).remove(0).1;
    let own = named("FORWARD");
    assert!(
        own.starts_with("rules of iptables-nft, which no file iptables-save holds: nft table ip filter"),
        "{own}"
    );
    assert!(named("forward").starts_with("nft table ip filter"));
}
