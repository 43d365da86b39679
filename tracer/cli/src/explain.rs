//! `pktwalk explain`: the pages of `docs/reasons`.

use crate::exit::Exit;
use crate::output::Out;

/// Every code and its page.
const PAGES: &[(&str, &str)] = &[
    ("SOURCE_ROUTE_REFUSED", include_str!("../../../docs/reasons/SOURCE_ROUTE_REFUSED.md")),
    ("ICMP_BROADCAST", include_str!("../../../docs/reasons/ICMP_BROADCAST.md")),
    ("MAC_CONTROL", include_str!("../../../docs/reasons/MAC_CONTROL.md")),
    ("NO_CARRIER", include_str!("../../../docs/reasons/NO_CARRIER.md")),
    ("VETH_MTU", include_str!("../../../docs/reasons/VETH_MTU.md")),
    ("NO_SOCKET_BROADCAST", include_str!("../../../docs/reasons/NO_SOCKET_BROADCAST.md")),
    ("NO_PING_SOCKET", include_str!("../../../docs/reasons/NO_PING_SOCKET.md")),
    ("SHORT_TRANSPORT_HEADER", include_str!("../../../docs/reasons/SHORT_TRANSPORT_HEADER.md")),
    ("RULE_DROP", include_str!("../../../docs/reasons/RULE_DROP.md")),
    ("RULE_REJECT", include_str!("../../../docs/reasons/RULE_REJECT.md")),
    ("CHAIN_POLICY", include_str!("../../../docs/reasons/CHAIN_POLICY.md")),
    ("HOTDROP", include_str!("../../../docs/reasons/HOTDROP.md")),
    ("TARGET_FAILED", include_str!("../../../docs/reasons/TARGET_FAILED.md")),
    ("NAT_NO_ADDRESS", include_str!("../../../docs/reasons/NAT_NO_ADDRESS.md")),
    ("MESSAGE_TOO_LONG", include_str!("../../../docs/reasons/MESSAGE_TOO_LONG.md")),
    ("MULTICAST_TTL", include_str!("../../../docs/reasons/MULTICAST_TTL.md")),
    ("NAT_ICMP", include_str!("../../../docs/reasons/NAT_ICMP.md")),
    ("MASQUERADE_DEVICE_CHANGED", include_str!("../../../docs/reasons/MASQUERADE_DEVICE_CHANGED.md")),
    ("REROUTE_FAILED", include_str!("../../../docs/reasons/REROUTE_FAILED.md")),
    ("CT_CLASH", include_str!("../../../docs/reasons/CT_CLASH.md")),
    ("CT_TABLE_FULL", include_str!("../../../docs/reasons/CT_TABLE_FULL.md")),
    ("CT_DROP", include_str!("../../../docs/reasons/CT_DROP.md")),
    ("OTHER_HOST", include_str!("../../../docs/reasons/OTHER_HOST.md")),
    ("UNHANDLED_PROTOCOL", include_str!("../../../docs/reasons/UNHANDLED_PROTOCOL.md")),
    ("TCP_LINK_BROADCAST", include_str!("../../../docs/reasons/TCP_LINK_BROADCAST.md")),
    ("TRUNCATED", include_str!("../../../docs/reasons/TRUNCATED.md")),
    ("BAD_IP_HEADER", include_str!("../../../docs/reasons/BAD_IP_HEADER.md")),
    ("BAD_IP_CHECKSUM", include_str!("../../../docs/reasons/BAD_IP_CHECKSUM.md")),
    ("BAD_IP_OPTIONS", include_str!("../../../docs/reasons/BAD_IP_OPTIONS.md")),
    ("RP_FILTER_STRICT", include_str!("../../../docs/reasons/RP_FILTER_STRICT.md")),
    ("RP_FILTER_NO_ROUTE", include_str!("../../../docs/reasons/RP_FILTER_NO_ROUTE.md")),
    ("MARTIAN_LOOPBACK_SOURCE", include_str!("../../../docs/reasons/MARTIAN_LOOPBACK_SOURCE.md")),
    ("MARTIAN_LOOPBACK_DEST", include_str!("../../../docs/reasons/MARTIAN_LOOPBACK_DEST.md")),
    ("LOCAL_SOURCE", include_str!("../../../docs/reasons/LOCAL_SOURCE.md")),
    ("INVALID_SOURCE", include_str!("../../../docs/reasons/INVALID_SOURCE.md")),
    ("IGMP_IGNORED", include_str!("../../../docs/reasons/IGMP_IGNORED.md")),
    ("INVALID_DEST", include_str!("../../../docs/reasons/INVALID_DEST.md")),
    ("NO_ROUTE", include_str!("../../../docs/reasons/NO_ROUTE.md")),
    ("ROUTE_UNREACHABLE", include_str!("../../../docs/reasons/ROUTE_UNREACHABLE.md")),
    ("ROUTE_PROHIBIT", include_str!("../../../docs/reasons/ROUTE_PROHIBIT.md")),
    ("ROUTE_BLACKHOLE", include_str!("../../../docs/reasons/ROUTE_BLACKHOLE.md")),
    ("ROUTING_RULE_UNREACHABLE", include_str!("../../../docs/reasons/ROUTING_RULE_UNREACHABLE.md")),
    ("ROUTING_RULE_PROHIBIT", include_str!("../../../docs/reasons/ROUTING_RULE_PROHIBIT.md")),
    ("ROUTING_RULE_BLACKHOLE", include_str!("../../../docs/reasons/ROUTING_RULE_BLACKHOLE.md")),
    ("FORWARDING_OFF", include_str!("../../../docs/reasons/FORWARDING_OFF.md")),
    ("TTL_EXPIRED", include_str!("../../../docs/reasons/TTL_EXPIRED.md")),
    ("FRAG_NEEDED", include_str!("../../../docs/reasons/FRAG_NEEDED.md")),
    ("UNICAST_IN_L2_MULTICAST", include_str!("../../../docs/reasons/UNICAST_IN_L2_MULTICAST.md")),
    ("NO_MULTICAST_MEMBER", include_str!("../../../docs/reasons/NO_MULTICAST_MEMBER.md")),
    ("LINK_BROADCAST_FORWARD", include_str!("../../../docs/reasons/LINK_BROADCAST_FORWARD.md")),
    ("NOT_CONNECTED", include_str!("../../../docs/reasons/NOT_CONNECTED.md")),
    ("RESET_OF_NOTHING", include_str!("../../../docs/reasons/RESET_OF_NOTHING.md")),
    ("NO_SOCKET", include_str!("../../../docs/reasons/NO_SOCKET.md")),
    ("NO_PROTOCOL", include_str!("../../../docs/reasons/NO_PROTOCOL.md")),
    ("TCP_CHECKSUM", include_str!("../../../docs/reasons/TCP_CHECKSUM.md")),
    ("UDP_CHECKSUM", include_str!("../../../docs/reasons/UDP_CHECKSUM.md")),
    ("ICMP_CHECKSUM", include_str!("../../../docs/reasons/ICMP_CHECKSUM.md")),
    ("ICMP_UNHANDLED", include_str!("../../../docs/reasons/ICMP_UNHANDLED.md")),
    ("PIM_IGNORED", include_str!("../../../docs/reasons/PIM_IGNORED.md")),
    ("NEIGH_FAILED", include_str!("../../../docs/reasons/NEIGH_FAILED.md")),
    ("DEVICE_DOWN", include_str!("../../../docs/reasons/DEVICE_DOWN.md")),
    ("DUMMY_DEVICE", include_str!("../../../docs/reasons/DUMMY_DEVICE.md")),
    ("BRIDGE_PORT_STATE", include_str!("../../../docs/reasons/BRIDGE_PORT_STATE.md")),
    ("BRIDGE_NO_PORT", include_str!("../../../docs/reasons/BRIDGE_NO_PORT.md")),
    ("BRIDGE_NO_FLOOD", include_str!("../../../docs/reasons/BRIDGE_NO_FLOOD.md")),
    ("BRIDGE_PORT_MTU", include_str!("../../../docs/reasons/BRIDGE_PORT_MTU.md")),
    ("BAD_MAC_SOURCE", include_str!("../../../docs/reasons/BAD_MAC_SOURCE.md")),
    ("NO_OUTPUT_ROUTE", include_str!("../../../docs/reasons/NO_OUTPUT_ROUTE.md")),
    ("ARP_IGNORED", include_str!("../../../docs/reasons/ARP_IGNORED.md")),
    ("UNKNOWN_MATCH", include_str!("../../../docs/reasons/UNKNOWN_MATCH.md")),
    ("UNKNOWN_TARGET", include_str!("../../../docs/reasons/UNKNOWN_TARGET.md")),
    ("UNKNOWN_SET", include_str!("../../../docs/reasons/UNKNOWN_SET.md")),
    ("UNKNOWN_STATE", include_str!("../../../docs/reasons/UNKNOWN_STATE.md")),
    ("UNKNOWN_DEVICE", include_str!("../../../docs/reasons/UNKNOWN_DEVICE.md")),
    ("UNKNOWN_ROUTING_RULE", include_str!("../../../docs/reasons/UNKNOWN_ROUTING_RULE.md")),
    ("UNKNOWN_ROUTE", include_str!("../../../docs/reasons/UNKNOWN_ROUTE.md")),
    ("REGISTRATION_ORDER", include_str!("../../../docs/reasons/REGISTRATION_ORDER.md")),
    ("NOT_MODELLED", include_str!("../../../docs/reasons/NOT_MODELLED.md")),
    ("CUT_PACKET", include_str!("../../../docs/reasons/CUT_PACKET.md")),
    ("LOOP", include_str!("../../../docs/reasons/LOOP.md")),
    ("LIMIT_REACHED", include_str!("../../../docs/reasons/LIMIT_REACHED.md")),
];

/// Prints the page of a code, or lists the codes.
pub fn run(out: &Out, code: Option<&str>) -> anyhow::Result<Exit> {
    let Some(code) = code else {
        let mut text = String::new();
        let mut pages = PAGES.to_vec();
        pages.sort_unstable();
        for (code, page) in pages {
            let what = page.split("\n\n").nth(1).unwrap_or_default().replace('\n', " ");
            text.push_str(&format!("{code}\n    {what}\n"));
        }
        out.bytes(text.as_bytes())?;
        return Ok(Exit::Ok);
    };
    let wanted = code.to_uppercase().replace('-', "_");
    let wanted = wanted.strip_prefix("SKB_DROP_REASON_").unwrap_or(&wanted);
    if let Some((_, page)) = PAGES.iter().find(|(code, _)| *code == wanted) {
        out.bytes(page.as_bytes())?;
        return Ok(Exit::Ok);
    }
    let kernel: Vec<&str> = pktwalk_linux::reason::DropCode::ALL
        .iter()
        .filter(|code| code.kernel_reason() == wanted)
        .map(|code| code.code())
        .collect();
    if !kernel.is_empty() {
        let text = format!(
            "The kernel gives the reason {wanted} in these cases; pktwalk explain tells of each:\n  {}\n",
            kernel.join("\n  ")
        );
        out.bytes(text.as_bytes())?;
        return Ok(Exit::Ok);
    }
    let near: Vec<&str> = PAGES
        .iter()
        .map(|(code, _)| *code)
        .filter(|code| wanted.split('_').any(|word| word.len() > 2 && code.contains(word)))
        .collect();
    let near = if near.is_empty() {
        "pktwalk explain lists all".to_owned()
    } else {
        format!("perhaps {}", near.join(", "))
    };
    anyhow::bail!("'{code}' is no code; {near}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use pktwalk_linux::reason::{Because, DropCode};

    use super::PAGES;

    #[test]
    fn every_code_has_a_page_and_every_page_a_code() {
        let mut codes: BTreeSet<&str> = DropCode::ALL.iter().map(|code| code.code()).collect();
        codes.extend(Because::CODES);
        codes.extend(["LOOP", "LIMIT_REACHED"]);
        let pages: BTreeSet<&str> = PAGES.iter().map(|(code, _)| *code).collect();
        assert_eq!(codes, pages);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reasons");
        let files: BTreeSet<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "README.md")
            .collect();
        assert_eq!(files, codes.iter().map(|code| format!("{code}.md")).collect());
    }

    #[test]
    fn pages_name_the_kernels_reason_and_fit_a_terminal() {
        for (code, page) in PAGES {
            assert!(page.starts_with(&format!("# {code}\n")), "{code}");
            assert!(page.contains("\n## Cause\n") && page.contains("\n## Confirm\n"), "{code}");
            for line in page.lines() {
                assert!(line.chars().count() <= 80, "{code}: {line}");
            }
            if let Some(drop) = DropCode::ALL.iter().find(|drop| drop.code() == *code) {
                assert!(page.contains(&format!("`SKB_DROP_REASON_{}`", drop.kernel_reason())), "{code}");
            }
        }
    }
}
