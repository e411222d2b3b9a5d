//! Where calls go that no client of the SDK makes.

use aws_types::{SdkConfig, service_config::ServiceConfigKey};
use hookgate_core::aws::dns_suffix;

/// The endpoint of a service, without a slash at its end: as the environment or a profile has it, else the region's own.
///
/// `id` is what the SDK calls the service, of which variables and profiles have their names, and `prefix` what its host
/// begins with.
pub fn endpoint(config: &SdkConfig, id: &str, prefix: &str) -> String {
    let key =
        ServiceConfigKey::builder().service_id(id).env("AWS_ENDPOINT_URL").profile("endpoint_url").build();
    let configured = key.ok().and_then(|key| config.service_config()?.load_config(key));
    if let Some(url) = configured.or_else(|| config.endpoint_url().map(str::to_owned)) {
        return url.trim_end_matches('/').to_owned();
    }
    let fips = if config.use_fips() == Some(true) { "-fips" } else { "" };
    of_region(&format!("{prefix}{fips}"), config.region().map_or("", |region| region.as_ref()))
}

/// The endpoint of a region's own.
pub(crate) fn of_region(prefix: &str, region: &str) -> String {
    format!("https://{prefix}.{region}.{}", dns_suffix(region))
}

#[cfg(test)]
mod tests {
    use aws_types::region::Region;

    use super::*;

    #[test]
    fn the_endpoint_is_the_regions_own_unless_another_is_configured() {
        let of = |config: SdkConfig| endpoint(&config, "CloudFormation", "cloudformation");
        for (region, wanted) in [
            ("eu-west-1", "https://cloudformation.eu-west-1.amazonaws.com"),
            ("us-gov-west-1", "https://cloudformation.us-gov-west-1.amazonaws.com"),
            ("cn-north-1", "https://cloudformation.cn-north-1.amazonaws.com.cn"),
            ("eusc-de-east-1", "https://cloudformation.eusc-de-east-1.amazonaws.eu"),
        ] {
            assert_eq!(of(SdkConfig::builder().region(Region::new(region)).build()), wanted);
        }
        let fips = SdkConfig::builder().region(Region::new("us-east-1")).use_fips(true);
        assert_eq!(of(fips.build()), "https://cloudformation-fips.us-east-1.amazonaws.com");
        let other = SdkConfig::builder().endpoint_url("http://127.0.0.1:1/");
        assert_eq!(of(other.build()), "http://127.0.0.1:1");
    }
}
