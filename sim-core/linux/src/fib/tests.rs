//! Lookups through a whole namespace.

use pktwalk_packet::MacAddr;

use super::{FibResult, FlowKey, lookup};
use crate::choice::{Choice, ChoicePoint, Seeded};
use crate::config::{Device, DeviceKind, NetNsConfig, Nexthop, Route};
use crate::ids::RouteId;
use crate::netns::NetNs;

#[test]
fn next_hops_are_taken_by_their_weights() {
    let wire = DeviceKind::Veth { peer_ifindex: None, peer_netns: Some(1) };
    let mut config = NetNsConfig {
        devices: vec![Device::new("eth0", 2, wire, MacAddr::default())],
        ..NetNsConfig::default()
    };
    let mut multipath =
        Route::new("198.51.100.0/24".parse().unwrap(), Some([192, 168, 50, 254].into()), Some("eth0"));
    let hop = multipath.nexthops[0].clone();
    let weights = [10, 1000, 1, 5];
    multipath.nexthops = weights.iter().map(|&weight| Nexthop { weight, ..hop.clone() }).collect();
    multipath.nexthops[1].dead = true;
    config.routes.push(multipath);
    let id = RouteId(0);
    let (ns, _) = NetNs::compile(config);
    let key = FlowKey { dst: 0xc633_6407, iif: ns.dev("eth0"), ..FlowKey::default() };
    let mut taken = [0; 4];
    let mut choice = Seeded::new(1);
    for _ in 0..16_000 {
        match lookup(&ns, &key, &mut choice) {
            FibResult::Found(found) => taken[usize::from(found.nexthop)] += 1,
            other => panic!("{other:?}"),
        }
    }
    for (taken, want) in taken.into_iter().zip([10_000, 0, 1_000, 5_000]) {
        assert!((want - want / 8..=want + want / 8).contains(&taken), "{taken} of {want}");
    }
    /// Answers the same, always.
    struct Fixed(u32);
    impl Choice for Fixed {
        fn choose(&mut self, _: ChoicePoint) -> u32 {
            self.0
        }
    }
    for (at, draw) in [(0, Some(9)), (1, None), (2, Some(10)), (3, Some(15))] {
        assert_eq!(ns.fib.draw_of(id, at), draw);
        let Some(draw) = draw else { continue };
        let result = lookup(&ns, &key, &mut Fixed(draw));
        assert!(matches!(result, FibResult::Found(found) if u32::from(found.nexthop) == at));
    }
}
