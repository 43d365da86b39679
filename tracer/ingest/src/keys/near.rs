//! Names that are nearly another one.

/// The one of `known` that somebody meant who wrote `text`: one letter beside it, or two of a long name. Of several, the first by name.
pub fn near<'k>(text: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    // Nobody misspells a name to thrice its length.
    if text.len() > 200 {
        return None;
    }
    let text = text.to_ascii_lowercase();
    let most = match text.len() {
        0..=2 => 0,
        3..=7 => 1,
        _ => 2,
    };
    known
        .filter(|known| known.len().abs_diff(text.len()) <= most)
        .filter_map(|known| {
            let away = distance(text.as_bytes(), known.to_ascii_lowercase().as_bytes());
            (away <= most).then_some((away, known))
        })
        .min()
        .map(|(_, known)| known)
}

/// How many letters are put in, left out, changed, or changed places with the next one.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, &x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &y) in b.iter().enumerate() {
            let mut least = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && x == b[j - 1] && a[i - 1] == y {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::near;

    #[test]
    fn what_was_meant_is_found() {
        let known = ["gateway", "dev", "dst", "prefsrc", "nexthops", "master"];
        let near = |text| near(text, known.into_iter());
        assert_eq!(near("gatewya"), Some("gateway"));
        assert_eq!(near("Gateway"), Some("gateway"));
        assert_eq!(near("dts"), Some("dst"));
        assert_eq!(near("nextops"), Some("nexthops"));
        assert_eq!(near("nexthop"), Some("nexthops"));
        assert_eq!(near("mater"), Some("master"));
        assert_eq!(near("de"), None);
        assert_eq!(near("offload"), None);
        assert_eq!(near(""), None);
    }
}
