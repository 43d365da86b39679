//! The kernel's trace as it comes: nf_tables trace messages and the NFLOG lines of x_tables' TRACE.

use crate::netlink::{Attributes, Message, Netfilter, ReadError, be32, be64, put, text};

/// `NFNL_SUBSYS_NFTABLES`, `NFT_MSG_TRACE`.
const NFT_TRACE: u16 = (10 << 8) | 17;
/// `NFNLGRP_NFTRACE` is group 9.
const GROUP_NFTRACE: u32 = 1 << 8;
/// `NFNL_SUBSYS_ULOG`, `NFULNL_MSG_PACKET`.
const ULOG_PACKET: u16 = 4 << 8;
/// `NFNL_SUBSYS_ULOG`, `NFULNL_MSG_CONFIG`.
const ULOG_CONFIG: u16 = (4 << 8) | 1;
/// Room for the trace of some hundred packets. A smaller buffer loses most of a burst.
pub(crate) const BUFFER: usize = 64 << 20;

/// A verdict of nf_tables.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum NftVerdict {
    Drop,
    Accept,
    Stolen,
    Queue,
    Continue,
    Jump(String),
    Goto(String),
    Return,
    Other(i32),
}

/// One nf_tables trace message.
#[derive(Clone, Debug, Default)]
pub(crate) struct NftEvent {
    pub id: u32,
    pub table: String,
    pub chain: String,
    /// None for the end of a chain and for policies.
    pub handle: Option<u64>,
    pub verdict: Option<NftVerdict>,
    /// 0 drop, 1 accept.
    pub policy: Option<u32>,
    pub mark: u32,
    pub iif: Option<u32>,
    /// IP header, only with the first event of a base chain.
    pub network: Vec<u8>,
    /// Up to 20 bytes of what follows it.
    pub transport: Vec<u8>,
}

/// One TRACE line of x_tables.
#[derive(Clone, Debug, Default)]
pub(crate) struct LegacyEvent {
    /// `NF_INET_*`.
    pub hook: u8,
    pub table: String,
    pub chain: String,
    /// As printed: `rule`, `return` or `policy`. Bare verdicts make `rule` look like one of the others.
    pub number: u32,
    /// Before the rule's target.
    pub mark: u32,
    pub payload: Vec<u8>,
}

fn verdict(value: &[u8]) -> NftVerdict {
    let (mut code, mut chain) = (0, String::new());
    for (kind, value) in Attributes(value) {
        match kind {
            1 => code = be32(value) as i32,
            2 => chain = text(value),
            _ => {}
        }
    }
    match code {
        -1 | -2 => NftVerdict::Continue,
        -3 => NftVerdict::Jump(chain),
        -4 => NftVerdict::Goto(chain),
        -5 => NftVerdict::Return,
        code => match code & 0xff {
            0 => NftVerdict::Drop,
            1 => NftVerdict::Accept,
            2 => NftVerdict::Stolen,
            3 => NftVerdict::Queue,
            _ => NftVerdict::Other(code),
        },
    }
}

fn nft_event(message: &Message<'_>) -> NftEvent {
    let mut event = NftEvent::default();
    for (kind, value) in Attributes(message.attributes) {
        match kind {
            1 => event.table = text(value),
            2 => event.chain = text(value),
            3 => event.handle = Some(be64(value)),
            5 => event.verdict = Some(verdict(value)),
            6 => event.id = be32(value),
            8 => event.network = value.to_vec(),
            9 => event.transport = value.to_vec(),
            10 => event.iif = Some(be32(value)),
            14 => event.mark = be32(value),
            16 => event.policy = Some(be32(value)),
            _ => {}
        }
    }
    event
}

fn legacy_event(message: &Message<'_>) -> Option<LegacyEvent> {
    let mut event = LegacyEvent::default();
    let mut prefix = String::new();
    for (kind, value) in Attributes(message.attributes) {
        match kind {
            1 => event.hook = value.get(2).copied().unwrap_or(0xff),
            2 => event.mark = be32(value),
            9 => event.payload = value.to_vec(),
            10 => prefix = text(value),
            _ => {}
        }
    }
    // Everything else here was written by LOG rules, which go by the same logger.
    let words: Vec<&str> = prefix.strip_prefix("TRACE: ")?.trim_end().split(':').collect();
    // The chain's name may hold colons; table, kind and number cannot.
    let [table, chain @ .., _kind, number] = words.as_slice() else { return None };
    (event.table, event.chain) = ((*table).to_owned(), chain.join(":"));
    event.number = number.parse().ok()?;
    Some(event)
}

/// The trace of one namespace.
pub(crate) struct Tracer {
    nft: Netfilter,
    legacy: Option<Netfilter>,
}

impl Tracer {
    /// Opens the listeners in the calling thread's namespace.
    pub fn open(legacy: bool) -> Result<Tracer, ReadError> {
        let nft = Netfilter::open(GROUP_NFTRACE, BUFFER)?;
        let legacy = if legacy {
            std::fs::write("/proc/sys/net/netfilter/nf_log/2", "nfnetlink_log").map_err(ReadError::Io)?;
            let mut socket = Netfilter::open(0, BUFFER)?;
            let mut bind = Vec::new();
            // NFULA_CFG_CMD: NFULNL_CFG_CMD_BIND, group 0.
            put(&mut bind, 1, &[1]);
            socket.ask(ULOG_CONFIG, 2, 0, &bind)?;
            let mut mode = Vec::new();
            // NFULA_CFG_MODE: NFULNL_COPY_PACKET of 128 bytes; NFULA_CFG_QTHRESH: send each line at once.
            put(&mut mode, 2, &[0, 0, 0, 128, 2, 0]);
            put(&mut mode, 5, &1u32.to_be_bytes());
            socket.ask(ULOG_CONFIG, 2, 0, &mode)?;
            Some(socket)
        } else {
            None
        };
        Ok(Tracer { nft, legacy })
    }

    /// Everything since the last call.
    pub fn drain(&mut self) -> Result<(Vec<NftEvent>, Vec<LegacyEvent>), ReadError> {
        let (mut nft, mut legacy) = (Vec::new(), Vec::new());
        self.nft.drain(&mut |message| {
            if message.kind == NFT_TRACE {
                nft.push(nft_event(&message));
            }
        })?;
        if let Some(socket) = &mut self.legacy {
            socket.drain(&mut |message| {
                if message.kind == ULOG_PACKET {
                    legacy.extend(legacy_event(&message));
                }
            })?;
        }
        Ok((nft, legacy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_names_its_chain() {
        let mut bytes = Vec::new();
        put(&mut bytes, 1, &(-3i32).to_be_bytes());
        put(&mut bytes, 2, b"user\0");
        assert_eq!(verdict(&bytes), NftVerdict::Jump("user".into()));
    }
}
