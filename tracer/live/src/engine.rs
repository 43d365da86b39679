//! [`KernelEngine`]: cases on the kernel that this program runs on.
//!
//! What differs from a real node, by construction: other ends of wires answer nothing but questions for a neighbour
//! that the case says nothing of; packets from a socket are sent by a raw socket with its own
//! header (`IP_HDRINCL`), so that the route lookup of the sender sees no ports, and a socket without an owner is one of user 0; neighbours
//! do not age; the wires have no checksum offload; devices of kinds that are not modelled are wires;
//! listening sockets take the connections that begin, and answer nothing to them; sockets that the case assumes take everything.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::memfd::{MFdFlags, memfd_create};
use pktwalk_linux::config::Neighbour;
use pktwalk_linux::hook::Backend;
use pktwalk_packet::EtherType;
use pktwalk_scenario::case::{Case, CaseSend};
use pktwalk_scenario::engine::{Engine, EngineError};
use pktwalk_scenario::event::EngineRun;

use crate::bpf;
use crate::dummy;
use crate::ns::{ENGINE, failed};
use crate::perf::Perf;
use crate::program;
use crate::rules::Using;
use crate::world::{Void, World};

/// How often a case whose trace overflowed, or to which something happened between packets, is run again.
const ATTEMPTS: usize = 5;

/// A run, and what only the kernel's replay needs.
#[derive(Clone, Debug, Default)]
pub struct KernelRun {
    /// What it saw.
    pub run: EngineRun,
    /// Per send: IP ids of the packets that were made because of it, in order.
    pub made_ids: Vec<Vec<u16>>,
}

type Answer = Result<KernelRun, EngineError>;

/// What the engine's thread is asked.
struct Request {
    case: Box<Case>,
    worlds: Worlds,
    answer: Sender<Answer>,
}

/// Which worlds a case may run in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Worlds {
    /// A new one.
    New,
    /// One that remembers nothing of earlier cases.
    Clean,
    /// One that may remember what hosts were told by ICMP.
    Any,
}

/// Worlds that are kept: with and without routing rules, with and without a nat table.
const KEPT: usize = 4;

/// Runs cases in network namespaces of its own. Needs root and the real tools.
#[derive(Debug)]
pub struct KernelEngine {
    backend: Option<Backend>,
    worlds: Worlds,
    requests: Option<Sender<Request>>,
    thread: Option<JoinHandle<()>>,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

impl KernelEngine {
    /// An engine whose rules all run on `backend`, or on the backend that the case says (nf_tables if it has no rules).
    pub fn new(backend: Option<Backend>) -> KernelEngine {
        let (requests, inbox) = channel();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let thread = std::thread::Builder::new()
            .name(format!("world{number}"))
            .spawn(move || serve(&inbox, number))
            .ok();
        KernelEngine { backend, worlds: Worlds::Clean, requests: Some(requests), thread }
    }

    /// An engine that also uses worlds again in which hosts were told something by ICMP: much faster, but the kernel remembers how much each
    /// host was told. Who finds something odd runs the case again by [`KernelEngine::run_afresh`].
    #[must_use]
    pub fn hurried(mut self) -> KernelEngine {
        self.worlds = Worlds::Any;
        self
    }

    /// As [`KernelEngine::run_for_replay`], in a new world.
    ///
    /// # Errors
    /// As there.
    pub fn run_afresh(&mut self, case: &Case) -> Result<KernelRun, EngineError> {
        self.ask(case, Worlds::New)
    }

    /// As [`Engine::run`], with what a replay needs. What could not be brought about or seen is tried again in a new world: gaps that are left are
    /// those of that one.
    ///
    /// # Errors
    /// As there.
    pub fn run_for_replay(&mut self, case: &Case) -> Result<KernelRun, EngineError> {
        whole(self.worlds, |worlds| self.ask(case, worlds))
    }

    fn ask(&self, case: &Case, worlds: Worlds) -> Result<KernelRun, EngineError> {
        let mut case = case.clone();
        case.remarks.clear();
        if let Some(backend) = self.backend {
            case.config.rulesets.iter_mut().for_each(|ruleset| ruleset.backend = backend);
        }
        let gone = || failed("its thread is gone");
        let (answer, wait) = channel();
        let requests = self.requests.as_ref().ok_or_else(gone)?;
        requests.send(Request { case: Box::new(case), worlds, answer }).map_err(|_| gone())?;
        wait.recv().map_err(|_| gone())?
    }
}

/// A run without gaps, if a new world gives one.
fn whole(worlds: Worlds, mut ask: impl FnMut(Worlds) -> Answer) -> Answer {
    let done = ask(worlds)?;
    if done.run.gaps.is_empty() || worlds == Worlds::New { Ok(done) } else { ask(Worlds::New) }
}

impl Engine for KernelEngine {
    fn name(&self) -> &'static str {
        ENGINE
    }

    fn run(&mut self, case: &Case) -> Result<EngineRun, EngineError> {
        self.run_for_replay(case).map(|run| run.run)
    }
}

impl Drop for KernelEngine {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The thread's life: its namespace, its worlds.
fn serve(inbox: &Receiver<Request>, number: u32) {
    pin(number);
    let lock = match Lock::new() {
        Ok(lock) => lock,
        Err(error) => {
            while let Ok(request) = inbox.recv() {
                let _ = request.answer.send(Err(failed(format!("a lock of iptables-legacy: {error}"))));
            }
            return;
        }
    };
    let lock_path = lock.path();
    let (mut perf, mut sink, mut blind) = eyes();
    let mut worlds: Vec<World> = Vec::new();
    while let Ok(request) = inbox.recv() {
        if blind.is_some() && request.worlds == Worlds::New {
            // It may be the machine's state that kept them shut. Worlds that stand have no program at their other ends.
            (perf, sink, blind) = eyes();
            worlds.clear();
        }
        let mut done = run(&request, &mut worlds, &mut perf, sink.as_ref(), &lock_path);
        if let Ok(done) = &mut done {
            done.run.gaps.extend(blind.clone());
        }
        if done.is_err() {
            // Half-programmed worlds are not used again.
            worlds.clear();
        }
        let _ = request.answer.send(done);
    }
}

/// What [`open_eyes`] opens, or what is not seen without.
fn eyes() -> (Option<Perf>, Option<OwnedFd>, Option<String>) {
    match open_eyes() {
        Ok((perf, sink)) => (Some(perf), Some(sink), None),
        Err(error) => (None, None, Some(format!("not seen: why packets were freed ({error})"))),
    }
}

/// What tells why packets were freed: the tracepoint, and the program that frees what the other ends get, without which that could not be told from
/// what the namespace frees.
fn open_eyes() -> io::Result<(Perf, OwnedFd)> {
    let told = |what: &str, error: io::Error| io::Error::new(error.kind(), format!("{what}: {error}"));
    let perf = Perf::open().map_err(|error| told("tracepoint skb:kfree_skb", error))?;
    let sink = bpf::load().map_err(|error| told("program of the other ends", error))?;
    Ok((perf, sink))
}

/// The lock of iptables-legacy: other namespaces' rules are none of ours. It stands in no folder, so that nothing is left of a run that was killed.
struct Lock(OwnedFd);

impl Lock {
    fn new() -> nix::Result<Lock> {
        memfd_create(c"xtables.lock", MFdFlags::MFD_CLOEXEC).map(Lock)
    }

    /// A path by which the tools, which run as children, find it.
    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }
}

/// Keeps the calling thread on one processor: the stack then handles each packet before the send returns.
fn pin(number: u32) {
    use nix::sched::{CpuSet, sched_setaffinity};
    use nix::unistd::Pid;
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let mut set = CpuSet::new();
    if set.set(number as usize % count).is_ok() {
        // Not being pinned costs exactness of timing only.
        let _ = sched_setaffinity(Pid::from_raw(0), &set);
    }
}

fn run(
    request: &Request,
    worlds: &mut Vec<World>,
    perf: &mut Option<Perf>,
    sink: Option<&OwnedFd>,
    lock: &str,
) -> Answer {
    let case = &*request.case;
    let using = Using::of(&case.config)?;
    let fits = |world: &World| match request.worlds {
        Worlds::New => false,
        Worlds::Clean => world.fits(&case.config, using) && !world.told(),
        Worlds::Any => world.fits(&case.config, using),
    };
    match worlds.iter().position(fits) {
        Some(at) => {
            let world = worlds.remove(at);
            world.enter()?;
            worlds.push(world);
        }
        None => {
            if worlds.len() >= KEPT {
                worlds.remove(0);
            }
            worlds.push(World::new(&case.config, using, lock, sink)?);
        }
    }
    let mut why = "";
    for attempt in 0..ATTEMPTS {
        if attempt > 0 && matches!(using, Using::Both { .. }) {
            // In the one that there is, the legacy tables came first, whatever comes first in the case.
            worlds.pop();
            worlds.push(World::new(&case.config, using, lock, sink)?);
        }
        let Some(world) = worlds.last_mut() else { return Err(failed("no world")) };
        world.program(&case.config)?;
        world.open_assumed(&case.assumed)?;
        world.fill(case.sends.len())?;
        if heard_at_once(case) {
            std::thread::sleep(LOCKTIME);
        }
        let done = send_all(case, world, perf);
        world.empty()?;
        match done {
            Ok(run) => return Ok(run),
            Err(Void::Overrun) => why = "the trace overflowed",
            Err(Void::Late) => why = "something happened between packets",
            Err(Void::Engine(error)) => return Err(error),
        }
    }
    Err(failed(format!("{why}, again and again")))
}

/// For how long the kernel stands by what it was first told of a neighbour (`locktime`), and some.
const LOCKTIME: Duration = Duration::from_millis(1100);

/// Whether ARP of the case could change neighbours that in truth were there long before.
fn heard_at_once(case: &Case) -> bool {
    let told = |send: &CaseSend| send.packet.ethertype() == EtherType::ARP;
    let changes = |neighbour: &Neighbour| !program::is_fixed(neighbour) && neighbour.mac.is_some();
    case.sends.iter().any(told) && case.config.neighbours.iter().any(changes)
}

fn send_all(case: &Case, world: &mut World, perf: &mut Option<Perf>) -> Result<KernelRun, Void> {
    let mut done = KernelRun::default();
    done.run.engine = ENGINE.to_owned();
    done.run.kernel =
        std::fs::read_to_string("/proc/sys/kernel/osrelease").ok().map(|text| text.trim().to_owned());
    let mut first = None;
    // What making the world led to is nobody's, however much it was.
    match world.late(perf) {
        Ok(_) | Err(Void::Overrun | Void::Late) => {}
        Err(Void::Engine(error)) => return Err(error.into()),
    }
    for send in &case.sends {
        let now = Instant::now();
        let at = now.duration_since(*first.get_or_insert(now));
        if let Some(last) = done.run.sends.last()
            && world.collected(&last.conntrack)?
        {
            return Err(Void::Late);
        }
        let (mut run, ids) = world.send(send, perf)?;
        run.at_ns = u64::try_from(at.as_nanos()).ok();
        done.run.sends.push(run);
        done.made_ids.push(ids);
        // What comes after its packet would be taken for the next one's, or for nothing.
        if world.late(perf)? {
            return Err(Void::Late);
        }
    }
    done.run.gaps.extend(world.gaps());
    done.run.stand_ins = dummy::stand_ins(&case.config);
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_gaps(gaps: &[&str]) -> Answer {
        let mut done = KernelRun::default();
        done.run.gaps = gaps.iter().map(|gap| (*gap).to_owned()).collect();
        Ok(done)
    }

    #[test]
    fn what_was_not_whole_is_run_again_in_a_new_world() {
        for (first, again, left) in [(&["a"][..], &[][..], 0), (&["a"], &["a", "b"], 2), (&[], &["a"], 0)] {
            let mut asked = Vec::new();
            let done = whole(Worlds::Any, |worlds| {
                asked.push(worlds);
                with_gaps(if worlds == Worlds::New { again } else { first })
            });
            assert_eq!(done.unwrap().run.gaps.len(), left);
            assert_eq!(asked.contains(&Worlds::New), !first.is_empty());
        }
        let mut asked = 0;
        let done = whole(Worlds::New, |_| {
            asked += 1;
            with_gaps(&["a"])
        });
        assert_eq!((done.unwrap().run.gaps.len(), asked), (1, 1));
    }
}
