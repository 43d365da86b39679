//! Generated matches that remember: with rates so slow that the time that passes within a case does not matter.

use std::net::{IpAddr, Ipv4Addr};

use pktwalk_linux::iptables::ast::{
    HashlimitMatch, HashlimitMode, HashlimitRate, Match, RecentAction, RecentMatch,
};

use super::super::rng::Rng;

pub(super) fn hashlimit(rng: &mut Rng) -> Match {
    let mode = HashlimitMode {
        src_ip: rng.chance(50),
        src_port: rng.chance(30),
        dst_ip: rng.chance(50),
        dst_port: rng.chance(30),
    };
    let src_mask = if mode.src_ip { *rng.pick(&[32u8, 32, 24, 8]) } else { 32 };
    let dst_mask = if mode.dst_ip { *rng.pick(&[32u8, 32, 24, 8]) } else { 32 };
    // Bytes come back so slowly that the time that passes does not matter; a burst of bytes is a multiple of the rate.
    let bytes = rng.chance(20);
    let rate_match = !bytes && rng.chance(15);
    let burst =
        if bytes { rng.maybe(60, |rng| *rng.pick(&[64u32, 200, 1000])) } else { Some(rng.between(1, 4)) };
    Match::Hashlimit(Box::new(HashlimitMatch {
        // A name of its own, as rules that share a name share the first one's parameters.
        name: format!("hl{:x}", rng.bits() as u32),
        above: rng.chance(50),
        // The kernel keeps a day of credit at most: bursts of 1/day overflow it.
        rate: match (bytes, rate_match) {
            (true, _) => HashlimitRate::Bytes(*rng.pick(&[16u64, 32])),
            (false, true) => HashlimitRate::Packets(1_000_000 / *rng.pick(&[1u64, 2, 4])),
            (false, false) => HashlimitRate::Packets(1_000_000 * 3_600),
        },
        burst: burst.filter(|_| !rate_match),
        mode,
        src_mask,
        dst_mask,
        size: None,
        max: None,
        gc_interval: None,
        expire: Some(3_600_000),
        rate_match,
        // All packets of a case come in one interval.
        rate_interval: rate_match.then_some(3_600),
    }))
}

pub(super) fn recent(rng: &mut Rng) -> Match {
    let action = *rng.pick(&[
        RecentAction::Set,
        RecentAction::Set,
        RecentAction::Rcheck,
        RecentAction::Update,
        RecentAction::Remove,
    ]);
    let timed = matches!(action, RecentAction::Rcheck | RecentAction::Update);
    let seconds = if timed && rng.chance(40) { 3600 } else { 0 };
    Match::Recent(Box::new(RecentMatch {
        not: rng.chance(20),
        action,
        seconds,
        // The tool asks for --seconds beside it.
        reap: seconds > 0 && rng.chance(40),
        hitcount: if timed && rng.chance(40) { rng.between(1, 3) } else { 0 },
        rttl: timed && rng.chance(15),
        name: rng.pick(&["DEFAULT", "seen"]).to_string(),
        mask: IpAddr::V4(if rng.chance(20) { Ipv4Addr::new(255, 255, 0, 0) } else { Ipv4Addr::BROADCAST }),
        dest: rng.chance(30),
    }))
}
