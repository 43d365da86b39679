//! JSON as iproute2 prints it: one array of objects. Each object is parsed on its own, so that a broken one does not take the others with it,
//! and everything knows its line.

use std::net::IpAddr;

use ipnet::IpNet;
use pktwalk_linux::hook::Family;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::reader::Reader;

/// Broken elements of one file after which the rest is given up.
const MAX_BROKEN: u32 = 256;

/// Elements of one file that are read: with what they become they take ten times the room that they take as text.
const MAX_OBJECTS: u32 = 1_000_000;

/// Bytes of one element, for the same reason.
const MAX_ELEMENT: usize = 16 << 20;

/// One object of the array.
pub(crate) struct Object {
    /// Where a key stands twice, what it has the first time.
    pub(crate) map: Map<String, Value>,
    /// Keys that stand twice.
    pub(crate) repeated: Vec<String>,
    /// Line of its first character.
    pub(crate) line: u32,
}

impl Object {
    pub(crate) fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    /// A string, or a number as one.
    pub(crate) fn text(&self, key: &str) -> Option<String> {
        text(self.map.get(key)?)
    }

    /// A number, or a string that is one (decimal or `0x...`).
    pub(crate) fn number(&self, key: &str) -> Option<u64> {
        number(self.map.get(key)?)
    }

    pub(crate) fn list(&self, key: &str) -> &[Value] {
        self.map.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn object(&self, key: &str) -> Option<Object> {
        let map = self.map.get(key)?.as_object()?.clone();
        Some(Object { map, repeated: Vec::new(), line: self.line })
    }

    /// The strings of a list.
    pub(crate) fn strings(&self, key: &str) -> Vec<&str> {
        self.list(key).iter().filter_map(Value::as_str).collect()
    }

    /// A key that stands there with a value that cannot be read by `read` is an error of `reader`.
    pub(crate) fn read<T>(
        &self,
        reader: &mut Reader<'_>,
        key: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.map.get(key)?;
        let got = read(value);
        if got.is_none() {
            reader.error(self.line, format!("{key} {value} cannot be read"));
        }
        got
    }
}

pub(crate) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

pub(crate) fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => match text.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => text.parse().ok(),
        },
        _ => None,
    }
}

pub(crate) fn number_u32(value: &Value) -> Option<u32> {
    number(value)?.try_into().ok()
}

/// A TOS byte: a number, or what the tools call it (`rt_dsfield` of newer and older ones).
pub(crate) fn tos(value: &Value) -> Option<u8> {
    if let Some(number) = number(value) {
        return number.try_into().ok();
    }
    Some(match value.as_str()? {
        "default" => 0,
        "mincost" => 0x02,
        "reliability" => 0x04,
        "throughput" => 0x08,
        "lowdelay" => 0x10,
        "CS1" => 0x20,
        "AF11" => 0x28,
        "AF12" => 0x30,
        "AF13" => 0x38,
        "CS2" => 0x40,
        "AF21" => 0x48,
        "AF22" => 0x50,
        "AF23" => 0x58,
        "CS3" => 0x60,
        "AF31" => 0x68,
        "AF32" => 0x70,
        "AF33" => 0x78,
        "CS4" => 0x80,
        "AF41" => 0x88,
        "AF42" => 0x90,
        "AF43" => 0x98,
        "CS5" => 0xa0,
        "EF" => 0xb8,
        "CS6" => 0xc0,
        "CS7" => 0xe0,
        _ => return None,
    })
}

pub(crate) fn address(value: &Value) -> Option<IpAddr> {
    value.as_str()?.parse().ok()
}

/// `default`, an address, or a prefix.
pub(crate) fn prefix(text: &str, family: Family) -> Option<IpNet> {
    match (text, family) {
        ("default" | "all", Family::V4) => Some(IpNet::V4(Default::default())),
        ("default" | "all", Family::V6) => Some(IpNet::V6(Default::default())),
        _ => match text.parse::<IpAddr>() {
            Ok(addr) => Some(IpNet::from(addr)),
            Err(_) => text.parse().ok(),
        },
    }
}

/// An object that tells which keys stand twice: iproute2 prints those of an `encap` among those of its route.
struct Keys {
    map: Map<String, Value>,
    repeated: Vec<String>,
}

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Keys, D::Error> {
        struct KeysVisitor;
        impl<'de> Visitor<'de> for KeysVisitor {
            type Value = Keys;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Keys, A::Error> {
                let mut keys = Keys { map: Map::new(), repeated: Vec::new() };
                while let Some((key, value)) = access.next_entry::<String, Value>()? {
                    if !keys.map.contains_key(&key) {
                        keys.map.insert(key, value);
                    } else if !keys.repeated.contains(&key) {
                        if keys.repeated.len() == 16 {
                            return Err(A::Error::custom("too many keys stand twice"));
                        }
                        keys.repeated.push(key);
                    }
                }
                Ok(keys)
            }
        }
        deserializer.deserialize_map(KeysVisitor)
    }
}

/// The objects of an array at the top, each given to `each`. What is no object, or is broken, is said with its line and left out.
pub(crate) fn objects<'r>(
    reader: &mut Reader<'r>,
    text: &[u8],
    mut each: impl FnMut(&mut Reader<'r>, Object),
) {
    let mut scan = Scan { text, at: 0, line: 1 };
    scan.space();
    match scan.peek() {
        // Some of the tools print nothing at all where there is nothing.
        None => {}
        Some(b'[') => {
            array(reader, &mut scan, &mut each);
            scan.space();
            if scan.peek().is_some() && !reader.given_up {
                reader.error(scan.line, "something stands after the end of the array");
            }
        }
        Some(_) => reader.error(scan.line, "not a JSON array, as `ip -j` prints it"),
    }
}

/// As [`objects`], of the one array in an object with one key (`{"nftables": [...]}`). `false` if it is none.
pub(crate) fn objects_in<'r>(
    reader: &mut Reader<'r>,
    text: &[u8],
    key: &str,
    mut each: impl FnMut(&mut Reader<'r>, Object),
) -> bool {
    let mut scan = Scan { text, at: 0, line: 1 };
    let quoted = format!("\"{key}\"");
    for part in ["{", &quoted, ":"] {
        scan.space();
        if !text.get(scan.at..).unwrap_or_default().starts_with(part.as_bytes()) {
            return false;
        }
        scan.skip(part.len());
    }
    scan.space();
    if scan.peek() != Some(b'[') {
        return false;
    }
    array(reader, &mut scan, &mut each);
    scan.space();
    if !reader.given_up && text.get(scan.at..).unwrap_or_default().trim_ascii() != b"}" {
        reader.error(scan.line, "the file does not end with its object");
    }
    true
}

/// From the `[` to behind the `]`.
fn array<'r>(reader: &mut Reader<'r>, scan: &mut Scan<'_>, each: &mut dyn FnMut(&mut Reader<'r>, Object)) {
    let text = scan.text;
    scan.step();
    let (mut broken, mut count) = (0u32, 0u32);
    // Bytes that may be looked at once more, behind what is broken: with these, no file takes more than a few passes.
    let mut again = text.len().saturating_mul(3);
    loop {
        scan.space();
        if broken > MAX_BROKEN || again == 0 {
            reader.error(scan.line, "too much of the file is broken: the rest is not read");
            reader.given_up = true;
            return;
        }
        match scan.peek() {
            None => {
                reader.error(scan.line, "the file is cut off: the array has no end");
                return;
            }
            Some(b',') => scan.step(),
            Some(b']') => {
                scan.step();
                return;
            }
            Some(_) => {
                let (start, line) = (scan.at, scan.line);
                count += 1;
                if count > MAX_OBJECTS {
                    let message = format!("more than {MAX_OBJECTS} objects: the rest is not read");
                    reader.error(line, message);
                    reader.given_up = true;
                    return;
                }
                if !scan.value() {
                    broken += 1;
                    reader.error(line, "an object without an end");
                    // Its braces or quotes are broken: go on where the next object begins.
                    let rest = text.get(start..).unwrap_or_default();
                    again = again.saturating_sub(rest.len());
                    let Some(next) = next_object(rest) else {
                        reader.given_up = true;
                        return;
                    };
                    (scan.at, scan.line) = (start, line);
                    scan.skip(next);
                    continue;
                }
                let element = text.get(start..scan.at).unwrap_or_default();
                if element.len() > MAX_ELEMENT {
                    reader.error(line, "an object of more than 16 MiB is not read");
                    continue;
                }
                if !element.starts_with(b"{") {
                    broken += 1;
                    reader.error(line, "not an object");
                    continue;
                }
                match serde_json::from_slice::<Keys>(element) {
                    Ok(Keys { map, .. }) if map.is_empty() => {}
                    Ok(Keys { map, repeated }) => {
                        for key in &repeated {
                            reader.warning(line, format!("key '{key}' stands twice; the first one counts"));
                        }
                        each(reader, Object { map, repeated, line });
                        // Whoever is given them has had enough.
                        if reader.given_up {
                            return;
                        }
                    }
                    Err(error) => {
                        broken += 1;
                        let message = error.to_string();
                        let message = message
                            .rfind(" at line ")
                            .map_or(message.as_str(), |at| &message[..at])
                            .to_owned();
                        let inner = u32::try_from(error.line()).unwrap_or(1).saturating_sub(1);
                        reader.error(line.saturating_add(inner), message);
                        // Its quotes may have swallowed others.
                        again = again.saturating_sub(element.len());
                        if let Some(next) = next_object(element) {
                            (scan.at, scan.line) = (start, line);
                            scan.skip(next);
                        }
                    }
                }
            }
        }
    }
}

/// Where the next object of the array begins, behind the first one: `},{` or a `{` at the begin of a line.
fn next_object(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    while at < text.len() {
        if text[at] == b'{' {
            let before = text[..at].iter().rposition(|b| !b.is_ascii_whitespace()).map(|p| (p, text[p]));
            if let Some((comma, b',')) = before
                && text[..comma]
                    .iter()
                    .rposition(|b| !b.is_ascii_whitespace())
                    .is_some_and(|p| text[p] == b'}')
            {
                return Some(at);
            }
        }
        at += 1;
    }
    None
}

struct Scan<'a> {
    text: &'a [u8],
    at: usize,
    line: u32,
}

impl Scan<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn step(&mut self) {
        if self.peek() == Some(b'\n') {
            self.line = self.line.saturating_add(1);
        }
        self.at += 1;
    }

    fn skip(&mut self, count: usize) {
        for _ in 0..count {
            self.step();
        }
    }

    fn space(&mut self) {
        while self.peek().is_some_and(|b| b.is_ascii_whitespace()) {
            self.step();
        }
    }

    /// Over one value; `false` if the text ends within it.
    fn value(&mut self) -> bool {
        let mut depth = 0u32;
        let mut in_string = false;
        while let Some(byte) = self.peek() {
            match (in_string, byte) {
                (true, b'\\') => self.step(),
                (true, b'"') => in_string = false,
                (true, _) => {}
                (false, b'"') => in_string = true,
                (false, b'{' | b'[') => depth = depth.saturating_add(1),
                (false, b'}' | b']') if depth == 0 => return true,
                (false, b'}' | b']') => {
                    depth -= 1;
                    if depth == 0 {
                        self.step();
                        return true;
                    }
                }
                (false, b',') if depth == 0 => return true,
                (false, _) => {}
            }
            self.step();
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::tos;

    #[test]
    fn a_tos_is_a_number_or_a_name() {
        assert_eq!(tos(&"CS1".into()), Some(0x20));
        assert_eq!(tos(&"lowdelay".into()), Some(0x10));
        assert_eq!(tos(&"0xb8".into()), Some(0xb8));
        assert_eq!(tos(&16.into()), Some(16));
        assert_eq!(tos(&"0x100".into()), None);
        assert_eq!(tos(&"CS9".into()), None);
    }
}
