//! Options of the modelled targets.

use crate::hook::Family;

use super::ast::{
    ConnmarkTarget, CtTarget, CtTargetZone, LogTarget, MarkMask, MarkShift, RejectWith, Target, TcpmssTarget,
    Unmodelled,
};
use super::names;
use super::options::Ext;
use super::parse_match::Scratch;
use super::values::{self, Parsed, bad, int};

/// A target before any option.
pub(super) fn empty(ext: Ext, name: &str, family: Family) -> Target {
    match ext {
        Ext::Bare => match name {
            "ACCEPT" => Target::Accept,
            "DROP" => Target::Drop,
            "RETURN" => Target::Return,
            _ => Target::Ct(Box::new(CtTarget { alias: true, notrack: true, ..CtTarget::default() })),
        },
        Ext::Reject if family == Family::V6 => Target::Reject(RejectWith::Icmp6PortUnreachable),
        Ext::Reject => Target::Reject(RejectWith::IcmpPortUnreachable),
        Ext::Log => Target::Log(Box::new(LogTarget {
            level: 4,
            prefix: None,
            tcp_sequence: false,
            tcp_options: false,
            ip_options: false,
            uid: false,
            mac_decode: false,
        })),
        Ext::Nflog => Target::Nflog(Box::default()),
        Ext::MarkTarget => Target::Mark(MarkMask { value: 0, mask: 0 }),
        Ext::ConnmarkTarget => {
            Target::Connmark(ConnmarkTarget::Set(MarkMask { value: 0, mask: 0 }), MarkShift::None)
        }
        Ext::Ct => Target::Ct(Box::default()),
        Ext::Dnat => Target::Dnat(Box::default()),
        Ext::Snat => Target::Snat(Box::default()),
        Ext::Masquerade => Target::Masquerade(Box::default()),
        Ext::Redirect => Target::Redirect(Box::default()),
        Ext::Tcpmss => Target::Tcpmss(TcpmssTarget::ClampToPmtu),
        Ext::Checksum => Target::Checksum,
        _ => Target::Unmodelled(Box::new(Unmodelled { name: name.to_owned(), words: Vec::new() })),
    }
}

/// Takes one option into `target`: `option` is the second part of its [`Spec`](super::options::Spec), `arg` the word after it.
pub(super) fn apply(
    target: &mut Target,
    scratch: &mut Scratch,
    option: &str,
    arg: &str,
    family: Family,
) -> Parsed<()> {
    match target {
        Target::Reject(with) => match names::reject_with(arg, family) {
            Some(kind) => *with = kind,
            None => return bad(arg, "a kind of rejection"),
        },
        Target::Log(log) => match option {
            // The kernel has room for 29 bytes (`xt_LOG`), 63 for NFLOG, and the tool cuts silently.
            "prefix" => log.prefix = Some(cut(arg, 29)?),
            "level" => match names::log_level(arg) {
                Some(level) => log.level = level,
                None => return bad(arg, "a log level"),
            },
            "sequence" => log.tcp_sequence = true,
            "tcp-options" => log.tcp_options = true,
            "ip-options" => log.ip_options = true,
            "uid" => log.uid = true,
            _ => log.mac_decode = true,
        },
        Target::Nflog(nflog) => match option {
            "group" => nflog.group = int(arg)?,
            "prefix" => nflog.prefix = Some(cut(arg, 63)?),
            "range" => nflog.range = Some(int(arg)?).filter(|range| *range != 0),
            "size" => nflog.size = Some(int(arg)?),
            _ => nflog.threshold = Some(int(arg)?).filter(|threshold| *threshold != 0),
        },
        Target::Mark(mark) => *mark = set_mark(option, arg)?,
        Target::Connmark(connmark, shift) => {
            let all = u32::MAX;
            match option {
                "save" => *connmark = ConnmarkTarget::Save { nf_mask: all, ct_mask: all },
                "restore" => *connmark = ConnmarkTarget::Restore { nf_mask: all, ct_mask: all },
                "nfmask" => scratch.a = Some(int(arg)?),
                "ctmask" => scratch.b = Some(int(arg)?),
                "mask" => {
                    let mask = int(arg)?;
                    (scratch.a, scratch.b) = (Some(mask), Some(mask));
                }
                // The later of the two counts.
                "left-shift" | "right-shift" => {
                    *shift = match int::<u8>(arg)? {
                        0 => MarkShift::None,
                        33.. => return bad(arg, "a number up to 32"),
                        bits if option == "left-shift" => MarkShift::Left(bits),
                        bits => MarkShift::Right(bits),
                    };
                }
                _ => *connmark = ConnmarkTarget::Set(set_mark(option, arg)?),
            }
        }
        Target::Ct(ct) => match option {
            "notrack" => ct.notrack = true,
            "helper" => ct.helper = Some(arg.to_owned()),
            "timeout" => ct.timeout = Some(arg.to_owned()),
            "ctevents" => ct.events = events(arg, &EVENTS)?,
            "expevents" => ct.exp_events = events(arg, &["new"])?,
            _ => {
                let id = if arg.eq_ignore_ascii_case("mark") { None } else { Some(int(arg)?) };
                let (original, reply) = (option != "zone-reply", option != "zone-orig");
                ct.zone = Some(CtTargetZone { id, original, reply });
            }
        },
        Target::Dnat(nat) | Target::Snat(nat) if option == "to" => values::nat_range(arg, family, true, nat)?,
        Target::Masquerade(nat) | Target::Redirect(nat) if option == "to" => {
            values::nat_ports(arg, false, nat)?
        }
        Target::Dnat(nat) | Target::Snat(nat) | Target::Masquerade(nat) | Target::Redirect(nat) => {
            match option {
                "random" => nat.random = true,
                "random-fully" => nat.random_fully = true,
                _ => nat.persistent = true,
            }
        }
        Target::Tcpmss(tcpmss) => {
            *tcpmss = if option == "set" { TcpmssTarget::Set(int(arg)?) } else { TcpmssTarget::ClampToPmtu };
        }
        Target::Checksum
        | Target::None
        | Target::Accept
        | Target::Drop
        | Target::Return
        | Target::Jump(_)
        | Target::Goto(_)
        | Target::Unmodelled(_) => {}
    }
    Ok(())
}

/// Checks what must hold when all options are there; `seen` tells whether an option (second part of its spec) stood.
pub(super) fn finish(target: &mut Target, scratch: &Scratch, seen: &dyn Fn(&str) -> bool) -> Parsed<()> {
    let need = |ok: bool, what: &str| if ok { Ok(()) } else { Err(format!("{what} is missing")) };
    const SETS: [&str; 5] = ["set-xmark", "set-mark", "and-mark", "or-mark", "xor-mark"];
    let sets = || SETS.iter().filter(|option| seen(option)).count();
    match target {
        Target::Mark(_) => need(sets() == 1, "one way to set the mark"),
        Target::Connmark(connmark, _) => {
            let ways = sets() + usize::from(seen("save")) + usize::from(seen("restore"));
            need(ways == 1, "one of setting, saving and restoring")?;
            if seen("mask") && (seen("nfmask") || seen("ctmask")) {
                return Err("--mask cannot stand with --nfmask or --ctmask".to_owned());
            }
            match connmark {
                ConnmarkTarget::Save { nf_mask, ct_mask } | ConnmarkTarget::Restore { nf_mask, ct_mask } => {
                    *nf_mask = scratch.a.unwrap_or(*nf_mask);
                    *ct_mask = scratch.b.unwrap_or(*ct_mask);
                }
                ConnmarkTarget::Set(set) => {
                    // Oldest form: --set-mark with --mask.
                    set.mask = scratch.b.unwrap_or(set.mask);
                }
            }
            Ok(())
        }
        Target::Dnat(_) => need(seen("to"), "--to-destination"),
        Target::Snat(_) => need(seen("to"), "--to-source"),
        Target::Tcpmss(_) => need(seen("set") != seen("clamp"), "one of --set-mss and --clamp-mss-to-pmtu"),
        Target::Checksum => need(seen("fill"), "--checksum-fill"),
        _ => Ok(()),
    }
}

/// MARK and CONNMARK: every way to say value and mask of `mark = (mark & !mask) ^ value`.
fn set_mark(option: &str, arg: &str) -> Parsed<MarkMask> {
    let (value, mask) = values::mark(arg)?;
    Ok(match option {
        "set-xmark" => MarkMask { value, mask: mask.unwrap_or(u32::MAX) },
        "set-mark" => MarkMask { value, mask: mask.map_or(u32::MAX, |mask| value | mask) },
        _ if mask.is_some() => return bad(arg, "a number"),
        "and-mark" => MarkMask { value: 0, mask: !value },
        "or-mark" => MarkMask { value, mask: value },
        _ => MarkMask { value, mask: 0 },
    })
}

/// At most `most` bytes, not within a character. Empty text is refused, as the tool does.
fn cut(text: &str, most: usize) -> Parsed<String> {
    if text.is_empty() {
        return Err("an empty prefix".to_owned());
    }
    let end = (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    Ok(text.get(..end).unwrap_or(text).to_owned())
}

const EVENTS: [&str; 10] =
    ["new", "related", "destroy", "reply", "assured", "protoinfo", "helper", "mark", "natseqinfo", "secmark"];

/// A list of event names, in the order in which the tool prints them.
fn events(text: &str, known: &[&str]) -> Parsed<Vec<String>> {
    let bits = values::name_bits(text, known, "an event")?;
    let set = known.iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1);
    Ok(set.map(|(_, name)| (*name).to_owned()).collect())
}
