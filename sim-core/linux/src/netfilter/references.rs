//! What rules make the kernel do beside matching: tracking connections, putting fragments together.
//!
//! A reference is taken when a rule is loaded (`nf_ct_netns_get` in the `checkentry` of matches and targets), in whatever table and whether
//! or not a packet can reach it.

use crate::iptables::ast::{Match, Target};

/// What the rules of a namespace refer to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct References {
    /// Connections are tracked.
    pub conntrack: bool,
    /// Fragments are put together in PREROUTING and OUTPUT, which tracking needs too.
    pub defrag: bool,
}

impl References {
    fn conntrack(&mut self) {
        self.conntrack = true;
        self.defrag = true;
    }

    pub fn of_match(&mut self, written: &Match) {
        match written {
            Match::Conntrack(_) | Match::State(_) | Match::Connmark(_) => self.conntrack(),
            Match::Unmodelled(unmodelled) => match unmodelled.name.as_str() {
                "connbytes" | "connlabel" | "connlimit" | "helper" | "cluster" => self.conntrack(),
                "socket" => self.defrag = true,
                _ => {}
            },
            Match::Tcp(_)
            | Match::Udp(_)
            | Match::Icmp(_)
            | Match::Multiport(_)
            | Match::Mark(_)
            | Match::Comment(_)
            | Match::Addrtype(_)
            | Match::Limit(_)
            | Match::Hashlimit(_)
            | Match::Recent(_)
            | Match::Mac(_)
            | Match::Physdev(_)
            | Match::Iprange(_)
            | Match::Set(_)
            | Match::Owner(_)
            | Match::Statistic(_)
            | Match::Rpfilter(_)
            | Match::Pkttype(_) => {}
        }
    }

    pub fn of_target(&mut self, target: &Target) {
        match target {
            // `xt_ct_tg_check` asks for conntrack only where there is something to track.
            Target::Ct(ct) if ct.notrack => {}
            Target::Connmark(..)
            | Target::Ct(_)
            | Target::Dnat(_)
            | Target::Snat(_)
            | Target::Masquerade(_)
            | Target::Redirect(_) => self.conntrack(),
            Target::Unmodelled(unmodelled) => match unmodelled.name.as_str() {
                "CT" | "CONNMARK" | "CONNSECMARK" | "SYNPROXY" | "NETMAP" | "DNAT" | "SNAT"
                | "MASQUERADE" | "REDIRECT" | "SAME" => self.conntrack(),
                "TPROXY" => self.defrag = true,
                _ => {}
            },
            Target::None
            | Target::Accept
            | Target::Drop
            | Target::Return
            | Target::Jump(_)
            | Target::Goto(_)
            | Target::Reject(_)
            | Target::Log(_)
            | Target::Nflog(_)
            | Target::Mark(_)
            | Target::Tcpmss(_)
            | Target::Checksum => {}
        }
    }
}
