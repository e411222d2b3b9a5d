//! Events and answers of API Gateway and Function URLs: payload 2.0 (HTTP API, Function URL) and 1.0 (REST API,
//! HTTP API when asked for it), in one shape.
//!
//! `lambda_http`'s own conversion is not used for requests: it panics where a path is no URI or a body no base64,
//! and it rebuilds the query string, which some senders sign.

use std::{borrow::Cow, fmt, net::IpAddr};

use data_encoding::BASE64;
use hookgate_core::{outcome::Answer, time::EpochMillis};
use lambda_http::{
    aws_lambda_events::apigw::{ApiGatewayProxyResponse, ApiGatewayV2httpResponse},
    http::{HeaderMap, HeaderName, HeaderValue, Method, header},
};
use serde::{Deserialize, Deserializer, Serialize, de};

/// Most headers that are looked at. An HTTP API lets 10,240 bytes of them through in all.
const HEADERS_MAX: usize = 200;

/// An event as it arrives.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written<'e> {
    #[serde(borrow, default)]
    version: Option<Cow<'e, str>>,
    #[serde(borrow, default)]
    raw_path: Option<Cow<'e, str>>,
    #[serde(borrow, default)]
    raw_query_string: Option<Cow<'e, str>>,
    #[serde(borrow, default)]
    path: Option<Cow<'e, str>>,
    #[serde(borrow, default)]
    http_method: Option<Cow<'e, str>>,
    #[serde(borrow, default, deserialize_with = "pairs")]
    headers: Pairs<'e>,
    #[serde(borrow, default, deserialize_with = "pairs")]
    multi_value_headers: Pairs<'e>,
    #[serde(borrow, default, deserialize_with = "pairs")]
    query_string_parameters: Pairs<'e>,
    #[serde(borrow, default, deserialize_with = "pairs")]
    multi_value_query_string_parameters: Pairs<'e>,
    #[serde(borrow, default)]
    body: Option<Cow<'e, str>>,
    #[serde(default)]
    is_base64_encoded: Option<bool>,
    #[serde(borrow, default)]
    request_context: Context<'e>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Context<'e> {
    #[serde(borrow)]
    http: Option<Http<'e>>,
    #[serde(borrow)]
    domain_name: Option<Cow<'e, str>>,
    #[serde(borrow)]
    request_id: Option<Cow<'e, str>>,
    #[serde(borrow)]
    path: Option<Cow<'e, str>>,
    #[serde(borrow)]
    identity: Option<Caller<'e>>,
    time_epoch: Option<i64>,
    request_time_epoch: Option<i64>,
}

#[derive(Debug, Deserialize)]
struct Http<'e> {
    #[serde(borrow)]
    method: Cow<'e, str>,
    #[serde(borrow, default, rename = "sourceIp")]
    source_ip: Option<Cow<'e, str>>,
}

/// Who called a REST API.
#[derive(Debug, Deserialize)]
struct Caller<'e> {
    #[serde(borrow, default, rename = "sourceIp")]
    source_ip: Option<Cow<'e, str>>,
}

type Pairs<'e> = Vec<(Cow<'e, str>, Cow<'e, str>)>;

/// An object of texts, or of lists of texts, in the order of the document; null is none.
fn pairs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Pairs<'de>, D::Error> {
    struct Visitor;
    impl<'de> de::Visitor<'de> for Visitor {
        type Value = Pairs<'de>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of texts or lists of texts")
        }
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Vec::new())
        }
        fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut pairs = Vec::new();
            while let Some(name) = map.next_key::<Text<'de>>()? {
                map.next_value_seed(Values { name: name.0, pairs: &mut pairs })?;
            }
            Ok(pairs)
        }
    }
    deserializer.deserialize_any(Visitor)
}

/// A text that is borrowed where nothing in it is escaped, which serde does for a field but not within a list.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'e>(#[serde(borrow)] Cow<'e, str>);

/// What stands beside a name: a text, a list of texts, or null. Nothing is put down to look at it twice, as an untagged enum
/// would.
struct Values<'p, 'e> {
    name: Cow<'e, str>,
    pairs: &'p mut Pairs<'e>,
}

impl<'de> de::DeserializeSeed<'de> for Values<'_, 'de> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> de::Visitor<'de> for Values<'_, 'de> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a list of texts, or null")
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<(), E> {
        self.pairs.push((self.name, Cow::Borrowed(value)));
        Ok(())
    }
    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.pairs.push((self.name, Cow::Owned(value.to_owned())));
        Ok(())
    }
    fn visit_seq<A: de::SeqAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        while let Some(value) = values.next_element::<Text<'de>>()? {
            self.pairs.push((self.name.clone(), value.0));
        }
        Ok(())
    }
}

/// The kind of gateway, which decides the shape of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// REST API.
    V1,
    /// HTTP API and Function URL.
    V2,
}

/// An event in one shape.
#[derive(Debug)]
pub struct Call {
    /// The kind of gateway.
    pub payload: Payload,
    /// The method; `None` when it is none.
    pub method: Option<Method>,
    /// The path as the sender called it, stage and base path included.
    pub path: String,
    /// The raw query string, without `?`. A REST API hands out decoded parameters only; they are encoded again.
    pub query: String,
    /// The host that the gateway itself was called under.
    pub domain: Option<String>,
    /// The address that the gateway was called from.
    pub sender: Option<IpAddr>,
    /// The gateway's id of the request.
    pub request_id: Option<String>,
    /// When the gateway got the request.
    pub received_at: Option<EpochMillis>,
    /// Names in lower case.
    pub headers: HeaderMap,
    /// The exact bytes; `None` when they are said to be base64 and are not.
    pub body: Option<Vec<u8>>,
}

impl Call {
    /// Reads an event.
    ///
    /// # Errors
    /// When it is no event of a gateway, which means that something else has called the function.
    pub fn read(event: &str) -> Result<Self, serde_json::Error> {
        // A list would be read as the fields in their order.
        if !event.trim_start().starts_with('{') {
            return Err(de::Error::custom("an event is an object"));
        }
        let event: Written<'_> = serde_json::from_str(event)?;
        let payload = if event.version.as_deref() == Some("2.0") { Payload::V2 } else { Payload::V1 };
        let context = event.request_context;
        let caller = match (&context.http, &context.identity) {
            (Some(http), _) => http.source_ip.as_deref(),
            (None, identity) => identity.as_ref().and_then(|caller| caller.source_ip.as_deref()),
        };
        let sender = caller.and_then(|text| text.parse().ok());
        let method = context.http.as_ref().map(|http| &http.method).or(event.http_method.as_ref());
        let (path, query) = match payload {
            Payload::V2 => (event.raw_path, event.raw_query_string.unwrap_or_default().into_owned()),
            Payload::V1 => {
                let parameters = if event.multi_value_query_string_parameters.is_empty() {
                    &event.query_string_parameters
                } else {
                    &event.multi_value_query_string_parameters
                };
                // Only the context's path has the stage in it.
                (context.path.or(event.path), encode_query(parameters))
            }
        };
        let pairs =
            if event.multi_value_headers.is_empty() { &event.headers } else { &event.multi_value_headers };
        let mut headers = HeaderMap::new();
        for (name, value) in pairs.iter().take(HEADERS_MAX) {
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes()))
            {
                headers.append(name, value);
            }
        }
        let body = match event.body {
            None => Some(Vec::new()),
            Some(text) if event.is_base64_encoded == Some(true) => BASE64.decode(text.as_bytes()).ok(),
            Some(text) => Some(text.into_owned().into_bytes()),
        };
        Ok(Self {
            payload,
            method: method.and_then(|method| Method::from_bytes(method.as_bytes()).ok()),
            path: path.unwrap_or_default().into_owned(),
            query,
            sender,
            domain: context.domain_name.map(Cow::into_owned),
            request_id: context.request_id.map(Cow::into_owned),
            received_at: context
                .time_epoch
                .or(context.request_time_epoch)
                .filter(|millis| *millis > 0)
                .map(EpochMillis::from_millis),
            headers,
            body,
        })
    }
}

fn encode_query(parameters: &Pairs<'_>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in parameters {
        query.append_pair(name, value);
    }
    query.finish()
}

/// An answer in the shape of the gateway that asked.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Response {
    /// For a REST API.
    V1(ApiGatewayProxyResponse),
    /// For an HTTP API or a Function URL.
    V2(ApiGatewayV2httpResponse),
}

impl Response {
    /// Writes an answer for a kind of gateway.
    pub fn write(answer: Answer, payload: Payload) -> Self {
        let mut headers = HeaderMap::new();
        for (name, value) in answer.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        // A gateway would fill in application/json.
        headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("text/plain"));
        let status = i64::from(answer.status.as_u16());
        let body = Some(answer.body.into());
        match payload {
            Payload::V1 => {
                let mut response = ApiGatewayProxyResponse::default();
                response.status_code = status;
                response.multi_value_headers = headers;
                response.body = body;
                Self::V1(response)
            }
            Payload::V2 => {
                let mut response = ApiGatewayV2httpResponse::default();
                response.status_code = status;
                response.headers = headers;
                response.body = body;
                Self::V2(response)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_payload_2() {
        let event = json!({
            "version": "2.0", "routeKey": "POST /webhooks/{source}", "rawPath": "/prod/webhooks/pay",
            "rawQueryString": "a=%20b&a=c", "cookies": ["x=1"],
            "headers": {"content-type": "text/plain", "x-two": "1,2", "X-ODD": "caf\u{e9}"},
            "requestContext": {"domainName": "id.execute-api.eu-west-1.amazonaws.com", "stage": "prod", "requestId": "r1",
                "http": {"method": "POST", "path": "/prod/webhooks/pay"}, "timeEpoch": 1_780_000_000_123_i64},
            "body": "aGkA/w==", "isBase64Encoded": true
        });
        let call = Call::read(&event.to_string()).unwrap();
        assert_eq!((call.payload, call.method), (Payload::V2, Some(Method::POST)));
        assert_eq!((call.path.as_str(), call.query.as_str()), ("/prod/webhooks/pay", "a=%20b&a=c"));
        assert_eq!(call.body.as_deref(), Some(b"hi\0\xff".as_slice()));
        assert_eq!(call.received_at.unwrap().as_millis(), 1_780_000_000_123);
        assert_eq!(call.headers["x-odd"].as_bytes(), "café".as_bytes());
    }

    #[test]
    fn reads_payload_1() {
        let event = json!({
            "resource": "/webhooks/{source}", "path": "/webhooks/pay", "httpMethod": "POST",
            "headers": {"X-Two": "2"}, "multiValueHeaders": {"X-Two": ["1", "2"]},
            "queryStringParameters": {"a": "c"}, "multiValueQueryStringParameters": {"a": ["c"], "b": ["x y", "z"]},
            "requestContext": {"path": "/prod/webhooks/pay", "requestId": "r1", "requestTimeEpoch": 5},
            "body": "{\"a\": 1}\n", "isBase64Encoded": false
        });
        let call = Call::read(&event.to_string()).unwrap();
        assert_eq!((call.payload, call.method), (Payload::V1, Some(Method::POST)));
        assert_eq!((call.path.as_str(), call.query.as_str()), ("/prod/webhooks/pay", "a=c&b=x+y&b=z"));
        assert_eq!(call.headers.get_all("x-two").iter().count(), 2);
        assert_eq!(call.body.as_deref(), Some(b"{\"a\": 1}\n".as_slice()));
    }

    #[test]
    fn what_is_absent_or_null_is_nothing() {
        let call = Call::read(r#"{"headers": null, "queryStringParameters": null, "body": null}"#).unwrap();
        assert_eq!((call.method, call.body, call.received_at), (None, Some(Vec::new()), None));
        assert!(Call::read("[]").is_err() && Call::read("").is_err());
        let call =
            Call::read(r#"{"headers": {"a": null, "b": [], "\u0063": "\u0064\"", "e": ["f", "\u0067"]}}"#)
                .unwrap();
        let pairs: Vec<_> =
            call.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(pairs, [("c", &b"d\""[..]), ("e", b"f"), ("e", b"g")]);
        for odd in ["1", "true", "{}", "[null]", "[[]]"] {
            assert!(Call::read(&format!(r#"{{"headers": {{"a": {odd}}}}}"#)).is_err(), "{odd}");
        }
        let bad = Call::read(r#"{"body": "?", "isBase64Encoded": true}"#).unwrap();
        assert_eq!(bad.body, None);
    }

    proptest! {
        #[test]
        fn bodies_survive_base64(body in prop::collection::vec(any::<u8>(), 0..500)) {
            let event = json!({"version": "2.0", "body": BASE64.encode(&body), "isBase64Encoded": true});
            prop_assert_eq!(Call::read(&event.to_string()).unwrap().body, Some(body));
        }

        #[test]
        fn any_path_header_and_method_is_read_without_a_panic(path in any::<String>(), name in any::<String>(), value in any::<String>(), method in any::<String>()) {
            let event = json!({"version": "2.0", "rawPath": path, "rawQueryString": value, "headers": {name: value},
                "requestContext": {"http": {"method": method}}});
            prop_assert_eq!(Call::read(&event.to_string()).unwrap().path, path);
        }
    }
}
