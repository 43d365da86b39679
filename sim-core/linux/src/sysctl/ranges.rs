//! What values the kernel takes for the settings that a walk reads: `extra1` and `extra2` of its tables (`devinet_sysctl`, `ipv4_net_table`,
//! `nf_ct_sysctl_table`), asked of Linux 6.18 by writing values.

use crate::conntrack::CtSettings;

use super::{FIELDS, KEYS};

/// Why a value is not one that a running kernel can show.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Misfit {
    /// It tells nothing: the setting is not known.
    Unusable(String),
    /// Newer kernels refuse it, older ones took it and did not tell it from 1.
    Odd(String),
}

/// What is taken.
#[derive(Clone, Copy)]
enum Range {
    /// These and no others.
    Within(i64, i64),
    /// 0 is off, all else is on. Up to this number in Linux 6.18.
    Switch(i64),
}

const INT: (i64, i64) = (i32::MIN as i64, i32::MAX as i64);

fn range(key: &str) -> Option<Range> {
    if let Some(name) = key.strip_prefix("net.netfilter.nf_conntrack_") {
        if !CtSettings::has(name) {
            return None;
        }
        return Some(match name {
            "max" => Range::Within(0, INT.1),
            "checksum" | "tcp_loose" | "tcp_be_liberal" | "tcp_ignore_invalid_rst" => Range::Switch(1),
            "tcp_max_retrans" => Range::Within(0, 255),
            // Kept in jiffies; a negative one is of no use.
            _ => Range::Within(0, INT.1),
        });
    }
    if let Some((_, field)) = key.strip_prefix("net.ipv4.conf.").and_then(|rest| rest.rsplit_once('.')) {
        // Every number is taken.
        return (FIELDS.contains(&field) || field == "mc_forwarding").then_some(Range::Within(INT.0, INT.1));
    }
    if !KEYS.contains(&key) {
        return None;
    }
    let name = key.rsplit('.').next().unwrap_or(key);
    Some(match name {
        "ip_default_ttl" => Range::Within(1, 255),
        "icmp_ratelimit" => Range::Within(0, i64::from(u32::MAX)),
        "icmp_msgs_per_sec" | "icmp_msgs_burst" => Range::Within(0, INT.1),
        "ip_forward" | "icmp_ratemask" => Range::Within(INT.0, INT.1),
        "fib_multipath_hash_policy" => Range::Within(0, 3),
        "ip_no_pmtu_disc" => Range::Within(0, 255),
        "fwmark_reflect" | "ip_forward_use_pmtu" => Range::Switch(255),
        _ => Range::Switch(1),
    })
}

/// Whether walks read a setting of this name (that of a device with its device).
pub fn is_read(key: &str) -> bool {
    range(key).is_some()
}

/// Whether a running kernel can show `text` as the value of `key`. Settings that no walk reads may have any.
///
/// # Errors
/// If it cannot.
pub fn check(key: &str, text: &str) -> Result<(), Misfit> {
    let Some(range) = range(key) else { return Ok(()) };
    let Ok(value) = text.trim().parse::<i64>() else {
        return Err(Misfit::Unusable(format!("{key} = {text:?} is not a number")));
    };
    match range {
        Range::Within(lo, hi) if (lo..=hi).contains(&value) => Ok(()),
        Range::Within(lo, hi) => {
            Err(Misfit::Unusable(format!("{key} = {value} is not from {lo} to {hi}, as the kernel takes it")))
        }
        Range::Switch(most) if (0..=most).contains(&value) => Ok(()),
        Range::Switch(most) if (0..=INT.1).contains(&value) => Err(Misfit::Odd(format!(
            "{key} = {value} is beyond {most}, which Linux 6.18 refuses: on, as 1 is"
        ))),
        Range::Switch(_) => Err(Misfit::Unusable(format!("{key} = {value} is neither on nor off"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_kernel_shows_is_told() {
        let unusable = |key: &str, text: &str| matches!(check(key, text), Err(Misfit::Unusable(_)));
        for value in ["-1", "0", "1", "2", "9", "2147483647"] {
            assert_eq!(check("net.ipv4.conf.eth0.rp_filter", value), Ok(()));
            assert_eq!(check("net.ipv4.icmp_ratemask", value), Ok(()));
        }
        assert!(unusable("net.ipv4.conf.all.rp_filter", "2147483648"));
        assert!(unusable("net.ipv4.conf.all.rp_filter", "strict"));
        assert!(unusable("net.ipv4.ip_default_ttl", "0") && unusable("net.ipv4.ip_default_ttl", "256"));
        assert!(unusable("net.ipv4.fib_multipath_hash_policy", "4"));
        assert!(unusable("net.ipv4.icmp_echo_ignore_all", "-1"));
        assert!(matches!(check("net.ipv4.icmp_echo_ignore_all", "2"), Err(Misfit::Odd(_))));
        assert!(matches!(check("net.netfilter.nf_conntrack_tcp_be_liberal", "2"), Err(Misfit::Odd(_))));
        assert!(unusable("net.netfilter.nf_conntrack_udp_timeout", "-1"));
        // No walk reads these.
        assert_eq!(check("net.ipv4.tcp_rmem", "4096 131072 6291456"), Ok(()));
        assert_eq!(check("net.ipv4.conf.all.log_martians", "x"), Ok(()));
    }
}
