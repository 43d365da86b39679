//! `sysctl -a`.

use pktwalk_linux::config::MissingState;
use pktwalk_linux::sysctl::{self, Misfit};

use crate::reader::Reader;

pub(crate) fn settings(reader: &mut Reader<'_>, text: &[u8]) {
    // What is lost of the file is as good as missing: the kernel's defaults stand in, and that is said.
    let mut lost = text.last().is_some_and(|&b| b != b'\n');
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
    // The tool always prints whether packets are forwarded: where that is not in the file, it was cut off.
    lost |= !["net.ipv4.ip_forward", "net.ipv4.conf.all.forwarding"]
        .into_iter()
        .any(|key| reader.config.sysctls.contains_key(key));
    lost |= reader.given_up;
    if lost {
        reader.config.missing.push(MissingState::Sysctls);
    }
}
