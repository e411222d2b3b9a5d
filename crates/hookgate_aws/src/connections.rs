//! The connections that a function's first event will need, opened before it comes.

use aws_smithy_runtime_api::client::{http::HttpConnector, orchestrator::HttpRequest};
use aws_smithy_types::{body::SdkBody, byte_stream::ByteStream};

use crate::trust::OneClient;

/// How often a connection is tried: a second time for where Amazon's roots don't reach, and the system's are asked.
const TRIES: usize = 2;

/// Those of the SDK's clients to the table and to the queue.
///
/// Clients that [`crate::clients::Clients::from_config`] made have others, and nothing is opened for them.
#[derive(Clone, Debug, Default)]
pub struct Connections(Option<Ends>);

/// The HTTP client of the SDK's clients, and where they lead.
#[derive(Clone, Debug)]
struct Ends {
    client: OneClient,
    region: String,
    dynamodb: Option<String>,
    sqs: Option<String>,
}

impl Connections {
    /// Of clients in `region` that share `client`, at other endpoints than AWS's own where these are given.
    pub(crate) fn new(
        client: OneClient,
        region: String,
        dynamodb: Option<String>,
        sqs: Option<String>,
    ) -> Self {
        Self(Some(Ends { client, region, dynamodb, sqs }))
    }

    /// Opens them with a request that nobody has signed and that costs nothing: DynamoDB says that it is well, SQS that it knows
    /// no such operation, and both leave the connection open. What stands in the way of an answer, the first event meets again; how
    /// long to wait for one is for whoever asks.
    pub async fn open(&self) {
        if let Some(ends) = &self.0 {
            tokio::join!(ends.open(ends.dynamodb().await), ends.open(ends.sqs().await));
        }
    }
}

impl Ends {
    /// Where the SDK sends its calls, in whichever of AWS's partitions the region is.
    async fn dynamodb(&self) -> Option<String> {
        use aws_sdk_dynamodb::config::endpoint::{DefaultResolver, Params, ResolveEndpoint};
        let params =
            Params::builder().region(&self.region).set_endpoint(self.dynamodb.clone()).build().ok()?;
        Some(DefaultResolver::new().resolve_endpoint(&params).await.ok()?.url().to_owned())
    }

    /// As above.
    async fn sqs(&self) -> Option<String> {
        use aws_sdk_sqs::config::endpoint::{DefaultResolver, Params, ResolveEndpoint};
        let params = Params::builder().region(&self.region).set_endpoint(self.sqs.clone()).build().ok()?;
        Some(DefaultResolver::new().resolve_endpoint(&params).await.ok()?.url().to_owned())
    }

    async fn open(&self, url: Option<String>) {
        let Some(url) = url else { return };
        for _ in 0..TRIES {
            let mut request = HttpRequest::new(SdkBody::empty());
            if request.set_uri(url.as_str()).is_err() {
                return;
            }
            if let Ok(response) = self.client.connector().call(request).await {
                // The next request gets the connection when this answer was read.
                drop(ByteStream::new(response.into_body()).collect().await);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn they_lead_to_where_the_sdk_sends_its_calls() {
        for (region, dynamodb, sqs) in [
            ("eu-west-1", "https://dynamodb.eu-west-1.amazonaws.com", "https://sqs.eu-west-1.amazonaws.com"),
            (
                "cn-north-1",
                "https://dynamodb.cn-north-1.amazonaws.com.cn",
                "https://sqs.cn-north-1.amazonaws.com.cn",
            ),
        ] {
            let client = OneClient::new(Duration::from_secs(1));
            let ends = Ends { client, region: region.to_owned(), dynamodb: None, sqs: None };
            assert_eq!(ends.dynamodb().await.as_deref(), Some(dynamodb));
            assert_eq!(ends.sqs().await.as_deref(), Some(sqs));
            let ends = Ends { dynamodb: Some("http://a".into()), sqs: Some("http://b".into()), ..ends };
            assert_eq!(ends.dynamodb().await.as_deref(), Some("http://a"));
            assert_eq!(ends.sqs().await.as_deref(), Some("http://b"));
        }
    }
}
