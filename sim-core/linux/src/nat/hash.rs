//! The kernel's `jhash2`, which chooses an address of a range.

/// Bob Jenkins' hash over 32-bit words (`include/linux/jhash.h`).
pub(super) fn jhash2(words: [u32; 4], initval: u32) -> u32 {
    let start = 0xdead_beef_u32.wrapping_add((words.len() as u32) << 2).wrapping_add(initval);
    let [w0, w1, w2, w3] = words;
    let (mut a, mut b, mut c) = (start.wrapping_add(w0), start.wrapping_add(w1), start.wrapping_add(w2));
    for (first, second, third) in [(4, 6, 8), (16, 19, 4)] {
        a = a.wrapping_sub(c) ^ c.rotate_left(first);
        c = c.wrapping_add(b);
        b = b.wrapping_sub(a) ^ a.rotate_left(second);
        a = a.wrapping_add(c);
        c = c.wrapping_sub(b) ^ b.rotate_left(third);
        b = b.wrapping_add(a);
    }
    a = a.wrapping_add(w3);
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    (c ^ b).wrapping_sub(b.rotate_left(24))
}

/// `reciprocal_scale`: `value` brought into `0..range`.
pub(super) fn scale(value: u32, range: u32) -> u32 {
    ((u64::from(value) * u64::from(range)) >> 32) as u32
}
