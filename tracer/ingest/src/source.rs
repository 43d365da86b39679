//! Where the files of a bundle come from: a folder, a tar, or memory.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

/// Bytes that one archive may unpack to, and that one file of a folder may have: more is refused.
const MAX_BYTES: u64 = 2 << 30;

/// The files of one bundle by their names within it (`iptables-save`, `netns/web/ip-addr.json`).
pub(crate) enum Source<'a> {
    Folder(PathBuf),
    Memory(BTreeMap<String, Cow<'a, [u8]>>),
}

impl<'a> Source<'a> {
    pub(crate) fn open(path: &Path) -> io::Result<Source<'a>> {
        if path.is_dir() {
            return Ok(Source::Folder(path.to_owned()));
        }
        let mut file = BufReader::new(File::open(path)?);
        let mut magic = Vec::new();
        file.by_ref().take(2).read_to_end(&mut magic)?;
        let is_gzip = magic == [0x1f, 0x8b];
        let all = io::Cursor::new(magic).chain(file);
        if is_gzip { untar(flate2::read::MultiGzDecoder::new(all)) } else { untar(all) }
    }

    /// The content of a file; `Ok(None)` if there is none.
    pub(crate) fn get(&mut self, name: &str) -> io::Result<Option<Cow<'a, [u8]>>> {
        match self {
            Source::Memory(files) => Ok(files.remove(name)),
            Source::Folder(folder) => match File::open(folder.join(name)) {
                Ok(file) => {
                    let too_large = || io::Error::new(io::ErrorKind::FileTooLarge, "larger than 2 GiB");
                    // What can be known before is not read; pipes have no length.
                    if file.metadata()?.len() > MAX_BYTES {
                        return Err(too_large());
                    }
                    let mut bytes = Vec::new();
                    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
                    if bytes.len() as u64 > MAX_BYTES {
                        return Err(too_large());
                    }
                    Ok(Some(Cow::Owned(bytes)))
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            },
        }
    }

    /// Names of the other namespaces, sorted.
    pub(crate) fn netns(&self) -> io::Result<Vec<String>> {
        let mut names = BTreeSet::new();
        match self {
            Source::Memory(files) => {
                for file in files.keys() {
                    if let Some((name, _)) = file.strip_prefix("netns/").and_then(|rest| rest.split_once('/'))
                    {
                        names.insert(name.to_owned());
                    }
                }
            }
            Source::Folder(folder) => match std::fs::read_dir(folder.join("netns")) {
                Ok(entries) => {
                    for entry in entries {
                        let entry = entry?;
                        if entry.path().is_dir() {
                            names.insert(entry.file_name().to_string_lossy().into_owned());
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            },
        }
        Ok(names.into_iter().collect())
    }

    /// Names of files at the top that nothing has read yet.
    pub(crate) fn top_level(&self) -> Vec<String> {
        match self {
            Source::Memory(files) => files.keys().filter(|name| !name.contains('/')).cloned().collect(),
            Source::Folder(folder) => {
                let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
                let mut names: Vec<String> = entries
                    .flatten()
                    .filter(|entry| entry.path().is_file())
                    .map(|entry| entry.file_name().to_string_lossy().into_owned())
                    .collect();
                names.sort();
                names
            }
        }
    }
}

fn untar<'a>(reader: impl Read) -> io::Result<Source<'a>> {
    let mut files: BTreeMap<String, Cow<'a, [u8]>> = BTreeMap::new();
    let mut left = MAX_BYTES;
    let mut archive = tar::Archive::new(reader);
    for entry in archive.entries()? {
        let entry = entry?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name: Vec<String> = entry
            .path()?
            .components()
            .filter_map(|part| match part {
                std::path::Component::Normal(part) => Some(part.to_string_lossy().into_owned()),
                _ => None,
            })
            .collect();
        let too_large =
            || io::Error::new(io::ErrorKind::FileTooLarge, "the archive unpacks to more than 2 GiB");
        if entry.size() > left {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        entry.take(left.saturating_add(1)).read_to_end(&mut bytes)?;
        left = left.checked_sub(bytes.len() as u64).ok_or_else(too_large)?;
        files.insert(name.join("/"), Cow::Owned(bytes));
    }
    // `tar -c bundle` puts everything under the folder's own name.
    let first = |name: &String| name.split_once('/').map(|(first, _)| first.to_owned());
    let tops: BTreeSet<Option<String>> = files.keys().map(first).collect();
    if tops.len() == 1
        && let Some(Some(top)) = tops.into_iter().next()
        && top != "netns"
    {
        files = files
            .into_iter()
            .filter_map(|(name, bytes)| Some((name.split_once('/')?.1.to_owned(), bytes)))
            .collect();
    }
    Ok(Source::Memory(files))
}
