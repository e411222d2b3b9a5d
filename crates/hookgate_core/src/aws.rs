//! Calls of AWS services as data. Planning makes the whole request; performing it signs and sends it, and needs to
//! know no service.
//!
//! Absent on purpose: a client of the SDK for each service. Each would be in every worker, used or not, for the sake
//! of one request.
//!
//! Names, protocols and shapes are those of AWS's own service models (botocore 1.43.127, read 2026-11-21), which every
//! SDK is made from.

/// A service that actions call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AwsService {
    /// Simple Email Service, version 2 of its API.
    Email,
    /// EventBridge.
    EventBridge,
    /// Simple Notification Service.
    Sns,
    /// Simple Queue Service.
    Sqs,
    /// Lambda.
    Lambda,
    /// Step Functions.
    StepFunctions,
}

impl AwsService {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Email, Self::EventBridge, Self::Sns, Self::Sqs, Self::Lambda, Self::StepFunctions];

    /// What people call it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Email => "SES",
            Self::EventBridge => "EventBridge",
            Self::Sns => "SNS",
            Self::Sqs => "SQS",
            Self::Lambda => "Lambda",
            Self::StepFunctions => "Step Functions",
        }
    }

    /// Its name in a signature.
    pub const fn signing_name(self) -> &'static str {
        match self {
            Self::Email => "ses",
            Self::EventBridge => "events",
            Self::Sns => "sns",
            Self::Sqs => "sqs",
            Self::Lambda => "lambda",
            Self::StepFunctions => "states",
        }
    }

    /// `SERVICE` of `AWS_ENDPOINT_URL_SERVICE`, the variable that every SDK honours
    /// (<https://docs.aws.amazon.com/sdkref/latest/guide/ss-endpoints-table.html>, read 2026-11-21).
    pub const fn endpoint_id(self) -> &'static str {
        match self {
            Self::Email => "SESV2",
            Self::EventBridge => "EVENTBRIDGE",
            Self::Sns => "SNS",
            Self::Sqs => "SQS",
            Self::Lambda => "LAMBDA",
            Self::StepFunctions => "SFN",
        }
    }

    /// The right that a call of it needs.
    pub const fn permission(self) -> &'static str {
        match self {
            Self::Email => "ses:SendEmail",
            Self::EventBridge => "events:PutEvents",
            Self::Sns => "sns:Publish",
            Self::Sqs => "sqs:SendMessage",
            Self::Lambda => "lambda:InvokeFunction",
            Self::StepFunctions => "states:StartExecution",
        }
    }

    /// Its host in a region.
    pub fn host(self, region: &str) -> String {
        let prefix = match self {
            Self::Email => "email",
            other => other.signing_name(),
        };
        format!("{prefix}.{region}.{}", dns_suffix(region))
    }
}

/// What the hosts of a region end with.
///
/// Each partition has its own (`partitions.json` of botocore 1.43.127, read 2026-11-21); a region that is not known is
/// taken for one of the first.
pub fn dns_suffix(region: &str) -> &'static str {
    const OTHERS: &[(&str, &str)] = &[
        ("cn-", "amazonaws.com.cn"),
        ("eusc-", "amazonaws.eu"),
        ("us-iso-", "c2s.ic.gov"),
        ("us-isob-", "sc2s.sgov.gov"),
        ("us-isof-", "csp.hci.ic.gov"),
        ("eu-isoe-", "cloud.adc-e.uk"),
    ];
    let other = OTHERS.iter().find(|(start, _)| region.starts_with(start));
    other.map_or("amazonaws.com", |(_, suffix)| suffix)
}

/// A request to a service. All are POSTs.
#[derive(Clone, Debug, PartialEq)]
pub struct AwsEffect {
    /// The service.
    pub service: AwsService,
    /// The region that the target's ARN names; `None` for the worker's own.
    pub region: Option<String>,
    /// The path, encoded.
    pub path: String,
    /// Headers beside those of the signature.
    pub headers: Vec<(&'static str, String)>,
    /// The exact bytes.
    pub body: Vec<u8>,
    /// Milliseconds until it counts as failed.
    pub timeout_ms: u64,
    /// What its answer means.
    pub answer: AwsAnswer,
    /// What the right is needed on, for an operator: an ARN, a name, an address.
    pub target: String,
}

/// What in an answer says whether it was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AwsAnswer {
    /// A 2xx has the id under which the service took it: the element of XML or the field of JSON with this name.
    Id(&'static str),
    /// A 2xx may still say `FailedEntryCount`, with the code of each entry that was not taken.
    Entries,
    /// A 2xx with the id of its request says it, unless the header `x-amz-function-error` is there.
    Function,
    /// A 2xx has an ARN in this field. An error with this code means that it was done by an earlier try.
    Started {
        /// The field.
        arn: &'static str,
        /// The code.
        before: &'static str,
    },
}

/// The header that names the operation of a JSON protocol.
pub(crate) const TARGET_HEADER: &str = "x-amz-target";

/// An Amazon Resource Name, taken apart: `arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arn<'a> {
    pub(crate) service: &'a str,
    pub(crate) region: &'a str,
    pub(crate) account: &'a str,
    pub(crate) resource: &'a str,
}

impl<'a> Arn<'a> {
    /// Takes `text` apart; `None` unless it names something in one region of one account.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.splitn(6, ':');
        let (start, partition) = (parts.next()?, parts.next()?);
        let arn = Self {
            service: parts.next()?,
            region: parts.next()?,
            account: parts.next()?,
            resource: parts.next()?,
        };
        // A host is made of the region.
        let plain = |text: &str| {
            !text.is_empty()
                && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        let account = arn.account.len() == 12 && arn.account.bytes().all(|b| b.is_ascii_digit());
        let resource =
            !arn.resource.is_empty() && arn.resource.bytes().all(|b| b.is_ascii_graphic() && b != b'"');
        (start == "arn" && plain(partition) && plain(arn.region) && account && resource).then_some(arn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_those_of_the_partition() {
        for (service, region, host) in [
            (AwsService::Email, "eu-central-1", "email.eu-central-1.amazonaws.com"),
            (AwsService::EventBridge, "us-gov-west-1", "events.us-gov-west-1.amazonaws.com"),
            (AwsService::Sns, "cn-north-1", "sns.cn-north-1.amazonaws.com.cn"),
            (AwsService::Sqs, "cn-northwest-1", "sqs.cn-northwest-1.amazonaws.com.cn"),
            (AwsService::Lambda, "eusc-de-east-1", "lambda.eusc-de-east-1.amazonaws.eu"),
            (AwsService::StepFunctions, "us-isob-east-1", "states.us-isob-east-1.sc2s.sgov.gov"),
        ] {
            assert_eq!(service.host(region), host);
        }
    }

    #[test]
    fn an_arn_names_one_thing_in_one_region() {
        let arn = Arn::parse("arn:aws-cn:states:cn-north-1:123456789012:stateMachine:a:1").unwrap();
        let parts = (arn.service, arn.region, arn.account, arn.resource);
        assert_eq!(parts, ("states", "cn-north-1", "123456789012", "stateMachine:a:1"));
        for bad in [
            "",
            "arn",
            "arn:aws:sns:eu-west-1:123456789012",
            "arn:aws:sns:eu-west-1:123456789012:",
            "arn:aws:sns::123456789012:t",
            "arn:aws:sns:evil.example/:123456789012:t",
            "arn:aws:sns:eu-west-1:12345678901:t",
            "arn:aws:sns:eu-west-1:123456789012:a b",
            "urn:aws:sns:eu-west-1:123456789012:t",
        ] {
            assert_eq!(Arn::parse(bad), None, "{bad}");
        }
    }
}
