//! Commands of iptables-restore beside `-A`, and words behind a line that do not belong there: both tools are asked what they make of each, and
//! the reader does the same, or says that it does not know. Asked of iptables 1.8.9.

use pktwalk_linux::diag::{Diagnostic, Lost, Severity};
use pktwalk_linux::hook::Family;
use pktwalk_linux::iptables::ast::{SaveFile, Target};
use pktwalk_linux::iptables::{parse, print};
use pktwalk_skip::skip_unprivileged;
use pktwalk_tests::tools::restored;

/// What stands before each.
const BASE: &str = "\
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:A - [0:0]
:B - [0:0]
-A A -s 1.1.1.1/32 -j DROP
-A A -s 2.2.2.2/32 -j DROP
-A FORWARD -j A
";

/// Lines behind it, those of one case with `;` between them.
const CASES: &str = "\
-F A
-F A extra
-F A -s 1.1.1.1
-F A -v
-F -v
-F A 3
-F
-F NONE
-F FORWARD
-F FORWARD -6
-6 -F FORWARD
-F A;-A A -s 9.9.9.9/32 -j ACCEPT
-F FORWARD;-F A;-X A
-N C
-N C extra
-N C -s 1.1.1.1
-N C -6
-N A
-N INPUT
-N
-N C;-A C -j DROP;-A FORWARD -j C
-X B
-X B extra
-X A
-X INPUT
-X NONE
-X
-F FORWARD;-F A;-X
-X B;-N B;-A B -j DROP
-D FORWARD 1;-F A;-X A
-P INPUT DROP
-P INPUT DROP extra
-P INPUT DROP -s 1.1.1.1
-P INPUT DROP -c 5 6
-P INPUT DROP -c 5
-P INPUT DROP [5:6]
-P INPUT DROP -6
-P A DROP
-P INPUT QUEUE
-P INPUT drop
-P INPUT
-P INPUT -
[5:6] -P INPUT DROP
-Z
-Z A
-Z A extra
-Z NONE
-E B C
-E A C
-E A C extra
-E A
-C A -s 1.1.1.1 -j DROP
-C A -s 1.1.1.3 -j DROP
-I A 1 -s 3.3.3.3 -j DROP
-I A 3 -s 3.3.3.3 -j DROP
-I A 4 -s 3.3.3.3 -j DROP
-I A 0 -s 3.3.3.3 -j DROP
-I A -1 -s 3.3.3.3 -j DROP
-I A x -s 3.3.3.3 -j DROP
-I A 1 2 -s 3.3.3.3 -j DROP
-I A -s 3.3.3.3 -j DROP 1
-I A -s 3.3.3.3 1 -j DROP
-I A 01 -s 3.3.3.3 -j DROP
-I A 02 -s 3.3.3.3 -j DROP
-I A 0x2 -s 3.3.3.3 -j DROP
-I A +2 -s 3.3.3.3 -j DROP
-I A ++2 -s 3.3.3.3 -j DROP
-I A 2 -s 3.3.3.3,4.4.4.4 -j DROP
-I A
-I A 2
-R A -s 3.3.3.3 -j DROP
-R A 3 -s 3.3.3.3 -j DROP
-R A 0 -s 3.3.3.3 -j DROP
-R A 1 -s 3.3.3.3,4.4.4.4 -j DROP
-D A 1
-D A 3
-D A 0
-D A 1 extra
-D A 1 -v
-D A 1 -6
-D A 1 -s 1.1.1.1 -j DROP
-D A -s 1.1.1.1 -j DROP
-D A -s 1.1.1.1 -j DROP -c 5 6
-D A -s 1.1.1.1,2.2.2.2 -j DROP
-D A -s 1.1.1.3 -j DROP
-D A
-A A -s 3.3.3.3 -j DROP extra
-A A extra -s 3.3.3.3 -j DROP
-A A 3 -s 3.3.3.3 -j DROP
-A A 3
-A A
-A A -s 3.3.3.3 -j DROP -F A
-A A -s 3.3.3.3 -j DROP -A B
-A A -s 3.3.3.3 -j DROP -N C
-A A -A B -j DROP
-F A -A B -j DROP
-A NONE -s 3.3.3.3 -j DROP
-A A -s 3.3.3.3 -j DROP -t filter
-t filter -A A -s 3.3.3.3 -j DROP
-A A -s 3.3.3.3 -j DROP -w
-A A -s 3.3.3.3 -j DROP -n
-A A -s 3.3.3.3 -j DROP -v
-A A -s 3.3.3.3 -j DROP -x
-A A -s 3.3.3.3 -j DROP --line-numbers
-A A -s 3.3.3.3 -j DROP -c 5 6
-A A -s 3.3.3.3 -j DROP # x
-A A -s 3.3.3.3 -j DROP -6
-j DROP
foo
--append A -s 3.3.3.3 -j DROP
--flush A
--flush A extra
-A A -s 3.3.3.3 -j DROP -j ACCEPT
-A A -s 3.3.3.3 -s 4.4.4.4 -j DROP
-A A ! -j DROP
:A ACCEPT [0:0]
:A - [0:0]
:INPUT - [0:0]
-P INPUT DROP;:INPUT - [0:0]
-A INPUT -j DROP;:INPUT DROP [0:0]
:C - [0:0] extra
:C
:C ACCEPT [0:0]
:INPUT
:INPUT DROP
:INPUT DROP extra
:INPUT DROP [0:0] extra
:INPUT FOO [0:0]
:C - 5
COMMIT extra
*filter
";

/// Which the tools refuse in other ways than by their exit: iptables-nft-restore 1.8.9 crashes. The legacy tool tells what they do.
const CRASHES: &str = "\
-R A 1 -s 3.3.3.3 -j DROP
-R A 1
-Z A 1
";

fn file(case: &str) -> String {
    format!("*filter\n{BASE}{}\nCOMMIT\n", case.replace(';', "\n"))
}

/// Chains by name with their policies and rules.
fn normal(save: &SaveFile) -> Vec<String> {
    let text = print(save, false);
    // Counters are nothing that decides.
    let declared = text.lines().filter(|line| line.starts_with(':'));
    let mut chains: Vec<String> =
        declared.map(|line| line.split(" [").next().unwrap_or(line).to_owned()).collect();
    chains.sort();
    // The tools sort chains of their own by name.
    let mut rules: Vec<&str> = text.lines().filter(|line| line.starts_with("-A")).collect();
    rules.sort_by_key(|rule| rule.split(' ').nth(1).map(str::to_owned));
    chains.extend(rules.into_iter().map(str::to_owned));
    chains
}

/// Whether walks that meet what is not known end `Unknown`: with all of the file, or with one rule.
fn is_unknown(save: &SaveFile, diagnostics: &[Diagnostic]) -> bool {
    let rules = save.tables.iter().flat_map(|table| &table.chains).flat_map(|chain| &chain.rules);
    let mut odd = rules.filter(|rule| {
        matches!(rule.target, Target::Unmodelled(_))
            || rule
                .matches
                .iter()
                .any(|one| matches!(one, pktwalk_linux::iptables::ast::Match::Unmodelled(_)))
    });
    diagnostics.iter().any(|one| one.lost == Lost::Part) || odd.next().is_some()
}

/// What is wrong with what is made of a case, where a tool makes `real` of it.
fn wrong(case: &str, real: Option<&str>) -> Option<String> {
    let (save, diagnostics) = parse(file(case).as_bytes(), 0, Family::V4);
    let said = diagnostics
        .iter()
        .any(|one| one.severity != Severity::Note && one.source.line > BASE.lines().count() as u32 + 1);
    let unknown = is_unknown(&save, &diagnostics);
    if unknown && !said {
        return Some(format!("not known, and not said: {diagnostics:?}"));
    }
    match real {
        None if !unknown => Some(format!("refused, and taken here: {diagnostics:?}")),
        Some(real) if !unknown => {
            let (real, _) = parse(real.as_bytes(), 0, Family::V4);
            let (real, ours) = (normal(&real), normal(&save));
            (real != ours).then(|| format!("the tool has {real:?}, here is {ours:?}"))
        }
        _ => None,
    }
}

#[test]
fn lines_are_taken_as_the_tools_take_them() {
    if skip_unprivileged("lines_are_taken_as_the_tools_take_them") {
        return;
    }
    let mut found = Vec::new();
    let mut differ = Vec::new();
    for case in CASES.lines() {
        let text = file(case);
        let [legacy, nft] = ["legacy", "nft"].map(|backend| restored(backend, "filter", &text));
        if legacy.is_some() != nft.is_some() {
            differ.push(case);
        }
        for (backend, real) in [("legacy", &legacy), ("nft", &nft)] {
            // What is refused by one of them only may be what the other one had.
            let real = real.as_ref().or(legacy.as_ref()).or(nft.as_ref());
            found.extend(
                wrong(case, real.map(String::as_str)).map(|why| format!("{case} ({backend}): {why}")),
            );
        }
    }
    for case in CRASHES.lines() {
        let legacy = restored("legacy", "filter", &file(case));
        found.extend(wrong(case, legacy.as_deref()).map(|why| format!("{case}: {why}")));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert_eq!(differ, ["-X INPUT", "-E B C", "-E A C", ":A ACCEPT [0:0]", ":A - [0:0]", ":C ACCEPT [0:0]"]);
}

/// The same without the tools: what is taken, and what is not known.
#[test]
fn what_is_made_of_lines_is_told() {
    let read = |case: &str| {
        let (save, diagnostics) = parse(file(case).as_bytes(), 0, Family::V4);
        let said = diagnostics.iter().find(|one| one.lost == Lost::Part);
        (said.map(|one| (one.source.line, one.message.clone())), normal(&save))
    };
    let lost = |line: u32, message: &str| Some((line, message.to_owned()));
    assert_eq!(read("-F A extra").0, lost(10, "`extra` after -F, which the tools refuse"));
    assert_eq!(read("-P INPUT DROP 5").0, lost(10, "`5` after -P, which the tools refuse"));
    assert_eq!(read("-D A 1 -j DROP").0, lost(10, "`-j` in a line of -D, which the tools refuse"));
    assert_eq!(read("-N A").0, lost(10, "chain A is there already, so the tools refuse it"));
    assert_eq!(read("-X A").0, lost(10, "chain A is in use and cannot be deleted"));
    assert_eq!(read("-F NONE").0, lost(10, "-F names no chain of the table: NONE"));
    let whole = read("").1;
    assert_eq!(read("-6 -F A"), (None, whole.clone()));
    assert_eq!(read("-C A -s 1.1.1.1 -j DROP"), (None, whole.clone()));
    assert_eq!(read("-I A 010 -j DROP").0, lost(10, "-I names no rule of chain A"));
    let (said, chains) = read("-I A 0x2 -s 3.3.3.3,4.4.4.4 -j DROP");
    assert_eq!(said, None);
    let expected = ["1.1.1.1", "4.4.4.4", "3.3.3.3", "2.2.2.2"].map(|a| format!("-A A -s {a}/32 -j DROP"));
    assert_eq!(chains.iter().filter(|line| line.starts_with("-A A ")).cloned().collect::<Vec<_>>(), expected);
    let (said, chains) = read("-F FORWARD;-F A;-X A;-X B");
    assert_eq!(said, None);
    assert_eq!(chains, [":FORWARD ACCEPT", ":INPUT ACCEPT", ":OUTPUT ACCEPT"]);
    let (said, chains) = read("-P INPUT DROP;:INPUT - [0:0]");
    assert_eq!((said, chains.contains(&":INPUT DROP".to_owned())), (None, true));
}
