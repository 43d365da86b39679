//! Options of matches and targets that few rules use, on the kernel.

use pktwalk_linux::config::{NetNsConfig, Ruleset};
use pktwalk_linux::hook::{Backend, Family};
use pktwalk_linux::{ipset, iptables};
use pktwalk_scenario::case::Case;
use pktwalk_skip::skip_unprivileged;
use pktwalk_tests::node::{differences, namespace, send};

/// A node with these rules.
fn ruled(rules: &str, backend: Backend) -> NetNsConfig {
    let (save, diagnostics) = iptables::parse(rules.as_bytes(), 0, Family::V4);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    NetNsConfig { rulesets: vec![Ruleset { backend, save: save.into() }], ..namespace(backend) }
}

#[test]
fn a_mark_is_masked_before_it_is_shifted() {
    if skip_unprivileged("a_mark_is_masked_before_it_is_shifted") {
        return;
    }
    // The marks that come out if the mask came first; each rule tells of itself by the port to which it lets through.
    let ways: [(&str, u32, Option<u32>); 7] = [
        ("--set-xmark 0x12/0xff --left-shift-mark 28", 0x2000_0000, None),
        ("--set-xmark 0x12/0xff --right-shift-mark 4", 0x0abc_de11, None),
        ("--and-mark 0xf0 --left-shift-mark 4", 0xf00, None),
        ("--save-mark --nfmask 0xff --ctmask 0xff00 --left-shift-mark 8", 0xabcd_21f0, None),
        ("--save-mark --nfmask 0xff00 --ctmask 0xff --right-shift-mark 8", 0xabcd_e143, None),
        (
            "--restore-mark --nfmask 0xff --ctmask 0xff00 --right-shift-mark 8",
            0xabcd_e1f0,
            Some(0x4300 | 0xe1),
        ),
        ("--restore-mark --nfmask 0xffff --ctmask 0xff --left-shift-mark 20", 0xabcd_e1f0, Some(0x0f00_0000)),
    ];
    for backend in [Backend::Nft, Backend::Legacy] {
        for (how, ct, mark) in ways {
            let mark = mark.unwrap_or(0x4321);
            let rules = format!(
                "*mangle\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n\
                 :OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n\
                 -A PREROUTING -j MARK --set-xmark 0x4321/0xffffffff\n\
                 -A PREROUTING -j CONNMARK --set-xmark 0xabcde1f0/0xffffffff\n\
                 -A PREROUTING -j CONNMARK {how}\n\
                 COMMIT\n\
                 *filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n\
                 -A FORWARD -m mark --mark {mark:#x} -m connmark --mark {ct:#x} -j ACCEPT\nCOMMIT\n"
            );
            let sends = vec![send("udp 10.0.1.2:40000 > 10.0.2.2:53 ipid=1", "left")];
            let case =
                Case { name: how.to_owned(), config: ruled(&rules, backend), sends, ..Case::default() };
            let (differences, kernel) = differences(&case);
            assert_eq!(differences, [], "{how}");
            assert_eq!(kernel.run.sends[0].packets[0].kernel_reason, None, "{how}: {kernel:?}");
        }
    }
}

#[test]
fn elements_count_before_they_are_compared() {
    if skip_unprivileged("elements_count_before_they_are_compared") {
        return;
    }
    // A UDP packet of these has 28 bytes.
    let (sets, diagnostics) = ipset::parse(
        b"create ip hash:ip counters\nadd ip 10.0.1.2 packets 5 bytes 100\n\
          create net hash:net counters\nadd net 10.0.1.0/24 packets 1 bytes 1\nadd net 10.0.0.0/8\n\
          create not hash:net counters\nadd not 10.0.1.0/24 nomatch\nadd not 10.0.0.0/8\n\
          create port hash:ip,port counters\nadd port 10.0.1.2,udp:53 packets 1 bytes 1\n\
          create plain hash:ip\nadd plain 10.0.1.2\n",
        0,
    );
    assert_eq!(diagnostics, []);
    let tests = [
        "--match-set ip src --packets-gt 6",
        "! --match-set ip src --packets-gt 7",
        "--match-set ip src ! --update-counters --packets-eq 8",
        "--match-set ip src ! --update-counters ! --bytes-eq 156 ! --update-subcounters",
        "--match-set net src --packets-lt 3",
        "--match-set net src --packets-eq 2 --bytes-lt 60",
        "--match-set not src --packets-gt 2",
        "--match-set not src --return-nomatch --packets-lt 3",
        "--match-set port src,dst --bytes-eq 57",
        "--match-set ip dst --packets-gt 0",
        "--match-set plain src --packets-gt 99 ! --update-counters",
    ];
    for backend in [Backend::Nft, Backend::Legacy] {
        let marks: String = tests
            .iter()
            .enumerate()
            .map(|(bit, test)| {
                format!("-A PREROUTING -m set {test} -j MARK --set-xmark {0:#x}/{0:#x}\n", 1 << bit)
            })
            .collect();
        let rules = format!(
            "*mangle\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n\
             :OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n{marks}COMMIT\n"
        );
        let config = NetNsConfig { sets: sets.clone(), ..ruled(&rules, backend) };
        let sends =
            (1..=5).map(|id| send(&format!("udp 10.0.1.2:40000 > 10.0.2.2:53 ipid={id}"), "left")).collect();
        let case = Case { name: "counters".to_owned(), config, sends, ..Case::default() };
        let (differences, _) = differences(&case);
        assert_eq!(differences, []);
    }
}
