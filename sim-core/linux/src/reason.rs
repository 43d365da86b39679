//! How a packet ends: the disposition, and why.

use crate::hook::Hook;
use crate::ids::{ChainId, DevId, RouteId, RoutingRuleId, RuleId, SetId};

/// How a packet's walk ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Disposition {
    /// Given to a local socket, or to the stack itself (which may answer).
    Delivered,
    /// Left by a device.
    Forwarded,
    /// Freed without a word to its sender.
    Dropped,
    /// Freed, and its sender was told (an ICMP error or RST was made).
    Rejected,
    /// Taken by something that is not the network stack's delivery (queued to user space, ARP request answered).
    Consumed,
    /// Came by the same place in the same shape again.
    Loop,
    /// A bound of the walk was reached.
    LimitReached,
    /// Something that the walk does not model could have decided.
    Unknown,
}

impl Disposition {
    /// Every one.
    pub const ALL: [Disposition; 8] = [
        Disposition::Delivered,
        Disposition::Forwarded,
        Disposition::Dropped,
        Disposition::Rejected,
        Disposition::Consumed,
        Disposition::Loop,
        Disposition::LimitReached,
        Disposition::Unknown,
    ];

    /// Upper-case name, as reports and JSON print it.
    pub fn name(self) -> &'static str {
        match self {
            Disposition::Delivered => "DELIVERED",
            Disposition::Forwarded => "FORWARDED",
            Disposition::Dropped => "DROPPED",
            Disposition::Rejected => "REJECTED",
            Disposition::Consumed => "CONSUMED",
            Disposition::Loop => "LOOP",
            Disposition::LimitReached => "LIMIT_REACHED",
            Disposition::Unknown => "UNKNOWN",
        }
    }
}

macro_rules! drop_codes {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $kernel:literal;)*) => {
        /// Why a packet was freed: our stable code. [`DropCode::kernel_reason`] gives the kernel's own name for it, which is coarser.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum DropCode {
            $($(#[$doc])* $variant,)*
        }

        impl DropCode {
            /// Every code.
            pub const ALL: &'static [DropCode] = &[$(DropCode::$variant,)*];

            /// The stable code that reports print and `docs/reasons/` has a page for.
            pub fn code(self) -> &'static str {
                match self { $(DropCode::$variant => $code,)* }
            }

            /// The kernel's `SKB_DROP_REASON_*` without that prefix (6.18).
            pub fn kernel_reason(self) -> &'static str {
                match self { $(DropCode::$variant => $kernel,)* }
            }
        }
    };
}

drop_codes! {
    /// A rule with target DROP.
    RuleDrop = "RULE_DROP", "NETFILTER_DROP";
    /// A rule with target REJECT; the sender was told, or could not be.
    RuleReject = "RULE_REJECT", "NETFILTER_DROP";
    /// The end of a built-in chain whose policy is DROP.
    ChainPolicy = "CHAIN_POLICY", "NETFILTER_DROP";
    /// A match found the packet too short for its header and dropped it (`hotdrop`).
    Hotdrop = "HOTDROP", "NETFILTER_DROP";
    /// A target could not do its work on this packet (TCPMSS on a malformed header).
    TargetFailed = "TARGET_FAILED", "NETFILTER_DROP";
    /// MASQUERADE or REDIRECT found no address on the device.
    NatNoAddress = "NAT_NO_ADDRESS", "NETFILTER_DROP";
    /// An ICMP error of a translated connection could not be translated.
    NatIcmp = "NAT_ICMP", "NETFILTER_DROP";
    /// A masqueraded connection now leaves by another device: its entry is killed with the packet.
    MasqueradeDeviceChanged = "MASQUERADE_DEVICE_CHANGED", "NETFILTER_DROP";
    /// After translation in OUTPUT no route was found.
    RerouteFailed = "REROUTE_FAILED", "NETFILTER_DROP";
    /// Confirming found another entry with the same tuple.
    CtClash = "CT_CLASH", "NETFILTER_DROP";
    /// The conntrack table is full.
    CtTableFull = "CT_TABLE_FULL", "NETFILTER_DROP";
    /// A packet of a translated connection is too short for what would have to be written into it.
    CtDrop = "CT_DROP", "NETFILTER_DROP";
    /// Larger than the veth that it comes by takes: dropped between its two ends.
    VethMtu = "VETH_MTU", "NOT_SPECIFIED";
    /// The frame is addressed to another hardware address.
    OtherHost = "OTHER_HOST", "OTHERHOST";
    /// The Ethernet protocol is not one that the namespace handles.
    UnhandledProtocol = "UNHANDLED_PROTOCOL", "UNHANDLED_PROTO";
    /// Shorter than its headers or its length field say.
    Truncated = "TRUNCATED", "PKT_TOO_SMALL";
    /// IP version or header length is wrong.
    BadIpHeader = "BAD_IP_HEADER", "IP_INHDR";
    /// The IP header checksum is wrong.
    BadIpChecksum = "BAD_IP_CHECKSUM", "IP_CSUM";
    /// An IP option is malformed or refused (source routing).
    BadIpOptions = "BAD_IP_OPTIONS", "IP_INHDR";
    /// A source route, and `accept_source_route` is off.
    SourceRouteRefused = "SOURCE_ROUTE_REFUSED", "NOT_SPECIFIED";
    /// Reverse path filter, strict: the route back to the source does not use the device that it came in by.
    RpFilterStrict = "RP_FILTER_STRICT", "IP_RPFILTER";
    /// Reverse path filter: no route back to the source at all.
    RpFilterNoRoute = "RP_FILTER_NO_ROUTE", "IP_RPFILTER";
    /// Source 127.0.0.0/8 from outside.
    MartianLoopbackSource = "MARTIAN_LOOPBACK_SOURCE", "IP_LOCALNET";
    /// Destination 127.0.0.0/8 from outside, without `route_localnet`.
    MartianLoopbackDest = "MARTIAN_LOOPBACK_DEST", "IP_LOCALNET";
    /// The source is one of this namespace's own addresses.
    LocalSource = "LOCAL_SOURCE", "IP_LOCAL_SOURCE";
    /// The source is multicast, broadcast, or 0.0.0.0 to a unicast destination.
    InvalidSource = "INVALID_SOURCE", "IP_INVALID_SOURCE";
    /// The destination cannot be one (0.0.0.0, or a route of a type that cannot be forwarded to).
    InvalidDest = "INVALID_DEST", "IP_INVALID_DEST";
    /// No route to the destination.
    NoRoute = "NO_ROUTE", "IP_INNOROUTES";
    /// A route of type unreachable.
    RouteUnreachable = "ROUTE_UNREACHABLE", "NOT_SPECIFIED";
    /// A route of type prohibit.
    RouteProhibit = "ROUTE_PROHIBIT", "NOT_SPECIFIED";
    /// A route of type blackhole.
    RouteBlackhole = "ROUTE_BLACKHOLE", "NOT_SPECIFIED";
    /// A routing rule of type unreachable.
    RoutingRuleUnreachable = "ROUTING_RULE_UNREACHABLE", "IP_INNOROUTES";
    /// A routing rule of type prohibit.
    RoutingRuleProhibit = "ROUTING_RULE_PROHIBIT", "NOT_SPECIFIED";
    /// A routing rule of type blackhole.
    RoutingRuleBlackhole = "ROUTING_RULE_BLACKHOLE", "NOT_SPECIFIED";
    /// Not for this namespace, and forwarding is off.
    ForwardingOff = "FORWARDING_OFF", "IP_INADDRERRORS";
    /// TTL reached zero.
    TtlExpired = "TTL_EXPIRED", "IP_INHDR";
    /// Larger than the MTU, and DF is set.
    FragNeeded = "FRAG_NEEDED", "PKT_TOO_BIG";
    /// A packet for one host in a frame for many, with `drop_unicast_in_l2_multicast`.
    UnicastInL2Multicast = "UNICAST_IN_L2_MULTICAST", "UNICAST_IN_L2_MULTICAST";
    /// Multicast to a group that nobody here is in.
    NoMulticastMember = "NO_MULTICAST_MEMBER", "NOT_SPECIFIED";
    /// A frame sent to everyone on the link, with an address that would have to be forwarded.
    LinkBroadcastForward = "LINK_BROADCAST_FORWARD", "NOT_SPECIFIED";
    /// Nothing listens on the port.
    NoSocket = "NO_SOCKET", "NO_SOCKET";
    /// A segment for a listening socket that neither begins a connection nor is of one.
    NotConnected = "NOT_CONNECTED", "TCP_FLAGS";
    /// A RST for a listening socket, of no connection.
    ResetOfNothing = "RESET_OF_NOTHING", "TCP_RESET";
    /// Nothing listens on the UDP port that a broadcast or multicast is for; nobody is told.
    NoSocketBroadcast = "NO_SOCKET_BROADCAST", "NOT_SPECIFIED";
    /// An echo reply that no process waits for.
    NoPingSocket = "NO_PING_SOCKET", "NO_SOCKET";
    /// TCP in a frame that was not sent to this host alone.
    TcpLinkBroadcast = "TCP_LINK_BROADCAST", "NOT_SPECIFIED";
    /// Delivered, but too short for the header of its transport protocol, or for what must follow it.
    ShortTransportHeader = "SHORT_TRANSPORT_HEADER", "NOT_SPECIFIED";
    /// Nothing handles the IP protocol.
    NoProtocol = "NO_PROTOCOL", "IP_NOPROTO";
    /// The TCP checksum is wrong on delivery.
    TcpChecksum = "TCP_CHECKSUM", "TCP_CSUM";
    /// The UDP checksum is wrong on delivery.
    UdpChecksum = "UDP_CHECKSUM", "UDP_CSUM";
    /// The ICMP checksum is wrong on delivery.
    IcmpChecksum = "ICMP_CHECKSUM", "ICMP_CSUM";
    /// An ICMP type that the stack does not know, or does not take from a broadcast.
    IcmpUnhandled = "ICMP_UNHANDLED", "UNHANDLED_PROTO";
    /// An ICMP message that the stack does not take from a broadcast.
    IcmpBroadcast = "ICMP_BROADCAST", "INVALID_PROTO";
    /// An IGMP message that is broken, or from which a host that is no multicast router learns nothing.
    IgmpIgnored = "IGMP_IGNORED", "NOT_SPECIFIED";
    /// A PIM message: only a multicast router has a device for what registers with it.
    PimIgnored = "PIM_IGNORED", "NOT_SPECIFIED";
    /// The next hop's hardware address could not be resolved.
    NeighFailed = "NEIGH_FAILED", "NEIGH_FAILED";
    /// The output device is down.
    DeviceDown = "DEVICE_DOWN", "QDISC_DROP";
    /// The output device has no carrier, so its queue takes nothing.
    NoCarrier = "NO_CARRIER", "QDISC_DROP";
    /// A dummy device swallows what is sent to it.
    DummyDevice = "DUMMY_DEVICE", "NOT_SPECIFIED";
    /// The bridge port is not in forwarding state.
    BridgePortState = "BRIDGE_PORT_STATE", "BRIDGE_INGRESS_STP_STATE";
    /// The port that the destination is behind may not have the frame (`br_forward`).
    BridgeNoPort = "BRIDGE_NO_PORT", "NOT_SPECIFIED";
    /// A pause frame (01:80:c2:00:00:01): no bridge passes it on.
    MacControl = "MAC_CONTROL", "MAC_IEEE_MAC_CONTROL";
    /// A frame for every port, or for a host that nobody knows the port of, and no port that it may go out of (`br_flood`).
    BridgeNoFlood = "BRIDGE_NO_FLOOD", "NO_TX_TARGET";
    /// Larger than the MTU of the bridge port that it would leave by: bridges do not cut and do not tell.
    BridgePortMtu = "BRIDGE_PORT_MTU", "NOT_SPECIFIED";
    /// A source hardware address that no frame may have.
    BadMacSource = "BAD_MAC_SOURCE", "MAC_INVALID_SOURCE";
    /// A multicast made here with TTL 0: it is heard on this host only.
    MulticastTtl = "MULTICAST_TTL", "NOT_SPECIFIED";
    /// A raw socket's packet is larger than the MTU of the device that it would leave by; the sender is told by an error code.
    MessageTooLong = "MESSAGE_TOO_LONG", "NOT_SPECIFIED";
    /// A packet made here has no route; the sender is told by an error code, nothing leaves.
    NoOutputRoute = "NO_OUTPUT_ROUTE", "IP_OUTNOROUTES";
    /// ARP that asks for nothing of ours, or says nothing that we want to know.
    ArpIgnored = "ARP_IGNORED", "NOT_SPECIFIED";
}

/// Who decided.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Locus {
    /// A rule.
    Rule {
        /// Where.
        hook: Hook,
        /// Which.
        rule: RuleId,
    },
    /// The policy of a built-in chain.
    Policy {
        /// Where.
        hook: Hook,
        /// Which.
        chain: ChainId,
    },
    /// Conntrack or NAT at a hook.
    Conntrack {
        /// Where.
        hook: Hook,
    },
    /// A route.
    Route(RouteId),
    /// A routing rule.
    RoutingRule(RoutingRuleId),
    /// The device.
    Device(DevId),
    /// A part of the stack, by the kernel function that decides.
    Subsystem(&'static str),
}

/// Why the walk cannot say.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Because {
    /// A rule has a match that is not modelled (position among the rule's matches), or one whose outcome cannot be known.
    Match {
        /// The rule.
        rule: RuleId,
        /// 0-based.
        position: u16,
    },
    /// A rule has a target that is not modelled.
    Target {
        /// The rule.
        rule: RuleId,
    },
    /// A rule asks for a set that is not there, or whose type is not modelled.
    Set {
        /// The rule.
        rule: RuleId,
        /// The set, where it is there.
        set: Option<SetId>,
    },
    /// Something of [`NetNsConfig::unmodelled`](crate::config::NetNsConfig), by position.
    State(u32),
    /// The device's kind is not modelled.
    Device(DevId),
    /// A routing rule has a selector that is not modelled.
    RoutingRule(RoutingRuleId),
    /// A route that is not modelled.
    Route(RouteId),
    /// Two backends have rules here, and the order in which they were registered decides.
    RegistrationOrder {
        /// Where.
        hook: Hook,
    },
    /// Part of the stack that is not modelled, in the words of the report.
    NotModelled(&'static str),
    /// The capture cut the packet off where a decision needs its bytes.
    CutPacket,
}

impl Because {
    /// The stable code that reports print; `docs/reasons/` has a page for each.
    pub fn code(self) -> &'static str {
        match self {
            Because::Match { .. } => "UNKNOWN_MATCH",
            Because::Target { .. } => "UNKNOWN_TARGET",
            Because::Set { .. } => "UNKNOWN_SET",
            Because::State(_) => "UNKNOWN_STATE",
            Because::Device(_) => "UNKNOWN_DEVICE",
            Because::RoutingRule(_) => "UNKNOWN_ROUTING_RULE",
            Because::Route(_) => "UNKNOWN_ROUTE",
            Because::RegistrationOrder { .. } => "REGISTRATION_ORDER",
            Because::NotModelled(_) => "NOT_MODELLED",
            Because::CutPacket => "CUT_PACKET",
        }
    }

    /// Every code that [`Because::code`] can give.
    pub const CODES: [&'static str; 10] = [
        "UNKNOWN_MATCH",
        "UNKNOWN_TARGET",
        "UNKNOWN_SET",
        "UNKNOWN_STATE",
        "UNKNOWN_DEVICE",
        "UNKNOWN_ROUTING_RULE",
        "UNKNOWN_ROUTE",
        "REGISTRATION_ORDER",
        "NOT_MODELLED",
        "CUT_PACKET",
    ];
}

/// The end of one packet's walk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct End {
    /// How.
    pub disposition: Disposition,
    /// Why, for dropped and rejected packets.
    pub code: Option<DropCode>,
    /// Who decided, where somebody did.
    pub locus: Option<Locus>,
    /// Why not known, for `Unknown`.
    pub because: Option<Because>,
}

impl End {
    /// Freed for `code` by `locus`.
    pub fn dropped(code: DropCode, locus: Locus) -> End {
        End { disposition: Disposition::Dropped, code: Some(code), locus: Some(locus), because: None }
    }

    /// As [`End::dropped`], and the sender was told.
    pub fn rejected(code: DropCode, locus: Locus) -> End {
        End { disposition: Disposition::Rejected, code: Some(code), locus: Some(locus), because: None }
    }

    /// Not known.
    pub fn unknown(because: Because) -> End {
        End { disposition: Disposition::Unknown, code: None, locus: None, because: Some(because) }
    }

    /// The stable code for the end: of the drop code, of what is not known, or of the bound that was reached. None for packets that arrived.
    pub fn code(&self) -> Option<&'static str> {
        match (self.code, self.because, self.disposition) {
            (Some(code), _, _) => Some(code.code()),
            (None, Some(because), _) => Some(because.code()),
            (None, None, Disposition::Loop) => Some("LOOP"),
            (None, None, Disposition::LimitReached) => Some("LIMIT_REACHED"),
            _ => None,
        }
    }

    /// The kernel's `SKB_DROP_REASON_*` without that prefix (6.18): that of the code, but where a function frees without one.
    pub fn kernel_reason(&self) -> Option<&'static str> {
        let code = self.code?;
        Some(match (code, self.locus) {
            (DropCode::FragNeeded, Some(Locus::Subsystem("ip_fragment")))
            | (DropCode::Truncated, Some(Locus::Subsystem("skb_vlan_untag"))) => "NOT_SPECIFIED",
            _ => code.kernel_reason(),
        })
    }

    /// An end that needs no reason.
    pub fn plain(disposition: Disposition) -> End {
        End { disposition, code: None, locus: None, because: None }
    }
}
