//! `sysctl -a`.

use pktwalk_linux::config::MissingState;

use crate::reader::Reader;

pub(crate) fn settings(reader: &mut Reader<'_>, text: &[u8]) {
    // What is lost of the file is as good as missing: the kernel's defaults stand in, and that is said.
    let mut lost = text.last().is_some_and(|&b| b != b'\n');
    for (number, line) in reader.lines(text) {
        // What the tool says on standard error, often in the same file.
        if line.starts_with("sysctl:") || line.starts_with('#') {
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            reader.error(number, "not `key = value`");
            lost = true;
            continue;
        };
        let key = key.trim();
        if key.is_empty() || key.contains(char::is_whitespace) {
            reader.error(number, format!("'{key}' is no key"));
            lost = true;
            continue;
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
            reader.config.sysctls.insert(key, value.trim().to_owned());
        }
    }
    if lost {
        reader.config.missing.push(MissingState::Sysctls);
    }
}
