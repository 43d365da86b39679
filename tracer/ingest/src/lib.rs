//! Bundles: a node's state as a folder (or tar) of command outputs, read into [`NetNsConfig`](pktwalk_linux::config::NetNsConfig)s and written again.
//!
//! Every file is optional. What a missing file means stands in [`NetNsConfig::missing`](pktwalk_linux::config::NetNsConfig); what a file says that
//! cannot be read is a [`Diagnostic`](pktwalk_linux::diag::Diagnostic) with its line, and the rest of the file is read all the same. What is read
//! but not modelled stands in [`NetNsConfig::unmodelled`](pktwalk_linux::config::NetNsConfig), so that no walk passes it silently.
//!
//! | file | command | read by |
//! | --- | --- | --- |
//! | `node.yaml` | written by hand: `name`, `time`, `kernel`, `backend` | [`read_bundle`] |
//! | `iptables-save`, `iptables-legacy-save`, `ip6tables-save`, `ip6tables-legacy-save` | the same, with or without `-c` | `pktwalk_linux::iptables` |
//! | `nft.json` | `nft -j list ruleset` | names native tables as not modelled |
//! | `ipset-save` | `ipset save` | `pktwalk_linux::ipset` |
//! | `ip-link.json`, `ip-addr.json` | `ip -d -j link`, `ip -j addr` | devices |
//! | `ip-route.json`, `ip-6-route.json` | `ip -j route show table all`, `ip -6 ...` | routes |
//! | `ip-route` | `ip route show table all` | whether the mtu of a route is locked, which the JSON form leaves out |
//! | `ip-rule.json`, `ip-6-rule.json`, `ip-nexthop.json` | `ip -j rule`, `ip -6 -j rule`, `ip -j nexthop` | routing rules, nexthop objects |
//! | `ip-neigh.json`, `neigh-proxy` | `ip -j neigh`, `ip neigh show proxy` | neighbours |
//! | `bridge-fdb.json`, `bridge-vlan.json`, `nsid.json` | `bridge -j fdb`, `bridge -j vlan`, `ip -j netns list-id` | forwarding database; the others are checked only |
//! | `conntrack` | `conntrack -L -o extended`, `-f ipv6` appended | [`CtLine`]s |
//! | `ss` | `ss -Htulnpe` | sockets |
//! | `proc-net-raw`, `proc-net-icmp` | `cat /proc/net/raw`, `cat /proc/net/icmp` | raw sockets, ping sockets |
//! | `sysctl` | `sysctl -a` | settings |
//! | `tc.json`, `tc-filter.json`, `bpf-net.json`, `xfrm`, `ipvs`, `wg` | `tc -j qdisc`, `tc -j filter` of each device and hook, `bpftool -j net`, `ip xfrm policy`, `ipvsadm -Sn`, `wg show all dump` | named as not modelled |
//! | `netns/NAME/` | the same files, of another namespace of the node | |

mod bundle;
mod conntrack;
mod demo;
mod devices;
mod json;
mod keys;
mod neigh;
mod other;
mod raw_sockets;
mod reader;
mod routes;
mod rules;
mod sockets;
mod source;
mod stacked;
mod sysctl;
mod write;

pub use bundle::{Bundle, IngestError, NetNsBundle, NodeInfo, read_bundle, read_files};
pub use conntrack::{CtLine, CtLineTuple};
pub use demo::{DEMO_SCENARIO, demo_bundle};
pub use keys::near;
pub use write::{WriteError, write_bundle};
