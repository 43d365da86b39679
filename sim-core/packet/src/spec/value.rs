//! Values of keys: text to value.

use std::net::Ipv4Addr;

use super::ast::{Data, Sum};
use crate::MacAddr;

/// A number, decimal or `0x` and hexadecimal, that fits `T`.
pub(super) fn number<T: TryFrom<u64>>(text: &str) -> Option<T> {
    let value = match text.strip_prefix("0x") {
        Some(hex) if !hex.starts_with('+') => u64::from_str_radix(hex, 16).ok()?,
        None if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok()?,
        _ => return None,
    };
    T::try_from(value).ok()
}

/// `HH:MM:SS.mmm`, as tcpdump writes the times of ICMP, or a number: milliseconds. Any of 32 bits, whether or not it is one of a day.
pub(super) fn time(text: &str) -> Option<u32> {
    let Some((hours, rest)) = text.split_once(':') else { return number(text) };
    let (minutes, rest) = rest.split_once(':')?;
    let (seconds, millis) = rest.split_once('.')?;
    let part = |text: &str, digits: usize, end: u64| {
        let right = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u64>().ok().filter(|value| right && *value < end)
    };
    // 2^32 milliseconds are less than 1194 hours.
    let hours = part(hours, hours.len().clamp(2, 4), 1194)?;
    let seconds = (hours * 60 + part(minutes, 2, 60)?) * 60 + part(seconds, 2, 60)?;
    u32::try_from(seconds * 1000 + part(millis, 3, 1000)?).ok()
}

/// Pairs of hexadecimal digits.
pub(super) fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let bytes = text.as_bytes();
    if !bytes.len().is_multiple_of(2) {
        return None;
    }
    bytes.chunks_exact(2).map(|pair| Some((digit(pair[0])? << 4) | digit(pair[1])?)).collect()
}

/// `HEX`, `HEX+N` or `"text"`.
pub(super) fn data(text: &str) -> Option<Data> {
    if let Some(quoted) = text.strip_prefix('"') {
        let mut bytes = Vec::with_capacity(quoted.len());
        let mut chars = quoted.chars();
        loop {
            let char = match chars.next()? {
                '"' => break,
                '\\' => match chars.next()? {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    char @ ('"' | '\\') => char,
                    _ => return None,
                },
                char => char,
            };
            bytes.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
        }
        return chars.next().is_none().then_some(Data { bytes, zeros: 0 });
    }
    let (held, zeros) = match text.split_once('+') {
        Some((held, zeros)) => (held, number::<u32>(zeros)? as usize),
        None => (text, 0),
    };
    Some(Data { bytes: hex(held)?, zeros })
}

/// Six pairs of hexadecimal digits with colons.
pub(super) fn mac(text: &str) -> Option<MacAddr> {
    let mut parts = text.split(':');
    let mut mac = [0; 6];
    for byte in &mut mac {
        match hex(parts.next()?)?.as_slice() {
            [one] => *byte = *one,
            _ => return None,
        }
    }
    parts.next().is_none().then_some(MacAddr(mac))
}

/// `none`, `bad` or a number.
pub(super) fn sum(text: &str, bits: u32) -> Option<Sum> {
    match text {
        "bad" => Some(Sum::Bad),
        _ => number::<u32>(text).filter(|value| bits == 32 || *value <= 0xffff).map(Sum::Value),
    }
}

/// Letters in any order (`S`, `SA`), names with commas (`SYN,ACK`), or `none`.
pub(super) fn flags(text: &str) -> Option<u8> {
    if text == "none" {
        return Some(0);
    }
    if let Some(flags) = flag_names(text) {
        return Some(flags);
    }
    let mut flags = 0;
    for char in text.chars() {
        let (bit, _) = FLAGS.iter().find(|(_, letter)| *letter == char)?;
        flags |= bit;
    }
    (flags != 0).then_some(flags)
}

/// `SYN`, `SYN,ACK`: as reports write flags.
pub(super) fn flag_names(text: &str) -> Option<u8> {
    let mut flags = 0;
    for name in text.split(',') {
        let (bit, _) = FLAG_NAMES.iter().find(|(_, known)| *known == name)?;
        flags |= bit;
    }
    Some(flags)
}

/// Flag bits and their names, in the order in which reports write them.
pub(super) const FLAG_NAMES: [(u8, &str); 8] = {
    use crate::tcp_flag::{ACK, CWR, ECE, FIN, PSH, RST, SYN, URG};
    [
        (SYN, "SYN"),
        (FIN, "FIN"),
        (RST, "RST"),
        (PSH, "PSH"),
        (ACK, "ACK"),
        (URG, "URG"),
        (ECE, "ECE"),
        (CWR, "CWR"),
    ]
};

/// Flag bits and their letters, in the order in which they are printed.
pub(super) const FLAGS: [(u8, char); 8] = {
    use crate::tcp_flag::{ACK, CWR, ECE, FIN, PSH, RST, SYN, URG};
    [(SYN, 'S'), (FIN, 'F'), (RST, 'R'), (PSH, 'P'), (ACK, 'A'), (URG, 'U'), (ECE, 'E'), (CWR, 'C')]
};

/// A DSCP: its number, or the name of its class.
pub(super) fn dscp(text: &str) -> Option<u8> {
    let lower = text.to_ascii_lowercase();
    let digit = |at: usize| lower.as_bytes().get(at).and_then(|b| b.checked_sub(b'0')).unwrap_or(255);
    let value = match lower.as_str() {
        "be" => 0,
        "ef" => 46,
        name if name.len() == 3 && name.starts_with("cs") && digit(2) < 8 => digit(2) << 3,
        name if name.len() == 4
            && name.starts_with("af")
            && (1..=4).contains(&digit(2))
            && (1..=3).contains(&digit(3)) =>
        {
            (digit(2) << 3) | (digit(3) << 1)
        }
        _ => number(text)?,
    };
    (value < 64).then_some(value)
}

/// An IPv4 address, host byte order.
pub(super) fn addr(text: &str) -> Option<u32> {
    text.parse::<Ipv4Addr>().ok().map(u32::from)
}
