//! Options of matches and targets that few rules use, on the kernel.

use pktwalk_linux::config::{NetNsConfig, Ruleset};
use pktwalk_linux::hook::{Backend, Family};
use pktwalk_linux::iptables;
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
