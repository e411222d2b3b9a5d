//! The few branches that a request can take, and what each looks like to its sender.

use http::StatusCode;
use serde_json::json;

/// Seconds after which a sender is asked to try again when nothing could be made durable. Short, because most
/// outages of a managed table or queue are; senders back off on their own.
pub const RETRY_AFTER_SECONDS: u32 = 10;

/// Why a request was refused. Only this is ever told to a stranger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The request can't be understood: 400.
    Malformed,
    /// Signature missing, wrong or too old: 401.
    Signature,
    /// No such source or path: 404.
    NotFound,
    /// Not a method that the source answers: 405.
    Method,
    /// The body is larger than the source accepts: 413.
    TooLarge,
    /// A body of a kind that the source can't take: 415.
    Unsupported,
    /// Nothing could be made durable, or we are misconfigured: 503 with `Retry-After`.
    Unavailable,
}

impl Refusal {
    /// The status that the sender gets.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::Signature => StatusCode::UNAUTHORIZED,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unsupported => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// One word for logs and metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Signature => "signature",
            Self::NotFound => "not-found",
            Self::Method => "method",
            Self::TooLarge => "too-large",
            Self::Unsupported => "unsupported",
            Self::Unavailable => "unavailable",
        }
    }

    /// One sentence that is safe to tell anybody.
    const fn detail(self) -> &'static str {
        match self {
            Self::Malformed => "The request could not be read.",
            Self::Signature => "The request could not be authenticated.",
            Self::NotFound => "There is nothing at this address.",
            Self::Method => "This address takes POST requests.",
            Self::TooLarge => "The body is larger than this address accepts.",
            Self::Unsupported => "This address does not take bodies of this kind.",
            Self::Unavailable => "The request could not be stored. Please send it again.",
        }
    }

    /// The answer: `application/problem+json` as in RFC 9457, with the request's id.
    pub fn answer(self, request_id: &str) -> Answer {
        self.answer_with(self.status(), request_id)
    }

    /// The same with another status, for a sender that asks for one of its own.
    pub fn answer_with(self, status: StatusCode, request_id: &str) -> Answer {
        let body = json!({
            "type": "about:blank",
            "title": status.canonical_reason().unwrap_or("Refused"),
            "status": status.as_u16(),
            "detail": self.detail(),
            "request_id": request_id,
        });
        let mut headers = vec![("content-type", "application/problem+json".to_owned())];
        match self {
            Self::Method => headers.push(("allow", "POST".to_owned())),
            Self::Unavailable => headers.push(("retry-after", RETRY_AFTER_SECONDS.to_string())),
            Self::Malformed | Self::Signature | Self::NotFound | Self::TooLarge | Self::Unsupported => {}
        }
        Answer { status, headers, body: body.to_string() }
    }
}

/// What a sender gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// Headers by lower-case name.
    pub headers: Vec<(&'static str, String)>,
    /// The body; empty for none.
    pub body: String,
}

impl Answer {
    /// 200 with a body of a type; without either when the type is empty.
    pub fn ok(content_type: &str, body: impl Into<String>) -> Self {
        let mut headers = Vec::new();
        if !content_type.is_empty() {
            headers.push(("content-type", content_type.to_owned()));
            headers.push(("x-content-type-options", "nosniff".to_owned()));
        }
        Self { status: StatusCode::OK, headers, body: body.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_a_problem_document() {
        let answer = Refusal::Unavailable.answer("req-1");
        assert_eq!(answer.status.as_u16(), 503);
        assert!(answer.headers.contains(&("retry-after", "10".into())));
        let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(body["request_id"], "req-1");
        assert_eq!(body["status"], 503);
        assert_eq!(body["title"], "Service Unavailable");
    }

    #[test]
    fn each_refusal_has_a_word_for_us_and_a_sentence_for_anybody() {
        for (refusal, status, word, part) in [
            (Refusal::Malformed, 400, "malformed", "could not be read"),
            (Refusal::Signature, 401, "signature", "could not be authenticated"),
            (Refusal::NotFound, 404, "not-found", "nothing at this address"),
            (Refusal::Method, 405, "method", "takes POST"),
            (Refusal::TooLarge, 413, "too-large", "larger than"),
            (Refusal::Unsupported, 415, "unsupported", "of this kind"),
            (Refusal::Unavailable, 503, "unavailable", "send it again"),
        ] {
            let answer = refusal.answer("r");
            assert_eq!((answer.status.as_u16(), refusal.word()), (status, word));
            assert!(answer.body.contains(part), "{}", answer.body);
        }
    }
}
