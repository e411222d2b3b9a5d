//! The seeds of `config`: files that are right, each with one thing in it that is wrong, and what else is written in them.

use std::{collections::BTreeMap, fs, path::Path, sync::LazyLock};

use toml::{Table, Value};

use crate::seeds::{ROOT, SCHEMAS};

/// What a source can say like an entry of the catalogue.
const OF_A_SOURCE: &[&str] = &[
    "answer",
    "any_body",
    "encrypted",
    "event",
    "handshake",
    "identical_bodies_differ",
    "json_field",
    "refused",
    "verify",
];

/// Networks, as they are written in many ways.
const NETWORKS: &[&str] = &[
    "192.0.2.1",
    "192.0.2.0/24",
    "192.0.2.0/33",
    "256.0.0.1",
    "01.2.3.4",
    "::",
    "::/0",
    "::1/128",
    "::1/129",
    "2001:db8::/32",
    "2001:db8:1:2:3:4:5:6",
    "2001:db8:1:2:3:4:5:6:7",
    "::ffff:192.0.2.1/96",
    "2001:db8:1:2:3:4:192.0.2.1",
    "1::2::3",
    "fe80::1%eth0",
    "12345::",
    "::g",
    ":",
];

/// Headers that the parser of their names knows, which stand in no text of it.
const HEADERS: &str = "accept accept-charset accept-encoding accept-language accept-ranges \
    access-control-allow-credentials access-control-allow-headers access-control-allow-methods \
    access-control-allow-origin access-control-expose-headers access-control-max-age access-control-request-headers \
    access-control-request-method age allow alt-svc authorization cache-control cache-status cdn-cache-control \
    connection content-disposition content-encoding content-language content-length content-location content-range \
    content-security-policy content-security-policy-report-only content-type cookie dnt date etag expect expires \
    forwarded from host if-match if-modified-since if-none-match if-range if-unmodified-since last-modified link \
    location max-forwards origin pragma proxy-authenticate proxy-authorization public-key-pins \
    public-key-pins-report-only range referer referrer-policy refresh retry-after sec-websocket-accept \
    sec-websocket-extensions sec-websocket-key sec-websocket-protocol sec-websocket-version server set-cookie \
    strict-transport-security te trailer transfer-encoding upgrade upgrade-insecure-requests user-agent vary via \
    warning www-authenticate x-content-type-options x-dns-prefetch-control x-frame-options x-xss-protection X-Own x \
    y!#$%&'*+-.^_`|~z";

/// Values of TOML that its own table has no room for, or that it writes in another way.
const VALUES: &[&str] = &[
    "18446744073709551615",
    "-9223372036854775809",
    "340282366920938463463374607431768211455",
    "0x7fffffffffffffff",
    "0o17",
    "0b101",
    "1_000",
    "1e400",
    "-0.0",
    "inf",
    "-nan",
    "1.5e-3",
    "2026-11-22",
    "10:00:00.123456789",
    "2026-11-22T10:00:00",
    "2026-11-22 10:00:00.5+01:30",
    "2026-02-30",
    "'''\nx'''",
    r#""\u00e9\x41\e\U0001f4a9 \"""#,
    "{ a.b = 1, 'c d' = [{}], }",
    "[1, 'x', 1.5, 2026-11-22,]",
];

/// What may stand where something else should.
static OTHERS: LazyLock<Table> = LazyLock::new(|| {
    toml::from_str(
        "none = ''\nword = 'x'\nglob = '*'\nplace = 'json:/x'\nbrace = '{{ x'\nzero = 0\nminus = -1\nlarge = 9223372036854775807\n\
         half = 1.5\nyes = true\nlist = []\nwords = ['x', 'x']\nlists = [[]]\nmixed = ['x', 1]\ntable = {}\nwrong = { x = 1 }\n\
         day = 2026-11-22T10:00:00Z\n",
    )
    .unwrap()
});

/// `hookgate.toml`, what the pages and the comments of the actions show of it, and a source of one's own for every way to sign
/// that the catalogue knows: the file is long, and its words stand in no string of the code.
fn right() -> Vec<String> {
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    let root = Path::new(ROOT);
    let actions =
        fs::read_dir(root.join("crates/hookgate_core/src/actions")).unwrap().map(|file| file.unwrap().path());
    let mut found: Vec<String> = vec![read(&root.join("hookgate.toml"))];
    for page in actions.chain([root.join("README.md"), root.join("docs/deploy.md")]) {
        let text: Vec<_> =
            read(&page).lines().map(|line| line.trim_start_matches("//!").to_owned()).collect();
        let fences = text.join("\n");
        found.extend(
            fences.split("```toml\n").skip(1).filter_map(|rest| Some(rest.split_once("```")?.0.to_owned())),
        );
    }
    let catalogue = read(&root.join("crates/hookgate_verify/catalogue.toml"));
    found.extend(catalogue.split("\n[").skip(1).map(|provider| {
        let lines = provider
            .lines()
            .filter(|line| line.split_once(" = ").is_some_and(|(key, _)| OF_A_SOURCE.contains(&key)));
        format!("[sources.a]\nprovider = \"generic\"\n{}\n", lines.collect::<Vec<_>>().join("\n"))
    }));
    let slugs = catalogue.split("\n[").skip(1).filter_map(|provider| Some(provider.split_once(']')?.0));
    found.push(slugs.map(|slug| format!("[sources.{slug}]\nprovider = \"{slug}\"\n")).collect());
    found.push(
        r#"[sources.a]
provider = "generic"
verify = { scheme = "hmac", hash = "sha256", header = "x", encoding = "hex", signed = "{timestamp}.{body}", timestamp = "header:t", tolerance = 5 }
event = { id = "json:/id", type = "json:/t or path" }
required = ["json:/a"]
addresses = ["10.0.0.0/8"]
mode = "quarantine"
"#
        .to_owned(),
    );
    found
}

/// The value with one thing in it changed, by what was changed where.
fn wrong(value: &Value, place: &str) -> Vec<(String, Value)> {
    let mut found: Vec<_> =
        OTHERS.iter().map(|(name, other)| (format!("{place} = {name}"), other.clone())).collect();
    match value {
        Value::Table(table) => {
            for (key, inner) in table {
                let place = format!("{place}.{key}");
                let mut without = table.clone();
                without.remove(key);
                let mut misspelled = without.clone();
                misspelled.insert(format!("{key}s"), inner.clone());
                found.push((format!("{place} is missing"), without.into()));
                found.push((format!("{place} is misspelled"), misspelled.into()));
                found.extend(wrong(inner, &place).into_iter().map(|(what, inner)| {
                    let mut table = table.clone();
                    table.insert(key.clone(), inner);
                    (what, table.into())
                }));
            }
        }
        Value::Array(items) => {
            if let Some(first) = items.first() {
                found.extend(wrong(first, &format!("{place}[]")).into_iter().map(|(what, first)| {
                    let rest = items.iter().skip(1).cloned();
                    (what, [first].into_iter().chain(rest).collect::<Vec<_>>().into())
                }));
            }
        }
        _ => {}
    }
    found
}

/// Every source, action and route alone, with one thing in it that is wrong: the same of the same kind once.
fn all_wrong(files: &[String]) -> impl Iterator<Item = String> {
    let mut found = BTreeMap::new();
    for file in files {
        let file: Table = toml::from_str(file).unwrap();
        for (section, entries) in &file {
            let entries: Vec<&Value> = match entries {
                Value::Table(named) => named.values().collect(),
                Value::Array(listed) => listed.iter().collect(),
                alone => vec![alone],
            };
            for entry in entries {
                let kind = entry.get("kind").and_then(Value::as_str).unwrap_or_default();
                for (what, entry) in wrong(entry, &format!("{section} {kind}")) {
                    let entries = match file[section] {
                        Value::Table(_) => Table::from_iter([("a".to_owned(), entry)]).into(),
                        Value::Array(_) => Value::Array(vec![entry]),
                        _ => entry,
                    };
                    let text = toml::to_string(&Table::from_iter([(section.clone(), entries)])).unwrap();
                    found.entry(what).or_insert(text);
                }
            }
        }
    }
    found.into_values()
}

/// What the file has in it of other languages: what is kept of the targets that read these, each in its place.
fn of_others() -> Vec<String> {
    let kept = |target: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
        let files = fs::read_dir(folder).unwrap().map(|file| fs::read(file.unwrap().path()).unwrap());
        files.filter_map(|file| String::from_utf8(file).ok()).map(Value::from)
    };
    let templates = kept("templates").flat_map(|text| {
        [
            format!("[actions.a]\nkind = \"slack\"\ntext = {text}\n"),
            format!("[[routes]]\nsource = \"*\"\nfilter = {text}\nactions = []\n"),
        ]
    });
    let first_line =
        |text: Value| Value::from(text.as_str().and_then(|text| text.lines().next()).unwrap_or_default());
    let locators = kept("locators")
        .map(first_line)
        .map(|locator| format!("[sources.a]\nprovider = \"raw\"\nevent = {{ id = {locator} }}\n"));
    let networks = NETWORKS
        .iter()
        .map(|network| format!("[sources.a]\nprovider = \"raw\"\naddresses = [\"{network}\"]\n"));
    // Each, and each with every one of its letters another: it is compared letter by letter.
    let headers = HEADERS.split_whitespace().flat_map(|name| {
        let with_z =
            |at: usize| name.chars().enumerate().map(|(n, c)| if n == at { 'z' } else { c }).collect();
        let changed = (0..name.len()).map(with_z);
        changed.chain([name.to_owned()]).map(|name| {
            format!(
                "[sources.a]\nprovider = \"raw\"\nverify = {{ scheme = \"token\", header = \"{name}\" }}\n"
            )
        })
    });
    let values = VALUES.iter().flat_map(|value| {
        [
            format!("[sources.a]\nprovider = \"raw\"\nretention_days = {value}\nanswer = {value}\n"),
            format!("[actions.a]\nkind = \"http\"\nurl = {value}\nretry = {value}\n"),
        ]
    });
    let schemas =
        SCHEMAS.iter().map(|schema| Value::from(*schema)).chain(kept("json_schema").map(first_line));
    let schemas = schemas.map(|schema| format!("[sources.a]\nprovider = \"raw\"\nschema = {schema}\n"));
    templates.chain(locators).chain(networks).chain(headers).chain(values).chain(schemas).collect()
}

pub(crate) fn all() -> Vec<Vec<u8>> {
    let right = right();
    let mut found: Vec<_> = all_wrong(&right).chain(right.iter().cloned()).chain(of_others()).collect();
    found.sort();
    found.dedup();
    found.into_iter().map(String::into_bytes).collect()
}
