//! `sysctl -a`.

use pktwalk_linux::config::MissingState;
use pktwalk_linux::sysctl::{self, Misfit};

use std::collections::BTreeSet;

use crate::keys::{self, near};
use crate::reader::Reader;

/// Settings that nobody knows, and devices that are not there, which are named at most.
const MOST_NAMED: usize = 256;

pub(crate) fn settings(reader: &mut Reader<'_>, text: &[u8]) {
    // What is lost of the file is as good as missing: the kernel's defaults stand in, and that is said.
    let mut lost = text.last().is_some_and(|&b| b != b'\n');
    // Settings that are misspelt, with what they were meant to be.
    let mut meant_to_be = Vec::new();
    let mut named = 0usize;
    let mut strangers = Strangers::new(reader);
    reader.lines(text, |reader, number, line| {
        // What the tool says on standard error, often in the same file.
        if line.starts_with("sysctl:") || line.starts_with('#') {
            return;
        }
        let Some((key, value)) = line.split_once('=') else {
            reader.error(number, "not `key = value`");
            lost = true;
            return;
        };
        let key = key.trim();
        if key.is_empty() || key.contains(char::is_whitespace) {
            reader.error(number, format!("'{key}' is no key"));
            lost = true;
            return;
        }
        // `sysctl` takes slashes as well; then the dots are part of names.
        let key = if key.starts_with("net/") {
            key.chars()
                .map(|c| match c {
                    '/' => '.',
                    '.' => '/',
                    c => c,
                })
                .collect()
        } else {
            key.to_owned()
        };
        // Nothing else of a machine's settings decides about its packets.
        if key.starts_with("net.") {
            meant_to_be.extend(strangers.look(reader, number, &key));
            if !keys::known(&key) {
                named += 1;
                let what = format!("{key} is no setting of Linux 5.0 to 6.18: not understood");
                let meant = || keys::meant(&key);
                if named > MOST_NAMED {
                    lost = true;
                } else if let Some(meant) = meant() {
                    meant_to_be.push((number, format!("{what}; did you mean {meant}?"), meant));
                } else {
                    reader.warning(number, what);
                }
            }
            match sysctl::check(&key, value) {
                Ok(()) => {}
                Err(Misfit::Odd(why)) => reader.warning(number, why),
                Err(Misfit::Unusable(why)) => {
                    reader.error(number, format!("{why}: the setting is not known"));
                    lost = true;
                    return;
                }
            }
            reader.config.sysctls.insert(key, value.trim().to_owned());
        }
    });
    if named > MOST_NAMED {
        reader.error(0, format!("{named} settings are not understood, of which {MOST_NAMED} are named"));
    }
    for (number, what, meant) in meant_to_be {
        // Where the right one stands there as well, or no walk asks for it, nothing is lost.
        if reader.config.sysctls.contains_key(&meant) || !sysctl::is_read(&meant) {
            reader.warning(number, what);
        } else {
            reader.error(number, what);
            lost = true;
        }
    }
    // The tool always prints whether packets are forwarded: where that is not in the file, it was cut off.
    lost |= !["net.ipv4.ip_forward", "net.ipv4.conf.all.forwarding"]
        .into_iter()
        .any(|key| reader.config.sysctls.contains_key(key));
    lost |= reader.given_up;
    if lost {
        reader.config.missing.push(MissingState::Sysctls);
    }
}

/// Settings of devices that are not there: `sysctl -a` prints none of them.
struct Strangers {
    /// As `sysctl` writes them; none where nobody knows which there are.
    devices: Option<BTreeSet<String>>,
    named: BTreeSet<String>,
}

impl Strangers {
    fn new(reader: &Reader<'_>) -> Strangers {
        let devices = &reader.config.devices;
        let names = || devices.iter().map(|device| device.name.replace('.', "/")).collect();
        Strangers { devices: (!devices.is_empty()).then(names), named: BTreeSet::new() }
    }

    /// Says that a setting's device is not there; or gives its line, what to say and the setting that was meant.
    fn look(&mut self, reader: &mut Reader<'_>, number: u32, key: &str) -> Option<(u32, String, String)> {
        let devices = self.devices.as_ref()?;
        let (prefix, name, field) = keys::of_device(key)?;
        if matches!(name, "all" | "default") || devices.contains(name) {
            return None;
        }
        let told = self.named.contains(name);
        if !told && self.named.len() >= MOST_NAMED {
            return None;
        }
        let what = format!("{key}: there is no device {}", name.replace('/', "."));
        let meant =
            near(name, devices.iter().map(String::as_str)).map(|device| format!("{prefix}{device}.{field}"));
        match meant {
            Some(meant) if sysctl::is_read(&meant) => {
                self.named.insert(name.to_owned());
                return Some((number, format!("{what}; did you mean {meant}?"), meant));
            }
            _ if !told => {
                self.named.insert(name.to_owned());
                reader.warning(number, what);
            }
            _ => {}
        }
        None
    }
}
