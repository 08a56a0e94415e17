//! Programs of three lines: the parts of Loyal with this computer's clock and randomness passed in.
//!
//! ```no_run
//! #[tokio::main]
//! async fn main() -> loyal::Result<()> {
//!     loyal::serve("echo", |_, query, out| async move { out.respond("ANSWER", query.prompt).await }).await
//! }
//! ```
//!
//! The middle line of an agent with tools:
//!
//! ```no_run
//! # async fn main_of_it() -> loyal::Result<()> {
//! loyal::ask("http://127.0.0.1:8080/v1", "What is 2^200?", [loyal::calculate()]).await.map(|answer| println!("{answer}"))
//! # }
//! ```
//!
//! The same with a hosted model that is paid for each ask, out of the wallet that `loyal access request` filled:
//!
//! ```no_run
//! # async fn main_of_it(key: loyal::Key) -> anyhow::Result<()> {
//! let caller = loyal::caller("loyal-wallet", key).await?;
//! println!("{}", loyal::ask(caller, "What is 2^200?", [loyal::calculate()]).await?);
//! # Ok(())
//! # }
//! ```
//!
//! And of an agent with a browser:
//!
//! ```no_run
//! # async fn main_of_it() -> loyal::Result<()> {
//! loyal::browse("http://127.0.0.1:8080/v1", "play the demo video on https://media.example").await.map(|answer| println!("{answer}"))
//! # }
//! ```

//! From the wallet that `loyal access request` filled to a paid answer:
//!
//! ```no_run
//! # async fn main_of_it(key: loyal::Key) -> anyhow::Result<()> {
//! println!("{}", loyal::invoke("loyal-wallet", key, "What is a fingerprint?").await?);
//! # Ok(())
//! # }
//! ```

mod clock;
mod invocation;
mod program;
mod short;
pub mod story;

pub use invocation::{caller, invoke};
pub use loyal_access::{Answer, Caller};
pub use loyal_agent::tool::{Folder, Tool, Web, calculate, read_page, tool};
pub use loyal_agent::{Agent, Error, Query, ResponseHandler, Result, Session};
pub use loyal_protocol::Key;
pub use short::{Model, ask, browse, browse_on, python, serve, serve_on};
