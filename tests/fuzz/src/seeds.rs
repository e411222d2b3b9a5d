//! What each target begins with: real requests, in the target's own form.

use std::{collections::BTreeMap, fs, path::Path};

use data_encoding::BASE64;
use hookgate_core::{
    codec::{self, Message},
    event::Event,
    handshake::Handshake,
    ids::{EventId, Name},
    request::Request,
};
use serde::Deserialize;
use serde_json::Value;

use crate::{configurations, targets::NOW};

pub(crate) const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

#[derive(Deserialize)]
struct Vector {
    provider: String,
    secrets: Value,
    method: String,
    url: String,
    headers: serde_json::Map<String, Value>,
    body: String,
    body_encoding: String,
}

impl Vector {
    fn body(&self) -> Vec<u8> {
        match self.body_encoding.as_str() {
            "base64" => BASE64.decode(self.body.as_bytes()).unwrap(),
            _ => self.body.clone().into_bytes(),
        }
    }

    fn header(&self, wanted: &str) -> &str {
        let found = self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.and_then(|(_, value)| value.as_str()).unwrap_or_default()
    }

    /// As [`crate::targets::signatures`] takes it.
    fn text(&self) -> Vec<u8> {
        let secret = match &self.secrets {
            Value::Object(named) if named.len() == 1 && named.contains_key("secret") => &named["secret"],
            other => other,
        };
        let mut text = format!("{}\n{secret}\n{}", self.provider, self.request_head()).into_bytes();
        text.extend(self.body());
        text
    }

    fn request_head(&self) -> String {
        let headers: String = self
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}\n", value.as_str().unwrap_or_default()))
            .collect();
        format!("{} {}\n{headers}\n", self.method, self.url)
    }
}

fn vectors() -> Vec<Vector> {
    serde_json::from_str(include_str!("../../vectors.json")).unwrap()
}

/// Files of `events/` whose names end so.
fn files(end: &str) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for folder in fs::read_dir(Path::new(ROOT).join("events")).unwrap() {
        let folder = folder.unwrap().path();
        if folder.is_dir() {
            for file in fs::read_dir(folder).unwrap() {
                let file = file.unwrap().path();
                if file.to_str().unwrap().ends_with(end) {
                    found.push(fs::read(file).unwrap());
                }
            }
        }
    }
    found.sort();
    found
}

/// An event.
pub fn event() -> Event {
    let mut request = Request::post("", *b"{\"id\": 1}", NOW);
    request.set_header("content-type", "application/json");
    request.query = "a=1".into();
    Event {
        source: Name::parse("shop").unwrap(),
        id: EventId::from_stored("evt_1"),
        event_type: "order.paid".into(),
        occurred_at: Some(NOW),
        unverified: None,
        order_key: Some("customer 7".into()),
        request,
    }
}

fn queue_messages() -> Vec<Vec<u8>> {
    let batches = files(".worker.json").into_iter().filter_map(|batch| {
        let batch: Value = serde_json::from_slice(&batch).ok()?;
        Some(batch["Records"][0]["body"].as_str()?.as_bytes().to_vec())
    });
    let pointing = Message::pointing(&Name::parse("shop").unwrap(), &EventId::from_stored("evt_1"));
    batches.chain([pointing.to_text().into_bytes()]).collect()
}

fn items() -> Vec<Vec<u8>> {
    let keys = "E#shop#evt_1\n1780000000123#shop#evt_1\n";
    let attempts =
        r#"[{"action":"post","outcome":"retry","next_at":1780000005000,"at":1780000000000,"detail":"503"}]"#;
    let with = |content: &[u8]| [keys.as_bytes(), content].concat();
    vec![
        with(&codec::encode(&event(), 7).unwrap()),
        with(attempts.as_bytes()),
        with(br#"[{"action":"post","outcome":"done","at":1780000000000,"detail":"200"}]"#),
        b"C#orders\n2026-05-28#a#b#0f\n".to_vec(),
        b"Q#shop\n1780000000123#0123456789abcdef\n".to_vec(),
    ]
}

fn multipart() -> Vec<Vec<u8>> {
    let body = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--b\r\nContent-Disposition: form-data; name=\"payload\"\r\n\r\n{\"x\": [1]}\r\n--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"n.txt\"\r\nContent-Type: text/plain\r\n\r\ntext\r\n--b--\r\n";
    let made = format!("multipart/form-data; boundary=b\n{body}").into_bytes();
    let real = vectors()
        .into_iter()
        .filter(|it| it.header("content-type").starts_with("multipart/"))
        .map(|vector| [vector.header("content-type").as_bytes(), b"\n".as_slice(), &vector.body()].concat());
    real.chain([made]).collect()
}

fn locators() -> Vec<Vec<u8>> {
    let request = "POST https://hooks.example.com/webhooks/x?key=1\ncontent-type: application/json\nx-id: 7\n\n{\"id\": \"a\", \"data\": {\"list\": [1, \"two\"]}}";
    let mut written: Vec<String> = hookgate_core::catalogue::all()
        .into_iter()
        .flat_map(|provider| {
            let event = provider.event;
            [event.id.to_string(), event.event_type.to_string(), event.time.to_string()]
        })
        .collect();
    written.sort();
    written.dedup();
    written.iter().map(|locator| format!("{locator}\n{request}").into_bytes()).collect()
}

/// For each kind of handshake: the vectors of a provider that makes it, and a request with every parameter of any.
fn handshakes() -> Vec<Vec<u8>> {
    let mut kinds: BTreeMap<String, String> = BTreeMap::new();
    for provider in hookgate_core::catalogue::all() {
        if provider.handshake != Handshake::None {
            kinds.entry(format!("{:?}", provider.handshake)).or_insert(provider.slug);
        }
    }
    let secret = r#"{"secret":"s","verify_token":"t","topic":"p"}"#;
    let query = "hub.mode=subscribe&hub.verify_token=t&hub.challenge=c12&hub.topic=p&crc_token=abc&challenge=d34&token=t&validationToken=e56";
    let body = r#"{"type":"url_verification","challenge":"f78","token":"t","event":"endpoint.url_validation","payload":{"plainToken":"g9"}}"#;
    let made = kinds.values().flat_map(|slug| {
        ["GET", "POST"].map(|method| {
            format!("{slug}\n{secret}\n{method} https://hooks.example.com/webhooks/x?{query}\ncontent-type: application/json\n\n{body}")
                .into_bytes()
        })
    });
    let real = vectors().into_iter().filter(|it| kinds.values().any(|slug| *slug == it.provider));
    made.chain(real.map(|it| it.text())).collect()
}

/// Each keyword of JSON Schema.
pub(crate) const SCHEMAS: &[&str] = &[
    "true",
    "false",
    r#"{"type": ["null", "boolean", "object", "array", "number", "integer", "string"]}"#,
    r#"{"type": "integer", "minimum": 0, "maximum": 5, "multipleOf": 0.5}"#,
    r#"{"exclusiveMinimum": 0.5, "exclusiveMaximum": 18446744073709551615}"#,
    r#"{"enum": [null, true, 1, 1.5, "a", [1, 2], {"a": 1}]}"#,
    r#"{"const": {"a": [1.0, "b"], "b": {}}}"#,
    r#"{"minLength": 1, "maxLength": 3, "pattern": "^[a-c]+$|\\d{2,3}(x|yz)*\\b"}"#,
    r#"{"prefixItems": [{"type": "string"}, false], "items": {"minimum": 2}}"#,
    r#"{"minItems": 1, "maxItems": 3, "uniqueItems": true}"#,
    r#"{"contains": {"type": "string"}, "minContains": 2, "maxContains": 3}"#,
    r#"{"required": ["a", "b"], "minProperties": 1, "maxProperties": 2}"#,
    r#"{"properties": {"a": {"type": "integer"}}, "patternProperties": {"^b": {"type": "string"}},
        "additionalProperties": false}"#,
    r#"{"propertyNames": {"maxLength": 1}, "dependentRequired": {"a": ["b", "c"]}}"#,
    r#"{"allOf": [{"type": "object"}, {"not": {"required": ["c"]}}]}"#,
    r#"{"anyOf": [{"minimum": 1}, {"maxLength": 1}], "oneOf": [{"type": "string"}, {"type": "number"}]}"#,
    r#"{"if": {"type": "string"}, "then": {"minLength": 2}, "else": {"type": ["object", "array"]}}"#,
    r##"{"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"properties": {"a": {"$ref": "#"}}, "type": "object"}}}"##,
    r##"{"definitions": {"n": {"type": "integer"}}, "items": {"anyOf": [{"$ref": "#/definitions/n"}, true]}}"##,
    r##"{"$schema": "x", "$id": "y", "title": "t", "$comment": "c", "format": "email", "default": 1, "$ref": "#"}"##,
    r#"{"unevaluatedProperties": false}"#,
    r#"{"minLength": 2.0, "maxItems": 1e3, "minimum": -9223372036854775808, "multipleOf": 1e-300}"#,
];

/// Each keyword, with values that fit it and values that don't.
fn schemas() -> Vec<Vec<u8>> {
    const VALUES: &[&str] = &[
        "null",
        "true",
        "0",
        "1.0",
        "2.5",
        "18446744073709551615",
        "-1e300",
        r#""""#,
        r#""abc""#,
        r#""12xyz\u00fc""#,
        "[]",
        r#"["a", "b", 3]"#,
        "[1, 1.0, [1, 2], [1, 2.0], {\"a\": 1}, {\"a\": 1.0}]",
        "{}",
        r#"{"a": 1, "b": "x"}"#,
        r#"{"a": {"a": {"b": 1}}, "bc": 2, "c": null}"#,
    ];
    let one_line = |schema: &str| schema.replace('\n', "");
    let pairs = SCHEMAS.iter().flat_map(|schema| VALUES.iter().map(move |value| (schema, value)));
    pairs.map(|(schema, value)| format!("{}\n{value}", one_line(schema)).into_bytes()).collect()
}

/// The seeds of a target.
pub fn of(target: &str) -> Vec<Vec<u8>> {
    let typed = |part: &str| -> Vec<Vec<u8>> {
        let vectors = vectors().into_iter();
        vectors.filter(|it| it.header("content-type").contains(part)).map(|it| it.body()).collect()
    };
    match target {
        "config" => configurations::all(),
        "forms" => typed("urlencoded"),
        "gateway" => [files(".ingest.json"), files(".ingest-v1.json"), files(".ingest-url.json")].concat(),
        "ingest" => files(".ingest.json"),
        "handshake" => handshakes(),
        "json" => typed("json").into_iter().map(|body| [b"/data/0/id\n".as_slice(), &body].concat()).collect(),
        "json_schema" => schemas(),
        "locators" => locators(),
        "messages" => queue_messages(),
        "multipart" => multipart(),
        "secrets" => vec![
            include_bytes!("../../../events/secrets.json").to_vec(),
            br#"{"a": ["x", {"secret": "y", "topic": "z"}], "b": "c", "d": {"username": "u", "password": "p"}}"#.to_vec(),
        ],
        "signatures" => vectors().iter().map(Vector::text).collect(),
        "table" => items(),
        "templates" => [
            vec![
                b"{{ event.a.b | default('x') | upper }} {% if event.n > 3 %}{{ headers[\"x-a\"] }}{% endif %}".to_vec(),
                b"event.order.total > 100 and type in ['a', 'b'] or not (source == \"x\")".to_vec(),
            ],
            typed("json"),
        ]
        .concat(),
        "xml" => [
            typed("xml"),
            vec![b"<?xml version=\"1.0\"?><r a=\"1&amp;2\"><b>x</b><b/><![CDATA[<c>]]>&#65;<!-- d --></r>".to_vec()],
        ]
        .concat(),
        other => panic!("there is no target called {other}"),
    }
}
