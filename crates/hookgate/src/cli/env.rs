//! `hookgate env`: the variables with which anything that speaks AWS runs against the local stack.

use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::Args;
use hookgate_aws::{
    clients::{LOCAL_CREDENTIALS, LOCAL_REGION},
    env,
};
use hookgate_core::aws::AwsService;

use super::DataArgs;
use crate::{dev, local::TABLE, show};

#[derive(Debug, Args)]
pub(super) struct Env {
    #[command(flatten)]
    data: DataArgs,
}

impl Env {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let folder = self.data.folder();
        let endpoints = folder.endpoints().ok_or_else(|| {
            anyhow!("no local stack runs in {}; `cargo run` starts one", folder.path().display())
        })?;
        let secrets = folder.secrets();
        let secrets = secrets.canonicalize().with_context(|| format!("finding {}", secrets.display()))?;
        let inbox = endpoints.gateway.trim_start_matches("http://").to_owned();
        let aws = |service| dev::aws_endpoint(&endpoints.gateway, service);
        let mut variables: Vec<(String, String)> = Vec::new();
        for service in AwsService::ALL {
            // The functions' own queue is at the variable of SQS; what actions publish to has one of its own.
            let name = match service {
                AwsService::Sqs => env::PUBLISH_QUEUES.to_owned(),
                other => format!("AWS_ENDPOINT_URL_{}", other.endpoint_id()),
            };
            variables.push((name, aws(service)));
        }
        let fixed = [
            ("AWS_ACCESS_KEY_ID", LOCAL_CREDENTIALS.0.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", LOCAL_CREDENTIALS.1.to_owned()),
            ("AWS_REGION", LOCAL_REGION.to_owned()),
            ("AWS_ENDPOINT_URL_DYNAMODB", endpoints.dynamodb),
            ("AWS_ENDPOINT_URL_SQS", endpoints.sqs),
            (env::TABLE, TABLE.to_owned()),
            (env::QUEUE_URL, endpoints.queue_url),
            (env::ORDERED_QUEUE_URL, endpoints.ordered_queue_url),
            (env::SECRETS, format!("file://{}", secrets.display())),
            (env::PUBLIC_URL, endpoints.gateway),
            (env::ALLOW_HOSTS, inbox),
        ];
        variables.extend(fixed.map(|(name, value)| (name.to_owned(), value)));
        for (name, value) in variables {
            show::line(&format!("export {name}='{}'", value.replace('\'', r"'\''")));
        }
        Ok(ExitCode::SUCCESS)
    }
}
