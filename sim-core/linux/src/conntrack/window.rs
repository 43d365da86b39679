//! Whether a TCP segment is in the window (`tcp_in_window`), and what it teaches about the windows.
//!
//! Sequence numbers that helpers adjust are not modelled: there are no helpers.

use pktwalk_packet::{TcpFields, tcp_flag};

use super::entry::TcpState;
use super::settings::CtSettings;
use super::tcp::{Class, Side, TcpTrack, after, before};
use super::tuple::CtDirection;

/// Acknowledgments may be this old at least (`MAXACKWINCONST`).
const MAX_ACK_WINDOW: u32 = 66_000;

/// Largest window scale (RFC 7323).
const MAX_SCALE: u8 = 14;

/// A segment under inspection.
#[derive(Clone, Copy)]
pub(super) struct Segment<'a> {
    /// Its header.
    pub tcp: &'a TcpFields,
    /// Its class.
    pub class: Class,
    /// From the header on, as much as is there.
    pub header: &'a [u8],
    /// Length of header and data, as the IP header says.
    pub len: usize,
}

/// An option of a TCP header that conntrack reads.
enum TcpOption<'a> {
    /// Window scale.
    Scale(u8),
    /// Selective acknowledgments permitted.
    SackPermitted,
    /// Selective acknowledgments: the blocks.
    Sack(&'a [u8]),
}

impl<'a> Segment<'a> {
    /// Sequence number after the segment; SYN and FIN count as one each (`segment_seq_plus_len`).
    pub fn end(&self) -> u32 {
        let data = self.len.saturating_sub(usize::from(self.tcp.header_len)) as u32;
        let flag = |bit: u8| u32::from(self.tcp.flags & bit != 0);
        self.tcp.seq.wrapping_add(data).wrapping_add(flag(tcp_flag::SYN)).wrapping_add(flag(tcp_flag::FIN))
    }

    fn options(&self) -> &'a [u8] {
        self.header.get(20..usize::from(self.tcp.header_len)).unwrap_or(&[])
    }

    /// Options in order, until one is malformed. Those that conntrack does not read are left out.
    fn parse_options(&self) -> impl Iterator<Item = TcpOption<'a>> {
        let mut rest = self.options();
        std::iter::from_fn(move || {
            loop {
                match *rest {
                    [] | [0, ..] => return None,
                    [1, ..] => rest = &rest[1..],
                    [kind, size, ..] if size >= 2 && usize::from(size) <= rest.len() => {
                        let (option, after) = rest.split_at(usize::from(size));
                        rest = after;
                        match (kind, size) {
                            (3, 3) => return Some(TcpOption::Scale(option[2].min(MAX_SCALE))),
                            (4, 2) => return Some(TcpOption::SackPermitted),
                            (5, 10..) if (size - 2) % 8 == 0 => return Some(TcpOption::Sack(&option[2..])),
                            _ => {}
                        }
                    }
                    _ => return None,
                }
            }
        })
    }

    /// What a SYN offers (`tcp_options`). A header without options leaves everything as it is; one with options forgets all flags first,
    /// but for the liberal one.
    pub fn read_options(&self, side: &mut Side) {
        if self.tcp.header_len <= 20 {
            return;
        }
        let Side { end, maxend, maxwin, be_liberal, .. } = *side;
        *side = Side { end, maxend, maxwin, be_liberal, ..Side::default() };
        for option in self.parse_options() {
            match option {
                TcpOption::Scale(scale) => {
                    side.scale = scale;
                    side.window_scale = true;
                }
                TcpOption::SackPermitted => side.sack_perm = true,
                TcpOption::Sack(_) => {}
            }
        }
    }

    /// The highest edge of the selective acknowledgments, if it is above `ack` (`tcp_sack`).
    fn highest_sack(&self, ack: u32) -> u32 {
        let mut highest = ack;
        for option in self.parse_options() {
            if let TcpOption::Sack(blocks) = option {
                for block in blocks.chunks_exact(8) {
                    let edge = u32::from_be_bytes([block[4], block[5], block[6], block[7]]);
                    if after(edge, highest) {
                        highest = edge;
                    }
                }
                break;
            }
        }
        highest
    }

    fn has(&self, bit: u8) -> bool {
        self.tcp.flags & bit != 0
    }
}

/// What the window says of a segment (`enum nf_ct_tcp_action`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum InWindow {
    /// In it.
    Accept,
    /// Old, but no harm: let through without following it.
    Ignore,
    /// Out of it.
    Invalid(&'static str),
}

/// `tcp_init_sender`: a SYN or SYN/ACK says where its side begins.
fn init_sender(
    sender: &mut Side,
    receiver: &mut Side,
    segment: &Segment<'_>,
    end: u32,
    direction: CtDirection,
) {
    sender.end = end;
    sender.maxend = end;
    sender.maxwin = u32::from(segment.tcp.window).max(1);
    segment.read_options(sender);
    // Both sides must offer scaling for either to use it.
    if direction == CtDirection::Reply && !(sender.window_scale && receiver.window_scale) {
        sender.scale = 0;
        receiver.scale = 0;
    }
}

/// Checks `segment` and updates both sides. `state` is that of the connection before it.
pub(super) fn check(
    track: &mut TcpTrack,
    settings: &CtSettings,
    state: TcpState,
    direction: CtDirection,
    segment: &Segment<'_>,
) -> InWindow {
    let [original, reply] = &mut track.seen;
    let (sender, receiver) = match direction {
        CtDirection::Original => (original, reply),
        CtDirection::Reply => (reply, original),
    };
    let tcp = segment.tcp;
    let mut seq = tcp.seq;
    let mut ack = tcp.ack;
    let mut sack = if receiver.sack_perm { segment.highest_sack(ack) } else { ack };
    let mut win = u32::from(tcp.window);
    let mut end = segment.end();
    let has_ack = segment.has(tcp_flag::ACK);

    if sender.maxwin == 0 {
        if segment.has(tcp_flag::SYN) {
            init_sender(sender, receiver, segment, end, direction);
            if !has_ack {
                return InWindow::Accept;
            }
        } else {
            // In the middle of a connection: what the segment says is all that is known.
            sender.end = end;
            sender.maxwin = (win << sender.scale).max(1);
            sender.maxend = end.wrapping_add(sender.maxwin);
            if receiver.maxwin == 0 {
                receiver.end = sack;
                receiver.maxend = sack;
            } else if sack == receiver.end.wrapping_add(1) {
                // Probably the answer to a keepalive.
                receiver.end = receiver.end.wrapping_add(1);
            }
        }
    } else if segment.has(tcp_flag::SYN)
        && after(end, sender.end)
        && matches!(state, TcpState::SynSent | TcpState::SynRecv)
    {
        init_sender(sender, receiver, segment, end, direction);
        if direction == CtDirection::Reply && !has_ack {
            return InWindow::Accept;
        }
    }

    if !has_ack || (segment.has(tcp_flag::RST) && ack == 0) {
        ack = receiver.end;
        sack = ack;
    }
    if segment.has(tcp_flag::RST) && seq == 0 && state == TcpState::SynSent {
        // Answers a SYN.
        seq = sender.end;
        end = seq;
    }

    let liberal = sender.be_liberal || settings.tcp_be_liberal;
    let failed = |action: InWindow| if liberal { InWindow::Accept } else { action };
    let ack_window = sender.maxwin.max(MAX_ACK_WINDOW);
    let ack_is_recent = after(sack, receiver.end.wrapping_sub(ack_window).wrapping_sub(1));
    let ack_was_sent = before(sack, receiver.end.wrapping_add(1));
    let in_receive_window = after(end, sender.end.wrapping_sub(receiver.maxwin).wrapping_sub(1));

    if !before(seq, sender.maxend.wrapping_add(1)) {
        let overshot = end.wrapping_sub(sender.maxend).wrapping_add(1);
        let little = receiver.maxwin != 0 && in_receive_window && overshot <= receiver.maxwin;
        if little && ack_is_recent && ack_was_sent {
            // Senders that overshoot a little: what they sent may be acknowledged.
            sender.end = end;
            sender.unacknowledged = true;
            return failed(InWindow::Ignore);
        }
        return failed(InWindow::Invalid("TCP sequence number is over the window of the receiver"));
    }
    if !ack_was_sent {
        return failed(InWindow::Invalid("TCP acknowledges data that was not seen yet"));
    }
    if receiver.maxwin != 0 && !in_receive_window {
        return failed(InWindow::Ignore);
    }
    if !ack_is_recent {
        return failed(InWindow::Ignore);
    }

    if !segment.has(tcp_flag::SYN) {
        win <<= sender.scale;
    }
    sender.maxwin = sender.maxwin.max(win.wrapping_add(sack.wrapping_sub(ack)));
    if after(end, sender.end) {
        sender.end = end;
        sender.unacknowledged = true;
    }
    if has_ack && sender.maxack.is_none_or(|maxack| after(ack, maxack)) {
        sender.maxack = Some(ack);
    }
    if receiver.maxwin != 0 && after(end, sender.maxend) {
        receiver.maxwin = receiver.maxwin.wrapping_add(end.wrapping_sub(sender.maxend));
    }
    let offered = sack.wrapping_add(win);
    if after(offered, receiver.maxend.wrapping_sub(1)) {
        receiver.maxend = if win == 0 { offered.wrapping_add(1) } else { offered };
    }
    if ack == receiver.end {
        receiver.unacknowledged = false;
    }
    if segment.class == Class::Ack {
        let reply = direction == CtDirection::Reply;
        let again = track.last_reply == reply
            && track.last_seq == seq
            && track.last_ack == ack
            && track.last_end == end
            && track.last_win == tcp.window;
        if again {
            track.retrans = track.retrans.wrapping_add(1);
        } else {
            track.last_reply = reply;
            track.last_seq = seq;
            track.last_ack = ack;
            track.last_end = end;
            track.last_win = tcp.window;
            track.retrans = 0;
        }
    }
    InWindow::Accept
}
