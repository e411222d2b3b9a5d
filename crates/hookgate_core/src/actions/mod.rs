//! Actions: what can be done with an event. Planning is pure; effects are performed elsewhere.
//!
//! Adding an action: copy the smallest file beside this one (`count.rs`), and add its `mod` line and its line in
//! [`KINDS`]. If it needs something of the outside that no [`Effect`](crate::effect::Effect) asks for yet, the effect is added too, and
//! the compiler names the one place that performs it.

use crate::action::Kind;

mod count;
mod discord;
mod email;
mod http;
mod invoke;
mod publish;
mod record;
mod run;
mod slack;
mod teams;

/// Every kind of action, by name.
pub const KINDS: &[Kind] = &[
    count::KIND,
    discord::KIND,
    email::KIND,
    http::KIND,
    invoke::KIND,
    publish::KIND,
    record::KIND,
    run::KIND,
    slack::KIND,
    teams::KIND,
];

/// The kind called `name`.
pub fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn the_list_is_sorted_and_holds_every_file() {
        let names: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/actions");
        let mut files: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .filter(|name| name != "mod")
            .collect();
        files.sort();
        assert_eq!(files, names);
    }

    #[test]
    fn the_examples_of_every_file_can_be_read() {
        for kind in KINDS {
            let file = format!("{}/src/actions/{}.rs", env!("CARGO_MANIFEST_DIR"), kind.name);
            let text = std::fs::read_to_string(file).unwrap();
            let (_, rest) = text.split_once("//! ```toml\n").unwrap_or_else(|| panic!("{kind:?} has none"));
            let (block, _) = rest.split_once("//! ```\n").unwrap();
            let example: String =
                block.lines().map(|line| format!("{}\n", line.trim_start_matches("//!"))).collect();
            let config = Config::parse(&example).unwrap_or_else(|problems| panic!("{kind:?}: {problems:?}"));
            assert!(!config.actions.is_empty(), "{kind:?}");
            assert!(config.actions.values().all(|action| action.kind.name == kind.name), "{kind:?}");
        }
    }
}
