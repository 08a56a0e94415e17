//! Attacks on marks: what hosts do to hide whose model they serve, what is left of the evidence, and what it costs.
//!
//! [`battery::run`] takes rows ([`rows::standard`] or your own) and answers a table: for each attack the evidence in
//! every mode, the utility of the answers, and how much of the marked model's utility is left.

mod adaptive;
pub mod battery;
mod host;
pub mod inference;
mod journal;
mod merge;
mod prompt;
pub mod public_base;
pub mod published;
mod row;
pub mod rows;
mod smooth;
mod table;
pub mod tuning;
pub mod utility;
mod weights;

pub use adaptive::Aim;
pub use battery::{Field, MODES, Progress};
pub use host::Host;
pub use inference::Inference;
pub use merge::Merge;
pub use prompt::Prompt;
pub use row::{Attack, Group, Relative, Row, Swept};
pub use table::{Header, Line, Seen, Table};
pub use tuning::{Text, Tuning};
pub use utility::{Bench, Extent, Kept, Utility};
pub use weights::Damage;
