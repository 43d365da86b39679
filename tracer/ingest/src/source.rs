//! Where the files of a bundle come from: a folder, a tar, or memory.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Component, Path, PathBuf};

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
            Source::Folder(folder) => match open(&folder.join(name)) {
                Ok((file, length)) => {
                    let too_large = || io::Error::new(io::ErrorKind::FileTooLarge, "larger than 2 GiB");
                    // What can be known before is not read.
                    if length > MAX_BYTES {
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

    /// Names of files in a folder (`""`, `"netns/web/"`) that nothing has read yet.
    pub(crate) fn files_in(&self, prefix: &str) -> Vec<String> {
        match self {
            Source::Memory(files) => files
                .keys()
                .filter_map(|name| name.strip_prefix(prefix))
                .filter(|name| !name.contains('/'))
                .map(str::to_owned)
                .collect(),
            Source::Folder(folder) => {
                let Ok(entries) = std::fs::read_dir(folder.join(prefix)) else { return Vec::new() };
                let mut names: Vec<String> = entries
                    .flatten()
                    .filter(|entry| !entry.path().is_dir())
                    .map(|entry| entry.file_name().to_string_lossy().into_owned())
                    .collect();
                names.sort();
                names
            }
        }
    }
}

/// A file and its length. Whatever is no file is refused before it is opened: to open a pipe would be to wait for who writes into it.
fn open(path: &Path) -> io::Result<(File, u64)> {
    std::fs::symlink_metadata(path)?;
    let data = std::fs::metadata(path).map_err(|error| match error.kind() {
        // A link that leads nowhere is not a file that was never there.
        io::ErrorKind::NotFound => io::Error::new(io::ErrorKind::InvalidInput, "a link to nothing"),
        _ => error,
    })?;
    if !data.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok((File::open(path)?, data.len()))
}

/// A path without `.`, with `..` taken away together with the folder before it.
fn plain(path: &Path) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => parts.push(part.to_string_lossy().into_owned()),
            Component::ParentDir => drop(parts.pop()),
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
        }
    }
    parts.join("/")
}

fn untar<'a>(reader: impl Read) -> io::Result<Source<'a>> {
    let mut files: BTreeMap<String, Cow<'a, [u8]>> = BTreeMap::new();
    let mut left = MAX_BYTES;
    let too_large = || io::Error::new(io::ErrorKind::FileTooLarge, "the archive unpacks to more than 2 GiB");
    let mut links = Vec::new();
    let mut archive = tar::Archive::new(reader);
    for (at, entry) in archive.entries()?.enumerate() {
        // Where not even the first header can be read, it is something else.
        let entry = entry.map_err(|error| match at {
            // What the library says of it quotes the content.
            0 => {
                let said = error.to_string();
                let said = said.split(':').next().unwrap_or_default();
                let message =
                    format!("neither a folder nor a tar ({said}); give the folder that holds the files");
                io::Error::new(error.kind(), message)
            }
            _ => error,
        })?;
        let kind = entry.header().entry_type();
        let name = plain(&entry.path()?);
        if kind.is_hard_link() || kind.is_symlink() {
            let target = entry.link_name()?.unwrap_or_default();
            // A symbolic link is read from where it stands.
            let folder =
                if kind.is_symlink() { name.rsplit_once('/').map_or("", |(folder, _)| folder) } else { "" };
            let target = plain(&Path::new(folder).join(target));
            links.push((name, target));
            continue;
        }
        if !kind.is_file() {
            continue;
        }
        if entry.size() > left {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        entry.take(left.saturating_add(1)).read_to_end(&mut bytes)?;
        left = left.checked_sub(bytes.len() as u64).ok_or_else(too_large)?;
        files.insert(name, Cow::Owned(bytes));
    }
    for (name, target) in links {
        // Who links to a link is not followed.
        let bytes = files.get(&target).cloned().ok_or_else(|| {
            let message =
                format!("the link {name} leads to {target}, which is no file before it in the archive");
            io::Error::new(io::ErrorKind::InvalidData, message)
        })?;
        left = left.checked_sub(bytes.len() as u64).ok_or_else(too_large)?;
        files.insert(name, bytes);
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
