//! Dummy devices, which not every kernel has (`CONFIG_DUMMY`): where it has none a wire stands for one, and packets that meet it are not judged.

use std::sync::LazyLock;

use pktwalk_linux::config::{DeviceKind, NetNsConfig};

use crate::ns::{Namespace, tool};

/// Whether one can be made is found out once, in a namespace and a thread of their own. Where there is no namespace nothing is said against them.
static MISSING: LazyLock<bool> = LazyLock::new(|| {
    let tried = std::thread::spawn(|| {
        Namespace::new().is_ok_and(|_own| tool("ip", &["link", "add", "type", "dummy"], "", &[]).is_err())
    });
    tried.join().unwrap_or(false)
});

/// Whether this kernel has no dummy devices.
pub(crate) fn is_missing() -> bool {
    *MISSING
}

/// The dummy devices of a configuration for which wires stand here.
pub(crate) fn stand_ins(config: &NetNsConfig) -> Vec<String> {
    let mut dummies = config.devices.iter().filter(|device| device.kind == DeviceKind::Dummy).peekable();
    if dummies.peek().is_none() || !is_missing() {
        return Vec::new();
    }
    dummies.map(|device| device.name.clone()).collect()
}
