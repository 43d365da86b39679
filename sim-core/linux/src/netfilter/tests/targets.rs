//! Targets that change the packet or what is known of it.

use super::*;

#[test]
fn tcpmss() {
    let syns = || tcp_match(|m| m.flags = Some(Neg::is(TcpFlags { mask: 0x17, comp: 2 })));
    let run = |target, options: &[u8]| {
        let mut world = World::forward(
            Backend::Nft,
            Policy::Accept,
            vec![rule(Target::Tcpmss(target)).with(syns())],
            vec![],
        );
        let mut skb = skb(packet(6, 0, &tcp(2, options)));
        skb.dst = Some(Dst {
            dev: DevId(2),
            local: false,
            broadcast: false,
            gateway: None,
            route: None,
            mtu: 1400,
            redirect: false,
            type_local: false,
            iif: None,
        });
        assert_eq!(world.run(Hook::Forward, &mut skb).0, None);
        let l3 = skb.packet.l3();
        assert_eq!(checksum::checksum(&l3[..20]), 0);
        assert_eq!(usize::from(skb.ip.total_len), l3.len());
        assert_eq!(tcp_checksum(&l3[20..]), 0, "checksum over a right one");
        l3[40..].to_vec()
    };
    assert_eq!(run(TcpmssTarget::Set(1000), &[2, 4, 5, 180]), [2, 4, 3, 232]);
    assert_eq!(run(TcpmssTarget::Set(1500), &[2, 4, 5, 180]), [2, 4, 5, 180]);
    assert_eq!(run(TcpmssTarget::ClampToPmtu, &[1, 1, 2, 4, 5, 180, 1, 1]), [1, 1, 2, 4, 5, 80, 1, 1]);
    assert_eq!(run(TcpmssTarget::Set(1000), &[3, 3, 7, 0]), [2, 4, 2, 24, 3, 3, 7, 0]);
}

#[test]
fn ct_acts_on_a_packet_once() {
    let ct = |set: &dyn Fn(&mut CtTarget)| {
        let mut target = CtTarget::default();
        set(&mut target);
        rule(Target::Ct(target.into()))
    };
    let zone = |id| Some(CtTargetZone { id, original: true, reply: false });
    // The one that tracks comes after table raw, and has none of it yet.
    let chains = vec![chain(
        "PREROUTING",
        Some(Policy::Accept),
        vec![
            ct(&|t| t.zone = zone(Some(5))),
            ct(&|t| t.notrack = true),
            ct(&|t| t.zone = zone(None)),
            rule(Target::Drop),
        ],
    )];
    let mut world = World::new(config(vec![ruleset(Backend::Legacy, vec![table(TableName::Raw, chains)])]));
    let mut skb = syn();
    world.run(Hook::Prerouting, &mut skb);
    assert_eq!(skb.ct, SkbCt::None);
    assert_eq!(
        skb.ct_template.map(|t| (t.rule, t.zone, t.original, t.reply)),
        Some((RuleId(0), Some(5), true, false))
    );
}
