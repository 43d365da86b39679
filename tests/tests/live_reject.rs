//! What REJECT makes of a checksum, beside the kernel: summed from the IP header on, unless conntrack did that before.

use pktwalk_linux::config::{NetNsConfig, Ruleset};
use pktwalk_linux::hook::{Backend, Family};
use pktwalk_linux::iptables;
use pktwalk_scenario::case::Case;
use pktwalk_skip::skip_unprivileged;
use pktwalk_tests::node::{differences, namespace, send};

/// Which of these packets REJECT answers, forwarded and for this host, as both engines say.
fn answered(backend: Backend, tracked: bool, packets: &[&str]) -> Vec<bool> {
    let chain = |chain: &str| {
        let state =
            if tracked { format!("-A {chain} -m conntrack --ctstate SNAT -j DROP\n") } else { String::new() };
        format!("{state}-A {chain} -p tcp -j REJECT --reject-with tcp-reset\n-A {chain} -j REJECT\n")
    };
    let rules = format!(
        "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n{}{}COMMIT\n",
        chain("FORWARD"),
        chain("INPUT")
    );
    let (save, _) = iptables::parse(rules.as_bytes(), 0, Family::V4);
    let mut config =
        NetNsConfig { rulesets: vec![Ruleset { backend, save: save.into() }], ..namespace(backend) };
    for (key, value) in [("conf.all.rp_filter", "0"), ("icmp_ratemask", "0")] {
        config.sysctls.insert(format!("net.ipv4.{key}"), value.to_owned());
    }
    let sends = packets.iter().map(|text| send(text, "left")).collect();
    let case = Case { name: "rejected".to_owned(), config, sends, ..Case::default() };
    let (differences, kernel) = differences(&case);
    assert_eq!(differences, [], "{backend} {tracked}");
    kernel.run.sends.iter().map(|send| send.packets.len() > 1).collect()
}

#[test]
fn reject_trusts_what_conntrack_summed() {
    if skip_unprivileged("reject_trusts_what_conntrack_summed") {
        return;
    }
    // An option of timestamps without room: the stack counts the overflow, and sums the header again only when it sends.
    let changed = "opts=440c0d00000000000000000000000000";
    let packets = [
        format!("tcp 10.0.1.2:1023 > 10.0.2.2:53 flags=S ipid=1 {changed}"),
        format!("tcp 10.0.1.2:1023 > 10.0.1.1:53 flags=S ipid=2 {changed}"),
        "tcp 10.0.1.2:1024 > 10.0.2.2:53 flags=S ipid=3 sum=0x1234".to_owned(),
        "udp 10.0.1.2:1024 > 10.0.2.2:53 ipid=4 sum=0x1234".to_owned(),
        "tcp 10.0.1.2:1025 > 10.0.2.2:53 flags=S ipid=5".to_owned(),
    ];
    let packets: Vec<&str> = packets.iter().map(String::as_str).collect();
    for backend in [Backend::Legacy, Backend::Nft] {
        assert_eq!(answered(backend, false, &packets), [false, false, false, false, true]);
        assert_eq!(answered(backend, true, &packets), [false, true, false, false, true]);
    }
}

#[test]
fn reject_takes_a_sum_of_zeros_for_right() {
    if skip_unprivileged("reject_takes_a_sum_of_zeros_for_right") {
        return;
    }
    let packets = [
        "ip 10.0.1.2 > 10.0.2.2 proto=89 len=8 ipid=1",
        "ip 10.0.1.2 > 10.0.1.1 proto=89 ipid=2",
        "ip 10.0.1.2 > 10.0.2.2 proto=89 data=01020304 ipid=3",
        "icmp 10.0.1.2 > 10.0.2.2 type=0 id=0 seq=0 len=8 sum=0 ipid=4",
        "icmp 10.0.1.2 > 10.0.2.2 type=0 id=0 seq=1 len=8 sum=0 ipid=5",
    ];
    for backend in [Backend::Legacy, Backend::Nft] {
        for tracked in [false, true] {
            assert_eq!(answered(backend, tracked, &packets), [true, true, false, true, false]);
        }
    }
}

#[test]
fn what_a_redirect_lost_is_not_given_to_the_error_after_it() {
    if skip_unprivileged("what_a_redirect_lost_is_not_given_to_the_error_after_it") {
        return;
    }
    // The redirect goes first, is lost in nat, and its memory is used again: to the trace both are one.
    let rules = b"*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\nCOMMIT\n\
        *filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
        -A FORWARD -j REJECT\n-A INPUT -m conntrack --ctstate NEW\nCOMMIT\n";
    let (save, _) = iptables::parse(rules, 0, Family::V4);
    let rulesets = vec![Ruleset { backend: Backend::Nft, save: save.into() }];
    let mut config = NetNsConfig { rulesets, ..namespace(Backend::Nft) };
    for (key, value) in [("conf.right.send_redirects", "1"), ("icmp_ratemask", "0")] {
        config.sysctls.insert(format!("net.ipv4.{key}"), value.to_owned());
    }
    let sends = vec![send("udp 10.0.2.2:40002 > 10.0.2.2:8080 ipid=1", "right")];
    let case = Case { name: "both".to_owned(), config, sends, ..Case::default() };
    let (differences, kernel) = differences(&case);
    assert_eq!(differences, []);
    let events: Vec<usize> = kernel.run.sends[0].packets.iter().map(|packet| packet.events.len()).collect();
    assert_eq!(events[1..], [0, 1]);
}
