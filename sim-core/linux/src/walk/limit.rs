//! Rate limits of what the stack answers: per peer (`inet_peer_xrlim_allow`, `ip_error`, `ip_rt_send_redirect`) and for all
//! (`icmp_global_allow`), on the virtual clock.
//!
//! The kernel counts in jiffies; here it is nanoseconds. The global bucket takes back a random number of credits (0 to 2) for each message;
//! here it is one, which is said where the bucket runs dry.

use rustc_hash::FxHashMap;

use crate::sysctl::Sysctls;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
/// What an unknown peer's clock is set to in the past.
const FRESH: u64 = 60 * SECOND;

/// `struct inet_peer`, as far as limits are concerned.
#[derive(Clone, Copy, Debug)]
struct Peer {
    tokens: u64,
    /// Moved by [`FRESH`] so that it can lie before the start.
    last: u64,
    redirects: u32,
}

/// Every limit's state.
#[derive(Clone, Debug, Default)]
pub(super) struct Rates {
    peers: FxHashMap<u32, Peer>,
    global: Option<(u64, u32)>,
}

impl Rates {
    fn peer(&mut self, addr: u32, now: u64) -> &mut Peer {
        self.peers.entry(addr).or_insert(Peer { tokens: 0, last: now.saturating_sub(FRESH), redirects: 0 })
    }

    /// Whether `ip_error` may tell `source`: one a second, five at once.
    pub fn route_error(&mut self, source: u32, now_ns: u64) -> bool {
        let now = now_ns + FRESH;
        let peer = self.peer(source, now);
        peer.tokens = (peer.tokens + now.saturating_sub(peer.last)).min(5 * SECOND);
        peer.last = now;
        let allowed = peer.tokens >= SECOND;
        if allowed {
            peer.tokens -= SECOND;
        }
        allowed
    }

    /// Whether an ICMP message may go to `dest` (`inet_peer_xrlim_allow` with `icmp_ratelimit`): six at once. The account is
    /// filled and capped only if time has passed since it was last looked at, so that a limit of 0 empties it then, and `ip_error` with it.
    pub fn peer_allows(&mut self, sysctls: &Sysctls, dest: u32, now_ns: u64) -> bool {
        let timeout = u64::from(sysctls.icmp_ratelimit_ms) * MS;
        let now = now_ns + FRESH;
        let peer = self.peer(dest, now);
        let passed = now.saturating_sub(peer.last);
        if passed > 0 {
            peer.tokens = (peer.tokens + passed).min(6 * timeout);
            peer.last = now;
        }
        let allowed = peer.tokens >= timeout;
        if allowed {
            peer.tokens -= timeout;
        }
        allowed
    }

    /// Whether any limited ICMP message may be sent now (`icmp_global_allow`).
    pub fn global_allows(&mut self, sysctls: &Sysctls, now_ns: u64) -> bool {
        let (stamp, credit) = self.global.unwrap_or((0, 0));
        let now = now_ns + FRESH;
        let delta = now.saturating_sub(stamp).min(SECOND);
        if credit > 0 && delta < SECOND / 50 {
            return true;
        }
        let more = (u64::from(sysctls.icmp_msgs_per_sec) * delta / SECOND) as u32;
        if more == 0 {
            return credit > 0;
        }
        let credit = credit.saturating_add(more).min(sysctls.icmp_msgs_burst);
        self.global = Some((now, credit));
        credit > 0
    }

    /// One message of the global limit was sent.
    pub fn global_consume(&mut self) {
        if let Some((_, credit)) = &mut self.global {
            *credit = credit.saturating_sub(1);
        }
    }

    /// Whether a redirect may be sent to `source` (`ip_rt_send_redirect`): nine without effect, further and further apart, then silence.
    pub fn redirect(&mut self, source: u32, now_ns: u64) -> bool {
        const LOAD: u64 = 20 * MS;
        const NUMBER: u32 = 9;
        const SILENCE: u64 = LOAD << 10;
        let now = now_ns + FRESH;
        let peer = self.peer(source, now);
        if now > peer.last + SILENCE {
            peer.tokens = 0;
            peer.redirects = 0;
        }
        if peer.redirects >= NUMBER {
            peer.last = now;
            return false;
        }
        if peer.redirects != 0 && now <= peer.last + (LOAD << peer.redirects) {
            return false;
        }
        peer.last = now;
        peer.redirects += 1;
        true
    }
}
