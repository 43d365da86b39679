//! A network namespace: the compiled, immutable [`NetNs`] and the [`NetNsState`] that packets change.

use std::collections::BTreeMap;

use crate::choice::Choice;
use crate::config::{Device, MissingState, NetNsConfig};
use crate::conntrack::{Conntrack, CtSettings};
use crate::diag::Diagnostic;
use crate::fib::Fib;
use crate::ids::DevId;
use crate::ipset::CompiledSets;
use crate::netfilter::{Netfilter, RuleState};
use crate::reason::Because;
use crate::sysctl::Sysctls;
use crate::trace::Sink;
use crate::walk::Made;
use crate::walk::links::Links;

/// A namespace compiled for walking. Names are resolved, rules are flat arrays; nothing in it changes while packets pass.
#[derive(Debug)]
pub struct NetNs {
    /// What it was compiled from: the source of every name in a report.
    pub config: NetNsConfig,
    /// Settings.
    pub sysctls: Sysctls,
    /// Settings of connection tracking.
    pub ct: CtSettings,
    /// Routes, routing rules, addresses.
    pub fib: Fib,
    /// Rules of every backend.
    pub netfilter: Netfilter,
    /// Sets, in the order of [`NetNsConfig::sets`].
    pub sets: CompiledSets,
    /// Neighbours, bridge ports, sockets.
    pub(crate) links: Links,
    /// The connections that exist before the first packet.
    connections: Conntrack,
    /// There may be others.
    pub(crate) connections_unknown: bool,
    dev_by_name: BTreeMap<String, DevId>,
    lo: Option<DevId>,
}

/// What changes while packets pass.
#[derive(Clone, Debug, Default)]
pub struct NetNsState {
    /// Connections.
    pub ct: Conntrack,
    /// What rules remember: limits, recent lists, counters of `statistic`.
    pub rules: RuleState,
    /// What elements of sets have counted.
    pub sets: crate::ipset::SetCounters,
    /// Virtual time in nanoseconds since the start of the run.
    pub now_ns: u64,
    /// What the walk itself remembers: learned FDB entries, ICMP rate limits.
    pub stack: crate::walk::StackState,
}

impl NetNsState {
    /// What there is before the first packet: the connections that `ns` is known to have.
    pub fn start(ns: &NetNs) -> NetNsState {
        NetNsState { ct: ns.connections.clone(), ..NetNsState::default() }
    }
}

/// Everything that a walk has at hand: handed down by reference, never stored.
pub struct Cx<'a, S: Sink> {
    /// The namespace.
    pub ns: &'a NetNs,
    /// Its state.
    pub state: &'a mut NetNsState,
    /// Random choices.
    pub choice: &'a mut dyn Choice,
    /// Who is told.
    pub sink: &'a mut S,
    /// Packets that were made because of this one, to be walked after it or before it goes on.
    pub made: Vec<Made>,
    /// Something about the packet's end that the walk cannot say: it ends `Unknown` for that, whatever its end would be.
    pub undecided: Option<Because>,
    /// Whether the sink is still to be told that the backend of the rules is an assumption.
    pub backend_untold: bool,
}

impl NetNs {
    /// Compiles `config`. Whatever cannot be compiled becomes a diagnostic, and the walk that meets it ends `Unknown`.
    pub fn compile(config: NetNsConfig) -> (NetNs, Vec<Diagnostic>) {
        let mut diagnostics = Vec::new();
        let mut dev_by_name = BTreeMap::new();
        for (index, device) in config.devices.iter().enumerate() {
            if dev_by_name.insert(device.name.clone(), DevId(index as u32)).is_some() {
                diagnostics.push(Diagnostic::error(
                    device.source,
                    format!("device {} stands here twice", device.name),
                ));
            }
        }
        let sysctls = Sysctls::compile(&config, &mut diagnostics);
        let ct = CtSettings::compile(&sysctls);
        let sets = CompiledSets::compile(&config, &mut diagnostics);
        let fib = Fib::compile(&config, &dev_by_name, &sysctls, &mut diagnostics);
        let netfilter = Netfilter::compile(&config, &dev_by_name, &mut diagnostics);
        let links = Links::compile(&config, &dev_by_name, &mut diagnostics);
        let connections = Conntrack::of_dump(&config.connections, &mut diagnostics);
        let connections_unknown = config.missing.contains(&MissingState::Conntrack);
        (
            NetNs {
                config,
                sysctls,
                ct,
                fib,
                netfilter,
                sets,
                links,
                connections,
                connections_unknown,
                lo: dev_by_name.get("lo").copied(),
                dev_by_name,
            },
            diagnostics,
        )
    }

    /// The device of this name.
    pub fn dev(&self, name: &str) -> Option<DevId> {
        self.dev_by_name.get(name).copied()
    }

    /// The device itself.
    pub fn device(&self, id: DevId) -> &Device {
        &self.config.devices[id.index()]
    }

    /// `lo`, if the namespace has it.
    pub fn loopback(&self) -> Option<DevId> {
        self.lo
    }
}
