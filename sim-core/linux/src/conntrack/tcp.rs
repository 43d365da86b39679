//! TCP tracking (`nf_conntrack_proto_tcp.c`): the state table and what is decided beside it. Windows are in [`window`](super::window).

use pktwalk_packet::{TcpFields, tcp_flag};

use super::entry::{CtEntry, TcpState, Track, status};
use super::settings::CtSettings;
use super::tuple::CtDirection;
use super::window::{self, InWindow, Segment};
use super::{Tracked, invalid};

/// Class of a segment (`enum tcp_bit_set`): the first of these that applies.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Class {
    /// SYN without ACK.
    Syn,
    /// SYN with ACK.
    SynAck,
    /// FIN.
    Fin,
    /// ACK.
    Ack,
    /// RST, before all others.
    Rst,
    /// None of these.
    #[default]
    None,
}

impl Class {
    fn of(flags: u8) -> Class {
        let has = |bit: u8| flags & bit != 0;
        if has(tcp_flag::RST) {
            Class::Rst
        } else if has(tcp_flag::SYN) {
            if has(tcp_flag::ACK) { Class::SynAck } else { Class::Syn }
        } else if has(tcp_flag::FIN) {
            Class::Fin
        } else if has(tcp_flag::ACK) {
            Class::Ack
        } else {
            Class::None
        }
    }
}

/// What is remembered of one side (`struct ip_ct_tcp_state`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Side {
    /// Highest sequence number that it has sent, plus one.
    pub end: u32,
    /// Highest that it may send.
    pub maxend: u32,
    /// Largest window that it has offered; 0: nothing seen of it.
    pub maxwin: u32,
    /// Highest acknowledgment that it has sent, once it has sent one.
    pub maxack: Option<u32>,
    /// Window scale.
    pub scale: u8,
    /// It offered window scaling.
    pub window_scale: bool,
    /// It permits selective acknowledgments.
    pub sack_perm: bool,
    /// It sent the first FIN.
    pub close_init: bool,
    /// Its packets are not held against the window.
    pub be_liberal: bool,
    /// It sent data that is not acknowledged.
    pub unacknowledged: bool,
}

impl Side {
    /// `nf_ct_tcp_state_reset`.
    fn reset(&mut self) {
        *self = Side { be_liberal: self.be_liberal, ..Side::default() };
    }
}

/// `struct ip_ct_tcp` without the state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct TcpTrack {
    /// Both sides, original first.
    pub seen: [Side; 2],
    /// Class of the last segment.
    pub last_class: Class,
    /// Its direction.
    pub last_reply: bool,
    /// How often it was sent again.
    pub retrans: u8,
    /// Its sequence number.
    pub last_seq: u32,
    /// Its acknowledgment.
    pub last_ack: u32,
    /// Its end.
    pub last_end: u32,
    /// Its window, unscaled.
    pub last_win: u16,
    /// Scale that an ignored SYN offered, if it did.
    pub last_scale: Option<u8>,
    /// An ignored SYN permitted selective acknowledgments.
    pub last_sack_perm: bool,
    /// An ignored SYN may be answered by a challenge ACK.
    pub expect_challenge: bool,
    /// SYNs were seen in both directions.
    pub simultaneous: bool,
    /// Of a dump, which tells nothing but the state: segments are taken to be in the window.
    pub untold: bool,
}

/// A cell of the state table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Next {
    /// To this state.
    To(TcpState),
    /// INVALID.
    Invalid,
    /// Let through without following it.
    Ignore,
}

/// The state table (`tcp_conntracks`).
fn next(direction: CtDirection, class: Class, state: TcpState) -> Next {
    use Next::{Ignore as IG, Invalid as IV};
    const SS: Next = Next::To(TcpState::SynSent);
    const SR: Next = Next::To(TcpState::SynRecv);
    const ES: Next = Next::To(TcpState::Established);
    const FW: Next = Next::To(TcpState::FinWait);
    const CW: Next = Next::To(TcpState::CloseWait);
    const LA: Next = Next::To(TcpState::LastAck);
    const TW: Next = Next::To(TcpState::TimeWait);
    const CL: Next = Next::To(TcpState::Close);
    const S2: Next = Next::To(TcpState::SynSent2);
    // Columns: NONE SYN_SENT SYN_RECV ESTABLISHED FIN_WAIT CLOSE_WAIT LAST_ACK TIME_WAIT CLOSE SYN_SENT2
    let row = match (direction, class) {
        (CtDirection::Original, Class::Syn) => [SS, SS, IG, IG, IG, IG, IG, SS, SS, S2],
        (CtDirection::Original, Class::SynAck) => [IV, IV, SR, IV, IV, IV, IV, IV, IV, SR],
        (CtDirection::Reply, Class::Syn) => [IV, S2, IV, IV, IV, IV, IV, SS, IV, S2],
        (CtDirection::Reply, Class::SynAck) => [IV, SR, IG, IG, IG, IG, IG, IG, IG, SR],
        (_, Class::Fin) => [IV, IV, FW, FW, LA, LA, LA, TW, CL, IV],
        (CtDirection::Original, Class::Ack) => [ES, IV, ES, ES, CW, CW, TW, TW, CL, IV],
        (CtDirection::Reply, Class::Ack) => [IV, IG, SR, ES, CW, CW, TW, TW, CL, IG],
        (_, Class::Rst) => [IV, CL, CL, CL, CL, CL, CL, CL, CL, CL],
        (_, Class::None) => [IV; 10],
    };
    row[state as usize]
}

/// Flag combinations that may be, with PSH, ECE and CWR taken off (`tcp_valid_flags`).
fn flags_are_valid(flags: u8) -> bool {
    use tcp_flag::{ACK, CWR, ECE, FIN, PSH, RST, SYN, URG};
    const VALID: [u8; 9] =
        [SYN, SYN | URG, SYN | ACK, RST, RST | ACK, FIN | ACK, FIN | ACK | URG, ACK, ACK | URG];
    VALID.contains(&(flags & !(PSH | ECE | CWR)))
}

/// States that the kernel may drop early (`tcp_can_early_drop`).
fn is_closing(state: TcpState) -> bool {
    matches!(
        state,
        TcpState::FinWait | TcpState::CloseWait | TcpState::LastAck | TcpState::TimeWait | TcpState::Close
    )
}

/// What is wrong with a header (`tcp_error`), apart from its checksum. `len` is what the IP header says follows it.
pub(super) fn malformed(tcp: &TcpFields, len: usize) -> Option<&'static str> {
    if tcp.header_len < 20 || len < usize::from(tcp.header_len) {
        Some("TCP header is longer than the segment, or too short")
    } else if !flags_are_valid(tcp.flags) {
        Some("TCP flags that no segment has together")
    } else {
        None
    }
}

/// `tcp_new`: whether the first segment makes a connection.
fn begin(entry: &mut CtEntry, settings: &CtSettings, segment: &Segment<'_>) -> Result<(), &'static str> {
    let mut track = TcpTrack::default();
    let window = u32::from(segment.tcp.window).max(1);
    match next(CtDirection::Original, segment.class, TcpState::None) {
        Next::To(TcpState::SynSent) => {
            let side = &mut track.seen[0];
            segment.read_options(side);
            side.end = segment.end();
            side.maxend = side.end;
            side.maxwin = window;
        }
        Next::To(_) if !settings.tcp_loose => {
            return Err("TCP connection that did not begin with SYN (nf_conntrack_tcp_loose is 0)");
        }
        Next::To(_) => {
            // In the middle of a connection: scaling is not known, so windows are not held against it.
            for side in &mut track.seen {
                side.sack_perm = true;
                side.be_liberal = true;
            }
            let side = &mut track.seen[0];
            side.end = segment.end();
            side.maxwin = window;
            side.maxend = side.end.wrapping_add(side.maxwin);
        }
        Next::Invalid | Next::Ignore => return Err("TCP segment that no connection begins with"),
    }
    entry.tcp = Some(TcpState::None);
    entry.track = Track::Tcp(track);
    Ok(())
}

/// `nf_conntrack_tcp_packet`, once the header is found to be sound.
pub(super) fn packet(
    entry: &mut CtEntry,
    settings: &CtSettings,
    direction: CtDirection,
    tcp: &TcpFields,
    l4: &[u8],
    len: usize,
    now_ns: u64,
) -> Tracked {
    let segment = Segment { tcp, class: Class::of(tcp.flags), header: l4, len };
    if !entry.is_confirmed()
        && let Err(why) = begin(entry, settings, &segment)
    {
        return Tracked::Invalid(why);
    }
    let mut track = match entry.track {
        Track::Tcp(track) => track,
        Track::None | Track::Udp { .. } | Track::Sctp(_) => of_dump(entry.tcp),
    };
    let tracked = follow(entry, &mut track, settings, direction, &segment, now_ns);
    entry.track = Track::Tcp(track);
    tracked
}

/// A connection that was read from a namespace: nothing of its windows is known, so what comes next is taken as it is. To states that follow a
/// FIN no other way leads; which side sent it makes no difference.
fn of_dump(state: Option<TcpState>) -> TcpTrack {
    let side = Side { sack_perm: true, be_liberal: true, ..Side::default() };
    let close_init = state.is_some_and(TcpState::follows_fin);
    TcpTrack { seen: [Side { close_init, ..side }, side], untold: true, ..TcpTrack::default() }
}

/// Where the state table leads, corrected by what it cannot express.
enum Move {
    /// To this state, if the segment is in the window.
    Check(TcpState),
    /// To this state, whatever the window.
    Take(TcpState),
    /// This is the end of it.
    Done(Tracked),
}

fn follow(
    entry: &mut CtEntry,
    track: &mut TcpTrack,
    settings: &CtSettings,
    direction: CtDirection,
    segment: &Segment<'_>,
    now_ns: u64,
) -> Tracked {
    let mut old = entry.tcp.unwrap_or(TcpState::None);
    let reply = direction == CtDirection::Reply;
    let step = match next(direction, segment.class, old) {
        Next::Invalid => Move::Done(invalid("TCP segment that the state of the connection does not allow")),
        Next::To(TcpState::SynSent) if old >= TcpState::TimeWait => {
            let closed = track.seen.iter().any(|side| side.close_init);
            let aborted = track.last_reply == reply && track.last_class == Class::Rst;
            if closed || aborted {
                Move::Done(Tracked::Reopen)
            } else if track.untold {
                Move::Done(Tracked::Untold)
            } else {
                ignore(track, &mut old, reply, segment)
            }
        }
        Next::Ignore => ignore(track, &mut old, reply, segment),
        Next::To(TcpState::TimeWait)
            if old == TcpState::LastAck
                && segment.class == Class::Ack
                && track.last_reply != reply
                && track.last_class == Class::Syn
                && track.expect_challenge =>
        {
            // The answer to a SYN, not to the FIN.
            track.expect_challenge = false;
            Move::Done(Tracked::Accept)
        }
        Next::To(TcpState::SynSent2) => {
            track.simultaneous = true;
            Move::Check(TcpState::SynSent2)
        }
        Next::To(TcpState::SynRecv) if reply && segment.class == Class::Ack && track.simultaneous => {
            Move::Check(TcpState::Established)
        }
        Next::To(TcpState::Close) if segment.class == Class::Rst => {
            reset(entry, track, settings, old, reply, segment)
        }
        Next::To(state) => Move::Check(state),
    };
    let new = match step {
        Move::Done(tracked) => return tracked,
        Move::Take(state) => state,
        Move::Check(state) => {
            let state_now = entry.tcp.unwrap_or(TcpState::None);
            match window::check(track, settings, state_now, direction, segment) {
                InWindow::Accept => state,
                InWindow::Ignore => return Tracked::Accept,
                InWindow::Invalid(why) => {
                    shorten(entry, track, settings, reply, segment.class, now_ns);
                    return invalid(why);
                }
            }
        }
    };
    track.last_class = segment.class;
    track.last_reply = reply;
    entry.tcp = Some(new);
    if old != new && new == TcpState::FinWait {
        track.seen[direction.index()].close_init = true;
    }
    finish(entry, track, settings, old, new, segment, now_ns)
}

/// A segment that is let through without following it, because the two ends may know better.
fn ignore(track: &mut TcpTrack, old: &mut TcpState, reply: bool, segment: &Segment<'_>) -> Move {
    let tcp = segment.tcp;
    if segment.class == Class::SynAck
        && track.last_class == Class::Syn
        && track.last_reply != reply
        && tcp.ack == track.last_end
    {
        // Answers a SYN that was ignored: the two ends agree, and we follow them with what was noted of the SYN.
        *old = TcpState::SynSent;
        track.seen[usize::from(track.last_reply)] = Side {
            end: track.last_end,
            maxend: track.last_end,
            maxwin: u32::from(track.last_win).max(1),
            scale: track.last_scale.unwrap_or(0),
            window_scale: track.last_scale.is_some(),
            sack_perm: track.last_sack_perm,
            ..Side::default()
        };
        track.expect_challenge = false;
        track.seen[usize::from(reply)].reset();
        return Move::Check(TcpState::SynRecv);
    }
    track.last_class = segment.class;
    track.last_reply = reply;
    track.last_seq = tcp.seq;
    track.last_end = segment.end();
    track.last_win = tcp.window;
    if segment.class == Class::Syn && !reply {
        let mut offered = Side::default();
        segment.read_options(&mut offered);
        track.last_scale = offered.window_scale.then_some(offered.scale);
        track.last_sack_perm = offered.sack_perm;
        track.simultaneous = false;
        track.expect_challenge = *old == TcpState::LastAck;
    }
    if *old == TcpState::SynSent && segment.class == Class::Ack && reply {
        track.last_ack = tcp.ack;
    }
    Move::Done(Tracked::Accept)
}

/// RST: whether it closes, and whether the window counts.
fn reset(
    entry: &CtEntry,
    track: &TcpTrack,
    settings: &CtSettings,
    old: TcpState,
    reply: bool,
    segment: &Segment<'_>,
) -> Move {
    if is_closing(old) {
        return Move::Take(TcpState::Close);
    }
    let tcp = segment.tcp;
    let mut new = TcpState::Close;
    // Only a connection that has proved itself is worth a challenge (`nf_conntrack_tcp_established`).
    let established = old == TcpState::Established && entry.status & status::ASSURED != 0;
    if let Some(maxack) = track.seen[usize::from(!reply)].maxack
        && track.last_class != Class::Syn
    {
        if tcp.seq == 0 && !established {
            return Move::Check(TcpState::Close);
        }
        if before(tcp.seq, maxack) && !settings.tcp_ignore_invalid_rst {
            return Move::Done(invalid("RST before what was acknowledged"));
        }
        let continues =
            track.last_class == Class::Ack && track.last_reply == reply && tcp.seq == track.last_end;
        if !established || tcp.seq == maxack || continues {
            return Move::Check(TcpState::Close);
        }
        // Not exactly the next number: a challenge ACK may follow, and the connection go on.
        new = old;
    }
    let answers_syn =
        entry.status & status::SEEN_REPLY != 0 && track.last_class == Class::Syn && track.last_reply != reply;
    let answers_ack = entry.status & status::ASSURED == 0 && track.last_class == Class::Ack;
    if (answers_syn || answers_ack) && tcp.ack == track.last_end {
        return Move::Take(new);
    }
    let answers_challenge = old == TcpState::SynSent
        && track.last_class == Class::Ack
        && track.last_reply
        && tcp.seq == track.last_ack;
    if answers_challenge { Move::Take(new) } else { Move::Check(new) }
}

/// `nf_tcp_handle_invalid`: FIN or RST out of the window from both sides, so the connection is probably gone.
fn shorten(
    entry: &mut CtEntry,
    track: &mut TcpTrack,
    settings: &CtSettings,
    reply: bool,
    class: Class,
    now_ns: u64,
) {
    let closing = |class: Class| matches!(class, Class::Rst | Class::Fin);
    if entry.status & status::ASSURED == 0 || entry.status & status::FIXED_TIMEOUT != 0 || !closing(class) {
        return;
    }
    if track.last_reply != reply && closing(track.last_class) {
        let left = entry.expires_ns.saturating_sub(now_ns);
        if left >= 120_000_000_000 && left > settings.tcp_unacknowledged_ns {
            entry.expires_ns = now_ns.saturating_add(settings.tcp_unacknowledged_ns);
        }
    } else {
        track.last_class = class;
        track.last_reply = reply;
    }
}

/// Timeout, ASSURED, and the connections that end here.
fn finish(
    entry: &mut CtEntry,
    track: &TcpTrack,
    settings: &CtSettings,
    old: TcpState,
    new: TcpState,
    segment: &Segment<'_>,
    now_ns: u64,
) -> Tracked {
    let of_state = settings.tcp_ns(new);
    let mut timeout = if track.retrans >= settings.tcp_max_retrans && of_state > settings.tcp_retrans_ns {
        settings.tcp_retrans_ns
    } else if segment.class == Class::Rst {
        settings.tcp_ns(TcpState::Close)
    } else if track.seen.iter().any(|side| side.unacknowledged) && of_state > settings.tcp_unacknowledged_ns {
        settings.tcp_unacknowledged_ns
    } else if track.last_win == 0 && of_state > settings.tcp_retrans_ns {
        settings.tcp_retrans_ns
    } else {
        of_state
    };
    if entry.status & status::SEEN_REPLY == 0 {
        if segment.tcp.flags & tcp_flag::RST != 0 {
            return Tracked::Kill;
        }
        if segment.class == Class::Syn && old == TcpState::SynSent {
            // Sent again: does not live longer for it.
            return Tracked::Accept;
        }
        if new == TcpState::Established {
            timeout = timeout.min(settings.tcp_unacknowledged_ns);
        }
    } else if matches!(old, TcpState::SynRecv | TcpState::Established) && new == TcpState::Established {
        entry.status |= status::ASSURED;
    }
    entry.refresh(timeout, now_ns);
    Tracked::Accept
}

/// `nf_conntrack_tcp_set_closing`.
pub(super) fn set_closing(entry: &mut CtEntry, settings: &CtSettings, now_ns: u64) {
    if !entry.is_confirmed() {
        return;
    }
    let old = entry.tcp.replace(TcpState::Close);
    if old != Some(TcpState::Close) && entry.status & status::FIXED_TIMEOUT == 0 {
        entry.expires_ns = now_ns.saturating_add(settings.tcp_ns(TcpState::Close));
    }
}

/// `before`: in sequence space.
pub(super) fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

/// `after`: in sequence space.
pub(super) fn after(a: u32, b: u32) -> bool {
    before(b, a)
}
