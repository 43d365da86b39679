//! Settings of conntrack (`net.netfilter.nf_conntrack_*`), read once. Defaults are those of Linux 6.18.

use super::TcpState;
use crate::limits;
use crate::sysctl::{Setting, Sysctls};

/// Seconds of a timeout, in nanoseconds.
const SECOND: u64 = 1_000_000_000;

/// `net.netfilter.nf_conntrack_*`. Times in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct CtSettings {
    /// `nf_conntrack_max`; 0 is no bound.
    pub max: u32,
    /// `nf_conntrack_checksum`: wrong transport checksums are INVALID in PREROUTING.
    pub checksum: bool,
    /// `nf_conntrack_tcp_loose`: connections are picked up in the middle.
    pub tcp_loose: bool,
    /// `nf_conntrack_tcp_be_liberal`: only RSTs out of the window are INVALID.
    pub tcp_be_liberal: bool,
    /// `nf_conntrack_tcp_ignore_invalid_rst`: RSTs out of the window are not INVALID.
    pub tcp_ignore_invalid_rst: bool,
    /// `nf_conntrack_tcp_max_retrans`.
    pub tcp_max_retrans: u8,
    /// `nf_conntrack_tcp_timeout_max_retrans`.
    pub tcp_retrans_ns: u64,
    /// `nf_conntrack_tcp_timeout_unacknowledged`.
    pub tcp_unacknowledged_ns: u64,
    tcp: [u64; 10],
    /// `nf_conntrack_udp_timeout`; UDPlite's too.
    pub udp_ns: u64,
    /// `nf_conntrack_udp_timeout_stream`.
    pub udp_stream_ns: u64,
    /// `nf_conntrack_icmp_timeout`.
    pub icmp_ns: u64,
    /// `nf_conntrack_generic_timeout`.
    pub generic_ns: u64,
    /// `nf_conntrack_gre_timeout`.
    pub gre_ns: u64,
    /// `nf_conntrack_gre_timeout_stream`.
    pub gre_stream_ns: u64,
    /// `nf_conntrack_sctp_timeout_*`, by [`SctpState`](super::sctp::SctpState).
    pub(super) sctp: [u64; 9],
}

/// What is read of `net.netfilter.nf_conntrack_*`.
const NAMES: [&str; 30] = [
    "max",
    "checksum",
    "tcp_loose",
    "tcp_be_liberal",
    "tcp_ignore_invalid_rst",
    "tcp_max_retrans",
    "tcp_timeout_max_retrans",
    "tcp_timeout_unacknowledged",
    "tcp_timeout_syn_sent",
    "tcp_timeout_syn_recv",
    "tcp_timeout_established",
    "tcp_timeout_fin_wait",
    "tcp_timeout_close_wait",
    "tcp_timeout_last_ack",
    "tcp_timeout_time_wait",
    "tcp_timeout_close",
    "udp_timeout",
    "udp_timeout_stream",
    "icmp_timeout",
    "generic_timeout",
    "gre_timeout",
    "gre_timeout_stream",
    "sctp_timeout_closed",
    "sctp_timeout_cookie_wait",
    "sctp_timeout_cookie_echoed",
    "sctp_timeout_established",
    "sctp_timeout_shutdown_sent",
    "sctp_timeout_shutdown_recd",
    "sctp_timeout_shutdown_ack_sent",
    "sctp_timeout_heartbeat_sent",
];

impl CtSettings {
    /// Whether there is a setting `net.netfilter.nf_conntrack_<name>` here.
    pub(crate) fn has(name: &str) -> bool {
        NAMES.contains(&name)
    }

    /// Reads them. A value that is no number, or negative, stands at its default.
    pub fn compile(sysctls: &Sysctls) -> CtSettings {
        CtSettings::read(sysctls, &mut |_, _, _| {})
    }

    /// All of them, and what they are taken to be.
    pub fn settings(sysctls: &Sysctls) -> Vec<Setting> {
        let mut settings = Vec::new();
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        CtSettings::read(sysctls, &mut |key, value, default| {
            settings.push(Setting { key: key.to_owned(), value: number(value), default: number(default) });
        });
        settings
    }

    /// `note` is told every key, its value, and its default.
    fn read(sysctls: &Sysctls, note: &mut dyn FnMut(&str, u64, u64)) -> CtSettings {
        let note = std::cell::RefCell::new(note);
        let number = |name: &str, default: u64| {
            let key = format!("net.netfilter.nf_conntrack_{name}");
            let given = sysctls.number(&key).and_then(|value| u64::try_from(value).ok());
            let value = given.unwrap_or(default);
            note.borrow_mut()(&key, value, default);
            value
        };
        let time = |name: &str, default: u64| number(name, default).saturating_mul(SECOND);
        CtSettings {
            max: u32::try_from(number("max", u64::from(limits::CONNTRACK_MAX))).unwrap_or(u32::MAX),
            checksum: number("checksum", 1) != 0,
            tcp_loose: number("tcp_loose", 1) != 0,
            tcp_be_liberal: number("tcp_be_liberal", 0) != 0,
            tcp_ignore_invalid_rst: number("tcp_ignore_invalid_rst", 0) != 0,
            tcp_max_retrans: u8::try_from(number("tcp_max_retrans", 3)).unwrap_or(u8::MAX),
            tcp_retrans_ns: time("tcp_timeout_max_retrans", 300),
            tcp_unacknowledged_ns: time("tcp_timeout_unacknowledged", 300),
            tcp: [
                0,
                time("tcp_timeout_syn_sent", 120),
                time("tcp_timeout_syn_recv", 60),
                time("tcp_timeout_established", 432_000),
                time("tcp_timeout_fin_wait", 120),
                time("tcp_timeout_close_wait", 60),
                time("tcp_timeout_last_ack", 30),
                time("tcp_timeout_time_wait", 120),
                time("tcp_timeout_close", 10),
                // SYN_SENT2 has no setting of its own.
                120 * SECOND,
            ],
            udp_ns: time("udp_timeout", 30),
            udp_stream_ns: time("udp_timeout_stream", 120),
            icmp_ns: time("icmp_timeout", 30),
            generic_ns: time("generic_timeout", 600),
            gre_ns: time("gre_timeout", 30),
            gre_stream_ns: time("gre_timeout_stream", 180),
            sctp: [
                0,
                time("sctp_timeout_closed", 10),
                time("sctp_timeout_cookie_wait", 3),
                time("sctp_timeout_cookie_echoed", 3),
                time("sctp_timeout_established", 210),
                time("sctp_timeout_shutdown_sent", 3),
                time("sctp_timeout_shutdown_recd", 3),
                time("sctp_timeout_shutdown_ack_sent", 3),
                time("sctp_timeout_heartbeat_sent", 30),
            ],
        }
    }

    /// How long an entry in this state lives, in nanoseconds.
    pub fn tcp_ns(&self, state: TcpState) -> u64 {
        self.tcp[state as usize]
    }
}
