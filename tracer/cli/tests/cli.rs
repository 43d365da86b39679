//! The built binary as scripts use it: exit codes, bad input, JSON, the commands of the README.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const DEMO: &str = "scenarios/demo/bundle";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pktwalk"))
        .args(args)
        .current_dir(root())
        .env_remove("COLUMNS")
        .stdin(Stdio::null())
        .output()
        .expect("pktwalk runs")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it was not killed")
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// An own bundle, so that what it says is known here.
fn bundle(name: &str, files: &[(&str, &[u8])]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("folder");
    for (file, bytes) in files {
        fs::write(folder.join(file), bytes).expect("file");
    }
    folder
}

const LINK: &str = r#"[
 {"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP","LOWER_UP"],"mtu":65536,"link_type":"loopback","address":"00:00:00:00:00:00"},
 {"ifindex":2,"ifname":"eth0","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],"mtu":1500,"link_type":"ether","address":"02:00:00:00:00:01","promiscuity":0}]"#;
const ADDR: &str = r#"[
 {"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP","LOWER_UP"],"mtu":65536,"addr_info":[{"family":"inet","local":"127.0.0.1","prefixlen":8,"scope":"host"}]},
 {"ifindex":2,"ifname":"eth0","flags":["BROADCAST","UP","LOWER_UP"],"mtu":1500,"addr_info":[{"family":"inet","local":"192.0.2.1","prefixlen":24,"broadcast":"192.0.2.255","scope":"global"}]}]"#;

fn node(name: &str) -> String {
    let folder = bundle(name, &[("ip-link.json", LINK.as_bytes()), ("ip-addr.json", ADDR.as_bytes())]);
    folder.display().to_string()
}

#[test]
fn alone_it_shows_two_packets() {
    let output = run(&[]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    let text = out(&output);
    assert!(text.contains("1: ") && text.contains("2: "), "{text}");
    assert!(!text.contains('\u{1b}'), "no colours where there is no terminal");
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "too wide: {line}");
    }
}

#[test]
fn exit_codes_tell_what_became_of_the_packet() {
    let node = node("exit-codes");
    let trace = |more: &[&str]| {
        let mut args = vec!["trace", "--bundle", &node, "--at", "eth0", "-q"];
        args.extend(more);
        let output = run(&args);
        assert_eq!(out(&output), "", "-q prints nothing");
        code(&output)
    };
    let ssh = ["-s", "192.0.2.9", "-d", "192.0.2.1:22"];
    assert_eq!(trace(&ssh), 0);
    assert_eq!(trace(&[&ssh[..], &["--assume", "closed=tcp/22"]].concat()), 1);
    assert_eq!(trace(&[&ssh[..], &["--assume", "closed=tcp/23"]].concat()), 0);
    assert_eq!(trace(&[&ssh[..], &["--assume", "no-neighbour=192.0.2.9"]].concat()), 1, "the reply");
    assert_eq!(trace(&[&ssh[..], &["--assume", "no-neighbour=192.0.2.9", "--no-reply"]].concat()), 0);
    assert_eq!(trace(&["-s", "198.51.100.9", "-d", "192.0.2.1:22", "--no-reply"]), 0);
    assert_eq!(trace(&["-s", "192.0.2.9", "-d", "198.51.100.7:22"]), 1, "no route");
}

#[test]
fn wrong_usage_and_input_say_why() {
    let node = node("usage");
    let with = |more: &[&str]| {
        let mut args = vec!["trace", "--bundle", &node];
        args.extend(more);
        run(&args)
    };
    let packet = ["-s", "192.0.2.9", "-d", "192.0.2.1:22"];
    let cases: &[(&[&str], &str)] = &[
        (&["--at", "eth0"], "say which packet"),
        (&packet, "say where the packet enters"),
        (&["-s", "192.0.2.9", "-d", "192.0.2.1", "--at", "eth0"], "needs a port"),
        (&["-s", "192.0.2.9/udp", "-d", "192.0.2.1:22/tcp", "--at", "eth0"], "the destination says tcp"),
        (&["-s", "pod/a/b", "-d", "192.0.2.1:22", "--at", "eth0"], "manifests"),
        (&["-p", "tcp 192.0.2.9 > 192.0.2.1:22", "--at", "eth0"], "packet 'tcp"),
        (&["--pcap", "nowhere.pcap", "--at", "eth0"], "nowhere.pcap"),
        (&[&packet[..], &["--at", "eth7"]].concat(), "there is no device eth7; there is lo, eth0"),
        (&[&packet[..], &["--at", "other/eth0"]].concat(), "no node is called 'other'"),
        (&[&packet[..], &["--at", "pod:eth0"]].concat(), "no namespace is called 'pod'"),
        (&[&packet[..], &["--at", "eth0", "--assume", "x=y"]].concat(), "no such assumption"),
        (&[&packet[..], &["--from-local", "--socket", "pid=3"]].concat(), "uid and gid"),
        (&[&packet[..], &["--from-local", "--at", "eth0"]].concat(), "cannot be used with"),
        (&[&packet[..], &["--at", "eth0", "--socket", "uid=1"]].concat(), "cannot be used with"),
        (&["--frobnicate"], "unexpected argument"),
    ];
    for (args, words) in cases {
        let output = with(args);
        assert_eq!(code(&output), 2, "{args:?}");
        assert!(err(&output).contains(words), "{args:?}: {}", err(&output));
        assert_eq!(out(&output), "", "{args:?}");
    }
    for args in [
        &["trace", "--bundle", "/nowhere", "-s", "1.1.1.1", "-d", "1.1.1.2:1", "--at", "a"][..],
        &["test", "/nowhere"],
        &["explain", "NO_SUCH"],
        &["render", "--bundle", "/nowhere", "--what", "ipset"],
    ] {
        let output = run(args);
        assert_eq!(code(&output), 2, "{args:?}");
        assert!(!err(&output).is_empty());
    }
}

#[test]
fn garbled_files_are_named_and_the_rest_is_used() {
    let folder = bundle(
        "garbled",
        &[
            ("ip-link.json", LINK.as_bytes()),
            ("ip-addr.json", ADDR.as_bytes()),
            ("ip-route.json", b"[{\"dst\": \"default\", "),
            ("sysctl", b"net.ipv4.ip_forward = 1\n\xff\xfe garbage\n"),
            ("ss", b"what is this\n"),
        ],
    );
    let output = run(&[
        "trace",
        "--bundle",
        &folder.display().to_string(),
        "-s",
        "192.0.2.9",
        "-d",
        "192.0.2.1:22",
        "--at",
        "eth0",
    ]);
    assert_ne!(code(&output), 4);
    assert!(err(&output).contains("ip-route.json"), "{}", err(&output));
    assert!(err(&output).contains("sysctl:2"), "{}", err(&output));
    assert!(err(&output).contains("ss:1"), "{}", err(&output));
}

#[test]
fn who_listens_is_assumed_where_lines_are_lost() {
    let files =
        [("ip-link.json", LINK.as_bytes()), ("ip-addr.json", ADDR.as_bytes()), ("ss", b"what is this\n")];
    let folder = bundle("lost-socket", &files).display().to_string();
    let args = ["trace", "--bundle", &folder, "-s", "192.0.2.9", "-d", "192.0.2.1:22", "--at", "eth0"];
    let output = run(&args);
    assert_eq!(code(&output), 0);
    assert!(out(&output).contains("assumed: something listens on tcp port 22"), "{}", out(&output));
}

#[test]
fn what_stands_in_for_missing_files_is_said() {
    let folder = bundle("few", &[("ip-link.json", LINK.as_bytes()), ("ip-addr.json", ADDR.as_bytes())]);
    let folder = folder.display().to_string();
    let args = ["trace", "--bundle", &folder, "-s", "192.0.2.9", "-d", "192.0.2.1:22", "--at", "eth0"];
    let told = err(&run(&args));
    for words in
        ["three default routing rules", "no routes but", "kernel default settings", "no iptables rules"]
    {
        assert!(told.contains(words), "{words}: {told}");
    }
    // The built-in node has every file but those of other rules.
    let output =
        run(&["trace", "--bundle", DEMO, "-s", "192.0.2.9", "-d", "192.168.50.1:22", "--at", "eth0"]);
    let told = err(&output);
    assert!(told.lines().count() == 1 && told.contains("no rules but those of iptables-save"), "{told}");
}

/// The command of the page that says what to collect, on a host of this name.
fn collected(host: &str) -> Vec<u8> {
    let page = fs::read_to_string(root().join("docs/bundles.md")).expect("the page");
    let line = page.lines().find(|line| line.ends_with("> node.yaml")).expect("the command");
    let command = line.strip_suffix("> node.yaml").expect("its end");
    let script = format!("uname() {{ case $1 in -n) echo {host};; *) echo 6.18;; esac; }}; {command}");
    let output = Command::new("sh").args(["-c", &script]).output().expect("sh");
    assert!(output.status.success());
    output.stdout
}

#[test]
fn names_of_nodes_are_as_the_page_says() {
    let packet = ["-p", "udp 192.0.2.9:1 > 192.0.2.1:53", "-o", "json"];
    let traced = |more: &[&str]| {
        let mut args = vec!["trace"];
        args.extend(more);
        args.extend(packet);
        run(&args)
    };
    let of = |output: &Output| {
        let document: Value = serde_json::from_str(&out(output)).expect("JSON");
        document["hops"][0]["node"].clone()
    };
    for host in ["no", "yes", "1e3", "null", "node-1"] {
        let files: [(&str, &[u8]); 3] = [
            ("node.yaml", &collected(host)),
            ("ip-link.json", LINK.as_bytes()),
            ("ip-addr.json", ADDR.as_bytes()),
        ];
        let named = bundle("named", &files).display().to_string();
        let output = traced(&["--bundle", &named, "--at", &format!("{host}/eth0")]);
        assert_eq!(of(&output), host, "{}", err(&output));
    }
    // Alone, a node that nobody named has no name; of several, each has that of its folder.
    let (one, other) = (node("unnamed-1"), node("unnamed-2"));
    assert_eq!(of(&traced(&["--bundle", &one, "--at", "eth0"])), "");
    let folder = PathBuf::from(&one).file_name().expect("a name").to_string_lossy().into_owned();
    let several = traced(&["--bundle", &one, "--bundle", &other, "--at", &format!("{folder}/eth0")]);
    assert_eq!(of(&several), folder.as_str(), "{}", err(&several));
}

#[test]
fn json_is_one_object_per_packet() {
    let node = node("json");
    let args = [
        "trace",
        "--bundle",
        &node,
        "--at",
        "eth0",
        "-p",
        "udp 192.0.2.9:1 > 192.0.2.1:53",
        "-p",
        "tcp 192.0.2.9:2 > 198.51.100.1:80 flags=S",
        "-o",
        "jsonl",
    ];
    let output = run(&args);
    assert_eq!(code(&output), 1);
    let documents: Vec<Value> =
        out(&output).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(documents.len(), 2);
    let first = &documents[0];
    assert_eq!(first["schema"], "pktwalk.trace/1");
    assert_eq!(first["disposition"], "DELIVERED");
    assert_eq!(first["reply"]["disposition"], "FORWARDED");
    assert_eq!(first["reply"]["out"]["dev"], "eth0");
    assert_eq!(first["hops"][0]["steps"][0]["kind"], "rx");
    assert!(first["assumptions"].as_array().is_some_and(|list| !list.is_empty()));
    assert_eq!(documents[1]["index"], 1);
    assert_eq!(documents[1]["reply"], Value::Null);
    assert!(documents[1]["code"].is_string());
}

#[test]
fn all_outcomes_are_told_with_their_probabilities() {
    let node = node("outcomes");
    let rules = "*filter\n:INPUT ACCEPT [0:0]\n\
        -A INPUT -m statistic --mode random --probability 0.25000000000 -j DROP\n\
        -A INPUT -m statistic --mode random --probability 0.50000000000 -j LOG\nCOMMIT\n";
    fs::write(Path::new(&node).join("iptables-save"), rules).expect("rules");
    let args = [
        "trace",
        "--bundle",
        &node,
        "--at",
        "eth0",
        "--no-reply",
        "--all-outcomes",
        "-p",
        "udp 192.0.2.9:1 > 192.0.2.1:53",
        "-o",
        "jsonl",
    ];
    let output = run(&args);
    assert_eq!(code(&output), 1, "{}", err(&output));
    let told: Vec<(Value, Value)> = out(&output)
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .map(|one| (one["disposition"].clone(), one["outcome"].clone()))
        .collect();
    let outcome = |number: u32, probability: f64| serde_json::json!({"number": number, "of": 2, "probability": probability});
    // Logged or not, it arrives.
    assert_eq!(told, [("DELIVERED".into(), outcome(1, 0.75)), ("DROPPED".into(), outcome(2, 0.25))]);
    let output = run(&[&args[..9], &["--detail", "minimal"]].concat());
    assert!(out(&output).starts_with("outcome 1 of 2, probability 75 %\nDELIVERED"), "{}", out(&output));
    assert!(out(&output).contains("\n\noutcome 2 of 2, probability 25 %\nDROPPED"), "{}", out(&output));
    // One way to draw is not all of them.
    assert_eq!(code(&run(&[&args[..9], &["--seed", "1"]].concat())), 2);
}

#[test]
fn a_reader_that_goes_away_is_no_bug() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_pktwalk"))
        .args(["explain"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("pktwalk runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_ne!(output.status.code(), Some(4), "{}", err(&output));
    assert_eq!(err(&output), "");
}

#[test]
fn other_commands_print_what_they_are_for() {
    let page = out(&run(&["explain", "skb_drop_reason_ip_rpfilter"]));
    assert!(page.contains("RP_FILTER_STRICT"), "{page}");
    assert!(out(&run(&["explain", "rp-filter-strict"])).starts_with("# RP_FILTER_STRICT\n"));
    assert!(out(&run(&["completions", "bash"])).contains("pktwalk"));
    assert!(out(&run(&["man"])).contains(".TH pktwalk"));
    let routes = out(&run(&["render", "--bundle", DEMO, "--what", "routes"]));
    assert!(routes.starts_with("default via "), "{routes}");
    for command in ["trace", "verify", "test", "render", "explain"] {
        assert_eq!(code(&run(&[command, "--help"])), 0);
    }
    // Commands of later issues are not offered.
    for command in ["why", "matrix", "lint", "tui"] {
        assert_eq!(code(&run(&[command])), 2);
    }
}

#[test]
fn the_readmes_commands_are_understood() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README");
    let line = readme.lines().find(|line| line.starts_with("pktwalk trace")).expect("a trace command");
    let packet = line.split('\'').nth(1).expect("a packet");
    let output = run(&["trace", "--bundle", DEMO, "--at", "eth0", "-p", packet]);
    assert!([0, 1].contains(&code(&output)), "{}", err(&output));
    assert!(readme.contains("cargo run --release") && readme.contains("cargo test --workspace"));
}

#[test]
fn a_backend_that_does_not_load_the_rules_does_not_hide_the_other() {
    if pktwalk_skip::skip_unprivileged("a_backend_that_does_not_load_the_rules_does_not_hide_the_other") {
        return;
    }
    let node = node("deep");
    let mut rules = "*filter\n:FORWARD ACCEPT [0:0]\n".to_owned();
    (1..=17).for_each(|chain| rules.push_str(&format!(":c{chain} - [0:0]\n")));
    rules.push_str("-A FORWARD -g c1\n");
    (1..17).for_each(|chain| rules.push_str(&format!("-A c{chain} -g c{}\n", chain + 1)));
    rules.push_str("COMMIT\n");
    fs::write(Path::new(&node).join("iptables-save"), rules).expect("rules");
    let packet = "udp 192.0.2.9:1 > 198.51.100.9:2";
    let output =
        run(&["verify", "--bundle", &node, "--backend", "both", "--no-reply", "--at", "eth0", "-p", packet]);
    assert_eq!(code(&output), 2);
    assert!(out(&output).contains("rules on legacy"), "{}", out(&output));
    assert!(err(&output).contains("Too many links"), "{}", err(&output));
}
