#![doc = include_str!("../README.md")]
#![allow(clippy::disallowed_methods, reason = "chores are programs: they read the environment and the clock")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "chores talk to the terminal")]

pub mod browser;
pub mod contracts;
pub mod deny;
pub mod finding;
pub mod fuzz;
pub mod generate;
pub mod leak;
pub mod lock;
pub mod prose;
pub mod rows;
pub mod source;
pub mod step;
pub mod test;
pub mod tidy;
pub mod vocabulary;
pub mod workspace;

pub use finding::Finding;
pub use workspace::Workspace;
