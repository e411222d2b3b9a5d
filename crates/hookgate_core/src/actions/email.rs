//! `email`: an e-mail through SES.
//!
//! Keys: `from`, an address that SES has verified; `to`, a template or a list of them, and so `cc` and `reply_to`;
//! `subject`, a template; `text` and `html`, templates of which at least one is there; `configuration_set`.
//! An address is `ada@example.com` or `Ada <ada@example.com>`, one in each template. In `html` the values that are
//! filled in are escaped, unless they say `| safe`. A subject is one line: whatever breaks lines in it becomes a space.
//! Effect: one [`Effect::Aws`], `SendEmail` of SES. Mail has no means to tell a repetition: if the worker dies between
//! the effect and its record, it is sent twice.
//! Source: <https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html>, read 2026-11-21.
//!
//! ```toml
//! [actions.receipt]
//! kind = "email"
//! from = "Shop <shop@example.com>"
//! to = ["{{ event.customer.email }}", "Accounting <books@example.com>"]
//! subject = "Your order {{ event.order.id }}"
//! text = "Thank you, {{ event.customer.name }}."
//! html = "<p>Thank you, <b>{{ event.customer.name }}</b>.</p>"
//! ```

use data_encoding::BASE64;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    action::{About, Action, Kind, PlanError, fits},
    aws::{AwsAnswer, AwsEffect, AwsService},
    effect::Effect,
    template::{Escape, Template},
};

pub(super) const KIND: Kind = Kind::new::<Email>("email", "sends an e-mail through SES");

/// Most recipients of one message (<https://docs.aws.amazon.com/ses/latest/dg/quotas.html>, read 2026-11-21).
const RECIPIENTS_MAX: usize = 50;

/// Largest message through version 2 of the API, after it was encoded for the way (same page). It is 10 MB in version 1.
const MESSAGE_BYTES_MAX: usize = 40 * 1000 * 1000;

/// More of a subject nobody reads, and a commit message can be a page long.
const SUBJECT_CHARS_MAX: usize = 200;

/// Longest address: 64 before the `@` and 255 behind it (RFC 5321, section 4.5.3.1).
const ADDRESS_BYTES_MAX: usize = 320;

/// Text of one encoded word that still fits into 75 characters (RFC 2047, section 2).
const ENCODED_WORD_BYTES_MAX: usize = 45;

const TIMEOUT_MS: u64 = 10_000;

#[derive(Debug, Deserialize)]
#[serde(try_from = "Written")]
struct Email(Written);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    from: Sender,
    to: OneOrMore,
    #[serde(default)]
    cc: OneOrMore,
    #[serde(default)]
    reply_to: OneOrMore,
    subject: Template,
    text: Option<Template>,
    html: Option<Template>,
    configuration_set: Option<String>,
}

/// The address of a sender, which is no template: SES knows those that it may be.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Sender {
    written: String,
    address: String,
}

impl TryFrom<String> for Sender {
    type Error = String;

    fn try_from(written: String) -> Result<Self, String> {
        let address = address(&written).map_err(|why| format!("`from` is no address: {why}"))?;
        Ok(Self { written, address })
    }
}

/// `"…"` or `["…", "…"]`.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "an address, or a list of addresses, as templates that can be read")]
enum OneOrMore {
    One(Template),
    More(Vec<Template>),
}

impl Default for OneOrMore {
    fn default() -> Self {
        Self::More(Vec::new())
    }
}

impl OneOrMore {
    fn all(&self) -> &[Template] {
        match self {
            Self::One(template) => std::slice::from_ref(template),
            Self::More(templates) => templates,
        }
    }

    fn addresses(&self, about: &About<'_>) -> Result<Vec<String>, PlanError> {
        self.all()
            .iter()
            .map(|template| {
                let text = template.render(about.context)?;
                address(&text).map_err(|why| PlanError::Invalid {
                    what: format!("`{}` makes no address: {why}", template.as_str()),
                })
            })
            .collect()
    }
}

impl TryFrom<Written> for Email {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        if written.text.is_none() && written.html.is_none() {
            return Err("an e-mail needs `text` or `html`".into());
        }
        let recipients = written.to.all().len() + written.cc.all().len();
        if written.to.all().is_empty() || recipients > RECIPIENTS_MAX {
            return Err(format!(
                "an e-mail has 1 to {RECIPIENTS_MAX} recipients, at least one of them in `to`"
            ));
        }
        Ok(Self(written))
    }
}

impl Action for Email {
    fn plan(&self, about: &About<'_>) -> Result<Effect, PlanError> {
        let Self(written) = self;
        let content = |text: &str| json!({ "Data": text, "Charset": "UTF-8" });
        let subject = one_line(&written.subject.render(about.context)?);
        let mut bytes = subject.len();
        let mut body = Map::new();
        let templates = [("Text", &written.text, Escape::Nothing), ("Html", &written.html, Escape::Html)];
        for (kind, template, escape) in templates {
            if let Some(template) = template {
                let text = template.render_for(escape, about.context)?;
                bytes += text.len();
                body.insert(kind.into(), content(&text));
            }
        }
        // SES encodes what is not ASCII in base64.
        fits("the e-mail", bytes.div_ceil(3).saturating_mul(4), MESSAGE_BYTES_MAX)?;
        let mut destination = Map::from_iter([("ToAddresses".into(), json!(written.to.addresses(about)?))]);
        if !written.cc.all().is_empty() {
            destination.insert("CcAddresses".into(), json!(written.cc.addresses(about)?));
        }
        let mut request = Map::from_iter([
            ("FromEmailAddress".into(), json!(written.from.address)),
            ("Destination".into(), Value::Object(destination)),
            ("Content".into(), json!({ "Simple": { "Subject": content(&subject), "Body": body } })),
        ]);
        if !written.reply_to.all().is_empty() {
            request.insert("ReplyToAddresses".into(), json!(written.reply_to.addresses(about)?));
        }
        if let Some(name) = &written.configuration_set {
            request.insert("ConfigurationSetName".into(), json!(name));
        }
        Ok(Effect::Aws(AwsEffect {
            service: AwsService::Email,
            region: None,
            path: "/v2/email/outbound-emails".into(),
            headers: vec![("content-type", "application/json".into())],
            body: Value::Object(request).to_string().into_bytes(),
            timeout_ms: TIMEOUT_MS,
            answer: AwsAnswer::Id("MessageId"),
            target: format!("the identity of {}", written.from.written),
        }))
    }

    fn describe(&self) -> String {
        let to: Vec<&str> = self.0.to.all().iter().map(Template::as_str).collect();
        format!("to {}", to.join(", "))
    }
}

fn one_line(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.trim().chars().take(SUBJECT_CHARS_MAX).collect()
}

/// One address as a header has it. What a stranger put into the name can't become a second address.
fn address(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.chars().any(char::is_control) {
        return Err("it would not be one line".into());
    }
    let (name, bare) = match text.strip_suffix('>').and_then(|text| text.rsplit_once('<')) {
        Some((name, bare)) => (name.trim(), bare.trim()),
        None => ("", text),
    };
    let special = |c: char| !c.is_ascii_graphic() || "<>()[],;:\"\\".contains(c);
    let whole = bare.split_once('@').is_some_and(|(user, domain)| {
        !user.is_empty() && !domain.is_empty() && !domain.contains('@') && !bare.contains(special)
    });
    if !whole || bare.len() > ADDRESS_BYTES_MAX {
        return Err(
            "write `ada@example.com` or `Ada <ada@example.com>`, a foreign domain in its ASCII form".into()
        );
    }
    let name = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(name);
    if name.is_empty() {
        return Ok(bare.to_owned());
    }
    if name.is_ascii() {
        let name = name.replace('\\', "\\\\").replace('"', "\\\"");
        return Ok(format!("\"{name}\" <{bare}>"));
    }
    Ok(format!("{} <{bare}>", encoded_words(name)))
}

/// Text in the form that a header can have (RFC 2047).
fn encoded_words(text: &str) -> String {
    let mut words = Vec::new();
    let mut word = String::new();
    for c in text.chars() {
        if word.len() + c.len_utf8() > ENCODED_WORD_BYTES_MAX {
            words.push(std::mem::take(&mut word));
        }
        word.push(c);
    }
    words.push(word);
    let words: Vec<String> =
        words.iter().map(|word| format!("=?UTF-8?B?{}?=", BASE64.encode(word.as_bytes()))).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{config::Config, testing::plan};

    fn sent(action: &str, event: &str) -> Result<Value, PlanError> {
        let Effect::Aws(effect) = plan(&format!("kind = \"email\"\n{action}"), event)? else {
            panic!("no call of AWS")
        };
        assert_eq!((effect.service, effect.path.as_str()), (AwsService::Email, "/v2/email/outbound-emails"));
        Ok(serde_json::from_slice(&effect.body).unwrap())
    }

    #[test]
    fn asks_ses_for_a_simple_message() {
        let action = r#"
            from = "Shop <shop@example.com>"
            to = ["{{ event.mail }}", "Ops <ops@example.com>"]
            cc = "audit@example.com"
            reply_to = "help@example.com"
            subject = "Order {{ id }} paid"
            text = "Thank you, {{ event.who }} <3"
            html = "<p>Thank you, {{ event.who }}</p>"
            configuration_set = "main"
        "#;
        let event = r#"{"id": "o1", "mail": "ada@example.com", "who": "A&B <b>"}"#;
        assert_eq!(
            sent(action, event).unwrap(),
            json!({
                "FromEmailAddress": "\"Shop\" <shop@example.com>",
                "Destination": {
                    "ToAddresses": ["ada@example.com", "\"Ops\" <ops@example.com>"],
                    "CcAddresses": ["audit@example.com"],
                },
                "ReplyToAddresses": ["help@example.com"],
                "Content": {"Simple": {
                    "Subject": {"Data": "Order o1 paid", "Charset": "UTF-8"},
                    "Body": {
                        "Text": {"Data": "Thank you, A&B <b> <3", "Charset": "UTF-8"},
                        "Html": {"Data": "<p>Thank you, A&amp;B &lt;b&gt;</p>", "Charset": "UTF-8"},
                    },
                }},
                "ConfigurationSetName": "main",
            })
        );
    }

    #[test]
    fn a_subject_is_one_line_and_not_a_page() {
        let action =
            "from = \"a@b.example\"\nto = \"a@b.example\"\nsubject = \"{{ event.s }}\"\ntext = \"t\"";
        let event = json!({"s": format!(" first\r\nBcc: all@example.com\n{}", "ä".repeat(500))}).to_string();
        let subject = sent(action, &event).unwrap()["Content"]["Simple"]["Subject"]["Data"].take();
        let subject = subject.as_str().unwrap();
        assert!(subject.starts_with("first  Bcc: all@example.com ä"), "{subject}");
        assert_eq!(subject.chars().count(), SUBJECT_CHARS_MAX);
    }

    #[test]
    fn one_template_is_one_address_whatever_is_in_it() {
        for (text, want) in [
            ("ada@example.com", Some("ada@example.com")),
            (" ada+x@example.com ", Some("ada+x@example.com")),
            ("Ada <ada@example.com>", Some("\"Ada\" <ada@example.com>")),
            ("\"Ada, L.\" <ada@example.com>", Some("\"Ada, L.\" <ada@example.com>")),
            ("a@evil.example, <ada@example.com>", Some("\"a@evil.example,\" <ada@example.com>")),
            ("a\" b\\ <ada@example.com>", Some("\"a\\\" b\\\\\" <ada@example.com>")),
            ("Zoë <ada@example.com>", Some("=?UTF-8?B?Wm/Dqw==?= <ada@example.com>")),
            ("a@evil.example,ada@example.com", None),
            ("a@evil.example ada@example.com", None),
            ("ada@example.com>", None),
            ("<a@b><c@d>x", None),
            ("ada", None),
            ("@example.com", None),
            ("ada@", None),
            ("ada@exämple.com", None),
            ("ada@example.com\r\nBcc: x@example.com", None),
            ("", None),
        ] {
            assert_eq!(address(text).ok().as_deref(), want, "{text}");
        }
        let action =
            "from = \"a@b.example\"\nto = \"{{ event.to }}\"\nsubject = \"s\"\ntext = \"t\"".to_owned();
        let error = sent(&action, r#"{"to": "nobody"}"#).unwrap_err().to_string();
        assert!(
            error.starts_with("`{{ event.to }}` makes no address") && !error.contains("nobody"),
            "{error}"
        );
    }

    #[test]
    fn a_long_foreign_name_becomes_words_that_fit() {
        let name = "ü".repeat(100);
        let words = encoded_words(&name);
        assert!(words.split(' ').all(|word| word.len() <= 75), "{words}");
        let decoded: Vec<u8> = words
            .split(' ')
            .flat_map(|word| {
                let base64 = word.strip_prefix("=?UTF-8?B?").unwrap().strip_suffix("?=").unwrap();
                BASE64.decode(base64.as_bytes()).unwrap()
            })
            .collect();
        assert_eq!(String::from_utf8(decoded).unwrap(), name);
    }

    #[test]
    fn what_ses_does_not_take_is_not_sent() {
        let action = "from = \"a@b.example\"\nto = \"a@b.example\"\nsubject = \"s\"\n\
                      text = \"{% for n in range(51) %}{{ event.t }}{% endfor %}\"\n\
                      html = \"{% for n in range(51) %}{{ event.t }}{% endfor %}\"";
        let event = json!({"t": "x".repeat(400_000)}).to_string();
        let error = sent(action, &event).unwrap_err();
        assert!(matches!(error, PlanError::TooLarge { limit: MESSAGE_BYTES_MAX, .. }), "{error}");
    }

    #[test]
    fn refuses_what_makes_no_sense() {
        let many: Vec<String> = (0..51).map(|n| format!("\"a{n}@b.example\"")).collect();
        let many =
            format!("from = \"a@b.example\"\nto = [{}]\nsubject = \"s\"\ntext = \"t\"", many.join(", "));
        for (keys, part) in [
            ("from = \"a@b.example\"\nto = \"a@b.example\"\nsubject = \"s\"", "`text` or `html`"),
            ("from = \"a@b.example\"\nto = []\nsubject = \"s\"\ntext = \"t\"", "1 to 50"),
            (many.as_str(), "1 to 50"),
            ("from = \"shop\"\nto = \"a@b.example\"\nsubject = \"s\"\ntext = \"t\"", "`from` is no address"),
            ("from = \"a@b.example\"\nto = \"{{ x\"\nsubject = \"s\"\ntext = \"t\"", "templates"),
            ("from = \"a@b.example\"\nsubject = \"s\"\ntext = \"t\"", "`to`"),
        ] {
            let problems = Config::parse(&format!("[actions.it]\nkind = \"email\"\n{keys}")).unwrap_err();
            assert!(problems.iter().any(|p| p.message.contains(part)), "{keys}: {problems:?}");
        }
    }
}
