//! `--assume K=V`: what the user says of a namespace where the bundle says nothing.
//!
//! | key | meaning |
//! | --- | --- |
//! | `closed=PROTOCOL[/PORT]` | nothing listens there |
//! | `no-neighbour=ADDRESS` | nobody answers ARP for it, on any device |
//! | `backend=legacy` or `nft` | which backend the rules run on |
//! | `backend-order=nft,legacy` or `legacy,nft` | whose rules run first at a hook |
//! | `net.KEY=VALUE` | a setting, as sysctl names it |
//! | `ignore=WORDS` | what is there but not modelled, and whose name holds these words, lets every packet pass unchanged: a rule with such a match matches nothing, such a target does nothing |

use std::net::IpAddr;
use std::sync::Arc;

use pktwalk_ingest::near;
use pktwalk_linux::config::{DeviceKind, MissingState, Neighbour, NetNsConfig, NudState};
use pktwalk_linux::diag::Severity;
use pktwalk_linux::hook::{Backend, Family};
use pktwalk_linux::ids::SourceLine;
use pktwalk_linux::iptables::ast::{Match, Rule, StatisticMatch, Target};
use pktwalk_linux::{iptables, sysctl};
use pktwalk_report::Remark;
use thiserror::Error;

/// Why an assumption was refused.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("--assume {text}: {message}")]
pub struct AssumeError {
    /// As given.
    pub text: String,
    /// One sentence.
    pub message: String,
}

/// What one assumption may be, for messages.
const KEYS: &str = "closed=tcp/80, no-neighbour=ADDRESS, backend=legacy|nft, backend-order=nft,legacy, net.KEY=VALUE, ignore=WORDS";

/// Applies `text` to a namespace. The remark says what was assumed.
///
/// # Errors
/// If the key is not known, its value makes no sense, or the bundle says otherwise.
pub fn assume(config: &mut NetNsConfig, text: &str) -> Result<Remark, AssumeError> {
    let fail = |message: String| AssumeError { text: text.to_owned(), message };
    let (key, value) = text.split_once('=').ok_or_else(|| fail(format!("KEY=VALUE is expected: {KEYS}")))?;
    let said = match key {
        "closed" => closed(config, value),
        "no-neighbour" => no_neighbour(config, value),
        "backend" => backend(config, value),
        "backend-order" => backend_order(config, value),
        "ignore" => ignore(config, value),
        _ if key.starts_with("net.") => setting(config, key, value),
        _ => Err(format!("there is no such assumption; there are {KEYS}")),
    };
    let message = format!("assumed as told (--assume {text}): {}", said.map_err(fail)?);
    Ok(Remark { severity: Severity::Note, message, location: None })
}

/// IP protocols whose sockets, or whose modules, can be asked for: TCP, UDP, DCCP, L2TP, SCTP, UDP-Lite.
const HAVE_SOCKETS: [u8; 6] = [6, 17, 33, 115, 132, 136];

fn closed(config: &mut NetNsConfig, value: &str) -> Result<String, String> {
    let (name, port) = value.split_once('/').unwrap_or((value, ""));
    let protocol = match name {
        "tcp" => 6,
        "udp" => 17,
        "sctp" => 132,
        "udplite" => 136,
        other => {
            let number = other.parse::<u16>().map_err(|_| format!("'{name}' is no protocol with ports"))?;
            // A port that stands alone reads as a protocol.
            u8::try_from(number).ok().filter(|number| HAVE_SOCKETS.contains(number)).ok_or_else(|| {
                format!("{number} is no protocol with ports; of a port, say whose: closed=tcp/{number}")
            })?
        }
    };
    let number = if port.is_empty() {
        0
    } else {
        port.parse::<u16>()
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(|| format!("'{port}' is no port (1 to 65535)"))?
    };
    if config.sockets.is_some() {
        return Err(
            "the bundle's file ss says which sockets there are (to assume it, take ss out)".to_owned()
        );
    }
    config.closed.push((protocol, number));
    Ok(if number == 0 {
        format!("nothing listens on {name}")
    } else {
        format!("nothing listens on {name} port {number}")
    })
}

/// A setting; of a name that is not known, the one that may be meant.
fn setting(config: &mut NetNsConfig, key: &str, value: &str) -> Result<String, String> {
    sysctl::write(config, key, value).map(|()| format!("{key} is {value}")).map_err(|message| {
        match near(key, sysctl::similar(key).iter().map(String::as_str)) {
            Some(meant) if meant != key => format!("{message}; did you mean {meant}?"),
            _ => message,
        }
    })
}

fn no_neighbour(config: &mut NetNsConfig, value: &str) -> Result<String, String> {
    let addr: IpAddr = value.parse().map_err(|_| format!("'{value}' is no address"))?;
    config.neighbours.retain(|neighbour| neighbour.addr != addr);
    let devices: Vec<String> = config
        .devices
        .iter()
        .filter(|device| !matches!(device.kind, DeviceKind::Loopback))
        .map(|device| device.name.clone())
        .collect();
    config.neighbours.extend(devices.into_iter().map(|dev| Neighbour {
        dev,
        addr,
        mac: None,
        state: NudState::Failed,
        source: SourceLine { file: u32::MAX, line: 0 },
    }));
    Ok(format!("nobody answers ARP for {addr}"))
}

fn parse_backend(value: &str) -> Result<Backend, String> {
    match value {
        "legacy" => Ok(Backend::Legacy),
        "nft" => Ok(Backend::Nft),
        other => Err(format!("'{other}' is no backend: legacy or nft")),
    }
}

fn backend(config: &mut NetNsConfig, value: &str) -> Result<String, String> {
    let backend = parse_backend(value)?;
    let known = !config.missing.contains(&MissingState::Backend);
    if let Some(other) = config.rulesets.iter().find(|ruleset| ruleset.backend != backend)
        && known
    {
        return Err(format!("the bundle says that rules run on {}", other.backend));
    }
    for ruleset in &mut config.rulesets {
        ruleset.backend = backend;
    }
    config.missing.retain(|missing| *missing != MissingState::Backend);
    Ok(format!("the rules run on {backend}"))
}

fn backend_order(config: &mut NetNsConfig, value: &str) -> Result<String, String> {
    let (first, second) =
        value.split_once(',').ok_or_else(|| "nft,legacy or legacy,nft is expected".to_owned())?;
    let (first, second) = (parse_backend(first)?, parse_backend(second)?);
    if first == second {
        return Err("nft,legacy or legacy,nft is expected".to_owned());
    }
    // What was registered last runs first.
    config.rulesets.sort_by_key(|ruleset| ruleset.backend == first);
    config.missing.retain(|missing| *missing != MissingState::RegistrationOrder);
    Ok(format!("rules of {first} run before those of {second}"))
}

fn ignore(config: &mut NetNsConfig, value: &str) -> Result<String, String> {
    if value.is_empty() {
        return Err("words of what is to be ignored are expected".to_owned());
    }
    let mut gone = Vec::new();
    config.unmodelled.retain(|state| {
        let hit = state.what.contains(value);
        if hit {
            gone.push(state.what.clone());
        }
        !hit
    });
    let rules = ignore_in_rules(config, value);
    if gone.is_empty() && rules == 0 {
        let mut there: Vec<String> = config.unmodelled.iter().map(|state| state.what.clone()).collect();
        for words in unmodelled_in_rules(config) {
            if !there.contains(&words) {
                there.push(words);
            }
        }
        let more = there.len().saturating_sub(TOLD);
        there.truncate(TOLD);
        let mut there = if there.is_empty() { "nothing".to_owned() } else { there.join("; ") };
        if more > 0 {
            there.push_str(&format!("; and {more} more"));
        }
        return Err(format!("nothing that is not modelled is called so; there is: {there}"));
    }
    let mut said = Vec::new();
    if !gone.is_empty() {
        said.push(format!("{} lets every packet pass unchanged", gone.join("; ")));
    }
    if rules > 0 {
        said.push(format!(
            "rules that ask for '{value}' match nothing, targets called so do nothing: {rules}"
        ));
    }
    Ok(said.join("; "))
}

/// Things that are there which an error lists.
const TOLD: usize = 10;

fn rules_of(config: &mut NetNsConfig) -> impl Iterator<Item = &mut Rule> {
    let tables = config.rulesets.iter_mut().flat_map(|ruleset| &mut Arc::make_mut(&mut ruleset.save).tables);
    tables.flat_map(|table| &mut table.chains).flat_map(|chain| &mut chain.rules)
}

/// Matches and targets that are not modelled, in their words.
fn unmodelled_in_rules(config: &mut NetNsConfig) -> Vec<String> {
    let words = |rule: &mut Rule| {
        let mut words: Vec<String> = rule
            .matches
            .iter()
            .filter(|one| matches!(one, Match::Unmodelled(_)))
            .map(|one| iptables::print_match(one, Family::V4))
            .collect();
        if matches!(rule.target, Target::Unmodelled(_)) {
            words.push(iptables::print_target(&rule.target, Family::V4));
        }
        words
    };
    rules_of(config).flat_map(words).collect()
}

/// Rules stay at their places; what they ask for becomes a match that never holds, on any backend.
fn ignore_in_rules(config: &mut NetNsConfig, value: &str) -> usize {
    let mut changed = 0;
    for rule in rules_of(config) {
        let asks = |one: &Match| {
            matches!(one, Match::Unmodelled(_)) && iptables::print_match(one, Family::V4).contains(value)
        };
        let before = rule.matches.len();
        rule.matches.retain(|one| !asks(one));
        if rule.matches.len() < before {
            rule.matches.insert(0, Match::Statistic(StatisticMatch::Random { not: false, threshold: 0 }));
            changed += 1;
        }
        if matches!(rule.target, Target::Unmodelled(_))
            && iptables::print_target(&rule.target, Family::V4).contains(value)
        {
            rule.target = Target::None;
            changed += 1;
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_does_something_and_nonsense_is_refused() {
        let missing = vec![MissingState::Backend, MissingState::RegistrationOrder];
        let mut config = NetNsConfig { missing, ..NetNsConfig::default() };
        for text in
            ["closed=tcp/80", "closed=udp", "no-neighbour=10.0.0.9", "backend=nft", "net.ipv4.ip_forward=0"]
        {
            assume(&mut config, text).unwrap();
        }
        assume(&mut config, "backend-order=legacy,nft").unwrap();
        assert_eq!(config.closed, [(6, 80), (17, 0)]);
        assert_eq!(config.sysctls["net.ipv4.ip_forward"], "0");
        assert!(config.missing.is_empty());
        for text in [
            "closed",
            "closed=tcp/0",
            "closed=x/1",
            "no-neighbour=x",
            "backend=y",
            "backend-order=nft",
            "ignore=",
            "ignore=XDP",
            "net.ipv4.ip_forwrd=0",
            "a=b",
        ] {
            let error = assume(&mut config, text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("--assume {text}: ")), "{error}");
        }
    }
}
