//! What breaks around a real host and a real caller, and who loses what by it: nobody who is honest, beyond what is stated.

mod accounts;
mod exact;
mod history;
mod line;
mod mixed;
mod outage;
mod refund;
mod skew;
mod stage;
mod steps;
mod streams;
