//! `pktwalk render`: part of a bundle, as its own tool would print it.

use anyhow::bail;
use pktwalk_linux::config::{NetNsConfig, Ruleset};
use pktwalk_linux::hook::{Backend, Family};
use pktwalk_linux::{ipset, iptables};
use pktwalk_report::netns_names::route_text;

use crate::args::{Render, What};
use crate::exit::Exit;
use crate::input;
use crate::output::Out;

/// Prints it.
pub fn run(out: &Out, args: &Render) -> anyhow::Result<Exit> {
    let world = input::world(&args.source)?;
    let place = world.find(args.source.node.as_deref().unwrap_or_default(), &args.netns)?;
    let place = input::assumed(place, &args.source)?;
    out.remarks(&place.remarks);
    let config = &place.config;
    let text = match args.what {
        What::Iptables => rules(config, Family::V4, None)?,
        What::IptablesLegacy => rules(config, Family::V4, Some(Backend::Legacy))?,
        What::IptablesNft => rules(config, Family::V4, Some(Backend::Nft))?,
        What::Ip6tables => rules(config, Family::V6, None)?,
        What::Ipset => ipset::print(&config.sets),
        What::Routes => lines(config.routes.iter().map(route_text)),
        What::Neigh => neighbours(config),
        What::Sysctl => lines(config.sysctls.iter().map(|(key, value)| format!("{key} = {value}"))),
    };
    out.bytes(text.as_bytes())?;
    Ok(Exit::Ok)
}

fn lines(lines: impl Iterator<Item = String>) -> String {
    lines.map(|line| line + "\n").collect()
}

fn rules(config: &NetNsConfig, family: Family, backend: Option<Backend>) -> anyhow::Result<String> {
    let all: Vec<&Ruleset> = config
        .rulesets
        .iter()
        .filter(|ruleset| ruleset.save.family == family)
        .filter(|ruleset| backend.is_none_or(|backend| ruleset.backend == backend))
        .collect();
    match all.as_slice() {
        [] => bail!("the bundle has no such rules"),
        [one] => Ok(iptables::print_saved(&one.save, one.backend, false)),
        several => {
            let first = several.first().map(|ruleset| ruleset.backend);
            if several.iter().any(|ruleset| Some(ruleset.backend) != first) {
                bail!("both backends have rules: say --what iptables-legacy or iptables-nft");
            }
            let text = |ruleset: &&Ruleset| iptables::print_saved(&ruleset.save, ruleset.backend, false);
            Ok(several.iter().map(text).collect())
        }
    }
}

fn neighbours(config: &NetNsConfig) -> String {
    lines(config.neighbours.iter().map(|neighbour| {
        let mac = neighbour.mac.map(|mac| format!(" lladdr {mac}")).unwrap_or_default();
        let state = neighbour.state.name();
        format!("{} dev {}{mac} {state}", neighbour.addr, neighbour.dev)
    }))
}
