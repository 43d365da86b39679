//! Frames with VLAN tags that were said without an Ethernet header, on the kernel.

use pktwalk_linux::config::NetNsConfig;
use pktwalk_linux::hook::Backend;
use pktwalk_linux::ids::DevId;
use pktwalk_linux::netns::NetNs;
use pktwalk_linux::reason::Disposition;
use pktwalk_linux::walk::as_neighbour;
use pktwalk_packet::{EtherType, MacAddr};
use pktwalk_scenario::case::Case;
use pktwalk_skip::skip_unprivileged;
use pktwalk_tests::node::{differences, namespace, send};

#[test]
fn what_is_tagged_gets_the_header_of_its_neighbour() {
    let config = namespace(Backend::Nft);
    let (ns, _) = NetNs::compile(config);
    let left = ns.dev("left").expect("it is there");
    let header = |text: &str, dev: DevId| {
        let mut packet = pktwalk_packet::spec::parse(text).expect("a packet");
        as_neighbour(&ns, dev, &mut packet);
        (packet.mac_dst(), packet.mac_src(), packet.ethertype())
    };
    let (to, from, _) = header("udp 10.0.1.2:5 > 10.0.1.1:7", left);
    assert!(to.is_some() && from.is_some());
    for tag in [0, 7] {
        let tagged = header(&format!("udp 10.0.1.2:5 > 10.0.1.1:7 vlan={tag}"), left);
        assert_eq!(tagged, (to, from, EtherType::VLAN));
    }
    let asks = header("arp 10.0.1.2 > 10.0.1.1 sha=02:00:00:00:07:07 vlan=0", left);
    assert_eq!(asks, (Some(MacAddr::BROADCAST), Some(MacAddr([2, 0, 0, 0, 7, 7])), EtherType::VLAN));
    let (other, _, _) = header("raw ethertype=0x88b5 data=00", left);
    assert_eq!(other, to, "what is neither IPv4 nor ARP is for the device");
}

#[test]
fn a_tag_of_vlan_0_is_taken_off_on_both() {
    if skip_unprivileged("a_tag_of_vlan_0_is_taken_off_on_both") {
        return;
    }
    let sends = vec![
        send("icmp 10.0.1.2 > 10.0.1.1 type=8 id=1 ipid=1 vlan=0", "left"),
        send("icmp 10.0.1.2 > 10.0.1.1 type=8 id=1 ipid=2 vlan=7", "left"),
    ];
    let config = NetNsConfig { rulesets: Vec::new(), ..namespace(Backend::Nft) };
    let case = Case { name: "tags".to_owned(), config, sends, ..Case::default() };
    let (differences, kernel) = differences(&case);
    assert_eq!(differences, []);
    assert!(kernel.run.sends[0].packets.len() > 1, "it is answered");
    assert_eq!(kernel.run.sends[1].packets[0].disposition, Some(Disposition::Dropped));
}
