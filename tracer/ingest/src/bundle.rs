//! A bundle as a whole: which files there are, and what their presence or absence means.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use pktwalk_linux::config::{MissingState, NetNsConfig, Ruleset, UnmodelledPoint};
use pktwalk_linux::diag::{Diagnostic, Lost, Remarks, Severity};
use pktwalk_linux::hook::{Backend, Family};
use pktwalk_linux::ids::SourceLine;
use pktwalk_linux::iptables::ast::{Policy, SaveFile};
use pktwalk_linux::{ipset, iptables};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::conntrack::{self, CtLine};
use crate::keys::near;
use crate::raw_sockets::Listing;
use crate::reader::Reader;
use crate::source::Source;
use crate::stacked::{self, Stacked};
use crate::{devices, neigh, other, raw_sockets, routes, rules, sockets, sysctl};

/// Why a bundle cannot be read at all.
#[derive(Debug, Error)]
pub enum IngestError {
    /// It cannot be opened, or its archive is broken.
    #[error("{}: {error}", path.display())]
    Open {
        /// As given.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// There is nothing in it that is a file of a bundle.
    #[error("{}: none of the files of a bundle is in it (such as ip-addr.json, iptables-save)", path.display())]
    Empty {
        /// As given.
        path: PathBuf,
    },
}

/// `node.yaml`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct NodeInfo {
    /// The node's name; without one, that of the folder or archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// When the bundle was collected, as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// Its kernel, as `uname -r` prints it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// `nft` or `legacy`: which backend `iptables-save` is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
}

/// One node's state.
#[derive(Clone, PartialEq, Debug)]
pub struct Bundle {
    /// The node's name.
    pub name: String,
    /// What `node.yaml` says.
    pub node: NodeInfo,
    /// The node's own namespace.
    pub host: NetNsBundle,
    /// Its other namespaces (`netns/NAME/`), by name.
    pub netns: Vec<NetNsBundle>,
}

/// One namespace of a bundle.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct NetNsBundle {
    /// What it is.
    pub config: NetNsConfig,
    /// What was to be said about its files, in the order in which they were read.
    pub diagnostics: Vec<Diagnostic>,
    /// Connections of `conntrack -L`, in file order; those of IPv4 stand in the configuration too.
    pub conntrack: Vec<CtLine>,
}

impl NetNsBundle {
    /// `file:line` of a place in this namespace's files.
    pub fn place(&self, source: SourceLine) -> String {
        let file = self.config.files.get(source.file as usize).map_or("?", String::as_str);
        if source.line == 0 { file.to_owned() } else { format!("{file}:{}", source.line) }
    }
}

impl Bundle {
    /// Every namespace, the node's own first.
    pub fn namespaces(&self) -> impl Iterator<Item = &NetNsBundle> {
        std::iter::once(&self.host).chain(&self.netns)
    }

    /// Every remark as `file:line: message`, with its severity.
    pub fn remarks(&self) -> impl Iterator<Item = (Severity, String)> {
        self.namespaces().flat_map(|ns| {
            ns.diagnostics.iter().map(|d| (d.severity, format!("{}: {}", ns.place(d.source), d.message)))
        })
    }
}

/// The files that are read, at the top of a bundle and in each `netns/NAME/`.
pub(crate) const FILES: [&str; 31] = [
    "node.yaml",
    "ip-link.json",
    "ip-addr.json",
    "ip-nexthop.json",
    "ip-route",
    "ip-route.json",
    "ip-6-route.json",
    "ip-rule.json",
    "ip-6-rule.json",
    "ip-neigh.json",
    "neigh-proxy",
    "bridge-fdb.json",
    "bridge-vlan.json",
    "nsid.json",
    "sysctl",
    "iptables-save",
    "iptables-legacy-save",
    "ip6tables-save",
    "ip6tables-legacy-save",
    "ipset-save",
    "nft.json",
    "conntrack",
    "ss",
    "proc-net-raw",
    "proc-net-icmp",
    "tc.json",
    "tc-filter.json",
    "bpf-net.json",
    "xfrm",
    "ipvs",
    "wg",
];

/// Files that are empty where there is nothing of their kind. Every other tool prints something at least.
const MAY_BE_EMPTY: [&str; 11] = [
    "neigh-proxy",
    "nsid.json",
    "ipset-save",
    "iptables-save",
    "iptables-legacy-save",
    "conntrack",
    "ss",
    "xfrm",
    "ipvs",
    "wg",
    "bridge-vlan.json",
];

/// Files of which no part may be lost: what is lost could be what decides about a packet. (Of rules and sets, lines are told apart; what is lost of
/// settings, sockets and connections is an assumption that is printed.)
const MUST_BE_WHOLE: [&str; 12] = [
    "ip-link.json",
    "ip-addr.json",
    "ip-nexthop.json",
    "ip-route.json",
    "ip-rule.json",
    "ip-neigh.json",
    "neigh-proxy",
    "bridge-fdb.json",
    "nft.json",
    "tc.json",
    "tc-filter.json",
    "bpf-net.json",
];

/// Files that a walk does without.
const ASIDE: [&str; 7] = [
    "node.yaml",
    "ip-6-route.json",
    "ip-6-rule.json",
    "bridge-vlan.json",
    "nsid.json",
    "ip6tables-save",
    "ip6tables-legacy-save",
];

/// Reads a bundle from a folder, a `.tar` or a `.tar.gz`.
///
/// # Errors
/// If there is nothing to read. Whatever is wrong with a single file is a diagnostic instead.
pub fn read_bundle(path: &Path) -> Result<Bundle, IngestError> {
    let fail = |error| IngestError::Open { path: path.to_owned(), error };
    let source = Source::open(path).map_err(fail)?;
    let stem = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let stem =
        [".tar.gz", ".tgz", ".tar"].iter().find_map(|end| stem.strip_suffix(end)).unwrap_or(&stem).to_owned();
    read(source, &path.display().to_string(), &stem)
        .map_err(fail)?
        .ok_or_else(|| IngestError::Empty { path: path.to_owned() })
}

/// Reads a bundle from memory: names within the bundle (`iptables-save`, `netns/web/ip-addr.json`) and contents. `label` stands before the names of
/// files in remarks.
pub fn read_files<'a>(label: &str, files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Option<Bundle> {
    let files = files.into_iter().map(|(name, bytes)| (name.to_owned(), Cow::Borrowed(bytes))).collect();
    read(Source::Memory(files), label, label).ok().flatten()
}

fn read(mut source: Source<'_>, label: &str, stem: &str) -> io::Result<Option<Bundle>> {
    let names = source.netns()?;
    let known = source.files_in("").into_iter().any(|name| FILES.contains(&name.as_str()));
    if !known && names.is_empty() {
        return Ok(None);
    }
    let mut node = NodeInfo::default();
    let (mut host, stacked) = NetNsReader::new(&mut source, label, "", "").read(&mut node, None);
    let mut elsewhere = vec![stacked];
    let mut netns = Vec::with_capacity(names.len());
    for name in names {
        let mut own = NodeInfo::default();
        let prefix = format!("netns/{name}/");
        let (ns, stacked) =
            NetNsReader::new(&mut source, label, &prefix, &name).read(&mut own, node.backend.as_deref());
        netns.push(ns);
        elsewhere.push(stacked);
    }
    let mut all: Vec<&mut NetNsBundle> = std::iter::once(&mut host).chain(&mut netns).collect();
    for (from, stacked) in elsewhere.iter().enumerate() {
        stacked::elsewhere(&mut all, from, stacked);
    }
    let name = node.name.clone().unwrap_or_else(|| stem.to_owned());
    Ok(Some(Bundle { name, node, host, netns }))
}

/// The longest remark, in bytes, that the name of what is lost repeats.
const MOST_QUOTED: usize = 200;

struct NetNsReader<'s, 'a> {
    source: &'s mut Source<'a>,
    label: &'s str,
    prefix: &'s str,
    ns: NetNsBundle,
    remarks: Remarks,
    /// What the tools say that they do not print, and where.
    unprinted: Vec<(Lost, SourceLine)>,
    /// What stands on devices of other namespaces.
    stacked: Vec<Stacked>,
}

impl<'s, 'a> NetNsReader<'s, 'a> {
    fn new(source: &'s mut Source<'a>, label: &'s str, prefix: &'s str, name: &str) -> NetNsReader<'s, 'a> {
        let mut ns = NetNsBundle::default();
        ns.config.name = name.to_owned();
        NetNsReader {
            source,
            label,
            prefix,
            ns,
            remarks: Remarks::default(),
            unprinted: Vec::new(),
            stacked: Vec::new(),
        }
    }

    /// A file's content, if it is there. It gets its number then.
    fn get(&mut self, name: &str) -> Option<(Cow<'a, [u8]>, u32)> {
        let path = format!("{}{name}", self.prefix);
        let got = self.source.get(&path);
        if let Ok(None) = got {
            return None;
        }
        let file = self.ns.config.files.len() as u32;
        self.ns.config.files.push(format!("{}/{path}", self.label));
        match got {
            Ok(Some(bytes)) => Some((bytes, file)),
            Ok(None) => None,
            Err(error) => {
                let source = SourceLine { file, line: 0 };
                self.remarks.push(Diagnostic::error(source, format!("cannot be read: {error}")));
                // It is there all the same: what it says is not known.
                if !ASIDE.contains(&name) {
                    self.reader(file).unmodelled(
                        0,
                        format!("{name}, which cannot be read"),
                        UnmodelledPoint::Everywhere,
                    );
                }
                None
            }
        }
    }

    /// Reads one file into the namespace; whether it is there.
    fn with(&mut self, name: &str, read: impl FnOnce(&mut Reader<'_>, &[u8])) -> bool {
        let Some((bytes, file)) = self.get(name) else { return false };
        let mut reader = self.reader(file);
        if bytes.trim_ascii().is_empty() && !MAY_BE_EMPTY.contains(&name) {
            reader.warning(0, "the file is empty, as if its command had failed: taken as not there");
            return false;
        }
        read(&mut reader, &bytes);
        if reader.broken && MUST_BE_WHOLE.contains(&name) {
            reader.unmodelled(
                0,
                format!("what is lost of {name}, which is broken"),
                UnmodelledPoint::Everywhere,
            );
        }
        true
    }

    fn reader(&mut self, file: u32) -> Reader<'_> {
        Reader::new(&mut self.ns.config, &mut self.remarks, file)
    }

    fn missing(&mut self, there: bool, state: MissingState) {
        if !there {
            self.ns.config.missing.push(state);
        }
    }

    /// The namespace, and what of it stands on devices of others.
    fn read(mut self, node: &mut NodeInfo, outer_backend: Option<&str>) -> (NetNsBundle, Vec<Stacked>) {
        let _ = self.with("node.yaml", |reader, text| node_info(reader, text, node));
        let mut stacked = Vec::new();
        let links = self.with("ip-link.json", |reader, text| stacked.extend(devices::links(reader, text)));
        let addrs = self.with("ip-addr.json", |reader, text| {
            stacked.extend(devices::addresses(reader, text, links));
        });
        self.stacked = stacked::here(&mut self.ns.config, stacked);
        self.missing(links || addrs, MissingState::Devices);

        let mut nexthops = routes::NexthopObjects::default();
        let _ = self.with("ip-nexthop.json", |reader, text| nexthops = routes::nexthop_objects(reader, text));
        let mut text = None;
        let _ = self.with("ip-route", |reader, bytes| text = Some(routes::route_text(reader, bytes)));
        let beside = routes::Beside { nexthops: &nexthops, text: text.as_ref() };
        let there =
            self.with("ip-route.json", |reader, text| routes::routes(reader, text, Family::V4, &beside));
        self.missing(there, MissingState::Routes);
        let _ =
            self.with("ip-6-route.json", |reader, text| routes::routes(reader, text, Family::V6, &beside));
        let there = self.with("ip-rule.json", |reader, text| rules::rules(reader, text, Family::V4));
        self.missing(there, MissingState::RoutingRules);
        // A rule does not say which family it is of, and the walk is of IPv4: these are checked only.
        let _ = self.with("ip-6-rule.json", other::form_only);
        let there = self.with("ip-neigh.json", neigh::neighbours);
        self.missing(there, MissingState::Neighbours);
        let _ = self.with("neigh-proxy", neigh::proxies);
        let _ = self.with("bridge-fdb.json", neigh::fdb);
        let _ = self.with("bridge-vlan.json", other::form_only);
        let _ = self.with("nsid.json", other::form_only);
        let there = self.with("sysctl", sysctl::settings);
        self.missing(there, MissingState::Sysctls);

        let backend = node.backend.clone().or_else(|| outer_backend.map(str::to_owned));
        let nft = self.rules("iptables-save", Family::V4, backend.as_deref(), false);
        let legacy = self.rules("iptables-legacy-save", Family::V4, backend.as_deref(), true);
        // An empty list of legacy rules tells nothing of those of the other backend.
        let rules = nft || self.ns.config.rulesets.iter().any(|ruleset| ruleset.save.family == Family::V4);
        self.missing(rules, MissingState::Rulesets);
        let _ = self.rules("ip6tables-save", Family::V6, backend.as_deref(), false);
        let _ = self.rules("ip6tables-legacy-save", Family::V6, backend.as_deref(), true);
        self.registration_order();
        let there = self.with("ipset-save", |reader, text| {
            let (sets, diagnostics) = ipset::parse(text, reader.file);
            reader.config.sets = sets;
            reader.remarks.extend(diagnostics);
        });
        self.missing(there, MissingState::Sets);
        let native = self.with("nft.json", other::nft);
        self.unprinted(native);
        match (nft, legacy) {
            _ if !rules => {}
            (true, _) => self.missing(native && legacy, MissingState::OtherRules),
            (false, _) => self.missing(native, MissingState::NftRules),
        }

        let (mut lines, mut whole) = (Vec::new(), true);
        let there = self.with("conntrack", |reader, text| {
            lines = conntrack::lines(reader, text);
            whole = !reader.broken;
        });
        self.ns.config.connections = lines.iter().filter_map(conntrack::connection).collect();
        self.ns.conntrack = lines;
        self.missing(there && whole, MissingState::Conntrack);
        let there = self.with("ss", sockets::sockets);
        self.missing(there, MissingState::Sockets);
        let (mut raw, mut ping) = (false, false);
        let _ = self.with("proc-net-raw", |reader, text| raw = raw_sockets::read(reader, text, Listing::Raw));
        let _ =
            self.with("proc-net-icmp", |reader, text| ping = raw_sockets::read(reader, text, Listing::Ping));
        // Whether `ss` was asked for raw sockets its output does not tell, and it knows no ping sockets.
        self.missing(!there || raw && ping, MissingState::RawSockets);

        let _ = self.with("bpf-net.json", other::bpf_net);
        let mut listed = other::Listed::new();
        let _ = self.with("tc-filter.json", |reader, text| listed = other::tc_filters(reader, text));
        let _ = self.with("tc.json", |reader, text| other::tc(reader, text, &listed));
        let _ = self.with("xfrm", other::xfrm);
        let _ = self.with("ipvs", other::ipvs);
        let _ = self.with("wg", other::wg);
        self.not_read();
        self.ns.diagnostics = self.remarks.finish(0);
        self.ns.config.missing.sort();
        self.ns.config.missing.dedup();
        (self.ns, self.stacked)
    }

    /// One iptables-save file. Its backend: what its name says, else `node.yaml`, else its header, else an assumption.
    fn rules(&mut self, name: &str, family: Family, backend: Option<&str>, legacy: bool) -> bool {
        let Some((bytes, file)) = self.get(name) else { return false };
        let (save, diagnostics) = iptables::parse(&bytes, file, family);
        drop(bytes);
        self.lost(name, family, &diagnostics);
        self.remarks.extend(diagnostics);
        let told = match backend {
            Some("nft" | "nf_tables") => Some(Backend::Nft),
            Some("legacy") => Some(Backend::Legacy),
            _ => None,
        };
        let header = save.header.as_ref().and_then(|header| header.backend());
        if let (Some(told), Some(header), false) = (told, header, legacy)
            && told != header
        {
            let message = format!(
                "node.yaml says backend {told}, the header of the file says {header}; {told} is taken"
            );
            self.reader(file).warning(1, message);
        }
        let backend = match (legacy, told.or(header)) {
            (true, _) => Backend::Legacy,
            (false, Some(backend)) => backend,
            (false, None) => {
                // A file without any table needs no backend.
                if !save.tables.is_empty() {
                    self.ns.config.missing.push(MissingState::Backend);
                }
                Backend::Nft
            }
        };
        if !save.tables.is_empty() {
            self.ns.config.rulesets.push(Ruleset { backend, save: save.into() });
        }
        true
    }

    /// What is lost of rules may be what decides.
    fn lost(&mut self, name: &str, family: Family, diagnostics: &[Diagnostic]) {
        if family != Family::V4 {
            return;
        }
        for lost in [Lost::Part, Lost::LegacyRules, Lost::NftRules] {
            let Some(first) = diagnostics.iter().find(|one| one.lost == lost) else { continue };
            if lost == Lost::Part {
                let mut reader = self.reader(first.source.file);
                // A line of a file that is no text says nothing.
                let readable = first.message.len() <= MOST_QUOTED && !first.message.contains("\\u{");
                let what = if readable {
                    format!("what is lost of {name} ({})", first.message)
                } else {
                    format!("what is lost of {name}")
                };
                reader.unmodelled(first.source.line, what, UnmodelledPoint::Everywhere);
            } else {
                self.unprinted.push((lost, first.source));
            }
        }
    }

    /// Rules of which iptables-save says that it does not print them, unless another file holds them. `nft`: there is a file of native tables.
    fn unprinted(&mut self, nft: bool) {
        for (lost, source) in std::mem::take(&mut self.unprinted) {
            let legacy = |r: &Ruleset| r.backend == Backend::Legacy && r.save.family == Family::V4;
            let (there, what) = match lost {
                Lost::Nothing | Lost::Part => continue,
                Lost::LegacyRules => (
                    self.ns.config.rulesets.iter().any(legacy),
                    "rules of iptables-legacy, which no file iptables-legacy-save holds",
                ),
                Lost::NftRules => {
                    (nft, "nft rules that iptables-save does not print, which no file nft.json holds")
                }
            };
            if !there {
                self.reader(source.file).unmodelled(source.line, what, UnmodelledPoint::Everywhere);
            }
        }
    }

    /// Names the files that are no files of a bundle.
    fn not_read(&mut self) {
        for name in self.source.files_in(self.prefix) {
            if !FILES.contains(&name.as_str()) {
                let file = self.ns.config.files.len() as u32;
                self.ns.config.files.push(format!("{}/{}{name}", self.label, self.prefix));
                let what = "not a file of a bundle: not read";
                // One that is there under its name needs none that is misspelt.
                let there = |known: &&str| !self.ns.config.files.iter().any(|file| is_file(file, known));
                let missing = FILES.into_iter().filter(there);
                match near(&name, missing) {
                    Some(meant) => self.reader(file).warning(0, format!("{what}; did you mean {meant}?")),
                    None => self.reader(file).note(0, what),
                }
            }
        }
    }

    /// Which of two backends was registered first stands in no dump.
    fn registration_order(&mut self) {
        let acts = |save: &SaveFile| {
            save.tables
                .iter()
                .flat_map(|table| &table.chains)
                .any(|chain| !chain.rules.is_empty() || chain.policy == Some(Policy::Drop))
        };
        for family in [Family::V4, Family::V6] {
            let both = [Backend::Nft, Backend::Legacy].iter().all(|backend| {
                self.ns
                    .config
                    .rulesets
                    .iter()
                    .any(|r| r.backend == *backend && r.save.family == family && acts(&r.save))
            });
            if both {
                self.ns.config.missing.push(MissingState::RegistrationOrder);
            }
        }
    }
}

/// Whether a path's last part is `name`.
fn is_file(path: &str, name: &str) -> bool {
    path.rsplit('/').next() == Some(name)
}

fn node_info(reader: &mut Reader<'_>, text: &[u8], node: &mut NodeInfo) {
    let text = match std::str::from_utf8(text) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => {
            reader.warning(0, "bytes that are no UTF-8");
            String::from_utf8_lossy(text)
        }
    };
    if text.trim().is_empty() {
        return;
    }
    let keys: Result<BTreeMap<String, serde_json::Value>, _> = serde_saphyr::from_str(&text);
    match keys {
        Err(error) => {
            let line = error.location().map_or(0, |location| u32::try_from(location.line()).unwrap_or(0));
            let message = error.without_snippet().to_string();
            let message = message.lines().next().unwrap_or_default();
            let message = message.rfind(" at line ").map_or(message, |at| &message[..at]).to_owned();
            // What its reader says of a file that has no keys at all.
            if message == "expected mapping start" {
                reader.error(line, "not of the form `KEY: VALUE`, such as `name: node-a`");
            } else {
                reader.error(line, message);
            }
            // Without it, nobody knows what it said of the backend.
            reader.note(0, "not read: name, time, kernel and backend are taken from elsewhere");
        }
        Ok(keys) => {
            for (key, value) in keys {
                let line = text
                    .lines()
                    .position(|l| l.trim_start().starts_with(&format!("{key}:")))
                    .map_or(0, |at| at + 1);
                let line = u32::try_from(line).unwrap_or(0);
                let Some(value) = crate::json::text(&value) else {
                    reader.error(line, format!("{key} is no text"));
                    continue;
                };
                match key.as_str() {
                    "name" => node.name = Some(value),
                    "time" => node.time = Some(value),
                    "kernel" => node.kernel = Some(value),
                    "backend" if matches!(value.as_str(), "nft" | "nf_tables" | "legacy") => {
                        node.backend = Some(value)
                    }
                    "backend" => reader.error(line, format!("backend '{value}' is neither nft nor legacy")),
                    _ => {
                        let what = format!("key '{key}' is not known here");
                        match near(&key, ["name", "time", "kernel", "backend"].into_iter()) {
                            Some(meant) => reader.error(line, format!("{what}; did you mean '{meant}'?")),
                            None => reader.warning(line, what),
                        }
                    }
                }
            }
        }
    }
}
