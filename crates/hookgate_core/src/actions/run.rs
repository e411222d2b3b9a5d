//! `run`: a Rust function of your own, registered by name in `functions/worker/src/run.rs`.
//!
//! Key: `function` (default: the action's own name). Effect: one [`Effect::Run`].
//!
//! ```toml
//! [actions.describe]
//! kind = "run"
//! function = "describe-upload"
//! ```

use serde::Deserialize;

use crate::{
    action::{About, Action, Kind, PlanError},
    effect::Effect,
};

pub(super) const KIND: Kind = Kind::new::<Run>("run", "calls a Rust function of your own");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Run {
    function: Option<String>,
}

impl Action for Run {
    fn plan(&self, about: &About<'_>) -> Result<Effect, PlanError> {
        let function = self.function.clone().unwrap_or_else(|| about.action.to_string());
        Ok(Effect::Run { function })
    }

    fn function(&self) -> Option<&str> {
        self.function.as_deref()
    }

    fn describe(&self) -> String {
        self.function.as_ref().map_or_else(String::new, |function| format!("function `{function}`"))
    }
}

#[cfg(test)]
mod tests {
    use crate::{effect::Effect, testing::plan};

    #[test]
    fn names_the_function() {
        assert_eq!(plan("kind = \"run\"", "{}"), Ok(Effect::Run { function: "it".into() }));
        assert_eq!(plan("kind = \"run\"\nfunction = \"f\"", "{}"), Ok(Effect::Run { function: "f".into() }));
    }
}
