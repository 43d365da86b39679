//! Rates of `limit` and `hashlimit`: between text and what the kernel holds, with the tool's own rounding.

/// Parts of a second in the kernel's `avg` of `limit` (`XT_LIMIT_SCALE`).
pub(super) const LIMIT_SCALE: u64 = 10_000;
/// Parts of a second in the kernel's `avg` of `hashlimit`, revision 2 and later (`XT_HASHLIMIT_SCALE_v2`).
pub(super) const HASHLIMIT_SCALE: u64 = 1_000_000;
/// How long a `hashlimit` entry with a rate of bytes is kept unless said otherwise, in milliseconds (`XT_HASHLIMIT_BYTE_EXPIRE`).
pub(super) const BYTE_EXPIRE_MS: u32 = 15_000;

/// Units of a packet rate, longest first, with their seconds.
const UNITS: [(&str, u32); 4] = [("day", 86_400), ("hour", 3_600), ("min", 60), ("sec", 1)];

/// A packet rate as the tools print it, and the seconds of the unit that it is printed in.
pub(super) fn packets(avg: u64, scale: u64) -> (String, u32) {
    let avg = avg.max(1);
    let mult = |unit: u32| u64::from(unit) * scale;
    let mut chosen = UNITS[0];
    for unit in &UNITS[1..] {
        // The first unit that would no longer hold it, or hold it less exactly, ends the search.
        if avg > mult(unit.1) || mult(unit.1) / avg < mult(unit.1) % avg {
            break;
        }
        chosen = *unit;
    }
    (format!("{}/{}", mult(chosen.1) / avg, chosen.0), chosen.1)
}

/// The kernel's `avg` of a packet rate such as `10/sec`, `5/h`, `7`, and the seconds of its unit.
pub(super) fn parse_packets(text: &str, scale: u64) -> Option<(u64, u32)> {
    let (count, unit) = match text.split_once('/') {
        Some((count, unit)) => (count, unit.to_ascii_lowercase()),
        None => (text, "second".to_owned()),
    };
    if unit.is_empty() {
        return None;
    }
    let names = [("second", 1u32), ("minute", 60), ("hour", 3_600), ("day", 86_400)];
    let (_, seconds) = names.iter().find(|(name, _)| name.starts_with(unit.as_str()))?;
    let count: u64 = count.parse().ok().filter(|count| *count != 0)?;
    // Faster than the scale can hold.
    if count / u64::from(*seconds) > scale {
        return None;
    }
    let avg = scale * u64::from(*seconds) / count;
    (avg != 0).then_some((avg, *seconds))
}

/// The kernel counts bytes in sixteens.
const BYTE_SHIFT: u32 = 4;

fn bytes_to_cost(bytes: u64) -> u64 {
    u64::from(u32::MAX) / ((bytes >> BYTE_SHIFT) + 1)
}

fn cost_to_bytes(cost: u64) -> u64 {
    let rate = u64::from(u32::MAX).checked_div(cost).unwrap_or(u64::from(u32::MAX));
    rate.saturating_sub(1) << BYTE_SHIFT
}

/// Units of bytes, largest first.
const BYTE_UNITS: [(&str, u64); 3] = [("mb", 1_048_576), ("kb", 1024), ("b", 1)];

/// A byte rate, in the largest unit that loads the same rate.
pub(super) fn bytes_per_second(bytes: u64) -> String {
    let cost = bytes_to_cost(bytes);
    let rounded = cost_to_bytes(cost);
    if rounded == 0 {
        // The tool prints a rate here that it does not take back.
        return format!("{}b/s", bytes.max(1));
    }
    let same = |unit: u64| rounded >= unit && bytes_to_cost(rounded & !(unit - 1)) == cost;
    let (name, unit) = BYTE_UNITS.into_iter().find(|(_, unit)| same(*unit)).unwrap_or(("b", 1));
    format!("{}{name}/s", rounded / unit)
}

/// A burst in bytes, which the kernel keeps as a multiple of the rate: in the largest unit that fits, as the tool prints, or in bytes where that
/// would not load the same burst.
pub(super) fn byte_burst(rate: u64, burst: u64) -> String {
    let one = cost_to_bytes(bytes_to_cost(rate)).max(1);
    let multiple = burst.div_ceil(one);
    let whole = multiple.saturating_mul(one);
    let (name, unit) = BYTE_UNITS.into_iter().find(|(_, unit)| whole >= *unit).unwrap_or(("b", 1));
    let same = (whole / unit * unit).div_ceil(one) == multiple;
    if same { format!("{}{name}", whole / unit) } else { format!("{whole}b") }
}

/// A number of bytes such as `512kb`, with or without `/s`.
pub(super) fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.strip_suffix("/s").unwrap_or(text);
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let factor = match text.get(digits.len()..)?.to_ascii_lowercase().as_str() {
        "b" | "" => 1,
        "kb" => 1024,
        "mb" => 1_048_576,
        _ => return None,
    };
    digits
        .parse::<u64>()
        .ok()?
        .checked_mul(factor)
        .filter(|bytes| *bytes <= u64::from(u32::MAX) << BYTE_SHIFT)
}
