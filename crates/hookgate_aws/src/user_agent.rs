//! What whoever is called is told of the caller: that it is hookgate, and nothing more.
//!
//! By itself, the SDK writes four headers into every call: twice its own version, language, operating system and features, a
//! number of the call, and which of its tries this is. Nobody looks at them here, and they are a tenth of a call's
//! instructions. `CloudTrail` shows the one that is left.

use aws_runtime::{
    invocation_id::InvocationIdInterceptor, request_info::RequestInfoInterceptor,
    user_agent::UserAgentInterceptor,
};
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{
            Intercept, SharedInterceptor,
            context::{BeforeSerializationInterceptorContextRef, BeforeTransmitInterceptorContextMut},
            disable_interceptor, dyn_dispatch_hint,
        },
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::config_bag::ConfigBag;

/// Who calls.
pub(crate) const USER_AGENT: &str = concat!("hookgate/", env!("CARGO_PKG_VERSION"));

const CAUSE: &str = "hookgate says who it is in one header";

/// What a client of the SDK is given to write [`USER_AGENT`], and not what it would write by itself.
pub(crate) fn interceptor() -> SharedInterceptor {
    SharedInterceptor::permanent(OneHeader)
}

#[derive(Debug)]
struct OneHeader;

#[dyn_dispatch_hint]
impl Intercept for OneHeader {
    fn name(&self) -> &'static str {
        "OneHeader"
    }

    fn read_before_execution(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        bag.interceptor_state()
            .store_put(disable_interceptor::<UserAgentInterceptor>(CAUSE))
            .store_put(disable_interceptor::<InvocationIdInterceptor>(CAUSE))
            .store_put(disable_interceptor::<RequestInfoInterceptor>(CAUSE));
        Ok(())
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        context.request_mut().headers_mut().insert("user-agent", USER_AGENT);
        Ok(())
    }
}
