//! As much of DER (X.690) as it takes to find something in what a library has read and checked already: the
//! extensions of a certificate, the numbers of a key. It checks nothing by itself.

const OBJECT_IDENTIFIER: u8 = 0x06;
#[cfg(feature = "sending")]
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const SEQUENCE: u8 = 0x30;
/// `[3]` of a certificate (RFC 5280, section 4.1).
const EXTENSIONS: u8 = 0xa3;

/// Tag and content of the first element, and what follows it. Up to 64 KB, more than a key or certificate has.
fn first(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81 | 0x82 => {
            let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// Tag and content of each element, one after the other.
pub(crate) fn elements(bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (tag, content, after) = first(rest)?;
        rest = after;
        Some((tag, content))
    })
}

/// The content of the first element with this tag.
pub(crate) fn content(bytes: &[u8], wanted: u8) -> Option<&[u8]> {
    elements(bytes).find_map(|(tag, content)| (tag == wanted).then_some(content))
}

/// Whether a certificate has an extension with this object identifier.
pub(crate) fn has_extension(certificate: &[u8], arcs: &[u64]) -> bool {
    let identifier = object_identifier(arcs);
    let extensions = content(certificate, SEQUENCE)
        .and_then(|certificate| content(certificate, SEQUENCE))
        .and_then(|certificate| content(certificate, EXTENSIONS))
        .and_then(|extensions| content(extensions, SEQUENCE));
    extensions.is_some_and(|extensions| {
        elements(extensions).any(|(_, extension)| content(extension, OBJECT_IDENTIFIER) == Some(&identifier))
    })
}

/// The numbers of an object identifier that is written with dots.
pub(crate) fn arcs(text: &str) -> Option<Vec<u64>> {
    let arcs: Vec<u64> = text.split('.').map(|arc| arc.parse().ok()).collect::<Option<_>>()?;
    matches!(arcs.as_slice(), [0 | 1, 0..40, ..] | [2, 0..1_000, ..]).then_some(arcs)
}

/// An object identifier as it is encoded: the first two numbers in one, each in base 128.
fn object_identifier(arcs: &[u64]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let Some(([first, second], rest)) = arcs.split_first_chunk() else { return bytes };
    for arc in std::iter::once(first * 40 + second).chain(rest.iter().copied()) {
        let digits = (u64::BITS - arc.leading_zeros()).div_ceil(7).max(1);
        bytes.extend((0..digits).rev().map(|digit| {
            let more = if digit == 0 { 0 } else { 0x80 };
            more | u8::try_from(arc >> (7 * digit) & 0x7f).unwrap_or_default()
        }));
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_identifiers_are_read_and_written() {
        for (text, want) in [
            ("1.3.6.1.5.5.7.3.3", Some(vec![0x2b, 6, 1, 5, 5, 7, 3, 3])),
            // openssl asn1parse -genstr OID:1.2.840.113635.100.6.11.1
            ("1.2.840.113635.100.6.11.1", Some(vec![0x2a, 0x86, 0x48, 0x86, 0xf7, 0x63, 0x64, 6, 11, 1])),
            ("2.999.0", Some(vec![0x88, 0x37, 0])),
            ("1.40", None),
            ("3.1", None),
            ("1", None),
            ("1.2.", None),
            ("1.2.x", None),
            ("", None),
        ] {
            assert_eq!(arcs(text).map(|arcs| object_identifier(&arcs)), want, "{text}");
        }
    }

    #[test]
    fn what_is_cut_off_has_no_extension() {
        // SEQUENCE { SEQUENCE { [3] { SEQUENCE { SEQUENCE { OID 1.2.3, OCTET STRING } } } } }
        let whole = [0x30, 14, 0x30, 12, 0xa3, 10, 0x30, 8, 0x30, 6, 6, 2, 0x2a, 3, 4, 0];
        assert!(has_extension(&whole, &[1, 2, 3]));
        assert!(!has_extension(&whole, &[1, 2]) && !has_extension(&whole, &[]));
        for end in 0..whole.len() {
            assert!(!has_extension(&whole[..end], &[1, 2, 3]), "{end}");
        }
        assert!(!has_extension(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], &[1, 2, 3]));
    }
}
