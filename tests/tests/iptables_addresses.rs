//! Addresses as the tools read them: leading zeros, missing parts, numbers, bits beyond a mask. What is read is held against what the tools print of
//! the same rule, or refuse.

use pktwalk_linux::diag::Severity;
use pktwalk_linux::hook::{Backend, Family};
use pktwalk_linux::iptables;
use pktwalk_skip::skip_unprivileged;
use pktwalk_tests::tools::restored;

/// Where an address may stand.
const PLACES: [(&str, &str); 5] = [
    ("filter", "-A INPUT -s {}"),
    ("filter", "-A INPUT -m conntrack --ctorigsrc {}"),
    ("filter", "-A INPUT -m iprange --src-range {}-200.0.0.0"),
    ("filter", "-A INPUT -m recent --set --mask {} --name x --rsource"),
    ("nat", "-A POSTROUTING -j SNAT --to-source {}"),
];

const ADDRESSES: [&str; 26] = [
    "10.0.0.1",
    "10.0.0.1/16",
    "10.0.0.1/0",
    "010.1.1.1",
    "010.1.1.1/8",
    "0x7f.1",
    "127.1",
    "10",
    "10.1/16",
    "256",
    "1.65535",
    "1.65536",
    "167772161",
    "4294967296",
    "1.2.3.010",
    "08.1.1.1",
    "00.0.0.1",
    "1.2.3.256",
    "1.2.3.4.",
    "1..2.3",
    "1.2.3.4.5",
    "001.2.3.4",
    "0",
    "10.0.0.1/010",
    "10.0.0.1/255.255.0377.0",
    "10.0.0.1/255.255",
];

/// As printed by the tool after it was loaded; none if it is refused.
fn asked(backend: &str, table: &str, rule: &str) -> Option<String> {
    restored(backend, table, &format!("*{table}\n{rule}\nCOMMIT\n")).map(|text| appended(&text))
}

fn appended(text: &str) -> String {
    text.lines().find(|line| line.starts_with("-A")).unwrap_or_default().to_owned()
}

fn read(backend: Backend, table: &str, rule: &str) -> Option<String> {
    let text = format!("*{table}\n{rule}\nCOMMIT\n");
    let (save, diagnostics) = iptables::parse(text.as_bytes(), 0, Family::V4);
    let refused = diagnostics.iter().any(|one| one.severity == Severity::Error);
    (!refused).then(|| appended(&iptables::print_saved(&save, backend, false)))
}

#[test]
fn addresses_are_read_as_the_tools_read_them() {
    if skip_unprivileged("addresses_are_read_as_the_tools_read_them") {
        return;
    }
    let mut wrong = Vec::new();
    for (table, place) in PLACES {
        for address in ADDRESSES {
            let rule = place.replace("{}", address);
            // The tool takes a mask that is no prefix here, and makes something else of it: it is refused.
            let lost = place.contains("--ctorigsrc") && address.ends_with("/255.255");
            let (ours, theirs) = (read(Backend::Legacy, table, &rule), asked("legacy", table, &rule));
            if !lost && ours != theirs {
                wrong.push(format!("{rule}: {ours:?}, the tool {theirs:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_backend_prints_a_range_of_nflog_its_own_way() {
    if skip_unprivileged("each_backend_prints_a_range_of_nflog_its_own_way") {
        return;
    }
    let rule = "-A INPUT -j NFLOG --nflog-prefix a --nflog-range 65 --nflog-threshold 2";
    for (backend, name) in [(Backend::Legacy, "legacy"), (Backend::Nft, "nft")] {
        let ours = read(backend, "filter", rule);
        assert!(ours.is_some());
        assert_eq!(ours, asked(name, "filter", rule));
    }
}
