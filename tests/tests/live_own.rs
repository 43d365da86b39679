//! What a namespace sends to itself and what its neighbours tell of themselves, on the kernel.

use std::collections::BTreeSet;

use pktwalk_linux::config::{NetNsConfig, NudState, Route, RouteType, Ruleset, Socket};
use pktwalk_linux::hook::{Backend, Family};
use pktwalk_linux::ids::DevId;
use pktwalk_linux::iptables;
use pktwalk_linux::skb::SkbSocket;
use pktwalk_packet::MacAddr;
use pktwalk_scenario::case::{Case, CaseSend, Entry};
use pktwalk_scenario::event::At;
use pktwalk_skip::skip_unprivileged;
use pktwalk_tests::node::{differences, namespace, send};

/// A node without rules that filters no sources.
fn open() -> NetNsConfig {
    let mut config = NetNsConfig { rulesets: Vec::new(), ..namespace(Backend::Nft) };
    config.sysctls.insert("net.ipv4.conf.all.rp_filter".to_owned(), "0".to_owned());
    config
}

fn local(text: &str, bound_dev: Option<DevId>) -> CaseSend {
    let packet = pktwalk_packet::spec::parse(text).expect("a packet");
    let socket = SkbSocket { uid: Some(0), gid: Some(0), bound_dev, raw: true };
    CaseSend::new(packet, Entry::Local(socket))
}

#[test]
fn sockets_of_a_device_hear_what_is_sent_to_its_addresses() {
    if skip_unprivileged("sockets_of_a_device_hear_what_is_sent_to_its_addresses") {
        return;
    }
    // By `lo` it goes in any case; what counts is whose address it is.
    let listens = |port, dev: &str| Socket {
        protocol: 6,
        local: [0, 0, 0, 0].into(),
        port,
        remote: None,
        dev: Some(dev.to_owned()),
        v6_only: false,
        listening: true,
        owner: None,
        uid: None,
    };
    let mut config = open();
    config.sockets = Some(vec![listens(80, "lo"), listens(81, "left")]);
    let sends = vec![
        local("tcp 10.0.1.1:40000 > 10.0.1.1:80 flags=S ipid=1", None),
        local("tcp 10.0.1.1:40001 > 10.0.1.1:81 flags=S ipid=2", None),
        // Its sender is bound to `lo`, by which no route leads there: that route is not of type local, so nobody resets.
        local("tcp 10.0.1.1:40002 > 10.0.1.1:82 flags=S ipid=3", Some(DevId(0))),
    ];
    let case = Case { name: "of a device".to_owned(), config, sends, ..Case::default() };
    let (differences, kernel) = differences(&case);
    assert_eq!(differences, []);
    let answered: Vec<bool> = kernel.run.sends.iter().map(|send| send.packets.len() > 1).collect();
    assert_eq!(answered, [true, false, false], "the one that nobody listens to with a reset");
}

#[test]
fn lo_is_in_no_group_but_that_of_all_hosts() {
    if skip_unprivileged("lo_is_in_no_group_but_that_of_all_hosts") {
        return;
    }
    let sends = vec![
        local("udp 10.0.1.1:40000 > 228.1.1.1:53 ttl=1 ipid=1", Some(DevId(0))),
        local("udp 10.0.1.1:40000 > 224.0.0.1:53 ttl=1 ipid=2", Some(DevId(0))),
    ];
    let case = Case { name: "groups".to_owned(), config: open(), sends, ..Case::default() };
    let (differences, kernel) = differences(&case);
    assert_eq!(differences, []);
    let reasons: Vec<_> = kernel.run.sends.iter().map(|send| send.packets[0].kernel_reason.clone()).collect();
    assert_eq!(reasons[0].as_deref(), Some("NOT_SPECIFIED"));
}

#[test]
fn an_answer_that_is_heard_here_is_heard_after_it_left() {
    if skip_unprivileged("an_answer_that_is_heard_here_is_heard_after_it_left") {
        return;
    }
    // The reset of a segment from a broadcast address goes to everybody, this host among them.
    let rules = b"*mangle\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n\
        :OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\nCOMMIT\n";
    for backend in [Backend::Legacy, Backend::Nft] {
        let (save, _) = iptables::parse(rules, 0, Family::V4);
        let mut config = NetNsConfig { rulesets: vec![Ruleset { backend, save: save.into() }], ..open() };
        let own = |net: &str, kind, scope| Route {
            kind,
            scope,
            table: 255,
            protocol: "kernel".to_owned(),
            prefsrc: Some([10, 0, 1, 1].into()),
            ..Route::new(net.parse().expect("a net"), None, Some("left"))
        };
        config.routes.push(own("10.0.1.255/32", RouteType::Broadcast, 253));
        config.routes.push(own("10.0.1.1/32", RouteType::Local, 254));
        let sends = vec![send("tcp 10.0.1.255:80 > 10.0.1.1:53 flags=SA ipid=1", "left")];
        let case = Case { name: "heard".to_owned(), config, sends, ..Case::default() };
        let (differences, kernel) = differences(&case);
        assert_eq!(differences, []);
        let hooks: Vec<_> =
            kernel.run.sends[0].packets[1].events.iter().map(|event| event.hook.to_string()).collect();
        assert_eq!(hooks.iter().filter(|hook| *hook == "POSTROUTING").count(), 2, "{hooks:?}");
    }
}

#[test]
fn who_tells_of_himself_changes_a_neighbour() {
    if skip_unprivileged("who_tells_of_himself_changes_a_neighbour") {
        return;
    }
    let to = |ipid: u16| send(&format!("udp 10.0.1.2:40000 > 10.0.2.9:53 ipid={ipid}"), "left");
    let says = |op: &str, target: &str, mac: &str| {
        send(
            &format!("arp 10.0.2.9 > {target} op={op} sha={mac} tha={mac} smac={mac} dmac=ff:ff:ff:ff:ff:ff"),
            "right",
        )
    };
    let (first, second) = ("02:00:00:00:09:01", "02:00:00:00:09:02");
    let sends = vec![
        // Nobody asked for him: nobody remembers.
        says("request", "10.0.2.9", first),
        to(1),
        // What he says unasked is heard at once, what he says besides only after a second.
        says("request", "10.0.2.9", first),
        to(2),
        says("reply", "10.0.2.8", second),
        to(3),
        says("reply", "10.0.2.9", second),
        to(4),
    ];
    for accept in ["0", "1"] {
        let mut config = open();
        config.sysctls.insert("net.ipv4.conf.right.arp_accept".to_owned(), accept.to_owned());
        let case = Case { name: "of himself".to_owned(), config, sends: sends.clone(), ..Case::default() };
        let (differences, kernel) = differences(&case);
        assert_eq!(differences, []);
        let frames = kernel.run.sends.iter().flat_map(|send| &send.packets[0].frames);
        let macs: Vec<String> =
            frames.filter_map(|frame| frame.packet.mac_dst()).map(|mac: MacAddr| mac.to_string()).collect();
        assert_eq!(&macs[1..], [first, first, second]);
        assert_eq!(macs[0] == first, accept == "1");
        assert_eq!(macs.iter().collect::<BTreeSet<_>>().len(), if accept == "1" { 2 } else { 3 });
    }
}

#[test]
fn a_reset_goes_by_the_device_that_its_cause_is_bound_to() {
    if skip_unprivileged("a_reset_goes_by_the_device_that_its_cause_is_bound_to") {
        return;
    }
    let rules = b"*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
        -A OUTPUT -p tcp -m tcp --dport 80 -j REJECT --reject-with tcp-reset\nCOMMIT\n";
    for backend in [Backend::Legacy, Backend::Nft] {
        let (save, _) = iptables::parse(rules, 0, Family::V4);
        let config = NetNsConfig { rulesets: vec![Ruleset { backend, save: save.into() }], ..open() };
        let to_peer = "tcp 10.0.1.1:40000 > 10.0.2.2:80 flags=S ipid=1";
        let sends = vec![local(to_peer, Some(DevId(2))), local(to_peer, None)];
        let case = Case { name: "bound".to_owned(), config, sends, ..Case::default() };
        let (differences, kernel) = differences(&case);
        assert_eq!(differences, []);
        let left: Vec<usize> = kernel.run.sends.iter().map(|send| send.packets[1].frames.len()).collect();
        assert_eq!(left, [1, 0], "the reset leaves by the device, though it is for an address of this host");
    }
}

#[test]
fn of_equal_routes_the_first_one_counts() {
    if skip_unprivileged("of_equal_routes_the_first_one_counts") {
        return;
    }
    let net = || "198.51.100.0/24".parse().expect("a net");
    let away = Route::new(net(), Some([10, 0, 2, 2].into()), Some("right"));
    let here = Route { kind: RouteType::Local, scope: 254, ..Route::new(net(), None, Some("lo")) };
    let mut first = Vec::new();
    for routes in [[away.clone(), here.clone()], [here, away]] {
        let mut config = open();
        config.routes.extend(routes);
        let sends = vec![send("udp 10.0.1.2:40000 > 198.51.100.7:53 ipid=1", "left")];
        let case = Case { name: "equal".to_owned(), config, sends, ..Case::default() };
        let (differences, kernel) = differences(&case);
        assert_eq!(differences, []);
        first.push(kernel.run.sends[0].packets[0].frames.len());
    }
    assert_eq!(first, [1, 0]);
}

#[test]
fn neighbours_that_are_not_permanent_are_changed_by_what_is_heard() {
    if skip_unprivileged("neighbours_that_are_not_permanent_are_changed_by_what_is_heard") {
        return;
    }
    let says = "arp 10.0.2.2 > 10.0.2.77 op=request sha=02:00:00:00:09:01 smac=02:00:00:00:09:01 dmac=ff:ff:ff:ff:ff:ff";
    let sends = vec![send(says, "right"), send("udp 10.0.1.2:40000 > 10.0.2.2:53 ipid=1", "left")];
    for (state, mac) in [
        (NudState::Permanent, "02:00:00:00:01:03"),
        (NudState::Stale, "02:00:00:00:09:01"),
        (NudState::Reachable, "02:00:00:00:09:01"),
        (NudState::Failed, "02:00:00:00:09:01"),
    ] {
        let mut config = open();
        config.neighbours[1].state = state;
        let case = Case { name: "changed".to_owned(), config, sends: sends.clone(), ..Case::default() };
        let (differences, kernel) = differences(&case);
        assert_eq!(differences, []);
        let frame = &kernel.run.sends[1].packets[0].frames[0];
        assert_eq!(frame.packet.mac_dst().map(|mac| mac.to_string()).as_deref(), Some(mac), "{state:?}");
    }
}

#[test]
fn a_device_without_arp_needs_no_neighbour_but_a_failed_one() {
    if skip_unprivileged("a_device_without_arp_needs_no_neighbour_but_a_failed_one") {
        return;
    }
    let other = MacAddr([2, 0, 0, 0, 1, 3]);
    for (state, mac, to) in [
        (None, None, Some("02:00:00:00:00:03")),
        (Some(NudState::Permanent), Some(other), Some("02:00:00:00:01:03")),
        (Some(NudState::Reachable), Some(other), Some("02:00:00:00:01:03")),
        (Some(NudState::Incomplete), None, None),
        (Some(NudState::Failed), None, None),
    ] {
        let mut config = open();
        let addr = config.neighbours[1].addr;
        let right = config.neighbours[1].dev.clone();
        config
            .devices
            .iter_mut()
            .filter(|device| device.name == right)
            .for_each(|device| device.no_arp = true);
        match state {
            None => config.neighbours.retain(|neighbour| neighbour.addr != addr),
            Some(state) => {
                config.neighbours[1].state = state;
                config.neighbours[1].mac = mac;
            }
        }
        let sends = vec![send("udp 10.0.1.2:40000 > 10.0.2.2:53 ipid=1", "left")];
        let case = Case { name: "noarp".to_owned(), config, sends, ..Case::default() };
        let (differences, kernel) = differences(&case);
        assert_eq!(differences, [], "{state:?}");
        let frames = &kernel.run.sends[0].packets[0].frames;
        let seen = frames.first().and_then(|frame| frame.packet.mac_dst()).map(|mac| mac.to_string());
        assert_eq!(seen.as_deref(), to, "{state:?}");
    }
}

#[test]
fn a_heard_copy_has_no_sender() {
    if skip_unprivileged("a_heard_copy_has_no_sender") {
        return;
    }
    let rules = b"*mangle\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
        :POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -m owner --uid-owner 0 -j MARK --set-xmark 0x1/0xffffffff\nCOMMIT\n";
    for backend in [Backend::Legacy, Backend::Nft] {
        let (save, _) = iptables::parse(rules, 0, Family::V4);
        let config = NetNsConfig { rulesets: vec![Ruleset { backend, save: save.into() }], ..open() };
        let sends = vec![local("udp 10.0.1.1:40000 > 255.255.255.255:53 ipid=1", Some(DevId(1)))];
        let case = Case { name: "heard".to_owned(), config, sends, ..Case::default() };
        let (differences, kernel) = differences(&case);
        assert_eq!(differences, []);
        let matched = kernel.run.sends[0].packets[0].events.iter().filter(|event| event.at == At::Rule(1));
        assert_eq!(matched.count(), 1, "the packet matches and its copy does not");
    }
}

#[test]
fn reject_sums_what_the_stack_changed() {
    if skip_unprivileged("reject_sums_what_the_stack_changed") {
        return;
    }
    let rules = b"*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
        -A FORWARD -p tcp -j REJECT --reject-with tcp-reset\n-A FORWARD -j REJECT\nCOMMIT\n";
    let (save, _) = iptables::parse(rules, 0, Family::V4);
    let config =
        NetNsConfig { rulesets: vec![Ruleset { backend: Backend::Nft, save: save.into() }], ..open() };
    // A timestamp option without room: the stack counts the overflow, and sums the header again when it sends.
    let sends = vec![
        send("tcp 10.0.1.2:1023 > 10.0.2.2:53 flags=S ipid=1 opts=440c0d00000000000000000000000000", "left"),
        send("tcp 10.0.1.2:1023 > 10.0.2.2:53 flags=S ipid=2 opts=01010101", "left"),
        // DCCP is a protocol like any other by now: all of it is summed.
        send("ip 10.0.1.2 > 10.0.2.2 proto=dccp data=9c400050040000000202000000000001 ipid=3", "left"),
        send("ip 10.0.1.2 > 10.0.2.2 proto=dccp data=9c40005004000000020200005d6c0001 ipid=4", "left"),
    ];
    let case = Case { name: "summed".to_owned(), config, sends, ..Case::default() };
    let (differences, kernel) = differences(&case);
    assert_eq!(differences, []);
    let answered: Vec<bool> = kernel.run.sends.iter().map(|send| send.packets.len() > 1).collect();
    assert_eq!(answered, [false, true, false, true]);
}

#[test]
fn what_is_not_tracked_needs_no_tracking() {
    if skip_unprivileged("what_is_not_tracked_needs_no_tracking") {
        return;
    }
    let rules = |target: &str| {
        format!(
            "*raw\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A PREROUTING -p gre -j CT {target}\nCOMMIT\n"
        )
    };
    for (target, entries) in [("--notrack", 0), ("--zone 1", 1)] {
        for backend in [Backend::Legacy, Backend::Nft] {
            let (save, _) = iptables::parse(rules(target).as_bytes(), 0, Family::V4);
            let config = NetNsConfig { rulesets: vec![Ruleset { backend, save: save.into() }], ..open() };
            let sends = vec![send("udp 10.0.1.2:40000 > 10.0.2.2:53 ipid=1", "left")];
            let case = Case { name: "tracked".to_owned(), config, sends, ..Case::default() };
            let (differences, kernel) = differences(&case);
            assert_eq!(differences, []);
            assert_eq!(kernel.run.sends[0].conntrack.len(), entries, "{target} on {backend}");
        }
    }
}

#[test]
fn what_chance_decided_of_a_copy_is_told_from_its_original() {
    if skip_unprivileged("what_chance_decided_of_a_copy_is_told_from_its_original") {
        return;
    }
    // The kernel does not tell the two apart: the copy comes first.
    let rules = b"*mangle\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
        :POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -m statistic --mode random --probability 0.5 -j MARK --set-xmark 0x1/0xffffffff\n\
        COMMIT\n";
    let (save, _) = iptables::parse(rules, 0, Family::V4);
    let config =
        NetNsConfig { rulesets: vec![Ruleset { backend: Backend::Nft, save: save.into() }], ..open() };
    let to_all =
        |ipid| local(&format!("udp 10.0.1.1:40000 > 255.255.255.255:53 ipid={ipid}"), Some(DevId(1)));
    let case =
        Case { name: "chance".to_owned(), config, sends: (1..=16).map(to_all).collect(), ..Case::default() };
    assert_eq!(differences(&case).0, []);
}

#[test]
fn listeners_answer_or_drop_what_begins_no_connection() {
    if skip_unprivileged("listeners_answer_or_drop_what_begins_no_connection") {
        return;
    }
    let listens = |port, dev: Option<&str>| Socket {
        protocol: 6,
        local: [0, 0, 0, 0].into(),
        port,
        remote: None,
        dev: dev.map(str::to_owned),
        v6_only: false,
        listening: true,
        owner: None,
        uid: None,
    };
    let mut config = open();
    // By the routes the answer would leave by the other device.
    config.routes.push(Route::new("10.3.0.0/24".parse().expect("a net"), None, Some("right")));
    config.sockets = Some(vec![listens(80, None), listens(81, Some("left"))]);
    let kinds = ["A", "R", "RA", "F", "FA", "SF", "SR", "SA", "SRA", "SFA", "P", "PA", "U", "FPU"];
    let mut sends: Vec<CaseSend> = kinds
        .iter()
        .enumerate()
        .map(|(at, flags)| {
            send(
                &format!("tcp 10.0.1.2:{} > 10.0.1.1:80 flags={flags} seq=7 ack=9 ipid=1", 40_000 + at),
                "left",
            )
        })
        .collect();
    let alone = sends.len();
    // A connection begins: what follows is of it. Then another port of the same host, and another host.
    for text in [
        "tcp 10.0.1.2:50000 > 10.0.1.1:80 flags=S seq=7 ipid=1",
        "tcp 10.0.1.2:50000 > 10.0.1.1:80 flags=A seq=8 ack=9 ipid=1",
        "tcp 10.0.1.2:50000 > 10.0.1.1:80 flags=FA seq=8 ack=9 ipid=1",
        "tcp 10.0.1.2:50001 > 10.0.1.1:80 flags=A seq=8 ack=9 ipid=1",
        "tcp 10.0.1.3:50000 > 10.0.1.1:80 flags=A seq=8 ack=9 ipid=1",
        "tcp 10.3.0.3:50000 > 10.0.1.1:81 flags=A seq=8 ack=9 ipid=1",
    ] {
        sends.push(send(text, "left"));
    }
    let case = Case { name: "listening".to_owned(), config, sends, ..Case::default() };
    let (differences, kernel) = differences(&case);
    assert_eq!(differences, []);
    let reasons: Vec<_> =
        kernel.run.sends.iter().map(|send| send.packets[0].kernel_reason.as_deref()).collect();
    for (flags, reason) in kinds.iter().zip(&reasons[..alone]) {
        let wanted = if !flags.contains('A') && flags.contains('R') { "TCP_RESET" } else { "TCP_FLAGS" };
        assert_eq!(*reason, Some(wanted), "{flags}");
    }
    assert_eq!(reasons[alone..alone + 4], [None, None, None, Some("TCP_FLAGS")]);
}

#[test]
fn nobody_answers_where_there_is_no_carrier() {
    if skip_unprivileged("nobody_answers_where_there_is_no_carrier") {
        return;
    }
    let mut config = open();
    config.devices[2].carrier = false;
    // Whose address is known is sent to, and lost; who would have to be asked is given up.
    let sends = vec![
        send("udp 10.0.1.2:40000 > 10.0.2.2:53 ipid=1", "left"),
        send("udp 10.0.1.2:40000 > 10.0.2.9:53 ipid=2", "left"),
        send("udp 10.0.1.2:40000 > 10.0.2.9:53 ipid=3", "left"),
    ];
    let case = Case { name: "no carrier".to_owned(), config, sends, ..Case::default() };
    let (differences, kernel) = differences(&case);
    assert_eq!(differences, []);
    let told: Vec<bool> = kernel.run.sends.iter().map(|send| send.packets.len() > 1).collect();
    assert_eq!(told, [false, true, true], "the sender of what could not be resolved hears of it");
}

#[test]
fn what_began_in_the_middle_stays_liberal_after_its_syn() {
    if skip_unprivileged("what_began_in_the_middle_stays_liberal_after_its_syn") {
        return;
    }
    let rules = b"*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
        -A FORWARD -m conntrack --ctstate INVALID -j DROP\nCOMMIT\n";
    let (save, _) = iptables::parse(rules, 0, Family::V4);
    let config =
        NetNsConfig { rulesets: vec![Ruleset { backend: Backend::Nft, save: save.into() }], ..open() };
    for options in ["", " mss=1460 wscale=7"] {
        let answer = format!("tcp 10.0.2.2:80 > 10.0.1.2:1023 flags=SA ack=1001{options}");
        let sends = vec![
            send("tcp 10.0.1.2:1023 > 10.0.2.2:80 flags=A seq=1001", "left"),
            send("tcp 10.0.1.2:1023 > 10.0.2.2:80 flags=S seq=1000", "left"),
            send(&answer, "right"),
            send("tcp 10.0.2.2:80 > 10.0.1.2:1023 flags=A seq=2000000 ack=1001 len=20", "right"),
        ];
        let case = Case { name: "liberal".to_owned(), config: config.clone(), sends, ..Case::default() };
        let (differences, kernel) = differences(&case);
        assert_eq!(differences, [], "{options}");
        // Far out of the window, and let through.
        assert_eq!(kernel.run.sends[3].packets[0].frames.len(), 1, "{options}");
    }
}

#[test]
fn a_reset_to_a_group_goes_one_hop() {
    if skip_unprivileged("a_reset_to_a_group_goes_one_hop") {
        return;
    }
    let rules = b"*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n\
        -A OUTPUT -d 224.0.0.9 -j DNAT --to-destination 10.0.2.2\nCOMMIT\n";
    let (save, _) = iptables::parse(rules, 0, Family::V4);
    let config =
        NetNsConfig { rulesets: vec![Ruleset { backend: Backend::Nft, save: save.into() }], ..open() };
    let sends = vec![
        local("tcp 10.0.1.1:53 > 224.0.0.9:100 flags=S seq=1 id=1", Some(DevId(2))),
        send("tcp 10.0.2.2:100 > 10.0.1.1:53 flags=SA ack=2", "right"),
    ];
    let case = Case { name: "group".to_owned(), config, sends, ..Case::default() };
    let (differences, kernel) = differences(&case);
    assert_eq!(differences, []);
    let frame = &kernel.run.sends[1].packets[1].frames[0];
    assert_eq!(frame.packet.l3()[8], 1);
}

#[test]
fn a_broadcast_address_of_any_device_is_nobodys() {
    if skip_unprivileged("a_broadcast_address_of_any_device_is_nobodys") {
        return;
    }
    // 10.0.1.255 is that of `left`; the socket is of `right`, where no route leads there.
    let sends = vec![local("udp 10.0.2.1:40000 > 10.0.1.255:53 ipid=1", Some(DevId(2)))];
    let case = Case { name: "broadcast".to_owned(), config: open(), sends, ..Case::default() };
    let (differences, kernel) = differences(&case);
    assert_eq!(differences, []);
    let frame = &kernel.run.sends[0].packets[0].frames[0];
    assert!(frame.packet.mac_dst().is_some_and(|mac| mac.is_broadcast()));
}

#[test]
fn what_is_of_this_host_has_no_link() {
    if skip_unprivileged("what_is_of_this_host_has_no_link") {
        return;
    }
    let mut config = open();
    config.sysctls.insert("net.ipv4.conf.right.ignore_routes_with_linkdown".to_owned(), "1".to_owned());
    config
        .devices
        .iter_mut()
        .filter(|device| device.name == "right")
        .for_each(|device| device.carrier = false);
    let hops = config.routes.iter_mut().flat_map(|route| &mut route.nexthops);
    hops.filter(|hop| hop.dev.as_deref() == Some("right")).for_each(|hop| hop.linkdown = true);
    let sends = vec![
        send("udp 10.0.1.2:40000 > 10.0.2.1:53 ipid=1", "left"),
        send("udp 10.0.1.2:40000 > 10.0.2.255:53 ipid=2", "left"),
    ];
    let case = Case { name: "linkdown".to_owned(), config, sends, ..Case::default() };
    let (differences, kernel) = differences(&case);
    assert_eq!(differences, []);
    let reason = |at: usize| kernel.run.sends[at].packets[0].kernel_reason.clone();
    assert_eq!(reason(0).as_deref(), Some("NO_SOCKET"));
    assert_ne!(reason(1).as_deref(), Some("NO_SOCKET"));
}

#[test]
fn a_socket_keeps_an_address_that_is_no_longer_of_this_host() {
    if skip_unprivileged("a_socket_keeps_an_address_that_is_no_longer_of_this_host") {
        return;
    }
    let gone = Socket {
        protocol: 17,
        local: [192, 0, 2, 7].into(),
        port: 53,
        remote: None,
        dev: None,
        v6_only: false,
        listening: false,
        owner: None,
        uid: None,
    };
    let config = NetNsConfig { sockets: Some(vec![gone]), ..open() };
    let sends = vec![send("udp 10.0.1.2:40000 > 10.0.1.1:53 ipid=1", "left")];
    let case = Case { name: "gone".to_owned(), config, sends, ..Case::default() };
    let (differences, kernel) = differences(&case);
    assert_eq!(differences, []);
    assert_eq!(kernel.run.sends[0].packets[0].kernel_reason.as_deref(), Some("NO_SOCKET"));
}

#[test]
fn a_neighbour_that_failed_at_one_device_may_answer_at_another() {
    if skip_unprivileged("a_neighbour_that_failed_at_one_device_may_answer_at_another") {
        return;
    }
    let mut config = open();
    let addr = config.neighbours[1].addr;
    config.neighbours[1].state = NudState::Failed;
    config.neighbours[1].mac = None;
    // By `left` no route leads there: it is taken to be on its link.
    let sends = vec![local(&format!("udp 10.0.1.1:40000 > {addr}:53 ipid=1"), Some(DevId(1)))];
    let case = Case { name: "elsewhere".to_owned(), config, sends, ..Case::default() };
    let (differences, kernel) = differences(&case);
    assert_eq!(differences, []);
    assert_eq!(kernel.run.sends[0].packets[0].frames.len(), 1);
}
