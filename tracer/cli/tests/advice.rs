//! What a message says to do: about files that are missing, broken or printed otherwise, and about arguments that are nearly right.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{router, trace};

const PACKET: &str = "udp 192.0.2.9:40000 > 198.51.100.9:53";

/// Exit status, and both outputs as one line.
fn walk(node: &Path, more: &[&str]) -> (i32, String) {
    let (code, text) = trace(node, &[&["--at", "eth0", "--no-reply", "-p", PACKET], more].concat());
    (code, text.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn run(args: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_pktwalk"))
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("pktwalk runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().expect("it was not killed"), text)
}

fn node(name: &str, more: &[(&str, &str)]) -> PathBuf {
    router(&format!("advice-{name}"), 1500, more)
}

fn says(text: &str, words: &[&str]) {
    for words in words {
        assert!(text.contains(words), "`{words}`: {text}");
    }
}

#[test]
fn an_unknown_end_says_what_to_do() {
    let (code, text) = walk(&node("broken", &[("ip-route.json", "[{\"dst\":")]), &[]);
    assert_eq!(code, 3, "{text}");
    says(&text, &["the bundle does not tell all that could decide: what is lost of ip-route.json"]);
    says(&text, &["instead collect that file again"]);
    assert!(!text.contains("something that is not modelled"), "{text}");
    let table = |name: &str, chain: &str| {
        format!(
            r#"{{"nftables": [{{"table": {{"family": "ip", "name": "{name}", "handle": 1}}}},
{{"chain": {{"family": "ip", "table": "{name}", "name": "{chain}", "handle": 1, "type": "filter", "hook": "forward", "prio": 0, "policy": "drop"}}}}]}}"#
        )
    };
    let (code, text) = walk(&node("unsaved", &[("nft.json", &table("filter", "FORWARD"))]), &[]);
    assert_eq!(code, 3, "{text}");
    says(&text, &["rules of iptables-nft, which no file iptables-save holds", "collect what is missing"]);
    let native = node("native", &[("nft.json", &table("fw", "forward"))]);
    let (code, text) = walk(&native, &[]);
    assert_eq!(code, 3, "{text}");
    says(&text, &["--assume ignore='nft table ip fw', if it lets this packet pass unchanged"]);
    // Which is then what helps.
    assert_eq!(walk(&native, &["--assume", "ignore=nft table ip fw"]).0, 0);
}

#[test]
fn a_bridge_of_unknown_kind_says_how_to_collect_it() {
    let links = r#"[{"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP","LOWER_UP"],"mtu":65536,"link_type":"loopback","address":"00:00:00:00:00:00"},
{"ifindex":2,"ifname":"eth0","flags":["UP","LOWER_UP"],"mtu":1500,"link_type":"ether","address":"02:00:00:00:00:01"},
{"ifindex":3,"ifname":"eth1","flags":["UP","LOWER_UP"],"mtu":1500,"link_type":"ether","address":"02:00:00:00:01:01"},
{"ifindex":4,"ifname":"port","flags":["UP","LOWER_UP"],"mtu":1500,"master":"eth1","link_type":"ether","address":"02:00:00:00:01:02"}]"#;
    let (code, text) = walk(&node("plain-links", &[("ip-link.json", links)]), &[]);
    assert_eq!(code, 3, "{text}");
    says(&text, &["ip-link.json: warning: printed without -d", "collect ip-link.json with `ip -d -j link`"]);
    says(&text, &["a device whose kind the bundle does not tell"]);
}

#[test]
fn an_assumed_neighbour_names_the_file_that_lacks_it() {
    let full = ["--detail", "full"];
    let (_, text) = walk(&node("no-neighbours", &[]), &full);
    says(&text, &["or file ip-neigh.json in the bundle"]);
    let listed = r#"[{"dst":"192.0.2.7","dev":"eth0","lladdr":"02:00:00:00:00:07","state":["REACHABLE"]}]"#;
    let (_, text) = walk(&node("neighbours", &[("ip-neigh.json", listed)]), &full);
    says(&text, &["otherwise: --assume no-neighbour=198.51.100.9; it is not in ip-neigh.json"]);
}

#[test]
fn arguments_that_are_nearly_right_are_put_right() {
    let node = node("arguments", &[("iptables-save", "*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n"), ("ss", "")]);
    let folder = node.display().to_string();
    let file = node.join("iptables-save").display().to_string();
    let (code, text) = run(&["trace", "--bundle", &file, "--at", "eth0", "-p", PACKET]);
    assert_eq!(code, 2);
    says(&text, &["neither a folder nor a tar", "give the folder that holds the files"]);
    assert!(!text.contains("*filter"), "{text}");
    let (code, text) = run(&["trace", &folder, "--at", "eth0", "-p", PACKET]);
    assert_eq!(code, 2);
    says(&text, &[&format!("a bundle is named by its option: --bundle {folder}")]);
    let (_, text) = trace(&node, &["--at", "eth0", "-p", "tcp 2001:db8::1:80 > 2001:db8::2:80"]);
    says(&text, &["IPv6 is not walked yet"]);
    for (assume, words) in [
        ("closed=22", "of a port, say whose: closed=tcp/22"),
        ("closed=tcp/22", "take ss out"),
        ("net.ipv4.ip_froward=0", "did you mean net.ipv4.ip_forward?"),
        ("net.ipv4.conf.eth0.rp_filtr=0", "did you mean net.ipv4.conf.eth0.rp_filter?"),
    ] {
        let (code, text) = walk(&node, &["--assume", assume]);
        assert_eq!(code, 2, "{text}");
        says(&text, &[words]);
    }
    let (_, text) = trace(&node, &["--from-local", "--socket", "uid=root", "-p", PACKET]);
    says(&text, &["a number is expected (`id root` prints those of a user)"]);
    assert!(!text.contains("invalid digit"), "{text}");
}

#[test]
fn files_that_are_none_of_their_kind_are_told_in_words() {
    let binary = "\u{0}\u{1}\u{2}\u{3}".repeat(60);
    let node = node("kinds", &[("iptables-save", &binary), ("node.yaml", "a node\n")]);
    let (code, text) = walk(&node, &[]);
    assert_eq!(code, 3, "{text}");
    says(&text, &["that could decide: what is lost of iptables-save UNKNOWN_STATE"]);
    says(&text, &["not of the form `KEY: VALUE`, such as `name: node-a`"]);
}
