//! Bundles opened: the namespaces of one or more nodes, to pick the one that a packet enters.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pktwalk_ingest::{Bundle, read_bundle};
use pktwalk_linux::config::NetNsConfig;
use pktwalk_linux::diag::Diagnostic;
use pktwalk_linux::skb::SkbSocket;
use pktwalk_report::Remark;
use pktwalk_report::netns_names::location;
use thiserror::Error;

use crate::case::Entry;
use crate::file::EntryAt;
use crate::peers::peers;

/// Why bundles could not be used.
#[derive(Debug, Error)]
pub enum WorldError {
    /// A bundle could not be read at all.
    #[error("bundle {message}")]
    Bundle {
        /// As given.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// Two bundles are of the same node.
    #[error("two bundles are of node '{0}': name them, --bundle NODE=DIR")]
    SameNode(String),
    /// The entry names a node that is not there, or none where there are several.
    #[error("{0}")]
    Node(String),
    /// The entry names a namespace that is not there.
    #[error("{0}")]
    NetNs(String),
    /// Packets of one run enter at different namespaces.
    #[error("the packets enter at different namespaces ({0} and {1}); one run walks one namespace")]
    Mixed(String, String),
}

/// One namespace of one node.
#[derive(Clone, Debug)]
pub struct Place {
    /// Node; empty if the bundle gives no name.
    pub node: String,
    /// The namespace.
    pub config: NetNsConfig,
    /// What its readers had to say.
    pub remarks: Vec<Remark>,
    /// Where frames are received that leave by these devices, if that is a namespace of the same bundle: as `--at` takes it.
    pub peers: BTreeMap<String, String>,
}

impl Place {
    /// From a reader's result.
    pub fn new(node: &str, config: NetNsConfig, diagnostics: &[Diagnostic]) -> Place {
        let remarks = diagnostics
            .iter()
            .map(|diagnostic| Remark {
                severity: diagnostic.severity,
                message: diagnostic.message.clone(),
                location: location(&config.files, diagnostic.source),
            })
            .collect();
        Place { node: node.to_owned(), config, remarks, peers: BTreeMap::new() }
    }

    fn name(&self) -> String {
        match (self.node.as_str(), self.config.name.as_str()) {
            ("", "") => "the node".to_owned(),
            (node, "") => node.to_owned(),
            ("", netns) => netns.to_owned(),
            (node, netns) => format!("{node}/{netns}"),
        }
    }
}

/// Reads one bundle. Where it is the `only` one, files go by their names within it, and a node that nobody named has no name.
fn read(path: &Path, name: Option<&str>, only: bool) -> Result<Vec<Place>, WorldError> {
    let bundle = read_bundle(path)
        .map_err(|error| WorldError::Bundle { path: path.to_owned(), message: error.to_string() })?;
    let node = match (name, bundle.node.name.as_deref()) {
        (Some(name), _) | (None, Some(name)) => name.to_owned(),
        (None, None) if only => String::new(),
        (None, None) => bundle.name.clone(),
    };
    Ok(places(&bundle, &node, &path.display().to_string(), only))
}

/// The namespaces of a bundle that was read under `label`.
pub fn places(bundle: &Bundle, node: &str, label: &str, only: bool) -> Vec<Place> {
    let mut places = Vec::new();
    for ns in bundle.namespaces() {
        let mut config = ns.config.clone();
        for file in &mut config.files {
            if let Some(within) = file.strip_prefix(label) {
                let within = within.trim_start_matches('/');
                *file = if only { within.to_owned() } else { format!("{node}/{within}") };
            }
        }
        places.push(Place::new(node, config, &ns.diagnostics));
    }
    let peers = peers(&places, if only { "" } else { node });
    for (place, peers) in places.iter_mut().zip(peers) {
        place.peers = peers;
    }
    places
}

/// Every namespace of every node.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The node's own namespace first, node by node.
    pub places: Vec<Place>,
}

impl World {
    /// Opens bundles; each is a folder or a tar, with the node's name if it is given.
    ///
    /// # Errors
    /// If one cannot be read at all, or two are of the same node.
    pub fn open(sources: &[(Option<String>, PathBuf)]) -> Result<World, WorldError> {
        let mut world = World::default();
        for (name, path) in sources {
            let places = read(path, name.as_deref(), sources.len() == 1)?;
            if let Some(node) = places.first().map(|place| place.node.clone())
                && world.places.iter().any(|place| place.node == node)
            {
                return Err(WorldError::SameNode(node));
            }
            world.places.extend(places);
        }
        Ok(world)
    }

    fn nodes(&self) -> Vec<&str> {
        let mut nodes: Vec<&str> = self.places.iter().map(|place| place.node.as_str()).collect();
        nodes.dedup();
        nodes
    }

    /// The namespace of this name (empty: the node's own) of this node (empty: the only one).
    ///
    /// # Errors
    /// If it is not there, or the node is not said and there are several.
    pub fn find(&self, node: &str, netns: &str) -> Result<&Place, WorldError> {
        let nodes = self.nodes();
        let node = match (node, nodes.as_slice()) {
            ("", [only]) => only,
            ("", _) => {
                return Err(WorldError::Node(format!(
                    "say which node: --node, or NODE/ before the device; there are {}",
                    nodes.join(", ")
                )));
            }
            (node, _) if nodes.contains(&node) => node,
            (node, [""]) => {
                return Err(WorldError::Node(format!(
                    "no node is called '{node}': the bundle gives no name (--bundle {node}=DIR does)"
                )));
            }
            (node, _) => {
                return Err(WorldError::Node(format!(
                    "no node is called '{node}'; there are {}",
                    nodes.join(", ")
                )));
            }
        };
        self.places.iter().find(|place| place.node == *node && place.config.name == netns).ok_or_else(|| {
            let others: Vec<&str> = self
                .places
                .iter()
                .filter(|place| place.node == *node && !place.config.name.is_empty())
                .map(|place| place.config.name.as_str())
                .collect();
            let others =
                if others.is_empty() { "none but the node's own".to_owned() } else { others.join(", ") };
            WorldError::NetNs(format!("no namespace is called '{netns}'; there is {others}"))
        })
    }

    /// The one namespace that all of `entries` are of, and the entries within it. `node` stands in where an entry names none.
    ///
    /// # Errors
    /// If it is not there, or they are of several.
    pub fn place(&self, node: &str, entries: &[EntryAt]) -> Result<(&Place, Vec<Entry>), WorldError> {
        let mut place: Option<&Place> = None;
        let mut within = Vec::with_capacity(entries.len());
        for entry in entries {
            let (of, netns) = match entry {
                EntryAt::Device { node, netns, .. } | EntryAt::Local { node, netns, .. } => (node, netns),
            };
            let found = self.find(if of.is_empty() { node } else { of }, netns)?;
            if let Some(first) = place
                && !std::ptr::eq(first, found)
            {
                return Err(WorldError::Mixed(first.name(), found.name()));
            }
            place = Some(found);
            within.push(match entry {
                EntryAt::Device { dev, .. } => Entry::Device(dev.clone()),
                EntryAt::Local { socket, .. } => {
                    Entry::Local(SkbSocket { uid: socket.uid, gid: socket.gid, bound_dev: None, raw: false })
                }
            });
        }
        match place {
            Some(place) => Ok((place, within)),
            None => self.find(node, "").map(|place| (place, within)),
        }
    }
}
