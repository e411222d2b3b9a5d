//! X-Ray's trace of a request, as the header that carries it on.
//!
//! The form: <https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader>
//! (read 2026-11-21). A sender can have a say in it, so only what has the form is ever logged or sent.

/// The message attribute of SQS that carries it: no part of what counts against a message's size.
pub const ATTRIBUTE: &str = "AWSTraceHeader";

/// Longest header. Lambda's have about 100 bytes; `Lineage` grows with each function on the way.
const HEADER_BYTES_MAX: usize = 512;

/// The id of the trace that a header is about: `1-5759e988-bd862e3fe1be46a994272793`. `None` for what is no header.
pub fn root(header: &str) -> Option<&str> {
    if header.len() > HEADER_BYTES_MAX {
        return None;
    }
    let mut root = None;
    for part in header.split(';') {
        let (name, value) = part.split_once('=')?;
        let good = match name {
            "Root" | "Self" => is_id(value),
            "Parent" => is_hex(value, 16),
            "Sampled" => matches!(value, "0" | "1" | "?"),
            "Lineage" => value.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':' || byte == b'|'),
            _ => false,
        };
        if !good {
            return None;
        }
        if name == "Root" {
            root = Some(value);
        }
    }
    root
}

fn is_id(text: &str) -> bool {
    let mut parts = text.split('-');
    let (version, seconds, random) = (parts.next(), parts.next(), parts.next());
    version == Some("1")
        && seconds.is_some_and(|text| is_hex(text, 8))
        && random.is_some_and(|text| is_hex(text, 24))
        && parts.next().is_none()
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "1-5759e988-bd862e3fe1be46a994272793";

    #[test]
    fn the_root_of_what_has_the_form() {
        for header in [
            format!("Root={ID}"),
            format!("Root={ID};Sampled=1"),
            format!("Root={ID};Parent=53995c3f42cd8ad8;Sampled=0;Lineage=25:a87bd80c:1|8:0123abcd:0"),
            format!("Self=1-67891234-12456789abcdef0123456789;Root={ID}"),
            format!("Sampled=?;Root={}", ID.to_uppercase()),
        ] {
            assert_eq!(root(&header).map(str::to_lowercase).as_deref(), Some(ID), "{header}");
        }
    }

    #[test]
    fn nothing_of_anything_else() {
        let long = format!("Root={ID};Lineage={}", "0".repeat(HEADER_BYTES_MAX));
        let with = |rest: &str| format!("Root={ID}{rest}");
        for header in [
            "",
            "Root",
            "Root=",
            "Root=1-5759e988",
            "Root=2-5759e988-bd862e3fe1be46a994272793",
            "Root=1-5759e988-bd862e3fe1be46a994272793-1",
            "Root=1-5759e988-bd862e3fe1be46a99427279g",
            "Parent=53995c3f42cd8ad8;Sampled=1",
            &with(";"),
            &with("; Sampled=1"),
            &with(";Sampled=yes"),
            &with(";Parent=5399"),
            &with(";Mine=MARKER"),
            &with(";Lineage=\n"),
            &with("\0"),
            &with("ä"),
            &long,
        ] {
            assert_eq!(root(header), None, "{header}");
        }
    }
}
