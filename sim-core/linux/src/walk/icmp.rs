//! ICMP messages that the stack sends: errors (`__icmp_send`), echo and timestamp replies (`icmp_reply`).

use std::borrow::Cow;

use pktwalk_packet::build::{self, IcmpErrorHeader, Ipv4Header, ReplyHeader};
use pktwalk_packet::checksum::{finish, pseudo_header};
use pktwalk_packet::{EtherType, Packet};

use super::{Made, Stage, options, output, skb_of};
use crate::choice::{ChoicePoint, MS_PER_DAY};
use crate::config::DeviceKind;
use crate::conntrack;
use crate::fib::{FlowKey, scope};
use crate::ids::DevId;
use crate::iptables::ast::PktType;
use crate::netns::Cx;
use crate::reason::Because;
use crate::skb::{MadeBy, Skb};
use crate::sysctl::Sysctls;
use crate::trace::{Assumption, Sink, Step};

/// Destination unreachable.
const UNREACHABLE: u8 = 3;
/// The highest type that the kernel knows.
const HIGHEST_TYPE: u8 = 18;
/// Source of messages when no address can be found (`INADDR_DUMMY`, RFC 7600).
const DUMMY_SOURCE: u32 = 0xc000_0008;

/// An ICMP message about another packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Error {
    pub icmp_type: u8,
    pub code: u8,
    /// Bytes 4 to 7.
    pub info: u32,
    /// Sent by a timer, long after its cause went on its way.
    pub late: bool,
}

impl Error {
    pub fn new(icmp_type: u8, code: u8, info: u32) -> Error {
        Error { icmp_type, code, info, late: false }
    }

    pub fn unreachable(code: u8) -> Error {
        Error::new(UNREACHABLE, code, 0)
    }

    /// The host does not answer to ARP: known when the last question stayed unanswered.
    pub fn no_neighbour() -> Error {
        Error { late: true, ..Error::unreachable(1) }
    }

    /// Fragmentation needed, with the MTU.
    pub fn too_big(mtu: u32) -> Error {
        Error::new(UNREACHABLE, 4, mtu)
    }

    /// TTL exceeded in transit.
    pub fn ttl() -> Error {
        Error::new(11, 0, 0)
    }
}

/// Whether the kernel counts a type among the errors (`icmp_pointers[].error`). Types that it does not know count as errors.
pub(super) fn is_error(icmp_type: u8) -> bool {
    matches!(icmp_type, 1..=7 | 9..=12) || icmp_type > HIGHEST_TYPE
}

/// Whether messages of this kind are limited at all (`icmpv4_mask_allow`).
fn limited(sysctls: &Sysctls, error: Error) -> bool {
    error.icmp_type <= HIGHEST_TYPE
        && !(error.icmp_type == UNREACHABLE && error.code == 4)
        && sysctls.icmp_ratemask >> error.icmp_type & 1 == 1
}

fn is_loopback<S: Sink>(cx: &Cx<'_, S>, dev: DevId) -> bool {
    cx.ns.config.devices.get(dev.index()).is_some_and(|d| d.kind == DeviceKind::Loopback)
}

/// The mark of an answer (`IP4_REPLY_MARK`).
pub(super) fn reply_mark<S: Sink>(cx: &Cx<'_, S>, skb: &Skb) -> u32 {
    if cx.ns.sysctls.fwmark_reflect { skb.mark } else { 0 }
}

/// Why no error may be sent about `cause`, if so.
fn refusal(cause: &Skb, error: Error) -> Option<&'static str> {
    if !error.late
        && cause.in_dev.is_none()
        && matches!(
            cause.made_by,
            MadeBy::EchoReply | MadeBy::TimestampReply | MadeBy::IcmpError | MadeBy::RejectIcmp
        )
    {
        // `icmp_xmit_lock` fails: it is on its way out of that very socket.
        return Some("the socket that would send it is busy with the message that it is about");
    }
    if cause.pkt_type != PktType::Unicast {
        return Some("its frame was not addressed to this host alone");
    }
    if cause.dst.is_none() {
        return Some("it has no route");
    }
    if cause.dst.is_some_and(|dst| dst.broadcast) {
        return Some("it is a broadcast or multicast");
    }
    if cause.ip.frag_offset != 0 {
        return Some("it is a fragment other than the first");
    }
    if is_error(error.icmp_type) && cause.ip.protocol == 1 {
        match cause.l4().first() {
            None => return Some("its ICMP type is cut off"),
            Some(&icmp_type) if is_error(icmp_type) => return Some("it is an ICMP error itself"),
            Some(_) => {}
        }
    }
    None
}

/// `icmp_send`: queues an ICMP message about `cause` and says so. `false` if none may be sent.
pub(super) fn send<S: Sink>(cx: &mut Cx<'_, S>, cause: &Skb, error: Error, by: MadeBy) -> bool {
    match make(cx, cause, error, by) {
        Ok(made) => {
            cx.sink.step(cause, Step::Made { by });
            cx.made.push(made);
            true
        }
        Err(why) => {
            cx.sink.step(cause, Step::NotAnswered { why });
            false
        }
    }
}

/// The bytes that an error quotes of.
fn quoted(cause: &Skb) -> Cow<'_, [u8]> {
    let l3 = cause.packet.l3();
    if cause.made_by != MadeBy::RejectReset {
        return Cow::Borrowed(l3);
    }
    // REJECT leaves the checksum of its reset to the device (`CHECKSUM_PARTIAL`): until then the sum of the pseudo header stands there.
    let mut bytes = l3.to_vec();
    let at = usize::from(cause.ip.header_len) + 16;
    let sum = pseudo_header(cause.ip.src, cause.ip.dst, 6, cause.l4().len() as u32);
    if let Some(field) = bytes.get_mut(at..at + 2) {
        field.copy_from_slice(&(!finish(sum)).to_be_bytes());
    }
    Cow::Owned(bytes)
}

fn make<S: Sink>(cx: &mut Cx<'_, S>, cause: &Skb, error: Error, by: MadeBy) -> Result<Made, &'static str> {
    if let Some(why) = refusal(cause, error) {
        return Err(why);
    }
    let ns = cx.ns;
    let mut limit = false;
    let by_loopback = cause.in_dev.is_some_and(|dev| is_loopback(cx, dev));
    if !by_loopback && limited(&ns.sysctls, error) {
        if !cx.state.stack.rates.global_allows(&ns.sysctls, cx.state.now_ns) {
            return Err("the limit of ICMP messages per second is reached");
        }
        limit = true;
    }
    let local = cause.dst.is_some_and(|dst| dst.local);
    let mut src = if local { cause.ip.dst } else { 0 };
    if !local
        && ns.sysctls.icmp_errors_use_inbound_ifaddr
        && let Some(dev) = cause.in_dev
    {
        src = ns.fib.select_source(dev, cause.ip.src, scope::LINK).unwrap_or(0);
    }
    let tos = if is_error(error.icmp_type) { cause.ip.tos & 0x1e | 0xc0 } else { cause.ip.tos };
    if options::echoed(cause) {
        cx.undecided = Some(Because::NotModelled(options::ECHOED));
        return Err(options::ECHOED);
    }
    let mark = reply_mark(cx, cause);
    let key = FlowKey {
        dst: cause.ip.src,
        src,
        mark,
        tos,
        protocol: 1,
        dport: u16::from_be_bytes([error.icmp_type, error.code]),
        ..FlowKey::default()
    };
    let routed = output::lookup_answer(cx, key).map_err(|error| output::no_way_back(cx, error))?;
    if limit
        && !is_loopback(cx, routed.dst.dev)
        && !cx.state.stack.rates.peer_allows(&ns.sysctls, cause.ip.src, cx.state.now_ns)
    {
        return Err("the limit of ICMP messages to this host is reached");
    }
    if limit {
        cx.state.stack.rates.global_consume();
    }
    if routed.dst.mtu <= 48 {
        return Err("the MTU of the way back is too small");
    }
    let ip = Ipv4Header {
        tos,
        ttl: output::answer_ttl(ns, &routed.dst, cause.ip.src),
        id: cx.choice.choose(ChoicePoint::IpId) as u16,
        ..Ipv4Header::new(if routed.src == 0 { DUMMY_SOURCE } else { routed.src }, cause.ip.src)
    };
    let header = IcmpErrorHeader {
        ip,
        icmp_type: error.icmp_type,
        code: error.code,
        rest: error.info.to_be_bytes(),
        mtu: routed.dst.mtu as usize,
    };
    let message = build::icmp_error(&header, &quoted(cause)).map_err(|_| "it would be too long")?;
    let mut skb = skb_of(Packet::from_l3(EtherType::IPV4, message), by);
    skb.mark = mark;
    skb.dst = Some(routed.dst);
    if is_error(error.icmp_type) {
        conntrack::attach(&mut skb, cause);
    }
    Ok(Made { skb, stage: Stage::LocalOut, steps: output::steps(&routed), bridged: None })
}

/// What the stack answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Query {
    /// An echo request (`icmp_echo`).
    Echo,
    /// A timestamp request (`icmp_timestamp`), which has a time.
    Timestamp,
}

impl Query {
    /// Type of the answer.
    fn answer_type(self) -> u8 {
        match self {
            Query::Echo => 0,
            Query::Timestamp => 14,
        }
    }

    fn answered_by(self) -> MadeBy {
        match self {
            Query::Echo => MadeBy::EchoReply,
            Query::Timestamp => MadeBy::TimestampReply,
        }
    }
}

/// Answers a query that was delivered (`icmp_reply`).
pub(super) fn answer<S: Sink>(cx: &mut Cx<'_, S>, request: &Skb, dev: DevId, query: Query) {
    let ns = cx.ns;
    let not = |cx: &mut Cx<'_, S>, why| cx.sink.step(request, Step::NotAnswered { why });
    // It is not asked for timestamps.
    if query == Query::Echo && ns.sysctls.icmp_echo_ignore_all {
        return not(cx, "icmp_echo_ignore_all is on");
    }
    if options::echoed(request) {
        cx.undecided = Some(Because::NotModelled(options::ECHOED));
        return not(cx, options::ECHOED);
    }
    let reply = Error::new(query.answer_type(), 0, 0);
    let limit = limited(&ns.sysctls, reply);
    if limit && !cx.state.stack.rates.global_allows(&ns.sysctls, cx.state.now_ns) {
        return not(cx, "the limit of ICMP messages per second is reached");
    }
    let mark = reply_mark(cx, request);
    let src = match options::spec_dst(ns, request, dev) {
        Ok(src) => src,
        Err(because) => {
            cx.undecided = Some(because);
            return not(cx, "which address it was sent to here is not known");
        }
    };
    let key =
        FlowKey { dst: request.ip.src, src, mark, tos: request.ip.tos, protocol: 1, ..FlowKey::default() };
    let routed = match output::lookup_answer(cx, key) {
        Ok(routed) => routed,
        Err(error) => {
            let why = output::no_way_back(cx, error);
            return not(cx, why);
        }
    };
    if limit
        && !is_loopback(cx, routed.dst.dev)
        && !cx.state.stack.rates.peer_allows(&ns.sysctls, request.ip.src, cx.state.now_ns)
    {
        return not(cx, "the limit of ICMP messages to this host is reached");
    }
    if limit {
        cx.state.stack.rates.global_consume();
    }
    let header = ReplyHeader {
        ttl: output::answer_ttl(ns, &routed.dst, request.ip.src),
        tos: request.ip.tos,
        id: cx.choice.choose(ChoicePoint::IpId) as u16,
        dont_fragment: false,
    };
    let mut steps = output::steps(&routed);
    let bytes = request.packet.l3();
    let message = match query {
        Query::Echo => build::echo_reply(bytes, routed.src, header),
        Query::Timestamp => {
            steps.push(Step::Assumed(Assumption::TimeOfDay));
            let now = cx.choice.choose(ChoicePoint::TimeOfDay { answer: cx.made.len() as u32 }) % MS_PER_DAY;
            build::timestamp_reply(bytes, routed.src, header, now)
        }
    };
    let Some(message) = message else {
        if query == Query::Timestamp {
            // There was a time to send back, but a capture cut it off.
            cx.undecided = Some(Because::CutPacket);
        }
        return not(cx, "it is cut off");
    };
    let by = query.answered_by();
    let mut skb = skb_of(Packet::from_l3(EtherType::IPV4, message), by);
    skb.mark = mark;
    skb.dst = Some(routed.dst);
    cx.sink.step(request, Step::Made { by });
    cx.made.push(Made { skb, stage: Stage::LocalOut, steps, bridged: None });
}
