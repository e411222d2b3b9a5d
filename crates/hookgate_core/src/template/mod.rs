//! Templates and filters: minijinja over an event's context.

use std::{
    fmt::{self, Write as _},
    io,
    sync::atomic::{AtomicUsize, Ordering},
};

use minijinja::{
    AutoEscape, Environment, ErrorKind, UndefinedBehavior, escape_formatter, filters,
    value::{Kwargs, Serde},
};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;
use thiserror::Error;

use self::check::{check_expression, check_template};
use crate::request::BODY_BYTES_MAX;

mod check;

/// A text with `{{ event.field }}` in it, checked when the configuration is.
///
/// A field that is not there is an error when it is printed, so that no message goes out with a hole in it;
/// `{{ event.name | default("somebody") }}` says what should stand there instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(String);

/// An expression over an event that is true or not, such as `event.data.object.amount_due > 0`. What is not
/// there is false.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter(String);

/// What a filter came to for one event. It prints as JSON, and as `undefined` for what is not there.
#[derive(Clone, PartialEq)]
pub struct FilterValue(minijinja::Value);

/// What the filled-in text is for: values of an event must not be able to mean something there. The template's own
/// text is the operator's and stays as it is, and so does a value that says `| safe`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// Plain text, or JSON whose values say `| tojson`.
    Nothing,
    /// HTML.
    Html,
    /// A message of Slack, in which `<!channel>` calls everybody. It asks for three characters to be replaced.
    Slack,
}

/// A template or filter that can't be read or evaluated. Sending the event again doesn't help.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct TemplateError(String);

/// Most steps for one event: a million are some 20 ms of a core. How often a loop goes round may be the sender's
/// choice, and a list inside of a list is soon enough to keep the worker busy until it is ended.
const EVENT_STEPS_MAX: u64 = 1_000_000;

/// Most bytes of values that are filled in for one event: that of the largest body twice. The largest body once for
/// each thing in it would be more than the worker's memory.
const FILLED_IN_BYTES_MAX: usize = 2 * BODY_BYTES_MAX;

fn environment(undefined: UndefinedBehavior) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_fuel(Some(EVENT_STEPS_MAX));
    environment.set_undefined_behavior(undefined);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.add_filter("tojson", tojson);
    environment
}

/// What one value may come to as a text. A list times a number is a list that is no longer in memory than before, and
/// its text is as long as the two say, who may both be the sender's.
struct Limited {
    text: String,
    bytes_max: usize,
}

impl fmt::Write for Limited {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        if self.text.len() + piece.len() > self.bytes_max {
            return Err(fmt::Error);
        }
        self.text.push_str(piece);
        Ok(())
    }
}

/// What a value comes to as JSON, as far as its length goes.
struct Counted(usize);

impl io::Write for Counted {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.0 += piece.len();
        if self.0 > FILLED_IN_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn too_much() -> minijinja::Error {
    let detail = format!("more than {FILLED_IN_BYTES_MAX} bytes of it are filled in");
    minijinja::Error::new(ErrorKind::InvalidOperation, detail)
}

/// minijinja's own, for a value that is not too long for it.
fn tojson(
    value: &minijinja::Value,
    indent: Option<minijinja::Value>,
    arguments: Kwargs,
) -> Result<minijinja::Value, minijinja::Error> {
    match serde_json::to_writer(Counted(0), value) {
        Err(error) if error.is_io() => Err(too_much()),
        // What JSON does not have is the other's to say.
        _ => filters::tojson(value, indent, arguments),
    }
}

/// The characters that Slack reads, as it wants them (<https://docs.slack.dev/messaging/formatting-message-text>,
/// «Escaping text», read 2026-11-21).
pub(crate) fn escape_for_slack(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            c => escaped.push(c),
        }
    }
    escaped
}

fn error(e: &minijinja::Error) -> TemplateError {
    if e.kind() == ErrorKind::OutOfFuel {
        return TemplateError(format!(
            "more than {EVENT_STEPS_MAX} steps for this event; loop over less of it"
        ));
    }
    let detail = e.detail().map_or_else(|| e.kind().to_string(), |detail| format!("{}: {detail}", e.kind()));
    TemplateError(match e.line() {
        Some(line) if line > 1 => format!("{detail} (line {line} of the template)"),
        _ => detail,
    })
}

impl Template {
    /// Checks a template.
    ///
    /// # Errors
    /// [`TemplateError`] when it can't be parsed.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        check_template(text).map_err(TemplateError)?;
        environment(UndefinedBehavior::SemiStrict).template_from_str(text).map_err(|e| error(&e))?;
        Ok(Self(text.to_owned()))
    }

    /// Fills it in.
    ///
    /// # Errors
    /// [`TemplateError`] when a field is missing or an operation makes no sense.
    pub fn render(&self, context: &Value) -> Result<String, TemplateError> {
        self.render_for(Escape::Nothing, context)
    }

    /// Fills it in for a text in which some characters mean something.
    ///
    /// # Errors
    /// As [`Self::render`].
    pub fn render_for(&self, escape: Escape, context: &Value) -> Result<String, TemplateError> {
        let mut environment = environment(UndefinedBehavior::SemiStrict);
        if escape != Escape::Nothing {
            // For Slack too, so that what `{% set %}` has filled in is not escaped once more.
            environment.set_auto_escape_callback(|_| AutoEscape::Html);
        }
        let filled_in = AtomicUsize::new(0);
        environment.set_formatter(move |out, state, value| {
            let bytes_max = FILLED_IN_BYTES_MAX.saturating_sub(filled_in.load(Ordering::Relaxed));
            let mut limited = Limited { text: String::new(), bytes_max };
            write!(limited, "{value}").map_err(|_| too_much())?;
            let text = limited.text;
            filled_in.fetch_add(text.len(), Ordering::Relaxed);
            match escape {
                Escape::Html => escape_formatter(out, state, value),
                Escape::Slack if !value.is_safe() => Ok(out.write_str(&escape_for_slack(&text))?),
                Escape::Nothing | Escape::Slack => Ok(out.write_str(&text)?),
            }
        });
        environment.render_str(&self.0, Serde(context)).map_err(|e| error(&e))
    }

    /// The text that was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Filter {
    /// Checks an expression.
    ///
    /// # Errors
    /// [`TemplateError`] when it can't be parsed.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        check_expression(text).map_err(TemplateError)?;
        environment(UndefinedBehavior::Chainable).compile_expression(text).map_err(|e| error(&e))?;
        Ok(Self(text.to_owned()))
    }

    /// What it comes to.
    ///
    /// # Errors
    /// [`TemplateError`] when an operation makes no sense, such as comparing a text with a number.
    pub fn value(&self, context: &Value) -> Result<FilterValue, TemplateError> {
        let environment = environment(UndefinedBehavior::Chainable);
        let expression = environment.compile_expression(&self.0).map_err(|e| error(&e))?;
        expression.eval(Serde(context)).map(FilterValue).map_err(|e| error(&e))
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// As for [`Self::value`].
    pub fn holds(&self, context: &Value) -> Result<bool, TemplateError> {
        self.value(context).map(|value| value.holds())
    }

    /// The expression that was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FilterValue {
    /// Whether that counts as true: not `false`, 0, empty or absent.
    pub fn holds(&self) -> bool {
        self.0.is_true()
    }
}

impl fmt::Display for FilterValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_undefined() {
            return f.write_str("undefined");
        }
        match serde_json::to_string(&self.0) {
            Ok(json) => f.write_str(&json),
            // A value that JSON does not have.
            Err(_) => fmt::Display::fmt(&self.0, f),
        }
    }
}

impl fmt::Debug for FilterValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?)
            .map_err(|e| de::Error::custom(format!("bad template: {e}")))
    }
}

impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?)
            .map_err(|e| de::Error::custom(format!("bad filter: {e}")))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn renders_and_says_what_is_missing() {
        let context = json!({"event": {"amount": 5, "name": "<a>"}, "type": "x"});
        let render =
            |text: &str| Template::parse(text).and_then(|t| t.render(&context)).map_err(|e| e.to_string());
        assert_eq!(render("{{ type }}: {{ event.amount }} {{ event.name }}").unwrap(), "x: 5 <a>");
        assert_eq!(render("{{ event.nope | default('-') }}").unwrap(), "-");
        assert_eq!(render("{{ event | tojson }}").unwrap(), r#"{"amount": 5, "name": "\u003ca\u003e"}"#);
        assert!(render("{{ event.nope }}").unwrap_err().contains("undefined"));
        assert!(render("{{ event.amount").unwrap_err().contains("syntax"));
    }

    #[test]
    fn values_can_not_mean_anything_where_the_text_goes() {
        let context = json!({"event": {"name": "<!channel> & \"<b>\"", "n": 5}});
        let render = |escape: Escape, text: &str| {
            Template::parse(text).unwrap().render_for(escape, &context).map_err(|e| e.to_string())
        };
        let text = "<!here> {{ event.name }} {{ event.n }}";
        assert_eq!(render(Escape::Nothing, text).unwrap(), "<!here> <!channel> & \"<b>\" 5");
        assert_eq!(
            render(Escape::Slack, text).unwrap(),
            "<!here> &lt;!channel&gt; &amp; \"&lt;b&gt;\" 5",
            "the template's own text is the operator's"
        );
        assert_eq!(
            render(Escape::Html, "<p>{{ event.name }}</p>").unwrap(),
            "<p>&lt;!channel&gt; &amp; &quot;&lt;b&gt;&quot;</p>"
        );
        for escape in [Escape::Html, Escape::Slack] {
            assert_eq!(render(escape, "{{ event.name | safe }}").unwrap(), "<!channel> & \"<b>\"");
            assert_eq!(render(escape, "{% set x %}{{ '<' }}{% endset %}{{ x }}").unwrap(), "&lt;");
            assert!(render(escape, "{{ event.nope }}").unwrap_err().contains("undefined"));
        }
    }

    #[test]
    fn one_event_is_not_worked_on_without_end() {
        let list: Vec<u32> = (0..2_000).collect();
        let context = json!({"event": {"list": list, "name": "a".repeat(BODY_BYTES_MAX / 2)}});
        let render = |text: &str| Template::parse(text).unwrap().render(&context).map_err(|e| e.to_string());
        let once = "{% for a in event.list %}{{ a }}{% endfor %}";
        assert!(render(once).unwrap().ends_with("19981999"));
        let nested = "{% for a in event.list %}{% for b in event.list %}{% endfor %}{% endfor %}";
        assert!(render(nested).unwrap_err().starts_with("more than 1000000 steps"));

        let four_times = "{% for a in event.list[:4] %}{{ event.name }}{% endfor %}";
        assert_eq!(render(four_times).unwrap().len(), FILLED_IN_BYTES_MAX);
        for more in [
            "{% for a in event.list %}{{ event.name }}{% endfor %}",
            "{% set x %}{% for a in event.list %}{{ event.name }}{% endfor %}{% endset %}",
        ] {
            for escape in [Escape::Nothing, Escape::Html, Escape::Slack] {
                let e = Template::parse(more).unwrap().render_for(escape, &context).unwrap_err();
                assert!(e.to_string().contains("more than 20971520 bytes"), "{e}");
            }
        }
    }

    /// Where the price is a list, that is the list as often as the quantity says.
    #[test]
    fn a_product_is_not_as_long_as_the_sender_likes() {
        let render = |text: &str, price: Value| {
            let context = json!({"event": {"price": price, "quantity": 1_000_000}});
            Template::parse(text).unwrap().render(&context).map_err(|e| e.to_string())
        };
        let (printed, as_json) =
            ("{{ event.price * event.quantity }}", "{{ (event.price * event.quantity) | tojson }}");
        for text in [printed, as_json] {
            assert_eq!(render(text, json!(3)).unwrap(), "3000000");
            let e = render(text, json!(["a".repeat(1_000_000)])).unwrap_err();
            assert!(e.contains("more than 20971520 bytes"), "{e}");
        }
        let e = render("{{ (event.price * 2) | tojson(ident=true) }}", json!(3)).unwrap_err();
        assert!(e.contains("unknown keyword argument"), "{e}");
    }

    #[test]
    fn a_filter_is_false_for_what_is_not_there() {
        let context = json!({"event": {"amount": 5}, "type": "invoice.paid"});
        for (text, want) in [
            ("event.amount > 4", true),
            ("event.amount > 5", false),
            ("event.a.b.c", false),
            ("type == 'invoice.paid' and not event.test", true),
            ("type in ['a', 'invoice.paid']", true),
        ] {
            assert_eq!(Filter::parse(text).unwrap().holds(&context), Ok(want), "{text}");
        }
        assert!(Filter::parse("event.amount >").is_err());
    }

    #[test]
    fn a_filter_says_what_it_came_to() {
        let context =
            json!({"event": {"amount": 5, "name": "a\"b", "none": null, "list": [1, "x"], "of": {"a": 1}}});
        for (text, value) in [
            ("event.amount > 4", "true"),
            ("event.amount - 5", "0"),
            ("event.name", r#""a\"b""#),
            ("event.nope.deeper", "undefined"),
            ("event.none", "null"),
            ("event.list", r#"[1,"x"]"#),
            ("event.of", r#"{"a":1}"#),
        ] {
            assert_eq!(Filter::parse(text).unwrap().value(&context).unwrap().to_string(), value, "{text}");
        }
        assert!(Filter::parse("event.of + 1").unwrap().value(&context).is_err());
    }
}
