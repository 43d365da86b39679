//! Verdicts in words: one sentence for every end, and the place that decided.

use std::net::Ipv4Addr;

use pktwalk_linux::hook::Hook;
use pktwalk_linux::ids::{ChainId, RuleId};
use pktwalk_linux::limits;
use pktwalk_linux::reason::{Because, Disposition, DropCode, End, Locus};
use pktwalk_linux::trace::{PacketTrace, RouteResult, RuleVerdict, Step};
use pktwalk_packet::{EtherType, Packet};

use crate::flow::{Flow, L4, endpoint, packet_line, protocol};
use crate::names::{Names, RuleName};

/// The stable code of an end; empty for packets that arrived.
pub fn code(end: &End) -> &'static str {
    end.code().unwrap_or("")
}

/// The packet's headers as they were at its end.
pub(crate) fn last_flow(packet: &PacketTrace) -> Option<Flow> {
    let mut flow = Flow::of(&packet.start)?;
    for recorded in &packet.steps {
        flow.apply(&recorded.step);
    }
    Some(flow)
}

/// The first VLAN of a frame that has a number: tags of VLAN 0 only tell a priority.
fn vlan(packet: &Packet) -> Option<u16> {
    let (mut ethertype, mut rest) = (packet.ethertype(), packet.l3());
    while let (EtherType::VLAN | EtherType::SERVICE_VLAN, [a, b, c, d, inner @ ..]) = (ethertype, rest) {
        let number = u16::from_be_bytes([*a, *b]) & 0xfff;
        if number != 0 {
            return Some(number);
        }
        (ethertype, rest) = (EtherType(u16::from_be_bytes([*c, *d])), inner);
    }
    None
}

/// The rule of a built-in chain whose RETURN led to the policy of that chain.
pub(crate) fn returned(packet: &PacketTrace, chain: ChainId, names: &dyn Names) -> Option<RuleName> {
    let policy = packet
        .steps
        .iter()
        .rposition(|recorded| matches!(recorded.step, Step::ChainPolicy { chain: of, .. } if of == chain))?;
    returned_before(packet, policy, chain, names)
}

/// As [`returned`], of the policy at this step.
fn returned_before(
    packet: &PacketTrace,
    policy: usize,
    chain: ChainId,
    names: &dyn Names,
) -> Option<RuleName> {
    match packet.steps.get(policy.checked_sub(1)?)?.step {
        Step::Rule { rule, verdict: RuleVerdict::Return, .. } => {
            Some(names.rule(rule)).filter(|rule| rule.chain_id == chain)
        }
        _ => None,
    }
}

/// Where it was decided, in a few words: `node-b, filter FORWARD`. Empty where there is no one place.
pub(crate) fn place(end: &End, names: &dyn Names) -> String {
    let at = match (end.locus, end.because) {
        (Some(Locus::Rule { hook, rule }), _) => format!("{} {hook}", names.rule(rule).chain.table),
        (Some(Locus::Policy { hook, chain }), _) => format!("{} {hook}", names.chain(chain).table),
        (Some(Locus::Subsystem("ip_fragment")), _) => "sending".to_owned(),
        (Some(Locus::Conntrack { hook }), _) => match end.code {
            Some(
                DropCode::NatNoAddress
                | DropCode::NatIcmp
                | DropCode::MasqueradeDeviceChanged
                | DropCode::CtDrop,
            ) => format!("nat {hook}"),
            Some(DropCode::RerouteFailed) => format!("routing {hook}"),
            _ => format!("conntrack {hook}"),
        },
        (Some(Locus::Route(_) | Locus::RoutingRule(_)), _) => "routing".to_owned(),
        (Some(Locus::Device(dev)), _) => format!("device {}", names.device(dev)),
        (Some(Locus::Subsystem(_)), _) => end.code.map(area).unwrap_or_default().to_owned(),
        (None, Some(because)) => match because {
            Because::Match { rule, .. } | Because::Target { rule } | Because::Set { rule, .. } => {
                let rule = names.rule(rule);
                format!("{} {}", rule.chain.table, rule.chain.chain)
            }
            Because::Device(dev) => format!("device {}", names.device(dev)),
            Because::RoutingRule(_) | Because::Route(_) => "routing".to_owned(),
            Because::RegistrationOrder { hook } => hook.to_string(),
            Because::State(_) | Because::NotModelled(_) | Because::CutPacket => String::new(),
        },
        (None, None) => String::new(),
    };
    let mut on =
        [names.node(), names.netns()].iter().filter(|s| !s.is_empty()).copied().collect::<Vec<_>>().join("/");
    match (on.is_empty(), at.is_empty()) {
        (true, _) => at,
        (false, true) => format!("on {on}"),
        (false, false) => {
            on.push_str(", ");
            on.push_str(&at);
            format!("on {on}")
        }
    }
}

/// Why it ended, or where it went, in one sentence without a full stop.
pub fn sentence(packet: &PacketTrace, names: &dyn Names) -> String {
    let Some(end) = &packet.end else { return "the walk was not finished".to_owned() };
    match end.disposition {
        Disposition::Forwarded => forwarded(packet, names),
        Disposition::Delivered => delivered(packet, names),
        Disposition::Consumed => consumed(packet),
        Disposition::Loop => "the packet came by the same place in the same shape again".to_owned(),
        Disposition::LimitReached => bound(packet, end),
        Disposition::Unknown => match end.because {
            Some(because) => unknown(because, names),
            None => "something that is not modelled could have decided".to_owned(),
        },
        Disposition::Dropped | Disposition::Rejected => match end.code {
            Some(code) => freed(code, end, packet, names),
            None => "freed".to_owned(),
        },
    }
}

/// Which bound of the walk was reached.
fn bound(packet: &PacketTrace, end: &End) -> String {
    match (end.locus, packet.steps.last().map(|recorded| recorded.step)) {
        (Some(Locus::Rule { .. }), _) => {
            format!("a bound of the walk: chains jump deeper than {}", limits::JUMP_DEPTH)
        }
        (
            _,
            Some(
                Step::ChainEnter { hook, .. }
                | Step::Rule { hook, .. }
                | Step::ChainEnd { hook, .. }
                | Step::ChainPolicy { hook, .. },
            ),
        ) => {
            format!("a bound of the walk: more than {} rules are looked at in {hook}", limits::RULES_PER_HOOK)
        }
        _ => format!(
            "a bound of the walk: the packet and those made because of it came by more than {} times",
            limits::VISITS
        ),
    }
}

fn forwarded(packet: &PacketTrace, names: &dyn Names) -> String {
    match packet.frames.as_slice() {
        [] => "sent".to_owned(),
        [(dev, frame)] => {
            let (first, last) = (packet_line(&packet.start), packet_line(frame));
            let dev = names.device(*dev);
            // A packet of the node's own is not forwarded, though it is called so: it leaves.
            let made = if packet.in_dev.is_none() { "made here, " } else { "" };
            if first == last {
                format!("{made}out by {dev}")
            } else {
                format!("{made}out by {dev} as {last}")
            }
        }
        [(dev, _), rest @ ..] => {
            if rest.iter().all(|(other, _)| other == dev) {
                format!("out by {} in {} pieces", names.device(*dev), packet.frames.len())
            } else {
                let devices: Vec<String> = packet.frames.iter().map(|(dev, _)| names.device(*dev)).collect();
                format!("out by {}", devices.join(", "))
            }
        }
    }
}

fn delivered(packet: &PacketTrace, names: &dyn Names) -> String {
    let deliver = packet.steps.iter().rev().find_map(|recorded| match recorded.step {
        Step::Deliver { protocol, port, socket } => Some((protocol, port, socket)),
        _ => None,
    });
    match deliver {
        Some((number, port, socket)) => {
            let what = protocol(number);
            let to = last_flow(packet).map(|flow| Ipv4Addr::from(flow.dst).to_string()).unwrap_or_default();
            let owner = match socket.map(|socket| names.socket(socket)) {
                Some(owner) if !owner.is_empty() => format!(" ({owner})"),
                _ => String::new(),
            };
            if port == 0 {
                format!("to {what} of this namespace, {to}{owner}")
            } else {
                format!("to a local {what} socket, {to}:{port}{owner}")
            }
        }
        None => "to this namespace".to_owned(),
    }
}

fn consumed(packet: &PacketTrace) -> String {
    let arp = packet.start.ethertype() == EtherType::ARP;
    if arp { "ARP was handled here" } else { "taken out of the stack (queued to user space)" }.to_owned()
}

/// Why a walk meets state that it cannot evaluate though nothing of it is unmodelled: the bundle lacks it. Told by the words of the readers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Missing {
    /// A file is broken or cannot be read.
    Broken,
    /// A file is not there.
    File,
}

impl Missing {
    fn of(text: &str) -> Option<Missing> {
        if text.starts_with("what is lost of ") || text.ends_with(", which cannot be read") {
            Some(Missing::Broken)
        } else if text.contains(", which no file ") || text.ends_with(" the bundle does not hold") {
            Some(Missing::File)
        } else {
            None
        }
    }
}

/// What can be done about state that made an end `Unknown`, as called `text`.
pub(crate) fn instead(text: &str) -> String {
    match Missing::of(text) {
        Some(Missing::Broken) => "collect that file again".to_owned(),
        Some(Missing::File) => "collect what is missing (docs/bundles.md)".to_owned(),
        None => {
            // Part of the name is enough; a quote would end the argument.
            let words = text.split([')', '(', '\'']).next().unwrap_or_default().trim_end();
            format!("--assume ignore='{words}', if it lets this packet pass unchanged")
        }
    }
}

fn unknown(because: Because, names: &dyn Names) -> String {
    let rule_at = |rule: RuleId| {
        let rule = names.rule(rule);
        format!("rule {} of chain {}", rule.position, rule.chain.chain)
    };
    match because {
        Because::Match { rule, position } => {
            format!(
                "{} depends on a match that cannot be decided: {}",
                rule_at(rule),
                names.rule_match(rule, position)
            )
        }
        Because::Target { rule } => {
            format!("{} has a target that is not modelled: {}", rule_at(rule), names.rule(rule).target)
        }
        Because::Set { rule, set: Some(set) } => {
            format!("{} asks for a set that is not modelled: {}", rule_at(rule), names.set(set).text)
        }
        Because::Set { rule, set: None } => {
            let which = names.missing_set(rule).map(|set| format!(": {set}")).unwrap_or_default();
            format!("{} asks for a set that is not in the bundle{which}", rule_at(rule))
        }
        Because::State(position) => {
            let text = names.unmodelled(position).text;
            match Missing::of(&text) {
                Some(_) => format!("the bundle does not tell all that could decide: {text}"),
                None => format!("it meets something that is not modelled: {text}"),
            }
        }
        Because::Device(dev) => format!("not modelled: {}", names.device_kind(dev).text),
        Because::RoutingRule(rule) => {
            format!("a routing rule has a selector that is not modelled: {}", names.routing_rule(rule).text)
        }
        Because::Route(route) => format!("a route is not modelled: {}", names.route(route).text),
        Because::RegistrationOrder { hook } => {
            format!(
                "legacy and nft rules both sit at {hook}, and the order in which they were loaded decides"
            )
        }
        Because::NotModelled(what) => format!("not modelled: {what}"),
        Because::CutPacket => "the capture cut the packet off where its bytes decide".to_owned(),
    }
}

/// The part of the stack that a code belongs to, for ends that no rule or route decided.
fn area(code: DropCode) -> &'static str {
    match code {
        DropCode::RuleDrop
        | DropCode::RuleReject
        | DropCode::ChainPolicy
        | DropCode::Hotdrop
        | DropCode::TargetFailed => "netfilter",
        DropCode::NatNoAddress | DropCode::NatIcmp | DropCode::MasqueradeDeviceChanged | DropCode::CtDrop => {
            "nat"
        }
        DropCode::CtClash | DropCode::CtTableFull => "conntrack",
        DropCode::OtherHost
        | DropCode::UnhandledProtocol
        | DropCode::Truncated
        | DropCode::BadIpHeader
        | DropCode::BadIpChecksum
        | DropCode::BadIpOptions
        | DropCode::SourceRouteRefused
        | DropCode::UnicastInL2Multicast
        | DropCode::BadMacSource => "receive",
        DropCode::RpFilterStrict
        | DropCode::RpFilterNoRoute
        | DropCode::MartianLoopbackSource
        | DropCode::MartianLoopbackDest
        | DropCode::LocalSource
        | DropCode::InvalidSource
        | DropCode::InvalidDest => "source check",
        DropCode::NoRoute
        | DropCode::RouteUnreachable
        | DropCode::RouteProhibit
        | DropCode::RouteBlackhole
        | DropCode::RoutingRuleUnreachable
        | DropCode::RoutingRuleProhibit
        | DropCode::RoutingRuleBlackhole
        | DropCode::ForwardingOff
        | DropCode::RerouteFailed
        | DropCode::NoMulticastMember
        | DropCode::NoOutputRoute => "routing",
        DropCode::MulticastTtl | DropCode::MessageTooLong => "sending",
        DropCode::TtlExpired | DropCode::FragNeeded | DropCode::LinkBroadcastForward => "forwarding",
        DropCode::NoSocket
        | DropCode::NotConnected
        | DropCode::ResetOfNothing
        | DropCode::NoSocketBroadcast
        | DropCode::NoPingSocket
        | DropCode::TcpLinkBroadcast
        | DropCode::ShortTransportHeader
        | DropCode::IgmpIgnored
        | DropCode::PimIgnored
        | DropCode::NoProtocol
        | DropCode::TcpChecksum
        | DropCode::UdpChecksum
        | DropCode::IcmpChecksum
        | DropCode::IcmpUnhandled
        | DropCode::IcmpBroadcast => "delivery",
        DropCode::NeighFailed => "neighbour",
        DropCode::DeviceDown | DropCode::NoCarrier | DropCode::DummyDevice | DropCode::VethMtu => "device",
        DropCode::BridgePortState
        | DropCode::BridgeNoPort
        | DropCode::MacControl
        | DropCode::BridgeNoFlood
        | DropCode::BridgePortMtu => "bridge",
        DropCode::ArpIgnored => "arp",
    }
}

fn freed(code: DropCode, end: &End, packet: &PacketTrace, names: &dyn Names) -> String {
    let flow = last_flow(packet);
    let dst = || flow.as_ref().map(|f| Ipv4Addr::from(f.dst).to_string()).unwrap_or_default();
    let src = || flow.as_ref().map(|f| Ipv4Addr::from(f.src).to_string()).unwrap_or_default();
    let in_dev =
        || last_in_dev(packet).map(|dev| names.device(dev)).unwrap_or_else(|| "its device".to_owned());
    let route = || match end.locus {
        Some(Locus::Route(route)) => names.route(route).text,
        Some(Locus::RoutingRule(rule)) => names.routing_rule(rule).text,
        _ => String::new(),
    };
    let rule = || match end.locus {
        Some(Locus::Rule { rule, .. }) => {
            let rule = names.rule(rule);
            format!("rule {} of chain {}", rule.position, rule.chain.chain)
        }
        _ => "a rule".to_owned(),
    };
    let told = |told: &str, not: &str| {
        if end.disposition == Disposition::Rejected { told.to_owned() } else { not.to_owned() }
    };
    match code {
        DropCode::RuleDrop => format!("{} drops it", rule()),
        DropCode::RuleReject => {
            format!("{} rejects it{}", rule(), told("", "; the sender could not be told"))
        }
        DropCode::ChainPolicy => {
            let (chain, hook) = match end.locus {
                Some(Locus::Policy { chain, hook }) => (names.chain(chain).chain, hook),
                _ => (String::new(), Hook::Forward),
            };
            let chain = if chain.is_empty() { hook.name().to_owned() } else { chain };
            let by = match end.locus {
                Some(Locus::Policy { chain, .. }) => returned(packet, chain, names),
                _ => None,
            };
            match by {
                Some(rule) => {
                    format!(
                        "rule {} of chain {chain} returns, and the policy of the chain is DROP",
                        rule.position
                    )
                }
                None => format!("no rule of chain {chain} decided, and its policy is DROP"),
            }
        }
        DropCode::Hotdrop => {
            format!("{} could not read a header that it needs, which drops the packet", rule())
        }
        DropCode::TargetFailed => format!("the target of {} could not change the packet", rule()),
        DropCode::NatNoAddress => {
            format!("{} found no address to translate to on the device", rule())
        }
        DropCode::NatIcmp => "an ICMP error of a translated connection could not be translated".to_owned(),
        DropCode::MasqueradeDeviceChanged => {
            "a masqueraded connection now leaves by another device than before".to_owned()
        }
        DropCode::RerouteFailed => format!("no route to {} after the packet was changed in OUTPUT", dst()),
        DropCode::CtClash => "another connection with the same tuple was confirmed first".to_owned(),
        DropCode::CtTableFull => "the connection table is full".to_owned(),
        DropCode::CtDrop => "the packet is too short for its header to be translated".to_owned(),
        DropCode::OtherHost => match (vlan(&packet.start), packet.mac_dst) {
            (Some(vlan), _) => format!("the frame is of VLAN {vlan}, which {} has no device for", in_dev()),
            (None, Some(mac)) => format!("the frame is for {mac}, which is not {}", in_dev()),
            (None, None) => format!("the frame is not for {}", in_dev()),
        },
        DropCode::UnhandledProtocol => {
            format!("nothing here handles Ethernet protocol {:#06x}", packet.ethertype.0)
        }
        DropCode::Truncated => "the packet is shorter than its headers say".to_owned(),
        DropCode::BadIpHeader => "the IP version or header length is wrong".to_owned(),
        DropCode::BadIpChecksum => "the IP header checksum is wrong".to_owned(),
        DropCode::BadIpOptions => "an IP option is malformed".to_owned(),
        DropCode::SourceRouteRefused => "source routes are not accepted here".to_owned(),
        DropCode::RpFilterStrict => {
            format!("the route back to {} does not leave by {} (rp_filter is strict)", src(), in_dev())
        }
        DropCode::RpFilterNoRoute => format!("there is no route back to {} (rp_filter)", src()),
        DropCode::MartianLoopbackSource => format!("the source {} is a loopback address", src()),
        DropCode::MartianLoopbackDest => {
            format!("the destination {} is a loopback address, and route_localnet is off", dst())
        }
        DropCode::LocalSource => format!("the source {} is an address of this namespace", src()),
        DropCode::InvalidSource => format!("{} cannot be a source", src()),
        DropCode::InvalidDest => format!("{} cannot be a destination", dst()),
        DropCode::NoRoute => format!("no route to {}", dst()),
        DropCode::RouteUnreachable => format!("the route to {} is unreachable: {}", dst(), route()),
        DropCode::RouteProhibit => format!("the route to {} is prohibited: {}", dst(), route()),
        DropCode::RouteBlackhole => format!("the route to {} is a blackhole: {}", dst(), route()),
        DropCode::RoutingRuleUnreachable => {
            format!("a routing rule makes {} unreachable: {}", dst(), route())
        }
        DropCode::RoutingRuleProhibit => format!("a routing rule prohibits {}: {}", dst(), route()),
        DropCode::RoutingRuleBlackhole => {
            format!("a routing rule drops what goes to {}: {}", dst(), route())
        }
        DropCode::ForwardingOff => {
            format!("{} is not an address of this namespace, and forwarding is off on {}", dst(), in_dev())
        }
        DropCode::TtlExpired => "the TTL ran out".to_owned(),
        DropCode::FragNeeded => match mtu_step(packet) {
            Some((len, mtu)) => format!("{len} bytes do not fit the MTU of {mtu}, and DF is set"),
            None => "it does not fit the MTU, and DF is set".to_owned(),
        },
        DropCode::LinkBroadcastForward => {
            format!("the frame was a link broadcast, but {} would have to be forwarded", dst())
        }
        DropCode::NoSocket => {
            let to = flow.as_ref().map(Flow::to).unwrap_or_default();
            let number = flow.as_ref().map_or(0, |f| f.protocol);
            let port = match flow.as_ref().map(|flow| &flow.l4) {
                Some(L4::Tcp { dport, .. } | L4::Ports { dport, .. }) => *dport,
                _ => 0,
            };
            let places = names.listens_at(number, port);
            let elsewhere = match places.as_slice() {
                [] => String::new(),
                [one] => format!("; a socket listens at {one} only"),
                [first @ .., last] => format!("; sockets listen at {} and {last} only", first.join(", ")),
            };
            format!("nothing listens on {} {to}{elsewhere}", protocol(number))
        }
        DropCode::NoProtocol => {
            format!("nothing here handles IP protocol {}", flow.as_ref().map_or(0, |f| f.protocol))
        }
        DropCode::NoCarrier => "the output device has no carrier".to_owned(),
        DropCode::VethMtu => format!("it is larger than the MTU of {} allows", in_dev()),
        DropCode::NotConnected => {
            let to = flow.as_ref().map(Flow::to).unwrap_or_default();
            format!("it is of no connection, and begins none with the socket that listens on TCP {to}")
        }
        DropCode::ResetOfNothing => "it resets, and is of no connection".to_owned(),
        DropCode::NoSocketBroadcast => "nothing listens on the UDP port of this broadcast".to_owned(),
        DropCode::NoPingSocket => "no process here waits for this echo reply".to_owned(),
        DropCode::ShortTransportHeader => "it ends before the header of its protocol is whole".to_owned(),
        DropCode::TcpLinkBroadcast => "it is TCP in a frame that is not for this host alone".to_owned(),
        DropCode::PimIgnored => "only a multicast router takes PIM messages".to_owned(),
        DropCode::IgmpIgnored => "it is broken, or tells only multicast routers something".to_owned(),
        DropCode::MulticastTtl => "a multicast with TTL 0 does not leave the host".to_owned(),
        DropCode::MessageTooLong => {
            "it is larger than the MTU of the device, and the socket does not let it be cut".to_owned()
        }
        DropCode::TcpChecksum => "the TCP checksum is wrong".to_owned(),
        DropCode::UdpChecksum => "the UDP checksum is wrong".to_owned(),
        DropCode::IcmpUnhandled => "the stack does not know the ICMP type".to_owned(),
        DropCode::IcmpBroadcast => "the stack does not take this ICMP type from a broadcast".to_owned(),
        DropCode::UnicastInL2Multicast => {
            "its frame was sent to many, and drop_unicast_in_l2_multicast is on".to_owned()
        }
        DropCode::NoMulticastMember => "nobody here is in the multicast group".to_owned(),
        DropCode::IcmpChecksum => "the ICMP checksum is wrong".to_owned(),
        DropCode::NeighFailed => match next_hop(packet) {
            Some(addr) => format!("{} does not answer ARP", endpoint(addr, None)),
            None => "the next hop's hardware address is not known".to_owned(),
        },
        DropCode::DeviceDown => match end.locus {
            Some(Locus::Device(dev)) => format!("{} is down", names.device(dev)),
            _ => "the output device is down".to_owned(),
        },
        DropCode::DummyDevice => match end.locus {
            Some(Locus::Device(dev)) => {
                format!("{} is a dummy device: it drops what is sent", names.device(dev))
            }
            _ => "a dummy device drops what is sent".to_owned(),
        },
        DropCode::BridgePortState => "the bridge port does not forward".to_owned(),
        DropCode::BridgePortMtu => {
            "it does not fit the MTU of the bridge port that it would leave by".to_owned()
        }
        DropCode::MacControl => "01:80:c2:00:00:01 is for the link itself: no bridge passes it on".to_owned(),
        DropCode::BridgeNoPort => "the port of its destination may not have the frame".to_owned(),
        DropCode::BridgeNoFlood => {
            "the frame is for every port of the bridge, and none may have it".to_owned()
        }
        DropCode::BadMacSource => "the source hardware address is one that no frame may have".to_owned(),
        DropCode::NoOutputRoute => match route() {
            by if by.is_empty() => format!("no route to {} for a packet made here", dst()),
            by => format!("no route to {} for a packet made here: {by}", dst()),
        },
        DropCode::ArpIgnored => "ARP that is not answered".to_owned(),
    }
}

fn mtu_step(packet: &PacketTrace) -> Option<(u32, u32)> {
    packet.steps.iter().rev().find_map(|recorded| match recorded.step {
        Step::Mtu { len, mtu, .. } => Some((len, mtu)),
        _ => None,
    })
}

fn next_hop(packet: &PacketTrace) -> Option<u32> {
    packet.steps.iter().rev().find_map(|recorded| match recorded.step {
        Step::Neighbour { addr, .. } => Some(addr),
        Step::Route { result: RouteResult::Unicast { gateway: Some(gateway), .. }, .. } => Some(gateway),
        _ => None,
    })
}

fn last_in_dev(packet: &PacketTrace) -> Option<pktwalk_linux::ids::DevId> {
    packet
        .steps
        .iter()
        .rev()
        .find_map(|recorded| match recorded.step {
            Step::Rx { dev } => Some(dev),
            _ => None,
        })
        .or(packet.in_dev)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{publishing_node, rejected_after_dnat};
    use pktwalk_linux::hook::TableName;
    use pktwalk_packet::MacAddr;

    #[test]
    fn places_are_those_that_decide() {
        let names = publishing_node();
        let at = |code, locus| place(&End::dropped(code, locus), &names);
        let output = Locus::Conntrack { hook: Hook::Output };
        assert!(at(DropCode::RerouteFailed, output).ends_with("routing OUTPUT"));
        assert!(at(DropCode::CtTableFull, output).ends_with("conntrack OUTPUT"));
        assert!(at(DropCode::FragNeeded, Locus::Subsystem("ip_fragment")).ends_with("sending"));
        for (code, words) in [
            (DropCode::NoMulticastMember, "routing"),
            (DropCode::UnicastInL2Multicast, "receive"),
            (DropCode::TtlExpired, "forwarding"),
        ] {
            assert!(at(code, Locus::Subsystem("f")).ends_with(words), "{code:?}");
        }
    }

    #[test]
    fn frames_are_named_as_they_are_when_they_are_dropped() {
        let names = publishing_node();
        let packet = rejected_after_dnat(&names).request.packets.remove(0);
        let said = |code| {
            let end = End::dropped(code, Locus::Subsystem("ip_rcv_core"));
            let mac_dst = Some(MacAddr([2, 0, 0, 0, 9, 9]));
            let packet =
                PacketTrace { end: Some(end), mac_dst, ethertype: EtherType(0x88b5), ..packet.clone() };
            sentence(&packet, &names)
        };
        assert!(said(DropCode::OtherHost).starts_with("the frame is for 02:00:00:00:09:09,"));
        assert!(said(DropCode::UnhandledProtocol).ends_with("0x88b5"));
    }

    #[test]
    fn a_frame_of_a_vlan_is_told_by_its_vlan() {
        let names = publishing_node();
        let packet = rejected_after_dnat(&names).request.packets.remove(0);
        let said = |text: &str| {
            let end = End::dropped(DropCode::OtherHost, Locus::Subsystem("ip_rcv_core"));
            let start = pktwalk_packet::spec::parse(text).unwrap();
            sentence(
                &PacketTrace { end: Some(end), mac_dst: start.mac_dst(), start, ..packet.clone() },
                &names,
            )
        };
        let macs = "smac=02:00:00:00:01:02 dmac=02:00:00:00:00:02";
        let tagged = said(&format!("udp 203.0.113.5:5 > 192.168.50.1:7 vlan=7 {macs}"));
        assert_eq!(tagged, "the frame is of VLAN 7, which eth0 has no device for");
        let priority = said(&format!("udp 203.0.113.5:5 > 192.168.50.1:7 vlan=0 {macs}"));
        assert!(priority.starts_with("the frame is for 02:00:00:00:00:02"), "{priority}");
    }

    #[test]
    fn a_bound_is_named() {
        let names = publishing_node();
        let mut packet = rejected_after_dnat(&names).request.packets.remove(0);
        let reached = |packet: &PacketTrace, locus| {
            let end = End { locus, ..End::plain(Disposition::LimitReached) };
            sentence(&PacketTrace { end: Some(end), ..packet.clone() }, &names)
        };
        let rule = names.rule_id(TableName::Filter, "GUARD", 1);
        let deep = reached(&packet, Some(Locus::Rule { hook: Hook::Forward, rule }));
        assert!(deep.ends_with("chains jump deeper than 512"), "{deep}");
        let step = packet
            .steps
            .iter()
            .rposition(|recorded| matches!(recorded.step, Step::Rule { hook: Hook::Forward, .. }))
            .unwrap();
        packet.steps.truncate(step + 1);
        let long = reached(&packet, None);
        assert!(long.ends_with("more than 50000000 rules are looked at in FORWARD"), "{long}");
        packet.steps.clear();
        let often = reached(&packet, None);
        assert!(often.ends_with("came by more than 64 times"), "{often}");
    }
}
