//! Templates and filters: minijinja over an event's context.

use std::fmt;

use minijinja::{AutoEscape, Environment, Output, UndefinedBehavior, value::Serde};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;
use thiserror::Error;

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

fn environment(undefined: UndefinedBehavior) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(undefined);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment
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

fn write_for_slack(
    out: &mut Output<'_>,
    _state: &mut minijinja::State<'_, '_>,
    value: &minijinja::Value,
) -> Result<(), minijinja::Error> {
    let text = value.to_string();
    let text = if value.is_safe() { text } else { escape_for_slack(&text) };
    Ok(out.write_str(&text)?)
}

fn error(e: &minijinja::Error) -> TemplateError {
    let detail = e.detail().map_or_else(|| e.kind().to_string(), |detail| format!("{}: {detail}", e.kind()));
    TemplateError(match e.line() {
        Some(line) if line > 1 => format!("{detail} (line {line} of the template)"),
        _ => detail,
    })
}

/// Most steps in one expression, and most blocks in one template. minijinja goes down the stack for each and does not
/// count the steps: 2,000 are too many for a thread of tokio's. Nobody writes a hundred.
const STEPS_MAX: usize = 400;

/// Roughly the steps of an expression: its operators, be they signs or words, outside of texts.
fn steps(expression: &str) -> usize {
    let mut steps = 0;
    let mut quote = None;
    let mut escaped = false;
    let mut word_at = None;
    for (at, c) in expression.char_indices().chain([(expression.len(), ' ')]) {
        if let Some(open) = quote {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                _ if c == open => quote = None,
                _ => {}
            }
            continue;
        }
        if c.is_alphanumeric() || c == '_' {
            word_at.get_or_insert(at);
            continue;
        }
        if let Some(word) = word_at.take().and_then(|from| expression.get(from..at)) {
            steps += usize::from(matches!(word, "and" | "or" | "not" | "is" | "in" | "if" | "else"));
        }
        match c {
            '"' | '\'' => quote = Some(c),
            ',' => {}
            _ => steps += usize::from(c.is_ascii_punctuation()),
        }
    }
    steps
}

fn check_expression(expression: &str) -> Result<(), TemplateError> {
    let steps = steps(expression);
    if steps <= STEPS_MAX {
        return Ok(());
    }
    Err(TemplateError(format!("an expression has {steps} operators; write it in fewer than {STEPS_MAX}")))
}

fn check_template(text: &str) -> Result<(), TemplateError> {
    let blocks = text.matches("{%").count();
    if blocks > STEPS_MAX {
        return Err(TemplateError(format!("{blocks} blocks; write it in fewer than {STEPS_MAX}")));
    }
    let openings = text.match_indices("{{").chain(text.match_indices("{%"));
    for inside in openings.filter_map(|(at, opening)| text.get(at + opening.len()..)) {
        let end = ["}}", "%}"].iter().filter_map(|closing| inside.find(closing)).min();
        check_expression(inside.get(..end.unwrap_or(inside.len())).unwrap_or_default())?;
    }
    Ok(())
}

impl Template {
    /// Checks a template.
    ///
    /// # Errors
    /// [`TemplateError`] when it can't be parsed.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        check_template(text)?;
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
        match escape {
            Escape::Nothing => {}
            Escape::Html => environment.set_auto_escape_callback(|_| AutoEscape::Html),
            Escape::Slack => {
                // So that what `{% set %}` and macros have filled in is not escaped once more.
                environment.set_auto_escape_callback(|_| AutoEscape::Html);
                environment.set_formatter(write_for_slack);
            }
        }
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
        check_expression(text)?;
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
    fn what_would_overflow_the_stack_is_an_error() {
        for (first, more, last) in [
            ("a", ".a", ""),
            ("a", "[0]", ""),
            ("1", "+1", ""),
            ("a", "|abs", ""),
            ("a", " or a", ""),
            ("", "not ", "a"),
            ("", "-", "a"),
            ("a(", "a,", "a)"),
        ] {
            let expression = |times: usize| format!("{first}{}{last}", more.repeat(times));
            let filter = Filter::parse(&expression(5_000));
            assert!(filter.is_err() || more == "a,", "{more}");
            let template = Template::parse(&format!("{{{{ {} }}}}", expression(5_000)));
            assert!(template.is_err() || more == "a,", "{more}");
            assert!(Filter::parse(&expression(30)).is_ok(), "{more}");
        }
        let chain = format!("{{% if a %}}{}{{% endif %}}", "{% elif b %}".repeat(5_000));
        assert!(Template::parse(&chain).unwrap_err().to_string().contains("blocks"));
        let long = format!("{{\"list\": [{}], \"x\": {{{{ event.x }}}}}}", "{\"a\": 1},".repeat(5_000));
        assert!(Template::parse(&long).is_ok(), "text is no expression");
        let types = format!("type in [{}'z']", "'a.b.c',".repeat(500));
        assert!(Filter::parse(&types).is_ok(), "neither is a list");
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
