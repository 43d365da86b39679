//! Values of settings: which the kernel takes, and what it makes of odd ones.

use std::process::Command;

use pktwalk_ingest::read_files;
use pktwalk_linux::choice::Seeded;
use pktwalk_linux::config::MissingState;
use pktwalk_linux::diag::Severity;
use pktwalk_linux::netns::{NetNs, NetNsState};
use pktwalk_linux::reason::{Disposition, DropCode, End};
use pktwalk_linux::sysctl::{self, Misfit, check};
use pktwalk_linux::trace::NullSink;
use pktwalk_linux::walk::{Inject, walk};
use pktwalk_skip::skip_unprivileged;

/// Written as they stand, in a namespace of their own: taken by the kernel, if and only if [`check`] takes them.
#[test]
fn the_kernel_takes_the_same_values() {
    if skip_unprivileged("the_kernel_takes_the_same_values") {
        return;
    }
    let mut wrong = Vec::new();
    let config = pktwalk_linux::config::NetNsConfig::default();
    for setting in sysctl::settings(&config) {
        let key = setting.key;
        // Of the first namespace only, and of a daemon only.
        if key.ends_with("nf_conntrack_max") || key.ends_with("mc_forwarding") {
            continue;
        }
        // Bridge netfilter takes any number, and shows 1.
        let bridge = key.starts_with("net.bridge");
        // Of times, the kernel takes a negative one, and nobody knows what that is good for.
        let time = key.contains("_timeout");
        for value in ["-1", "0", "1", "2", "3", "4", "9", "255", "256", "65536", "x"] {
            if bridge && !matches!(value, "0" | "1" | "x") || time && value == "-1" {
                continue;
            }
            let script = format!("echo {value} > /proc/sys/{}", key.replace('.', "/"));
            let taken = Command::new("unshare")
                .args(["-n", "sh", "-c", &format!("{script} 2> /dev/null")])
                .stderr(std::process::Stdio::null())
                .status()
                .expect("unshare is there")
                .success();
            let ours = check(&key, value);
            if taken != ours.is_ok() {
                wrong.push(format!("{key} = {value}: the kernel {taken}, ours {ours:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn read(sysctl: &str) -> pktwalk_ingest::NetNsBundle {
    let links = r#"[{"ifindex":2,"ifname":"eth0","flags":["UP","LOWER_UP"],"mtu":1500,"link_type":"ether","address":"02:00:00:00:00:02","promiscuity":0},
        {"ifindex":3,"ifname":"eth1","flags":["UP","LOWER_UP"],"mtu":1500,"link_type":"ether","address":"02:00:00:00:00:03","promiscuity":0}]"#;
    let addrs = r#"[{"ifindex":2,"ifname":"eth0","addr_info":[{"family":"inet","local":"10.0.0.1","prefixlen":24,"scope":"global"}]},
        {"ifindex":3,"ifname":"eth1","addr_info":[{"family":"inet","local":"10.5.0.1","prefixlen":24,"scope":"global"}]}]"#;
    let files = [
        ("ip-link.json", links.as_bytes()),
        ("ip-addr.json", addrs.as_bytes()),
        ("ip-route.json", b"[]\n"),
        ("sysctl", sysctl.as_bytes()),
    ];
    read_files("t", files).expect("a bundle").host
}

fn receive(ns: &NetNs, src: &str) -> End {
    let packet = pktwalk_packet::spec::parse(&format!("udp {src}:1 > 10.0.0.1:2")).expect("a packet");
    let inject = Inject::Rx { dev: ns.dev("eth0").expect("it is there"), packet };
    walk(ns, &mut NetNsState::start(ns), inject, &mut Seeded::new(1), &mut NullSink)
}

/// `all`, the device's own, and whether a source behind another device and one without a route pass, as seen on 6.18.
#[test]
fn reverse_path_filters_of_any_number() {
    let seen = [
        (0, 0, true, true),
        (1, 0, false, false),
        (2, 0, true, false),
        (3, 0, true, false),
        (9, 0, true, false),
        (9, 1, true, false),
        (-1, -1, true, false),
        (-1, 0, true, true),
        (256, 0, true, false),
        (0, 9, true, false),
        (65537, 0, true, false),
    ];
    for (all, own, behind_other, without) in seen {
        let text = format!(
            "net.ipv4.ip_forward = 0\nnet.ipv4.conf.all.rp_filter = {all}\nnet.ipv4.conf.eth0.rp_filter = {own}\n"
        );
        let ns = read(&text);
        assert!(!ns.config.missing.contains(&MissingState::Sysctls), "{text}");
        let (ns, _) = NetNs::compile(ns.config);
        let passes = |src: &str| {
            let end = receive(&ns, src);
            let filtered = matches!(end.code, Some(DropCode::RpFilterStrict | DropCode::RpFilterNoRoute));
            assert_ne!(end.disposition, Disposition::Unknown, "{end:?}");
            !filtered
        };
        assert_eq!((passes("10.5.0.9"), passes("99.0.0.1")), (behind_other, without), "all {all}, own {own}");
        assert!(passes("10.0.0.77"));
    }
}

#[test]
fn values_that_no_kernel_shows_are_named_and_not_used() {
    let ns =
        read("net.ipv4.ip_forward = 0\nnet.ipv4.ip_default_ttl = 999\nnet.ipv4.icmp_echo_ignore_all = 2\n");
    let said = |line: u32, severity: Severity| {
        ns.diagnostics.iter().any(|d| (d.source.line, d.severity) == (line, severity))
    };
    assert!(said(2, Severity::Error) && said(3, Severity::Warning), "{:?}", ns.diagnostics);
    // The default stands in, and that is an assumption.
    assert!(ns.config.missing.contains(&MissingState::Sysctls));
    let (ns, _) = NetNs::compile(ns.config);
    assert_eq!((ns.sysctls.ip_default_ttl, ns.sysctls.icmp_echo_ignore_all), (64, true));
    let mut config = ns.config.clone();
    assert!(sysctl::write(&mut config, "net.ipv4.ip_default_ttl", "0").is_err());
    assert!(matches!(check("net.ipv4.ip_default_ttl", "0"), Err(Misfit::Unusable(_))));
    // All types, as the kernel prints them.
    let (ns, _) = NetNs::compile(read("net.ipv4.ip_forward = 0\nnet.ipv4.icmp_ratemask = -1\n").config);
    assert_eq!(ns.sysctls.icmp_ratemask, u32::MAX);
}
