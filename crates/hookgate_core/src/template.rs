//! Templates and filters: minijinja over an event's context.

use minijinja::{Environment, UndefinedBehavior, value::Serde};
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

/// A template or filter that can't be read or evaluated. Sending the event again doesn't help.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct TemplateError(String);

fn environment(undefined: UndefinedBehavior) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(undefined);
    // Nothing here is HTML. A template for JSON says `| tojson`.
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment
}

fn error(e: &minijinja::Error) -> TemplateError {
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
        environment(UndefinedBehavior::SemiStrict).template_from_str(text).map_err(|e| error(&e))?;
        Ok(Self(text.to_owned()))
    }

    /// Fills it in.
    ///
    /// # Errors
    /// [`TemplateError`] when a field is missing or an operation makes no sense.
    pub fn render(&self, context: &Value) -> Result<String, TemplateError> {
        environment(UndefinedBehavior::SemiStrict).render_str(&self.0, Serde(context)).map_err(|e| error(&e))
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
        environment(UndefinedBehavior::Chainable).compile_expression(text).map_err(|e| error(&e))?;
        Ok(Self(text.to_owned()))
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// [`TemplateError`] when an operation makes no sense, such as comparing a text with a number.
    pub fn holds(&self, context: &Value) -> Result<bool, TemplateError> {
        let environment = environment(UndefinedBehavior::Chainable);
        let expression = environment.compile_expression(&self.0).map_err(|e| error(&e))?;
        expression.eval(Serde(context)).map(|value| value.is_true()).map_err(|e| error(&e))
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
}
