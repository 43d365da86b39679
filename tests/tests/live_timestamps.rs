//! What the stack answers to ICMP timestamp requests, on the kernel.

use std::time::{SystemTime, UNIX_EPOCH};

use pktwalk_linux::config::{NetNsConfig, Route, RouteType, Ruleset};
use pktwalk_linux::hook::{Backend, Family};
use pktwalk_linux::iptables;
use pktwalk_linux::skb::SkbSocket;
use pktwalk_live::engine::KernelRun;
use pktwalk_scenario::case::{Case, CaseSend, Entry};
use pktwalk_skip::skip_unprivileged;
use pktwalk_tests::node::{differences, namespace, send};

const DAY_MS: u32 = 86_400_000;

/// A node without rules that knows the broadcast address of `left`.
fn node(sysctls: &[(&str, &str)]) -> NetNsConfig {
    let mut config = NetNsConfig { rulesets: Vec::new(), ..namespace(Backend::Nft) };
    let sysctls = sysctls.iter().map(|(key, value)| (format!("net.ipv4.{key}"), (*value).to_owned()));
    config.sysctls.extend(sysctls);
    let own = |net: &str, dev: &str, kind, scope| Route {
        kind,
        scope,
        table: 255,
        protocol: "kernel".to_owned(),
        prefsrc: Some([10, 0, if dev == "left" { 1 } else { 2 }, 1].into()),
        ..Route::new(net.parse().expect("a net"), None, Some(dev))
    };
    config.routes.push(own("10.0.1.255/32", "left", RouteType::Broadcast, 253));
    config.routes.push(own("10.0.1.1/32", "left", RouteType::Local, 254));
    config.routes.push(own("10.0.2.1/32", "right", RouteType::Local, 254));
    config
}

/// What left as an answer, per packet: its bytes behind the IP header.
fn answers(kernel: &KernelRun) -> Vec<Option<Vec<u8>>> {
    let frame = |send: &pktwalk_scenario::event::SendRun| {
        let made = send.packets.iter().skip(1).find_map(|packet| packet.frames.first())?;
        Some(made.packet.l3()[20..].to_vec())
    };
    kernel.run.sends.iter().map(frame).collect()
}

#[test]
fn a_timestamp_reply_tells_the_clock() {
    if skip_unprivileged("a_timestamp_reply_tells_the_clock") {
        return;
    }
    let requests = [
        "10.0.1.1 type=13 id=5 seq=1 org=09:30:00.250",
        "10.0.1.1 type=13 code=3 id=5 seq=2 data=61626364",
        "10.0.1.1 type=13 id=5 seq=3 data=616263",
        "10.0.1.1 type=13 id=5 seq=4 len=0",
        "10.0.1.1 type=13 id=5 seq=5 org=1193:02:47.295 recv=1 xmit=2 len=700 tos=0x10 ttl=1 df",
        "10.0.1.255 type=13 id=5 seq=6 org=1",
        "10.0.1.1 type=14 id=5 seq=7 org=1 recv=2 xmit=3",
        "10.0.1.1 type=8 id=5 seq=8",
    ];
    let sends = || {
        let text = |(at, request): (usize, &&str)| format!("icmp 10.0.1.2 > {request} ipid={}", at + 1);
        requests.iter().enumerate().map(text).map(|text| send(&text, "left")).collect()
    };
    for (ignored, answered) in [("0", true), ("1", false)] {
        // Echo requests alone can be ignored; of broadcasts, both are.
        let config = node(&[("icmp_echo_ignore_all", "1"), ("icmp_echo_ignore_broadcasts", ignored)]);
        let case = Case { name: "clock".to_owned(), config, sends: sends(), ..Case::default() };
        let (differences, kernel) = differences(&case);
        assert_eq!(differences, []);
        let answers = answers(&kernel);
        let which: Vec<bool> = answers.iter().map(Option::is_some).collect();
        assert_eq!(which, [true, true, false, false, true, answered, false, false]);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
        let now = (now % u128::from(DAY_MS)) as u32;
        for answer in answers.iter().flatten() {
            let word =
                |at: usize| u32::from_be_bytes([answer[at], answer[at + 1], answer[at + 2], answer[at + 3]]);
            assert_eq!((answer.len(), &answer[..2], word(12)), (20, &[14, 0][..], word(16)));
            assert!((now + DAY_MS - word(12)) % DAY_MS < 120_000, "{} at {now}", word(12));
        }
        let first = answers[0].as_deref().expect("it was answered");
        assert_eq!(first[8..12], 34_200_250u32.to_be_bytes());
    }
}

#[test]
fn timestamp_replies_have_a_limit_of_their_own() {
    if skip_unprivileged("timestamp_replies_have_a_limit_of_their_own") {
        return;
    }
    let text = |kind: u8, id: u16| format!("icmp 10.0.1.2 > 10.0.1.1 type={kind} id=5 seq={id} ipid={id}");
    let sends =
        || [(13, 1..9), (8, 9..12)].into_iter().flat_map(|(kind, ids)| ids.map(move |id| text(kind, id)));
    // The bits are those of the answers: 14, and 13, which no answer has.
    for (mask, answered) in [("16384", 6), ("8192", 8)] {
        let config = node(&[("icmp_ratemask", mask), ("icmp_ratelimit", "1000")]);
        let sends: Vec<CaseSend> = sends().map(|text| send(&text, "left")).collect();
        let case = Case { name: "limit".to_owned(), config, sends, ..Case::default() };
        let (differences, kernel) = differences(&case);
        assert_eq!(differences, []);
        let left = answers(&kernel);
        let [times, echoes] = [&left[..8], &left[8..]].map(|answers| answers.iter().flatten().count());
        assert_eq!((times, echoes), (answered, 3), "{mask}");
    }
}

#[test]
fn timestamp_requests_are_tracked_and_translated() {
    if skip_unprivileged("timestamp_requests_are_tracked_and_translated") {
        return;
    }
    let rules = b"*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n\
        -A PREROUTING -d 10.96.0.7/32 -p icmp -m icmp --icmp-type timestamp-request -j DNAT --to-destination 10.0.1.1\n\
        -A PREROUTING -d 10.96.0.8/32 -j DNAT --to-destination 10.0.2.2\n\
        -A POSTROUTING -o right -p icmp -j MASQUERADE --random\n\
        -A INPUT -s 10.0.1.3/32 -j SNAT --to-source 10.0.1.2\nCOMMIT\n\
        *filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
        -A FORWARD -m conntrack --ctstate INVALID -j DROP\n\
        -A OUTPUT -p icmp -m icmp --icmp-type 14/0 -m conntrack --ctstate ESTABLISHED -j ACCEPT\n\
        -A OUTPUT -j DROP\nCOMMIT\n";
    let local = |text: &str| {
        let packet = pktwalk_packet::spec::parse(text).expect("a packet");
        CaseSend::new(
            packet,
            Entry::Local(SkbSocket { uid: Some(0), gid: Some(0), bound_dev: None, raw: true }),
        )
    };
    for backend in [Backend::Legacy, Backend::Nft] {
        let (save, diagnostics) = iptables::parse(rules, 0, Family::V4);
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        let config = NetNsConfig { rulesets: vec![Ruleset { backend, save: save.into() }], ..node(&[]) };
        let sends = vec![
            // Answered from the address that was asked.
            send("icmp 10.0.1.2 > 10.96.0.7 type=13 id=5 seq=1 org=1 ipid=1", "left"),
            // Its identifier is chosen at random on its way.
            send("icmp 10.0.1.2 > 10.96.0.8 type=13 id=6 seq=1 org=1 ipid=2", "left"),
            // Answers that nobody asked for.
            send("icmp 10.0.1.2 > 10.0.2.2 type=14 id=7 seq=1 ipid=3", "left"),
            send("icmp 10.0.1.2 > 10.0.1.1 type=14 id=8 seq=1 ipid=4", "left"),
            // The reply's code is 0, which makes it one of no connection.
            send("icmp 10.0.1.2 > 10.0.1.1 type=13 code=1 id=9 seq=1 ipid=5", "left"),
            send("icmp 10.0.1.3 > 10.0.1.1 type=13 id=10 seq=1 ipid=6", "left"),
            // The namespace asks itself.
            local("icmp 10.0.1.1 > 10.0.2.1 type=8 id=11 seq=1 ipid=7"),
        ];
        let case = Case { name: "tracked".to_owned(), config, sends, ..Case::default() };
        let (differences, kernel) = differences(&case);
        assert_eq!(differences, [], "{backend:?}");
        let left: Vec<bool> = answers(&kernel).iter().map(Option::is_some).collect();
        assert_eq!(left, [true, false, false, false, false, true, false], "{backend:?}");
        assert_eq!(kernel.run.sends[1].packets[0].frames.len(), 1);
    }
    // Over `lo`, where nobody sees what the answer says.
    let sends = vec![local("icmp 10.0.1.1 > 10.0.2.1 type=13 id=11 seq=1 org=1 ipid=7")];
    let case = Case { name: "itself".to_owned(), config: node(&[]), sends, ..Case::default() };
    let (differences, kernel) = differences(&case);
    assert_eq!(differences, []);
    assert_eq!(kernel.run.sends[0].packets.len(), 2);
}
