//! The table of items, for readers of the documentation.

use shared::model::{IndexEntry, Presence, SCHEMA};

/// Returns the table in Markdown.
pub(super) fn table() -> String {
    let rows = SCHEMA.iter().map(|kind| {
        let indexes: Vec<_> = kind.indexes.iter().map(index).collect();
        let expires = match kind.expiry {
            Presence::Never => String::new(),
            Presence::Always => "yes".to_owned(),
            Presence::If(condition) => format!("if {condition}"),
        };
        format!("| {} | `{}` | `{}` | {} | {expires} |\n", kind.name, kind.pk, kind.sk, indexes.join("<br>"))
    });
    let head = "| item | pk | sk | indexes: partition, sort key | expires |\n|---|---|---|---|---|\n";
    [head.to_owned()].into_iter().chain(rows).collect()
}

fn index(entry: &IndexEntry) -> String {
    let condition = match entry.presence {
        Presence::If(condition) => format!(", if {condition}"),
        Presence::Always | Presence::Never => String::new(),
    };
    format!("{}: `{}`, `{}`{condition}", entry.index.name(), entry.partition, entry.sort)
}
