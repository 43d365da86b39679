//! A connection table with little room. How many connections the kernel tracks is a setting of the whole machine, which is left alone; but each
//! namespace has a count of its own. Where a case says a lower limit that its packets could reach, entries of nobody's take the room that is too
//! much: ASSURED, so that the kernel drops none of them early; in a zone of their own and from addresses that no packet has.

use pktwalk_linux::config::NetNsConfig;
use pktwalk_scenario::engine::EngineError;
use pktwalk_scenario::event::CtSnapshot;

use crate::netlink::{Netfilter, ReadError, put};
use crate::ns::{failed, unsupported};

/// `IPCTNL_MSG_CT_NEW`.
const CT_NEW: u16 = 1 << 8;
/// `NLM_F_CREATE | NLM_F_EXCL`.
const NEW: u16 = 0x600;
/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;
/// The zone of these entries.
const ZONE: u16 = 0xffff;
/// `IPS_HELPER`, a bit that means nothing for a connection without a helper: what dumps tell them by.
const HELPER: u32 = 1 << 13;
/// Their sources: 240.0.0.0 and on.
const FIRST: u32 = 0xf000_0000;
/// No more of them are made: they cost the machine some 400 bytes each.
const MOST: u32 = 1 << 19;
/// Messages that are sent at once.
const BATCH: u32 = 256;

/// How many entries have to be there before the first packet, so that the namespace's limit is that of `config`; 0 where `packets` packets do not reach it.
pub(crate) fn wanted(config: &NetNsConfig, packets: usize) -> Result<u32, EngineError> {
    let number = |text: &str| text.trim().parse::<u32>().ok();
    let Some(limit) = config.sysctls.get("net.netfilter.nf_conntrack_max").and_then(|text| number(text))
    else {
        return Ok(0);
    };
    if limit == 0 || limit as usize > packets {
        return Ok(0);
    }
    let text = std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_max");
    let own = text.ok().and_then(|text| number(&text));
    match own.and_then(|own| own.checked_sub(limit)) {
        Some(count) if count <= MOST => Ok(count),
        _ => Err(unsupported(format!("a limit of {limit} connections (nf_conntrack_max)"))),
    }
}

/// Makes `count` entries.
pub(crate) fn fill(netfilter: &mut Netfilter, count: u32) -> Result<(), EngineError> {
    let mut made = 0;
    while made < count {
        let end = count.min(made + BATCH);
        let entries: Vec<Vec<u8>> = (made..end).map(|number| entry(FIRST + number)).collect();
        netfilter.ask_all(CT_NEW, NEW, 2, &entries).map_err(|error| match error {
            ReadError::Overrun => failed("netlink: no buffer space"),
            ReadError::Io(error) => failed(format!("connections that fill the table: {error}")),
        })?;
        made = end;
    }
    Ok(())
}

/// What a dump is asked with, so that the kernel leaves them out: status, and which bits of it count. Kernels before 5.17 do not look at it.
pub(crate) fn without_ours() -> Vec<u8> {
    let mut filter = Vec::new();
    put(&mut filter, 3, &0u32.to_be_bytes());
    put(&mut filter, 26, &HELPER.to_be_bytes());
    filter
}

/// Whether a connection is one of them.
pub(crate) fn is_ours(connection: &CtSnapshot) -> bool {
    connection.zone == ZONE && connection.original.src >= FIRST
}

fn entry(src: u32) -> Vec<u8> {
    const DST: u32 = 0xffff_fffe;
    // SEEN_REPLY, ASSURED, CONFIRMED.
    const STATUS: u32 = 2 | 4 | 8 | HELPER;
    let tuple = |src: u32, dst: u32| {
        let (mut ip, mut ports, mut tuple) = (Vec::new(), Vec::new(), Vec::new());
        put(&mut ip, 1, &src.to_be_bytes());
        put(&mut ip, 2, &dst.to_be_bytes());
        put(&mut ports, 1, &[17]);
        put(&mut ports, 2, &[0, 1]);
        put(&mut ports, 3, &[0, 1]);
        put(&mut tuple, NESTED | 1, &ip);
        put(&mut tuple, NESTED | 2, &ports);
        tuple
    };
    let mut entry = Vec::new();
    put(&mut entry, NESTED | 1, &tuple(src, DST));
    put(&mut entry, NESTED | 2, &tuple(DST, src));
    put(&mut entry, 3, &STATUS.to_be_bytes());
    put(&mut entry, 7, &86_400u32.to_be_bytes());
    put(&mut entry, 18, &ZONE.to_be_bytes());
    entry
}
