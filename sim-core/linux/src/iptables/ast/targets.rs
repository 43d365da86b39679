//! Targets (`-j`, `-g`), with their options as written.

use std::net::IpAddr;

use super::{MarkMask, PortRange, Unmodelled};

/// `-j` or `-g` with its options.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// No `-j`: the rule only counts.
    None,
    /// `ACCEPT`.
    Accept,
    /// `DROP`.
    Drop,
    /// `RETURN`.
    Return,
    /// `-j CHAIN`.
    Jump(String),
    /// `-g CHAIN`.
    Goto(String),
    /// `REJECT`.
    Reject(RejectWith),
    /// `LOG`.
    Log(Box<LogTarget>),
    /// `NFLOG`.
    Nflog(Box<NflogTarget>),
    /// `MARK`: `mark = (mark & !mask) ^ value`.
    Mark(MarkMask),
    /// `CONNMARK`.
    Connmark(ConnmarkTarget, MarkShift),
    /// `CT`.
    Ct(Box<CtTarget>),
    /// `DNAT`.
    Dnat(Box<NatTarget>),
    /// `SNAT`.
    Snat(Box<NatTarget>),
    /// `MASQUERADE`; the range has ports only.
    Masquerade(Box<NatTarget>),
    /// `REDIRECT`; the range has ports only.
    Redirect(Box<NatTarget>),
    /// `TCPMSS`.
    Tcpmss(TcpmssTarget),
    /// `CHECKSUM --checksum-fill`.
    Checksum,
    /// Parsed into words, printed back, not evaluated.
    Unmodelled(Box<Unmodelled>),
}

/// `--reject-with`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RejectWith {
    /// 3/0.
    IcmpNetUnreachable,
    /// 3/1.
    IcmpHostUnreachable,
    /// 3/2.
    IcmpProtoUnreachable,
    /// 3/3, the default.
    IcmpPortUnreachable,
    /// 3/9.
    IcmpNetProhibited,
    /// 3/10.
    IcmpHostProhibited,
    /// 3/13.
    IcmpAdminProhibited,
    /// A RST; TCP only.
    TcpReset,
    /// IPv6 1/0.
    Icmp6NoRoute,
    /// IPv6 1/1.
    Icmp6AdmProhibited,
    /// IPv6 1/3.
    Icmp6AddrUnreachable,
    /// IPv6 1/4, the default.
    Icmp6PortUnreachable,
    /// IPv6 1/5.
    Icmp6PolicyFail,
    /// IPv6 1/6.
    Icmp6RejectRoute,
}

/// `LOG`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogTarget {
    /// `--log-level`, 0 to 7; 4 (warning) is the default and is not printed.
    pub level: u8,
    /// `--log-prefix`.
    pub prefix: Option<String>,
    /// `--log-tcp-sequence`.
    pub tcp_sequence: bool,
    /// `--log-tcp-options`.
    pub tcp_options: bool,
    /// `--log-ip-options`.
    pub ip_options: bool,
    /// `--log-uid`.
    pub uid: bool,
    /// `--log-macdecode`.
    pub mac_decode: bool,
}

/// `NFLOG`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NflogTarget {
    /// `--nflog-group`; 0 is not printed.
    pub group: u16,
    /// `--nflog-prefix`.
    pub prefix: Option<String>,
    /// `--nflog-range`.
    pub range: Option<u32>,
    /// `--nflog-size`.
    pub size: Option<u32>,
    /// `--nflog-threshold`.
    pub threshold: Option<u16>,
}

/// `CONNMARK`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ConnmarkTarget {
    /// `ctmark = (ctmark & !mask) ^ value`.
    Set(MarkMask),
    /// `ctmark = (ctmark & !ct_mask) ^ (mark & nf_mask)`.
    Save {
        /// Of the packet's mark.
        nf_mask: u32,
        /// Of the connection's mark.
        ct_mask: u32,
    },
    /// `mark = (mark & !nf_mask) ^ (ctmark & ct_mask)`.
    Restore {
        /// Of the packet's mark.
        nf_mask: u32,
        /// Of the connection's mark.
        ct_mask: u32,
    },
}

/// `--left-shift-mark` and `--right-shift-mark` of `CONNMARK` (`connmark_tg_shift`): by what the masked mark that is taken over is shifted; with
/// `--set-mark`, the mark of the connection after it was set.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum MarkShift {
    /// Neither option, or a shift by nothing, which the tool does not print.
    #[default]
    None,
    /// Towards the high bits.
    Left(u8),
    /// Towards the low bits.
    Right(u8),
}

impl MarkShift {
    /// The mark after it. Bits that are shifted out are lost.
    pub fn apply(self, mark: u32) -> u32 {
        match self {
            MarkShift::None => mark,
            MarkShift::Left(bits) => mark.checked_shl(bits.into()).unwrap_or(0),
            MarkShift::Right(bits) => mark.checked_shr(bits.into()).unwrap_or(0),
        }
    }

    /// By how many bits.
    pub fn bits(self) -> u8 {
        match self {
            MarkShift::None => 0,
            MarkShift::Left(bits) | MarkShift::Right(bits) => bits,
        }
    }
}

/// `CT`, and `NOTRACK`, which the kernel keeps as `CT --notrack`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CtTarget {
    /// Whether it was written `NOTRACK` (`XT_CT_NOTRACK_ALIAS`); `notrack` is set then. It only decides how the rule is printed.
    pub alias: bool,
    /// `--notrack`.
    pub notrack: bool,
    /// `--zone`, `--zone-orig`, `--zone-reply`.
    pub zone: Option<CtTargetZone>,
    /// `--helper`.
    pub helper: Option<String>,
    /// `--timeout`.
    pub timeout: Option<String>,
    /// `--ctevents`.
    pub events: Vec<String>,
    /// `--expevents`.
    pub exp_events: Vec<String>,
}

/// The zone that `CT` gives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CtTargetZone {
    /// `None` is `mark`: the packet's mark is the zone.
    pub id: Option<u16>,
    /// Applies to the original direction.
    pub original: bool,
    /// Applies to the reply direction.
    pub reply: bool,
}

/// Addresses, ports and flags of a NAT target.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct NatTarget {
    /// First and last address.
    pub addrs: Option<(IpAddr, IpAddr)>,
    /// First and last port.
    pub ports: Option<PortRange>,
    /// `/base` of a shifted port range (DNAT only).
    pub port_base: Option<u16>,
    /// `--random`.
    pub random: bool,
    /// `--random-fully`.
    pub random_fully: bool,
    /// `--persistent`.
    pub persistent: bool,
}

/// `TCPMSS`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TcpmssTarget {
    /// `--set-mss`.
    Set(u16),
    /// `--clamp-mss-to-pmtu`.
    ClampToPmtu,
}
