//! 10,000 services of two endpoints each, 80,007 rules, as a bundle through `pktwalk trace`, which may take no more than 250 MB.
//!
//! The bundle stays in the build's folder of temporary files, for whoever wants to measure (`docs/performance.md`).

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

const SERVICES: u32 = 10_000;

/// Of the address space, so more than of memory.
const LIMIT_KB: u32 = 250_000_000 / 1024;

fn addr(base: &str, offset: u32) -> String {
    let base: std::net::Ipv4Addr = base.parse().expect("an address");
    std::net::Ipv4Addr::from(u32::from(base) + offset).to_string()
}

/// The rules, as iptables-save prints them.
fn rules() -> String {
    let mut chains = String::from(
        "*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n\
         :MARKING - [0:0]\n:MASQUERADING - [0:0]\n:SERVICES - [0:0]\n",
    );
    let mut rules = String::from(
        "-A PREROUTING -j SERVICES\n-A OUTPUT -j SERVICES\n-A POSTROUTING -j MASQUERADING\n\
         -A MARKING -j MARK --set-xmark 0x4000/0x4000\n\
         -A MASQUERADING -m mark ! --mark 0x4000/0x4000 -j RETURN\n-A MASQUERADING -j MASQUERADE\n",
    );
    for service in 0..SERVICES {
        let vip = addr("10.96.0.0", service);
        let mut line = |line: std::fmt::Arguments<'_>| writeln!(rules, "{line}").expect("a line");
        line(format_args!(
            "-A SERVICES -d {vip}/32 -p tcp -m comment --comment \"space/service-{service}:http cluster IP\" -m tcp --dport 80 -j SVC-{service}"
        ));
        line(format_args!(
            "-A SVC-{service} ! -s 10.244.0.0/16 -d {vip}/32 -p tcp -m tcp --dport 80 -j MARKING"
        ));
        line(format_args!(
            "-A SVC-{service} -m statistic --mode random --probability 0.50000000000 -j SEP-{service}-0"
        ));
        line(format_args!("-A SVC-{service} -j SEP-{service}-1"));
        writeln!(chains, ":SVC-{service} - [0:0]").expect("a line");
        for end in 0..2 {
            let endpoint = addr("172.20.1.0", service * 2 + end);
            line(format_args!("-A SEP-{service}-{end} -s {endpoint}/32 -j MARKING"));
            line(format_args!(
                "-A SEP-{service}-{end} -p tcp -m tcp -j DNAT --to-destination {endpoint}:8080"
            ));
            writeln!(chains, ":SEP-{service}-{end} - [0:0]").expect("a line");
        }
    }
    let filter = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
                  -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\nCOMMIT\n";
    format!("{chains}{rules}COMMIT\n{filter}")
}

#[test]
fn it_fits_into_250_mb() {
    let rules = rules();
    assert_eq!(rules.lines().filter(|line| line.starts_with("-A ")).count(), 80_007);
    let bundle = Path::new(env!("CARGO_TARGET_TMPDIR")).join("80007-rules");
    fs::create_dir_all(&bundle).expect("folder");
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios/demo/bundle");
    for file in fs::read_dir(demo).expect("folder") {
        let file = file.expect("file");
        fs::copy(file.path(), bundle.join(file.file_name())).expect("file");
    }
    fs::write(bundle.join("iptables-save"), rules).expect("file");
    let last = format!("tcp 203.0.113.5:40000 > {}:80 flags=S", addr("10.96.0.0", SERVICES - 1));
    let output = Command::new("sh")
        .arg("-c")
        .arg(format!("ulimit -v {LIMIT_KB} && exec \"$0\" \"$@\""))
        .arg(env!("CARGO_BIN_EXE_pktwalk"))
        .args(["trace", "--at", "eth0", "-p", &last, "--bundle"])
        .arg(&bundle)
        .stdin(Stdio::null())
        .output()
        .expect("sh runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{out}{err}");
    // Either endpoint of the last service.
    let ends = [0, 1].map(|end| addr("172.20.1.0", (SERVICES - 1) * 2 + end));
    assert!(ends.iter().any(|end| out.contains(end.as_str())), "{out}");
}
