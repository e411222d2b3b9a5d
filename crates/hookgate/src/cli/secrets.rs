//! The secrets of an installation, for commands that need nothing else of it.

use std::sync::Arc;

use anyhow::Context;
use hookgate_aws::ambient::Ambient;
use hookgate_core::secret::Secrets;

use crate::access::{Access, Place};

/// The secrets, and what to call the place where they are.
pub(super) async fn read(place: &Place) -> anyhow::Result<(Arc<Secrets>, String)> {
    match place {
        Place::Local(folder) => {
            let file = folder.secrets();
            let name = file.display().to_string();
            let text = std::fs::read_to_string(&file)
                .with_context(|| format!("reading {name} (`cargo run` makes it on its first start)"))?;
            Ok((Arc::new(Secrets::from_json(&text).with_context(|| name.clone())?), name))
        }
        Place::Deployed(_) => {
            let access = Access::open(place).await?;
            let secrets = access.secrets.current(Ambient::system().now()).await;
            access.close().await;
            Ok((secrets?, format!("the secret of {place}")))
        }
    }
}
