//! Generated settings.

use std::collections::BTreeMap;

use super::super::rng::Rng;

/// Devices whose settings vary.
const DEVICES: [&str; 4] = ["eth0", "vetha", "vethb", "br0"];

/// As `sysctl -a` names them.
pub fn sysctls(rng: &mut Rng) -> BTreeMap<String, String> {
    let mut map = BTreeMap::new();
    let mut set = |key: String, value: u32| {
        map.insert(key, value.to_string());
    };
    set("net.ipv4.ip_forward".to_owned(), u32::from(rng.chance(95)));
    set("net.ipv4.conf.all.rp_filter".to_owned(), *rng.pick(&[0, 0, 0, 1, 2]));
    // Rates of real time would make the comparison depend on the machine's speed.
    set("net.ipv4.icmp_ratemask".to_owned(), 0);
    set("net.ipv4.icmp_msgs_per_sec".to_owned(), 1_000_000);
    set("net.ipv4.icmp_msgs_burst".to_owned(), 1_000_000);
    // How many redirects a host gets depends on real time as well: packets after the first that is told of one are left out.
    let redirects = rng.chance(10);
    set("net.ipv4.conf.all.send_redirects".to_owned(), 0);
    for dev in DEVICES {
        set(format!("net.ipv4.conf.{dev}.rp_filter"), *rng.pick(&[0, 0, 1, 2]));
        set(format!("net.ipv4.conf.{dev}.route_localnet"), u32::from(rng.chance(20)));
        set(format!("net.ipv4.conf.{dev}.accept_local"), u32::from(rng.chance(15)));
        set(format!("net.ipv4.conf.{dev}.src_valid_mark"), u32::from(rng.chance(20)));
        set(format!("net.ipv4.conf.{dev}.proxy_arp"), u32::from(rng.chance(30)));
        set(format!("net.ipv4.conf.{dev}.send_redirects"), u32::from(redirects));
        if rng.chance(5) {
            set(format!("net.ipv4.conf.{dev}.forwarding"), 0);
        }
    }
    set("net.netfilter.nf_conntrack_tcp_loose".to_owned(), u32::from(rng.chance(80)));
    if rng.chance(40) {
        for _ in 0..rng.between(1, 3) {
            special(rng, &mut set);
        }
    }
    map
}

/// A setting that few nodes change.
fn special(rng: &mut Rng, set: &mut dyn FnMut(String, u32)) {
    let one_or_all = |rng: &mut Rng, field: &str| {
        let dev = *rng.pick(&["all", "eth0", "vetha", "vethb", "br0"]);
        format!("net.ipv4.conf.{dev}.{field}")
    };
    match rng.below(15) {
        0 => {
            let key = one_or_all(rng, "arp_ignore");
            set(key, *rng.pick(&[1, 2, 3, 4, 8]));
        }
        1 => {
            let key = one_or_all(rng, "arp_filter");
            set(key, 1);
        }
        2 => {
            let dev = *rng.pick(&DEVICES);
            set(format!("net.ipv4.conf.{dev}.proxy_arp_pvlan"), 1);
        }
        3 => {
            set("net.ipv4.conf.all.bc_forwarding".to_owned(), 1);
            for dev in DEVICES {
                set(format!("net.ipv4.conf.{dev}.bc_forwarding"), u32::from(rng.chance(60)));
            }
        }
        4 => {
            set("net.ipv4.conf.all.accept_source_route".to_owned(), 1);
            let dev = *rng.pick(&DEVICES);
            set(format!("net.ipv4.conf.{dev}.accept_source_route"), 0);
        }
        5 => set("net.ipv4.fwmark_reflect".to_owned(), 1),
        6 => set("net.ipv4.icmp_echo_ignore_all".to_owned(), 1),
        7 => set("net.ipv4.icmp_echo_ignore_broadcasts".to_owned(), 0),
        8 => set("net.ipv4.ip_default_ttl".to_owned(), *rng.pick(&[33, 1, 255])),
        9 => {
            let key = one_or_all(rng, "drop_unicast_in_l2_multicast");
            set(key, 1);
        }
        10 => set("net.ipv4.ip_no_pmtu_disc".to_owned(), rng.between(1, 3)),
        11 => {
            let key = one_or_all(rng, "ignore_routes_with_linkdown");
            set(key, 1);
        }
        12 => set("net.ipv4.icmp_errors_use_inbound_ifaddr".to_owned(), 1),
        13 => {
            let key = one_or_all(rng, "arp_accept");
            set(key, *rng.pick(&[1, 2]));
        }
        _ => set("net.ipv4.ip_forward_update_priority".to_owned(), 0),
    }
}
