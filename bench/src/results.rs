//! What a scenario gave.

use crate::measure::Measurement;
use crate::scenario::Kind;

/// A scenario's servers with their measurements.
pub(crate) type Results = Vec<(Kind, Vec<Measurement>)>;
