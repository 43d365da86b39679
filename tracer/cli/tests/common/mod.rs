//! A node that routes between two networks, for tests that run the program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const ADDR: &str = r#"[
 {"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP","LOWER_UP"],"addr_info":[{"family":"inet","local":"127.0.0.1","prefixlen":8,"scope":"host"}]},
 {"ifindex":2,"ifname":"eth0","flags":["BROADCAST","UP","LOWER_UP"],"addr_info":[{"family":"inet","local":"192.0.2.1","prefixlen":24,"broadcast":"192.0.2.255","scope":"global"}]},
 {"ifindex":3,"ifname":"eth1","flags":["BROADCAST","UP","LOWER_UP"],"addr_info":[{"family":"inet","local":"198.51.100.1","prefixlen":24,"broadcast":"198.51.100.255","scope":"global"}]}]"#;

const SYSCTL: &str =
    "net.ipv4.ip_forward = 1\nnet.ipv4.conf.eth0.forwarding = 1\nnet.ipv4.conf.eth1.forwarding = 1\n";

fn link(mtu: u32) -> String {
    format!(
        r#"[
 {{"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP","LOWER_UP"],"mtu":65536,"link_type":"loopback","address":"00:00:00:00:00:00"}},
 {{"ifindex":2,"ifname":"eth0","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],"mtu":1500,"link_type":"ether","address":"02:00:00:00:00:01"}},
 {{"ifindex":3,"ifname":"eth1","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],"mtu":{mtu},"link_type":"ether","address":"02:00:00:00:01:01","promiscuity":0}}]"#
    )
}

/// Its bundle, in a folder of this name: eth0 with 192.0.2.1/24, eth1 with 198.51.100.1/24 and this MTU, and more files.
pub fn router(name: &str, mtu: u32, more: &[(&str, &str)]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("folder");
    let link = link(mtu);
    let files = [("ip-link.json", link.as_str()), ("ip-addr.json", ADDR), ("sysctl", SYSCTL)];
    for (file, text) in files.iter().chain(more) {
        fs::write(folder.join(file), text).expect("file");
    }
    folder
}

/// Exit status, and both outputs.
pub fn trace(node: &Path, args: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_pktwalk"))
        .args(["trace", "--bundle"])
        .arg(node)
        .args(args)
        .env_remove("COLUMNS")
        .stdin(Stdio::null())
        .output()
        .expect("pktwalk runs");
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("UTF-8")).concat();
    (output.status.code().expect("it was not killed"), text)
}
