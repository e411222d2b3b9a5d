//! What an expression may not have, as minijinja would go too deep for it, or work on it without end, while it reads it.

/// Most steps in one expression, and most blocks in one template. minijinja goes down the stack for each and does not
/// count the steps: 2,000 are too many for a thread of tokio's. Nobody writes a hundred.
const STEPS_MAX: usize = 400;

/// How often a written text or list may be repeated. minijinja does so while it reads the expression, up to 100 million
/// times, and then joins and compares what came of it: a filter of 800 characters took five minutes to read.
const REPEATED_MAX: u64 = 1_000;

/// What an expression is made of, as far as its length and repeating go.
#[derive(Clone, Copy, PartialEq)]
enum Token {
    Text,
    Integer(u64),
    /// What is known only with an event, or is no whole number.
    Value,
    /// A bracket, and its place in the list of groups.
    Open(usize),
    Close(usize),
    Comma,
    Times,
    /// Another operator, be it a sign or a word.
    Other,
}

impl Token {
    /// Whether it is, roughly, one step of an expression.
    const fn is_step(&self) -> bool {
        matches!(self, Self::Open(_) | Self::Close(_) | Self::Times | Self::Other)
    }
}

/// What stands between two brackets.
#[derive(Clone, Copy, Default)]
struct Group {
    /// A list or an expression in brackets, not an index or the arguments of a call.
    is_written: bool,
    /// It is a text or a list, or may be one.
    is_repeatable: bool,
    has_value: bool,
    has_times: bool,
}

fn tokens(expression: &str) -> (Vec<Token>, Vec<Group>) {
    let (mut tokens, mut groups, mut open) = (Vec::new(), Vec::<Group>::new(), Vec::new());
    let mut rest = expression;
    while let Some(first) = rest.chars().next() {
        let word = rest.len() - rest.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_').len();
        let mut length = word.max(first.len_utf8());
        let text = rest.get(..length).unwrap_or_default();
        let inside = open.last().and_then(|group: &usize| groups.get_mut(*group));
        tokens.push(match first {
            c if c.is_whitespace() => {
                rest = rest.trim_start();
                continue;
            }
            '"' | '\'' => {
                let mut escaped = false;
                let end = rest.char_indices().skip(1).find(|(_, c)| {
                    let ends = *c == first && !escaped;
                    escaped = *c == '\\' && !escaped;
                    ends
                });
                length = end.map_or(rest.len(), |(at, _)| at + 1);
                inside.into_iter().for_each(|group| group.is_repeatable |= group.is_written);
                Token::Text
            }
            '(' | '[' | '{' => {
                let is_written = !matches!(tokens.last(), Some(Token::Value | Token::Text | Token::Close(_)));
                groups.push(Group {
                    is_written,
                    is_repeatable: is_written && first == '[',
                    ..Group::default()
                });
                open.push(groups.len() - 1);
                Token::Open(groups.len() - 1)
            }
            ')' | ']' | '}' => match open.pop().and_then(|id| Some((id, *groups.get(id)?))) {
                Some((id, group)) => {
                    if let Some(outer) = open.last().and_then(|outer| groups.get_mut(*outer)) {
                        outer.is_repeatable |= outer.is_written && group.is_written && group.is_repeatable;
                        outer.has_value |= group.has_value;
                        outer.has_times |= group.has_times;
                    }
                    Token::Close(id)
                }
                None => Token::Other,
            },
            ',' => {
                inside.into_iter().for_each(|group| group.is_repeatable |= group.is_written);
                Token::Comma
            }
            '*' => {
                inside.into_iter().for_each(|group| group.has_times = true);
                Token::Times
            }
            _ if matches!(text, "and" | "or" | "not" | "is" | "in" | "if" | "else") => Token::Other,
            _ if word > 0 => match text.replace('_', "").parse() {
                Ok(number) => Token::Integer(number),
                // Too large a number, or one in another base.
                Err(_) if first.is_ascii_digit() => Token::Integer(u64::MAX),
                Err(_) => {
                    inside.into_iter().for_each(|group| group.has_value = true);
                    Token::Value
                }
            },
            c if c.is_ascii_punctuation() => Token::Other,
            _ => Token::Value,
        });
        rest = rest.get(length..).unwrap_or_default();
    }
    (tokens, groups)
}

/// Whether a written text or list is, or may be, repeated too often.
fn repeats_too_often(tokens: &[Token], groups: &[Group]) -> bool {
    let group = |token: Option<&Token>| match token {
        Some(Token::Open(id) | Token::Close(id)) => groups.get(*id).copied(),
        _ => None,
    };
    let is_repeatable = |token: Option<&Token>| {
        token == Some(&Token::Text) || group(token).is_some_and(|it| it.is_written && it.is_repeatable)
    };
    // From a token on to the end of what it begins, or back to the beginning of what it ends.
    let beyond = |at: usize, forward: bool| {
        let end = |token: &Token| match (tokens.get(at), token) {
            (Some(Token::Open(a)), Token::Close(b)) | (Some(Token::Close(a)), Token::Open(b)) => a == b,
            _ => false,
        };
        let end = match tokens.get(at) {
            Some(Token::Open(_) | Token::Close(_)) => tokens.iter().position(end).unwrap_or(at),
            _ => at,
        };
        let next = if forward { end.checked_add(1) } else { end.checked_sub(1) };
        next.and_then(|next| tokens.get(next))
    };
    let is_times = |token: Option<&Token>| token == Some(&Token::Times);
    tokens.iter().enumerate().filter(|(_, token)| **token == Token::Times).any(|(at, _)| {
        let (left, right) = (at.checked_sub(1), at + 1);
        let sides = [(left.unwrap_or(at), false), (right, true)];
        sides.into_iter().zip(sides.into_iter().rev()).any(|((what, forward), (times, other_way))| {
            let repeated = tokens.get(what);
            if !is_repeatable(repeated) {
                return false;
            }
            let is_fine = match tokens.get(times) {
                Some(Token::Integer(number)) => {
                    *number <= REPEATED_MAX && !is_times(beyond(times, other_way))
                }
                Some(Token::Value) => true,
                times => group(times).is_some_and(|it| it.has_value),
            };
            !is_fine || is_times(beyond(what, forward)) || group(repeated).is_some_and(|it| it.has_times)
        })
    })
}

/// Whether an expression can be read and evaluated without going too deep.
///
/// # Errors
/// What is too much of it, and what to do.
pub(super) fn check_expression(expression: &str) -> Result<(), String> {
    let (tokens, groups) = tokens(expression);
    let steps = tokens.iter().filter(|token| token.is_step()).count();
    if steps > STEPS_MAX {
        return Err(format!("an expression has {steps} operators; write it in fewer than {STEPS_MAX}"));
    }
    if repeats_too_often(&tokens, &groups) {
        return Err(format!(
            "a text or a list times a number: write it out, or a number up to {REPEATED_MAX}"
        ));
    }
    Ok(())
}

/// The same of everything between braces in a template.
///
/// # Errors
/// As [`check_expression`].
pub(super) fn check_template(text: &str) -> Result<(), String> {
    let blocks = text.matches("{%").count();
    if blocks > STEPS_MAX {
        return Err(format!("{blocks} blocks; write it in fewer than {STEPS_MAX}"));
    }
    let openings = text.match_indices("{{").chain(text.match_indices("{%"));
    for inside in openings.filter_map(|(at, opening)| text.get(at + opening.len()..)) {
        let end = ["}}", "%}"].iter().filter_map(|closing| inside.find(closing)).min();
        check_expression(inside.get(..end.unwrap_or(inside.len())).unwrap_or_default())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::template::{Filter, Template};

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
    fn what_is_written_is_not_repeated_without_end() {
        let refused = [
            "\"a\" * 1001",
            "[9]*999996",
            "1001 * 'a'",
            "[9] * 99 * 99",
            "9 * [9] * 9",
            "([9] * 9) * 9",
            "(9,) * 0xffff",
        ]
        .into_iter()
        .chain([
            "['a', \"b\"] * (9 + 9)",
            "[[1] * 9] * 9",
            "[9]*9**9",
            "'a' * -5",
            "9 * ((('a')))*9",
            "'\\'' * 9999",
        ])
        .chain(["event.a > 1 and [1] * 99999999 ~ 'a'", "{} ~ [9\n]*999996*999", "'a' * 9_999"]);
        for text in refused {
            assert!(Filter::parse(text).is_err_and(|e| e.to_string().contains("times a number")), "{text}");
            let template = Template::parse(&format!("{{{{ {text} }}}}"));
            assert!(template.is_err_and(|e| e.to_string().contains("times a number")), "{text}");
        }
        let fine = [
            "\"-\" * 40",
            "'*' * event.stars",
            "(event['a'] + event['b']) * 100000",
            "event['a'] * 10000000",
        ]
        .into_iter()
        .chain([
            "10000000 * event['a'][0]",
            "f('a') * 99999",
            "'a' * (event.n + 1)",
            "[1, 2] * 3",
            "2 ** 62",
            "'a * 9999999'",
        ])
        .chain([
            "(event.a + 1) * 1000000 > 5",
            "['x', 'y'][0] == 'x' and 5 * 10000 > 3",
            "event.a * 99 * 99 * 99",
        ]);
        for text in fine {
            let read = Filter::parse(text);
            assert!(read.is_ok(), "{text}: {read:?}");
        }
    }
}
