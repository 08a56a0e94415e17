//! A watch: endpoints that nobody registered, asked a little at a time, for as long as it takes.
//!
//! What is asked of one model behind one endpoint is an *inquiry*: one transcript, one e-process that goes on from visit to
//! visit. The diary says which inquiries there are, what every visit may cost and did cost, and when the next one is due. It
//! is written ahead: a visit's requests are reserved before the first is sent, so that a watch which is killed at any
//! moment has sent no more than its diary says. Fingerprints themselves are spent in the ledger, as in any check.
//!
//! Each inquiry is one more suspect tested, and asks for that much more evidence. Nothing here depends on whether a changed
//! model is noticed: an innocent endpoint stays innocent however often it changes, and an inquiry that missed a change is
//! only weaker.

mod allowance;
mod diary;
mod inquiry;
mod portrait;
mod schedule;

pub use allowance::{Allowance, Granted, Money};
pub use diary::{Diary, Outcome};
pub use inquiry::{Cause, Inquiry, Matter, log10_chance_of_any};
pub use portrait::{Likeness, Portrait};
pub use schedule::next_visit;
