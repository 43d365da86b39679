//! SCTP tracking (`nf_conntrack_proto_sctp.c`): the state table, the verification tags, and the chunks of a packet.

use super::entry::{CtEntry, Track, status};
use super::settings::CtSettings;
use super::tuple::CtDirection;
use super::{Tracked, invalid};

/// `enum sctp_conntrack`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) enum SctpState {
    /// Nothing seen.
    #[default]
    None,
    /// Closed, or only an INIT seen.
    Closed,
    /// INIT answered.
    CookieWait,
    /// Cookie sent.
    CookieEchoed,
    /// Open.
    Established,
    /// SHUTDOWN in the original direction.
    ShutdownSent,
    /// SHUTDOWN in the reply direction.
    ShutdownRecd,
    /// SHUTDOWN acknowledged.
    ShutdownAckSent,
    /// Began with a HEARTBEAT.
    HeartbeatSent,
}

impl SctpState {
    /// As `conntrack -L` prints it.
    pub fn name(self) -> &'static str {
        match self {
            SctpState::None => "NONE",
            SctpState::Closed => "CLOSED",
            SctpState::CookieWait => "COOKIE_WAIT",
            SctpState::CookieEchoed => "COOKIE_ECHOED",
            SctpState::Established => "ESTABLISHED",
            SctpState::ShutdownSent => "SHUTDOWN_SENT",
            SctpState::ShutdownRecd => "SHUTDOWN_RECD",
            SctpState::ShutdownAckSent => "SHUTDOWN_ACK_SENT",
            SctpState::HeartbeatSent => "HEARTBEAT_SENT",
        }
    }
}

/// `struct ip_ct_sctp`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct SctpTrack {
    /// State.
    pub state: SctpState,
    /// Verification tag of each direction.
    vtag: [u32; 2],
    /// A HEARTBEAT with an unexpected tag was seen.
    heartbeat_failed: bool,
    /// The direction of that HEARTBEAT.
    last_reply: bool,
    /// Directions that an INIT came in by and was not followed up yet.
    init: [bool; 2],
}

/// Chunk types that count.
mod chunk {
    pub const DATA: u8 = 0;
    pub const INIT: u8 = 1;
    pub const INIT_ACK: u8 = 2;
    pub const HEARTBEAT: u8 = 4;
    pub const HEARTBEAT_ACK: u8 = 5;
    pub const ABORT: u8 = 6;
    pub const SHUTDOWN: u8 = 7;
    pub const SHUTDOWN_ACK: u8 = 8;
    pub const ERROR: u8 = 9;
    pub const COOKIE_ECHO: u8 = 10;
    pub const COOKIE_ACK: u8 = 11;
    pub const SHUTDOWN_COMPLETE: u8 = 14;
}

/// The state table (`sctp_conntracks`); none is INVALID.
fn next(direction: CtDirection, chunk_type: u8, state: SctpState) -> Option<SctpState> {
    const CL: Option<SctpState> = Some(SctpState::Closed);
    const CW: Option<SctpState> = Some(SctpState::CookieWait);
    const CE: Option<SctpState> = Some(SctpState::CookieEchoed);
    const ES: Option<SctpState> = Some(SctpState::Established);
    const SS: Option<SctpState> = Some(SctpState::ShutdownSent);
    const SR: Option<SctpState> = Some(SctpState::ShutdownRecd);
    const SA: Option<SctpState> = Some(SctpState::ShutdownAckSent);
    const HS: Option<SctpState> = Some(SctpState::HeartbeatSent);
    const IV: Option<SctpState> = None;
    // Columns: NONE CLOSED COOKIE_WAIT COOKIE_ECHOED ESTABLISHED SHUTDOWN_SENT SHUTDOWN_RECD SHUTDOWN_ACK_SENT HEARTBEAT_SENT
    let row = match (direction, chunk_type) {
        (CtDirection::Original, chunk::INIT) => [CL, CL, CW, CE, ES, CL, CL, SA, CW],
        (CtDirection::Original, chunk::INIT_ACK) => [CL, CL, CW, CE, ES, SS, SR, SA, CL],
        (CtDirection::Original, chunk::ABORT) => [CL; 9],
        (CtDirection::Original, chunk::SHUTDOWN) => [CL, CL, CW, CE, SS, SS, SR, SA, CL],
        (CtDirection::Original, chunk::SHUTDOWN_ACK) => [SA, CL, CW, CE, ES, SA, SA, SA, SA],
        (CtDirection::Original, chunk::ERROR) => [CL, CL, CW, CE, ES, SS, SR, SA, CL],
        (CtDirection::Original, chunk::COOKIE_ECHO) => [CL, CL, CE, CE, ES, SS, SR, SA, CL],
        (CtDirection::Original, chunk::COOKIE_ACK) => [CL, CL, CW, ES, ES, SS, SR, SA, CL],
        (CtDirection::Original, chunk::SHUTDOWN_COMPLETE) => [CL, CL, CW, CE, ES, SS, SR, CL, CL],
        (CtDirection::Original, chunk::HEARTBEAT) => [HS, CL, CW, CE, ES, SS, SR, SA, HS],
        (CtDirection::Original, chunk::HEARTBEAT_ACK) => [CL, CL, CW, CE, ES, SS, SR, SA, HS],
        (CtDirection::Reply, chunk::INIT) => [IV, CL, CW, CE, ES, SS, SR, SA, IV],
        (CtDirection::Reply, chunk::INIT_ACK) => [IV, CW, CW, CE, ES, SS, SR, SA, IV],
        (CtDirection::Reply, chunk::ABORT) => [IV, CL, CL, CL, CL, CL, CL, CL, IV],
        (CtDirection::Reply, chunk::SHUTDOWN) => [IV, CL, CW, CE, SR, SS, SR, SA, IV],
        (CtDirection::Reply, chunk::SHUTDOWN_ACK) => [IV, CL, CW, CE, ES, SA, SA, SA, IV],
        (CtDirection::Reply, chunk::ERROR) => [IV, CL, CW, CL, ES, SS, SR, SA, IV],
        (CtDirection::Reply, chunk::COOKIE_ECHO) => [IV, CL, CE, CE, ES, SS, SR, SA, IV],
        (CtDirection::Reply, chunk::COOKIE_ACK) => [IV, CL, CW, ES, ES, SS, SR, SA, IV],
        (CtDirection::Reply, chunk::SHUTDOWN_COMPLETE) => [IV, CL, CW, CE, ES, SS, SR, CL, IV],
        (CtDirection::Reply, chunk::HEARTBEAT) => [IV, CL, CW, CE, ES, SS, SR, SA, HS],
        (CtDirection::Reply, chunk::HEARTBEAT_ACK) => [IV, CL, CW, CE, ES, SS, SR, SA, ES],
        // DATA, SACK and the others leave the state alone.
        _ => return Some(state),
    };
    row[state as usize]
}

/// One chunk: type, flags, and what follows its header.
#[derive(Clone, Copy)]
struct Chunk<'a> {
    kind: u8,
    flags: u8,
    /// Its length field.
    len: u16,
    body: &'a [u8],
}

impl Chunk<'_> {
    /// The tag that INIT and INIT ACK give; none if the chunk is cut off (`struct sctp_inithdr` has 16 bytes).
    fn init_tag(&self) -> Option<u32> {
        self.body.get(..16).map(|init| u32::from_be_bytes([init[0], init[1], init[2], init[3]]))
    }
}

/// The chunks of a packet. A chunk of length 0 ends them after it was given.
fn chunks(packet: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    let mut rest = packet.get(12..).unwrap_or(&[]);
    std::iter::from_fn(move || {
        let &[kind, flags, high, low, ..] = rest else { return None };
        let len = u16::from_be_bytes([high, low]);
        let chunk = Chunk { kind, flags, len, body: &rest[4..] };
        let step = (usize::from(len) + 3) & !3;
        rest = if step == 0 { &[] } else { rest.get(step..).unwrap_or(&[]) };
        Some(chunk)
    })
}

/// `do_basic_checks`: the types that are there, as a bit each for those below 64.
fn basic_checks(packet: &[u8]) -> Option<u64> {
    let mut map = 0u64;
    let mut alone = false;
    let mut count = 0;
    for chunk in chunks(packet) {
        alone |= matches!(chunk.kind, chunk::INIT | chunk::INIT_ACK | chunk::SHUTDOWN_COMPLETE);
        let first = alone || matches!(chunk.kind, chunk::COOKIE_ACK | chunk::COOKIE_ECHO);
        if (first && count != 0) || chunk.len == 0 {
            return None;
        }
        if chunk.kind < 64 {
            map |= 1 << chunk.kind;
        }
        count += 1;
    }
    (count != 0).then_some(map)
}

/// `sctp_new`: whether a packet may begin a connection, and the tags that it gives.
fn begin(packet: &[u8], vtag: u32) -> Option<SctpTrack> {
    let mut track = SctpTrack::default();
    for chunk in chunks(packet) {
        match next(CtDirection::Original, chunk.kind, SctpState::None) {
            None | Some(SctpState::None) => return None,
            Some(_) => {}
        }
        match chunk.kind {
            chunk::INIT => {
                if vtag != 0 {
                    return None;
                }
                track.vtag[1] = chunk.init_tag()?;
            }
            chunk::HEARTBEAT => track.vtag[0] = vtag,
            chunk::SHUTDOWN_ACK => track.vtag[1] = vtag,
            _ => {}
        }
    }
    Some(track)
}

/// `nf_conntrack_sctp_packet`, once the checksum is found to be right. `packet` starts with the SCTP header.
pub(super) fn packet(
    entry: &mut CtEntry,
    settings: &CtSettings,
    direction: CtDirection,
    packet: &[u8],
    now_ns: u64,
) -> Tracked {
    let &[_, _, _, _, a, b, c, d, _, _, _, _, ..] = packet else {
        return invalid("SCTP header is cut off");
    };
    let vtag = u32::from_be_bytes([a, b, c, d]);
    let Some(map) = basic_checks(packet) else {
        return invalid("SCTP chunks that do not go together");
    };
    let has = |kinds: &[u8]| kinds.iter().any(|kind| map & (1 << kind) != 0);
    if !entry.is_confirmed() {
        if has(&[chunk::ABORT, chunk::SHUTDOWN_COMPLETE, chunk::COOKIE_ACK]) {
            return invalid("SCTP chunk that no connection begins with");
        }
        match begin(packet, vtag) {
            Some(track) => entry.track = Track::Sctp(track),
            None => return invalid("SCTP packet that no connection begins with"),
        }
    }
    let mut track = match entry.track {
        Track::Sctp(track) => track,
        Track::None | Track::Udp { .. } | Track::Tcp(_) => SctpTrack::default(),
    };
    let untagged = [
        chunk::INIT,
        chunk::SHUTDOWN_COMPLETE,
        chunk::COOKIE_ECHO,
        chunk::ABORT,
        chunk::SHUTDOWN_ACK,
        chunk::HEARTBEAT,
        chunk::HEARTBEAT_ACK,
    ];
    if !has(&untagged) && vtag != track.vtag[direction.index()] {
        return invalid("SCTP verification tag is wrong");
    }
    let outcome = follow(entry, &mut track, direction, packet, vtag, has(&[chunk::DATA]));
    // What was learned before a chunk turned out wrong is kept, as in the kernel.
    entry.track = Track::Sctp(track);
    match outcome {
        Ok(Some(state)) => {
            entry.refresh(settings.sctp[state as usize], now_ns);
            Tracked::Accept
        }
        Ok(None) => Tracked::Accept,
        Err(why) => invalid(why),
    }
}

/// Follows the chunks. The last state, or none if the packet must not make the entry live longer.
fn follow(
    entry: &mut CtEntry,
    track: &mut SctpTrack,
    direction: CtDirection,
    packet: &[u8],
    vtag: u32,
    has_data: bool,
) -> Result<Option<SctpState>, &'static str> {
    const WRONG_TAG: &str = "SCTP verification tag is wrong";
    const CUT: &str = "SCTP INIT is cut off";
    let (own, peer) = (direction.index(), direction.opposite().index());
    let reply = direction == CtDirection::Reply;
    let mut ignore = false;
    let mut new = SctpState::None;
    for chunk in chunks(packet) {
        match chunk.kind {
            chunk::INIT if vtag != 0 => return Err(WRONG_TAG),
            chunk::ABORT | chunk::SHUTDOWN_COMPLETE => {
                let expected = if chunk.flags & 1 == 0 { track.vtag[own] } else { track.vtag[peer] };
                if vtag != expected {
                    return Err(WRONG_TAG);
                }
            }
            chunk::COOKIE_ECHO if vtag != track.vtag[own] => return Err(WRONG_TAG),
            chunk::COOKIE_ACK => track.init = [false; 2],
            chunk::HEARTBEAT => {
                if track.vtag[own] == 0 {
                    track.vtag[own] = vtag;
                } else if vtag != track.vtag[own] {
                    if has_data || ignore {
                        return Err(WRONG_TAG);
                    }
                    track.heartbeat_failed = true;
                    track.last_reply = reply;
                    ignore = true;
                    continue;
                } else {
                    track.heartbeat_failed = false;
                }
            }
            chunk::HEARTBEAT_ACK => {
                if track.vtag[own] == 0 {
                    track.vtag[own] = vtag;
                } else if vtag != track.vtag[own] {
                    if has_data || ignore || !track.heartbeat_failed || track.last_reply == reply {
                        return Err(WRONG_TAG);
                    }
                    track.heartbeat_failed = false;
                    track.vtag[own] = vtag;
                    track.vtag[peer] = 0;
                } else {
                    track.heartbeat_failed = false;
                }
            }
            _ => {}
        }
        let old = track.state;
        new = next(direction, chunk.kind, old)
            .ok_or("SCTP chunk that the state of the connection does not allow")?;
        match chunk.kind {
            chunk::INIT => {
                let tag = chunk.init_tag().ok_or(CUT)?;
                if old == SctpState::None || track.vtag[peer] != tag {
                    if track.init[own] && track.init[peer] {
                        track.init[peer] = false;
                    }
                    track.init[own] = true;
                }
                track.vtag[peer] = tag;
                // An INIT sent again does not make the entry live longer.
                ignore |= new == SctpState::Closed && old == SctpState::Closed && entry.is_confirmed();
            }
            chunk::INIT_ACK => {
                let tag = chunk.init_tag().ok_or(CUT)?;
                let known = track.vtag[peer];
                let unexpected = !track.init[peer] && known != 0 && known != tag;
                let collision = track.init[own] && track.init[peer] && known != tag;
                if unexpected || collision {
                    return Err(WRONG_TAG);
                }
                track.vtag[peer] = tag;
            }
            _ => {}
        }
        track.state = new;
        if old != new && new == SctpState::Established {
            entry.status |= status::ASSURED;
        }
    }
    Ok((!ignore).then_some(new))
}
