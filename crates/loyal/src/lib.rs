//! Programs of three lines: the parts of Loyal with this computer's clock and randomness passed in.
//!
//! ```no_run
//! #[tokio::main]
//! async fn main() -> loyal::Result<()> {
//!     loyal::serve("echo", |_, query, out| async move { out.respond("ANSWER", query.prompt).await }).await
//! }
//! ```

mod clock;
mod short;

pub use loyal_agent::{Agent, Error, Query, ResponseHandler, Result, Session};
pub use short::{serve, serve_on};
