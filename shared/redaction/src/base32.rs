//! Base32 (RFC 4648, sections 6 and 7) without padding.

/// Returns the text of some bytes in an alphabet.
pub(super) fn base32(bytes: &[u8], alphabet: &[u8; 32]) -> String {
    let mut text = String::with_capacity((bytes.len() * 8).div_ceil(5));
    for group in bytes.chunks(5) {
        let mut five = [0; 8];
        five[3..3 + group.len()].copy_from_slice(group);
        let number = u64::from_be_bytes(five);
        let characters = (group.len() * 8).div_ceil(5);
        text.extend((0..characters).map(|at| char::from(alphabet[(number >> (35 - 5 * at) & 31) as usize])));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test vectors of RFC 4648, section 10.
    #[test]
    fn bytes_are_encoded_as_the_standard_says() {
        for (bytes, standard, of_hex) in [
            ("", "", ""),
            ("f", "MY", "CO"),
            ("fo", "MZXQ", "CPNG"),
            ("foo", "MZXW6", "CPNMU"),
            ("foob", "MZXW6YQ", "CPNMUOG"),
            ("fooba", "MZXW6YTB", "CPNMUOJ1"),
            ("foobar", "MZXW6YTBOI", "CPNMUOJ1E8"),
        ] {
            assert_eq!(base32(bytes.as_bytes(), b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"), standard);
            assert_eq!(base32(bytes.as_bytes(), b"0123456789ABCDEFGHIJKLMNOPQRSTUV"), of_hex);
        }
    }
}
