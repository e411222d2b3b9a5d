//! `invoke`: a Lambda function, or an execution of a Step Functions state machine.
//!
//! Keys: `function` (a name or an ARN) or `state_machine` (an ARN); `input`, a template of JSON (default: the event:
//! `source`, `id`, `type`, `verified`, `received_at`, `occurred_at`, `headers`, and `body` as text or `body_base64`);
//! for a function `wait = true`, to wait for its end, and then `timeout_seconds` (default 10, at most 30).
//!
//! A function is invoked asynchronously: it is done when Lambda has taken it, and Lambda retries by itself. With `wait`
//! it is done when the function has ended well, and tried again if it has not; a function that takes longer than
//! `timeout_seconds` goes on, and is invoked once more.
//!
//! An execution has a name that is made from the event, so a standard workflow is started once for each event, however
//! often that is tried, for 90 days after it ended; once more when a person asks for what is done again. Express workflows
//! are not told apart by their names.
//!
//! Effect: one [`Effect::Aws`], in the region that an ARN names. Sources, read 2026-11-21:
//! <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>,
//! <https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html>.
//!
//! ```toml
//! [actions.thumbnail]                   # Lambda has it, and hookgate is done
//! kind = "invoke"
//! function = "make-thumbnail"
//!
//! [actions.check]                       # done when the function has ended well
//! kind = "invoke"
//! function = "arn:aws:lambda:eu-west-1:123456789012:function:check:live"
//! input = '{"order": {{ event.order | tojson }}}'
//! wait = true
//! timeout_seconds = 20
//!
//! [actions.ship]
//! kind = "invoke"
//! state_machine = "arn:aws:states:eu-west-1:123456789012:stateMachine:ship"
//! ```

use serde::{Deserialize, de::IgnoredAny};
use serde_json::json;

use crate::{
    action::{About, Action, Kind, PlanError, envelope, fits, once_name},
    aws::{Arn, AwsAnswer, AwsEffect, AwsService, TARGET_HEADER},
    effect::Effect,
    template::Template,
};

pub(super) const KIND: Kind =
    Kind::new::<Invoke>("invoke", "invokes a Lambda function or starts a Step Functions execution");

/// Largest input of a function that nobody waits for, and of one that somebody does
/// (<https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>, read 2026-11-21).
const ASYNC_BYTES_MAX: usize = 1024 * 1024;
const SYNC_BYTES_MAX: usize = 6 * 1024 * 1024;

/// Largest input of an execution.
const EXECUTION_BYTES_MAX: usize = 256 * 1024;

/// Half of the worker's time limit, as for `http`.
const TIMEOUT_SECONDS_MAX: u64 = 30;
const TIMEOUT_SECONDS_DEFAULT: u64 = 10;

#[derive(Debug, Deserialize)]
#[serde(try_from = "Written")]
struct Invoke {
    what: What,
    region: Option<String>,
    input: Option<Template>,
    timeout_ms: u64,
}

#[derive(Debug)]
enum What {
    Function { name: String, wait: bool },
    StateMachine { arn: String },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    function: Option<Function>,
    state_machine: Option<StateMachine>,
    input: Option<Template>,
    #[serde(default)]
    wait: bool,
    timeout_seconds: Option<TimeoutSeconds>,
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Function {
    name: String,
    region: Option<String>,
}

impl TryFrom<String> for Function {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        match region_of_function(&name) {
            Some(region) => Ok(Self { name, region }),
            None => Err(format!(
                "`{name}` is no function; write its name or its ARN (`arn:aws:lambda:…:function:NAME`)"
            )),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct StateMachine {
    arn: String,
    region: String,
}

impl TryFrom<String> for StateMachine {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let arn = Arn::parse(&text);
        match arn.filter(|arn| arn.service == "states" && arn.resource.starts_with("stateMachine:")) {
            Some(Arn { region, .. }) => Ok(Self { region: region.to_owned(), arn: text }),
            None => Err(format!(
                "`{text}` is no state machine; write its ARN (`arn:aws:states:…:stateMachine:NAME`)"
            )),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "u64")]
struct TimeoutSeconds(u64);

impl TryFrom<u64> for TimeoutSeconds {
    type Error = String;

    fn try_from(seconds: u64) -> Result<Self, String> {
        if seconds == 0 || seconds > TIMEOUT_SECONDS_MAX {
            return Err(format!("`timeout_seconds` has to be 1 to {TIMEOUT_SECONDS_MAX}"));
        }
        Ok(Self(seconds))
    }
}

impl TryFrom<Written> for Invoke {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let Written { function, state_machine, input, wait, timeout_seconds } = written;
        if timeout_seconds.is_some() && !wait {
            return Err(
                "`timeout_seconds` goes with `wait = true`; otherwise nobody waits for the end".into()
            );
        }
        let timeout_ms = timeout_seconds.map_or(TIMEOUT_SECONDS_DEFAULT, |seconds| seconds.0) * 1000;
        match (function, state_machine) {
            (Some(Function { name, region }), None) => {
                Ok(Self { what: What::Function { name, wait }, region, input, timeout_ms })
            }
            (None, Some(_)) if wait => {
                Err("`wait` is for functions; an execution may take up to a year".into())
            }
            (None, Some(StateMachine { arn, region })) => {
                Ok(Self { what: What::StateMachine { arn }, region: Some(region), input, timeout_ms })
            }
            (Some(_), Some(_)) | (None, None) => {
                Err("`invoke` needs either `function` or `state_machine`".into())
            }
        }
    }
}

/// The region that the name of a function has in it, if any; `None` if it is no name. It may be an ARN, or
/// `ACCOUNT:function:NAME`, or a name, each with a version or alias behind a colon.
fn region_of_function(name: &str) -> Option<Option<String>> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b':' | b'$' | b'.');
    if name.is_empty() || name.len() > 256 || !name.bytes().all(plain) {
        return None;
    }
    if !name.starts_with("arn:") {
        return Some(None);
    }
    let arn = Arn::parse(name)?;
    (arn.service == "lambda" && arn.resource.starts_with("function:")).then(|| Some(arn.region.to_owned()))
}

impl Action for Invoke {
    fn plan(&self, about: &About<'_>) -> Result<Effect, PlanError> {
        let input = match &self.input {
            None => envelope(about).to_string(),
            Some(template) => {
                let input = template.render(about.context)?;
                // Whoever is invoked would get an error at best.
                serde_json::from_str::<IgnoredAny>(&input).map_err(|e| PlanError::Invalid {
                    what: format!(
                        "the input is no JSON (line {}, column {}); say `| tojson` behind values",
                        e.line(),
                        e.column()
                    ),
                })?;
                input
            }
        };
        let effect = match &self.what {
            What::Function { name, wait } => {
                let limit = if *wait { SYNC_BYTES_MAX } else { ASYNC_BYTES_MAX };
                fits("the input of the function", input.len(), limit)?;
                AwsEffect {
                    service: AwsService::Lambda,
                    region: self.region.clone(),
                    path: format!(
                        "/2015-03-31/functions/{}/invocations",
                        name.replace(':', "%3A").replace('$', "%24")
                    ),
                    headers: vec![
                        ("content-type", "application/json".into()),
                        ("x-amz-invocation-type", if *wait { "RequestResponse" } else { "Event" }.into()),
                    ],
                    body: input.into_bytes(),
                    timeout_ms: self.timeout_ms,
                    answer: AwsAnswer::Function,
                    target: name.clone(),
                }
            }
            What::StateMachine { arn } => {
                fits("the input of the execution", input.len(), EXECUTION_BYTES_MAX)?;
                let request = json!({ "stateMachineArn": arn, "name": once_name(about), "input": input });
                AwsEffect {
                    service: AwsService::StepFunctions,
                    region: self.region.clone(),
                    path: "/".into(),
                    headers: vec![
                        ("content-type", "application/x-amz-json-1.0".into()),
                        (TARGET_HEADER, "AWSStepFunctions.StartExecution".into()),
                    ],
                    body: request.to_string().into_bytes(),
                    timeout_ms: self.timeout_ms,
                    answer: AwsAnswer::Started { arn: "executionArn", before: "ExecutionAlreadyExists" },
                    target: arn.clone(),
                }
            }
        };
        Ok(Effect::Aws(effect))
    }

    fn describe(&self) -> String {
        match &self.what {
            What::Function { name, wait: false } => format!("function {name}"),
            What::Function { name, wait: true } => format!("function {name}, and waits for its end"),
            What::StateMachine { arn } => format!("state machine {arn}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::{
        config::Config,
        testing::{plan, plan_again},
    };

    const EVENT: &str = r#"{"id": "evt 1", "type": "order.paid", "total": 5}"#;
    const MACHINE: &str = "arn:aws:states:eu-west-1:123456789012:stateMachine:ship";

    fn planned(keys: &str, event: &str) -> Result<AwsEffect, PlanError> {
        match plan(&format!("kind = \"invoke\"\n{keys}"), event)? {
            Effect::Aws(effect) => Ok(effect),
            other => panic!("{other:?}"),
        }
    }

    fn json_of(effect: &AwsEffect) -> Value {
        serde_json::from_slice(&effect.body).unwrap()
    }

    #[test]
    fn a_function_gets_the_event_and_nobody_waits() {
        let effect = planned("function = \"ship\"", EVENT).unwrap();
        assert_eq!(effect.path, "/2015-03-31/functions/ship/invocations");
        assert_eq!((effect.service, effect.region.as_deref()), (AwsService::Lambda, None));
        assert!(effect.headers.contains(&("x-amz-invocation-type", "Event".into())));
        assert_eq!(
            json_of(&effect),
            json!({
                "source": "shop", "id": "evt 1", "type": "order.paid", "verified": true,
                "received_at": "2026-05-28T20:26:40.000Z", "occurred_at": null,
                "headers": {"content-type": "application/json"}, "body": EVENT,
            })
        );
    }

    #[test]
    fn a_function_elsewhere_is_invoked_there() {
        let name = "arn:aws:lambda:us-east-2:123456789012:function:ship:$LATEST";
        let keys = format!(
            "function = \"{name}\"\nwait = true\ntimeout_seconds = 30\ninput = '{{\"n\": {{{{ event.total }}}}}}'"
        );
        let effect = planned(&keys, EVENT).unwrap();
        assert_eq!(effect.region.as_deref(), Some("us-east-2"));
        assert_eq!(
            effect.path,
            "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-2%3A123456789012%3Afunction%3Aship%3A%24LATEST/invocations"
        );
        assert!(effect.headers.contains(&("x-amz-invocation-type", "RequestResponse".into())));
        assert_eq!((effect.body.as_slice(), effect.timeout_ms), (b"{\"n\": 5}".as_slice(), 30_000));
    }

    #[test]
    fn an_execution_has_a_name_that_its_event_alone_has() {
        let again = |event: &str, times_done: u32| {
            let keys = format!("kind = \"invoke\"\nstate_machine = \"{MACHINE}\"");
            let Ok(Effect::Aws(effect)) = plan_again(&keys, event, times_done) else { panic!("no call") };
            assert_eq!(
                (effect.service, effect.region.as_deref()),
                (AwsService::StepFunctions, Some("eu-west-1"))
            );
            json_of(&effect)
        };
        let start = |event: &str| again(event, 0);
        let first = start(EVENT);
        assert_eq!(first["stateMachineArn"], MACHINE);
        let input: Value = serde_json::from_str(first["input"].as_str().unwrap()).unwrap();
        assert_eq!((&input["id"], &input["body"]), (&json!("evt 1"), &json!(EVENT)));
        assert_eq!(start(EVENT), first);
        let long = json!({"id": "ü/".repeat(120), "type": "x"}).to_string();
        for name in [&first["name"], &start(&long)["name"], &start(&EVENT.replace("evt 1", "evt/1"))["name"]]
        {
            let name = name.as_str().unwrap();
            assert!(name.len() <= 80, "{name}");
            assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{name}");
        }
        assert_ne!(first["name"], start(&EVENT.replace("evt 1", "evt/1"))["name"]);
        assert_ne!(first["name"], again(EVENT, 1)["name"], "done, and asked for again");
        assert_eq!(again(EVENT, 1), again(EVENT, 1));
    }

    #[test]
    fn input_that_can_not_be_taken_is_not_sent() {
        let error = planned("function = \"f\"\ninput = \"{{ id }}\"", EVENT).unwrap_err().to_string();
        assert!(error.contains("no JSON") && !error.contains("evt"), "{error}");
        let event = |bytes: usize| json!({"id": "1", "t": "x".repeat(bytes)}).to_string();
        for (keys, bytes, limit) in [
            ("function = \"f\"".to_owned(), 1024 * 1024, ASYNC_BYTES_MAX),
            ("function = \"f\"\nwait = true".to_owned(), 6 * 1024 * 1024, SYNC_BYTES_MAX),
            (format!("state_machine = \"{MACHINE}\""), 256 * 1024, EXECUTION_BYTES_MAX),
        ] {
            let error = planned(&keys, &event(bytes)).unwrap_err();
            assert!(matches!(error, PlanError::TooLarge { limit: l, .. } if l == limit), "{keys}: {error}");
            assert!(planned(&keys, &event(bytes - 4096)).is_ok(), "{keys}");
        }
    }

    #[test]
    fn refuses_what_makes_no_sense() {
        let both = format!("function = \"f\"\nstate_machine = \"{MACHINE}\"");
        for (keys, part) in [
            ("", "either `function` or `state_machine`"),
            (both.as_str(), "either"),
            ("function = \"a/b\"", "no function"),
            ("function = \"arn:aws:sns:eu-west-1:123456789012:t\"", "no function"),
            ("state_machine = \"ship\"", "no state machine"),
            ("state_machine = \"arn:aws:states:eu-west-1:123456789012:activity:a\"", "no state machine"),
            (
                "state_machine = \"arn:aws:states:eu-west-1:123456789012:stateMachine:a\"\nwait = true",
                "`wait` is for",
            ),
            ("function = \"f\"\ntimeout_seconds = 5", "goes with `wait"),
            ("function = \"f\"\nwait = true\ntimeout_seconds = 31", "1 to 30"),
        ] {
            let problems = Config::parse(&format!("[actions.it]\nkind = \"invoke\"\n{keys}")).unwrap_err();
            assert!(problems.iter().any(|p| p.message.contains(part)), "{keys}: {problems:?}");
        }
    }
}
