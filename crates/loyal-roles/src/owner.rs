//! The owner: registers a model step by step, lets its makers agree, and sends everybody what is theirs.
//!
//! Registering takes days, since a seed must be drawn after the commitment and others may claim the model before it is
//! final. So [`register::run`] is called again and again: it reads from the chain what is done, takes what can be taken
//! now, and says what is next.

pub mod issuing;
pub mod manifest;
pub mod page;
pub mod register;
pub mod registration;
pub mod revenue;
pub mod ticketing;

pub use page::Page;
pub use register::Next;
pub use registration::Registration;
