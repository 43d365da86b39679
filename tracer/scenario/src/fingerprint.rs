//! What a confirmation is of: a number that changes with anything that an engine is given.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::case::{Case, Entry};

/// FNV-1a of 64 bits: the same on every machine and in every version, and nobody is to be kept from making two alike.
struct Fnv(u64);

impl Fnv {
    fn bytes(&mut self, bytes: &[u8]) {
        // The length first, so that no two lists of parts are alike.
        for byte in (bytes.len() as u64).to_be_bytes().iter().chain(bytes) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

/// Of the files of a bundle and of the packets of a case, and where they enter.
///
/// # Errors
/// The path that could not be read, and why.
pub fn fingerprint(bundle: &Path, case: &Case) -> Result<u64, (PathBuf, io::Error)> {
    let mut sum = Fnv(0xcbf2_9ce4_8422_2325);
    let mut files = Vec::new();
    gather(bundle, &mut files)?;
    files.sort();
    for file in files {
        let name = file.strip_prefix(bundle).unwrap_or(&file);
        sum.bytes(name.as_os_str().as_encoded_bytes());
        sum.bytes(&fs::read(&file).map_err(|error| (file.clone(), error))?);
    }
    for send in &case.sends {
        let entry = match &send.entry {
            Entry::Device(name) => format!("at {name}"),
            Entry::Local(socket) => format!("local {:?} {:?}", socket.uid, socket.gid),
        };
        sum.bytes(entry.as_bytes());
        sum.bytes(send.packet.bytes());
    }
    Ok(sum.0)
}

fn gather(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), (PathBuf, io::Error)> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path).map_err(|error| (path.to_owned(), error))? {
        gather(&entry.map_err(|error| (path.to_owned(), error))?.path(), files)?;
    }
    Ok(())
}
