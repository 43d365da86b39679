//! Targets as the tools print them.

use std::net::IpAddr;

use crate::hook::Family;

use super::ast::{
    ConnmarkTarget, CtTarget, CtTargetZone, LogTarget, MarkMask, MarkShift, NatTarget, NflogTarget,
    PortRange, Target, TcpmssTarget,
};
use super::names;
use super::print::{Line, Shown, push_unmodelled};

/// Appends `-j NAME` with its options, or `-g CHAIN`; nothing for no target.
pub(super) fn push_target(out: &mut Line, target: &Target, _family: Family) {
    let name = match target {
        Target::None => return,
        Target::Unmodelled(unmodelled) => return push_unmodelled(out, "-j", unmodelled),
        Target::Goto(chain) => {
            out.word("-g");
            return out.name(chain);
        }
        Target::Jump(chain) => {
            out.word("-j");
            return out.name(chain);
        }
        Target::Accept => "ACCEPT",
        Target::Drop => "DROP",
        Target::Return => "RETURN",
        Target::Reject(_) => "REJECT",
        Target::Log(_) => "LOG",
        Target::Nflog(_) => "NFLOG",
        Target::Mark(_) => "MARK",
        Target::Connmark(..) => "CONNMARK",
        Target::Ct(ct) if ct.alias => "NOTRACK",
        Target::Ct(_) => "CT",
        Target::Dnat(_) => "DNAT",
        Target::Snat(_) => "SNAT",
        Target::Masquerade(_) => "MASQUERADE",
        Target::Redirect(_) => "REDIRECT",
        Target::Tcpmss(_) => "TCPMSS",
        Target::Checksum => "CHECKSUM",
    };
    out.word("-j");
    out.word(name);
    match target {
        Target::Reject(with) => {
            out.word("--reject-with");
            out.word(names::reject_name(*with));
        }
        Target::Log(log) => push_log(out, log),
        Target::Nflog(nflog) => push_nflog(out, nflog),
        Target::Mark(MarkMask { value, mask }) => {
            out.fmt(format_args!("--set-xmark {value:#x}/{mask:#x}"));
        }
        Target::Connmark(connmark, shift) => {
            match connmark {
                ConnmarkTarget::Set(MarkMask { value, mask }) => {
                    out.fmt(format_args!("--set-xmark {value:#x}/{mask:#x}"));
                }
                ConnmarkTarget::Save { nf_mask, ct_mask } => {
                    out.fmt(format_args!("--save-mark --nfmask {nf_mask:#x} --ctmask {ct_mask:#x}"));
                }
                ConnmarkTarget::Restore { nf_mask, ct_mask } => {
                    out.fmt(format_args!("--restore-mark --nfmask {nf_mask:#x} --ctmask {ct_mask:#x}"));
                }
            }
            match shift {
                MarkShift::None => {}
                MarkShift::Left(bits) => out.fmt(format_args!("--left-shift-mark {bits}")),
                MarkShift::Right(bits) => out.fmt(format_args!("--right-shift-mark {bits}")),
            }
        }
        Target::Ct(ct) => push_ct(out, ct),
        Target::Dnat(nat) => push_nat(out, Some("--to-destination"), nat),
        Target::Snat(nat) => push_nat(out, Some("--to-source"), nat),
        Target::Masquerade(nat) | Target::Redirect(nat) => push_nat(out, None, nat),
        Target::Tcpmss(TcpmssTarget::Set(mss)) => out.fmt(format_args!("--set-mss {mss}")),
        Target::Tcpmss(TcpmssTarget::ClampToPmtu) => out.word("--clamp-mss-to-pmtu"),
        Target::Checksum => out.word("--checksum-fill"),
        Target::None
        | Target::Accept
        | Target::Drop
        | Target::Return
        | Target::Jump(_)
        | Target::Goto(_)
        | Target::Unmodelled(_) => {}
    }
}

fn push_log(out: &mut Line, log: &LogTarget) {
    if let Some(prefix) = &log.prefix {
        out.word("--log-prefix");
        out.string(prefix);
    }
    if log.level != 4 {
        out.fmt(format_args!("--log-level {}", log.level));
    }
    let flags = [
        (log.tcp_sequence, "--log-tcp-sequence"),
        (log.tcp_options, "--log-tcp-options"),
        (log.ip_options, "--log-ip-options"),
        (log.uid, "--log-uid"),
        (log.mac_decode, "--log-macdecode"),
    ];
    for (_, flag) in flags.iter().filter(|(set, _)| *set) {
        out.word(flag);
    }
}

fn push_nflog(out: &mut Line, NflogTarget { group, prefix, range, size, threshold }: &NflogTarget) {
    if let Some(prefix) = prefix {
        out.word("--nflog-prefix");
        out.string(prefix);
    }
    if *group != 0 {
        out.fmt(format_args!("--nflog-group {group}"));
    }
    if let Some(size) = size {
        out.fmt(format_args!("--nflog-size {size}"));
    } else if let Some(range) = range.filter(|range| *range != 0 && !out.is_nft()) {
        // iptables-nft takes it, warns that it never worked, and forgets it.
        out.fmt(format_args!("--nflog-range {range}"));
    }
    if let Some(threshold) = threshold.filter(|threshold| *threshold != 0) {
        out.fmt(format_args!("--nflog-threshold {threshold}"));
    }
}

fn push_ct(out: &mut Line, ct: &CtTarget) {
    if ct.alias {
        return;
    }
    if ct.notrack {
        out.word("--notrack");
    }
    if let Some(helper) = &ct.helper {
        out.word("--helper");
        out.name(helper);
    }
    if let Some(timeout) = &ct.timeout {
        out.word("--timeout");
        out.name(timeout);
    }
    for (option, events) in [("--ctevents", &ct.events), ("--expevents", &ct.exp_events)] {
        if !events.is_empty() {
            out.word(option);
            out.name(&events.join(","));
        }
    }
    // Zone 0 is what a connection has without a zone.
    if let Some(CtTargetZone { id, original, reply }) = ct.zone.filter(|zone| zone.id != Some(0)) {
        out.word(match (original, reply) {
            (true, false) => "--zone-orig",
            (false, true) => "--zone-reply",
            _ => "--zone",
        });
        match id {
            Some(id) => out.fmt(format_args!("{id}")),
            None => out.word("mark"),
        }
    }
}

fn push_nat(out: &mut Line, to: Option<&str>, nat: &NatTarget) {
    let mut text = String::new();
    if let Some((lo, hi)) = nat.addrs {
        // With ports, IPv6 addresses stand in brackets, as a range both in one pair.
        let brackets = nat.ports.is_some() && matches!(lo, IpAddr::V6(_));
        text.push_str(if brackets { "[" } else { "" });
        text.push_str(&Shown(lo).to_string());
        if lo != hi {
            text.push_str(&format!("-{}", Shown(hi)));
        }
        text.push_str(if brackets { "]" } else { "" });
    }
    if let Some(PortRange { lo, hi }) = nat.ports {
        if to.is_some() {
            text.push(':');
        }
        text.push_str(&lo.to_string());
        if lo != hi {
            text.push_str(&format!("-{hi}"));
        }
        if let Some(base) = nat.port_base {
            text.push_str(&format!("/{base}"));
        }
    }
    if !text.is_empty() {
        out.word(to.unwrap_or("--to-ports"));
        out.word(&text);
    }
    let flags =
        [(nat.random, "--random"), (nat.random_fully, "--random-fully"), (nat.persistent, "--persistent")];
    for (_, flag) in flags.iter().filter(|(set, _)| *set) {
        out.word(flag);
    }
}
