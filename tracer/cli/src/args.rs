//! The command line.

use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::output::Color;

/// Why was my packet dropped? Walks packets through a Linux node, rule by rule, from what its tools print.
///
/// Without a command: walks two packets through a node that is built in.
///
/// Exit status: 0 every packet arrived (expectations met, engines agree); 1 one did not; 2 wrong usage or unreadable input; 3 not known, for
/// something is not modelled; 4 a bug. Of several packets the worst counts: 4, 2, 3, 1, 0.
#[derive(Parser, Debug)]
#[command(name = "pktwalk", version, max_term_width = 100)]
pub struct Args {
    /// Colours
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub color: Color,
    /// Print errors only; the exit status tells the rest
    #[arg(short, long, global = true)]
    pub quiet: bool,
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to write in place of a folder or file that stands alone, where a bundle was meant.
pub fn bundle_meant(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::String(text)) = error.get(ContextKind::InvalidArg) else { return None };
    let meant = error.kind() == ErrorKind::UnknownArgument && Path::new(text).exists();
    meant.then(|| format!("a bundle is named by its option: --bundle {text}"))
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Walk packets through a node and tell every step that mattered
    Trace(Trace),
    /// Let the kernel answer beside the model, in namespaces of this machine (needs root)
    Verify(Verify),
    /// Run scenario folders and compare with what they expect
    Test(Test),
    /// Print part of a bundle as its own tool would
    Render(Render),
    /// Explain a code: cause, how to confirm it on a real node, what helps
    Explain {
        /// Such as RP_FILTER_STRICT; without one, all are listed
        code: Option<String>,
    },
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Print the manual page (pktwalk man | man -l -)
    Man,
}

/// Where the node comes from.
#[derive(ClapArgs, Debug, Default)]
pub struct Source {
    /// Folder or tar with the outputs of the node's tools; NODE= names it. Repeatable
    #[arg(long, value_name = "[NODE=]DIR|TAR")]
    pub bundle: Vec<String>,
    /// The node, where there are several
    #[arg(long, value_name = "NODE")]
    pub node: Option<String>,
    /// Say what the bundle does not: closed=tcp/80, no-neighbour=ADDR, backend=nft, backend-order=nft,legacy, net.KEY=VALUE, ignore=WORDS
    #[arg(long, value_name = "KEY=VALUE")]
    pub assume: Vec<String>,
}

/// Which packets, and where they enter.
#[derive(ClapArgs, Debug, Default)]
pub struct Packets {
    /// A packet such as 'tcp 10.0.0.5:40000 > 10.0.0.1:80 flags=S'. Repeatable: one after the other, with one connection table
    #[arg(short, long, value_name = "PACKET", conflicts_with_all = ["from", "pcap"])]
    pub packet: Vec<String>,
    /// First packet of a connection from here: ADDRESS[:PORT][/tcp|udp|sctp|icmp]. With --from-local it may be left out: routing chooses the source
    #[arg(short = 's', long, value_name = "ENDPOINT", requires = "to", conflicts_with = "pcap")]
    pub from: Option<String>,
    /// ... to here
    #[arg(short = 'd', long, value_name = "ENDPOINT", conflicts_with_all = ["packet", "pcap"])]
    pub to: Option<String>,
    /// All packets of a capture (pcap, pcapng), or the Nth
    #[arg(long, value_name = "FILE[:N]")]
    pub pcap: Option<String>,
    /// Received by this device
    #[arg(long, value_name = "[NODE/][NETNS:]DEV", conflicts_with = "from_local")]
    pub at: Option<String>,
    /// Sent by a process of the node, or of its namespace NETNS
    #[arg(long, value_name = "[NODE/][NETNS]", num_args = 0..=1, default_missing_value = "")]
    pub from_local: Option<String>,
    /// Who owns the sending socket
    #[arg(long, value_name = "uid=N,gid=N", requires = "from_local", conflicts_with = "at")]
    pub socket: Option<String>,
    /// Do not walk the replies
    #[arg(long)]
    pub no_reply: bool,
    /// Seed of the choices that the kernel makes at random
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

/// How much the text tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum Level {
    /// The verdict and what decided
    Minimal,
    /// What changed or decided
    #[default]
    Summary,
    /// Every step
    Full,
}

/// Form of the output.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// One JSON object per packet
    Json,
    /// The same, one a line
    Jsonl,
}

#[derive(ClapArgs, Debug)]
pub struct Trace {
    #[command(flatten)]
    pub source: Source,
    #[command(flatten)]
    pub packets: Packets,
    /// Walk every way that chance allows (statistic matches, next hops), and tell each outcome with its probability
    #[arg(long, conflicts_with = "seed")]
    pub all_outcomes: bool,
    /// How much is told
    #[arg(long, value_enum, default_value_t, value_name = "LEVEL")]
    pub detail: Level,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM")]
    pub output: Format,
}

/// Which backends the kernel runs the rules on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum BackendArg {
    /// As the bundle says
    #[default]
    Bundle,
    /// iptables-legacy
    Legacy,
    /// iptables-nft
    Nft,
    /// One after the other
    Both,
}

#[derive(ClapArgs, Debug)]
pub struct Verify {
    /// A scenario folder, in place of a bundle and packets
    #[arg(value_name = "SCENARIO", conflicts_with_all = ["bundle", "packet", "from", "pcap"])]
    pub scenario: Option<PathBuf>,
    #[command(flatten)]
    pub source: Source,
    #[command(flatten)]
    pub packets: Packets,
    /// Where the kernel runs the rules
    #[arg(long, value_enum, default_value_t, value_name = "BACKEND")]
    pub backend: BackendArg,
    /// Compare on generated rulesets and packets
    #[arg(long, conflicts_with_all = ["scenario", "bundle", "packet", "from", "pcap"])]
    pub fuzz: bool,
    /// Rulesets of --fuzz
    #[arg(long, value_name = "N", default_value_t = 100, requires = "fuzz")]
    pub rulesets: u32,
    /// Packets for each ruleset of --fuzz
    #[arg(long = "packets", value_name = "N", default_value_t = 20, requires = "fuzz")]
    pub packets_each: u32,
    /// Rulesets of --fuzz at the same time
    #[arg(long, value_name = "N", default_value_t = 4, requires = "fuzz")]
    pub jobs: usize,
    /// Number of the first ruleset of --fuzz, to run one again that an earlier run has found
    #[arg(long, value_name = "N", default_value_t = 0, requires = "fuzz")]
    pub first: u32,
    /// Differences of --fuzz after which to stop
    #[arg(long, value_name = "N", default_value_t = 10, requires = "fuzz")]
    pub stop_after: u32,
    /// Tell differing cases of --fuzz as they were generated
    #[arg(long, requires = "fuzz")]
    pub no_shrink: bool,
}

/// What runs a scenario.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum EngineArg {
    /// This program's walk
    #[default]
    Model,
    /// The kernel of this machine, beside the model
    Kernel,
    /// The model against its golden text, and the kernel beside it
    Both,
}

#[derive(ClapArgs, Debug)]
pub struct Test {
    /// Scenario folders, or folders that hold some
    #[arg(value_name = "SCENARIO", default_value = "scenarios")]
    pub scenarios: Vec<PathBuf>,
    /// What runs them
    #[arg(long, value_enum, default_value_t, value_name = "ENGINE")]
    pub engine: EngineArg,
    /// Write the golden texts anew
    #[arg(long)]
    pub bless: bool,
}

/// What to print of a bundle.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum What {
    /// iptables-save, of the one backend that has rules
    Iptables,
    /// iptables-legacy-save
    IptablesLegacy,
    /// iptables-nft-save
    IptablesNft,
    /// ip6tables-save
    Ip6tables,
    /// ipset save
    Ipset,
    /// ip route show table all
    Routes,
    /// ip neigh
    Neigh,
    /// sysctl
    Sysctl,
}

#[derive(ClapArgs, Debug)]
pub struct Render {
    #[command(flatten)]
    pub source: Source,
    /// A namespace of the node; its own unless said
    #[arg(long, value_name = "NETNS", default_value = "")]
    pub netns: String,
    /// What
    #[arg(long, value_enum, value_name = "WHAT")]
    pub what: What,
}
