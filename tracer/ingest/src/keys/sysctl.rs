//! Settings that kernels have, those that a walk does without among them.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::LazyLock;

use super::near;

/// What is below these is known whole.
const SUBTREES: [&str; 3] = ["net.ipv4.", "net.netfilter.", "net.bridge."];

/// By name, where `*` stands for a device, `all` or `default`.
static ALL: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let mut all = HashSet::new();
    for line in include_str!("sysctl.txt").lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split(' ');
        let prefix = words.next().unwrap_or_default();
        all.extend(words.map(|word| format!("{prefix}{word}")));
    }
    all
});

/// A setting of a device in parts: what stands before the device, the device, and the name. Names of devices have slashes for their dots.
pub(crate) fn of_device(key: &str) -> Option<(&'static str, &str, &str)> {
    ["net.ipv4.conf.", "net.ipv4.neigh."].into_iter().find_map(|prefix| {
        let (device, field) = key.strip_prefix(prefix)?.rsplit_once('.')?;
        Some((prefix, device, field))
    })
}

/// A key without its device.
fn name(key: &str) -> Cow<'_, str> {
    of_device(key).map_or(Cow::Borrowed(key), |(prefix, _, field)| format!("{prefix}*.{field}").into())
}

/// Whether some kernel has it, or nobody asks for what stands there.
pub(crate) fn known(key: &str) -> bool {
    !SUBTREES.iter().any(|prefix| key.starts_with(prefix)) || ALL.contains(name(key).as_ref())
}

/// The setting that was meant by one that no kernel has.
pub(crate) fn meant(key: &str) -> Option<String> {
    let meant = near(&name(key), ALL.iter().map(String::as_str))?;
    Some(match of_device(key) {
        Some((_, device, _)) => meant.replacen('*', device, 1),
        None => meant.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use pktwalk_linux::config::NetNsConfig;
    use pktwalk_linux::sysctl;
    use pktwalk_skip::skip_unprivileged;

    use super::*;

    #[test]
    fn what_walks_read_is_known() {
        for setting in sysctl::settings(&NetNsConfig::default()) {
            assert!(known(&setting.key), "{}", setting.key);
        }
        assert!(known("net.ipv4.conf.eth0/100.rp_filter"));
        assert!(known("net.ipv6.conf.all.nothing"));
    }

    #[test]
    fn what_is_misspelt_is_not() {
        let no = |key: &str, expected: Option<&str>, read: bool| {
            assert!(!known(key), "{key}");
            let meant = meant(key);
            assert_eq!(meant.as_deref(), expected, "{key}");
            assert_eq!(meant.as_deref().is_some_and(sysctl::is_read), read, "{key}");
        };
        no("net.ipv4.ip_foward", Some("net.ipv4.ip_forward"), true);
        no("net.ipv4.conf.eth0.rp_fliter", Some("net.ipv4.conf.eth0.rp_filter"), true);
        no("net.ipv4.tcp_saks", Some("net.ipv4.tcp_sack"), false);
        no("net.netfilter.something", None, false);
    }

    /// Of this machine's kernel, in the first namespace and in a new one.
    #[test]
    fn settings_of_this_kernel_are_known() {
        if skip_unprivileged("settings_of_this_kernel_are_known") {
            return;
        }
        let shown = Command::new("sh")
            .args(["-c", "sysctl -a --deprecated; unshare -n sysctl -a --deprecated"])
            .output()
            .expect("sysctl is there");
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert!(shown.contains("net.ipv4.ip_forward ="), "sysctl -a shows nothing");
        for (key, _) in shown.lines().filter_map(|line| line.split_once(" =")) {
            assert!(known(key), "{key}");
        }
    }
}
