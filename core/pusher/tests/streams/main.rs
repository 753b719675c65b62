//! Whole streams in virtual time. One program, because each would link all of it again.

mod day;
mod opening;
mod reference;
mod stream;
mod world;
