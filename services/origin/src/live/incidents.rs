//! What became of streams, for the next report to the cloud.

use sightline_signal::report::OriginIncident;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Kept while the cloud is away; then the oldest go.
const INCIDENTS_MAX: usize = 256;
/// Of one report.
const REPORTED_MAX: usize = 64;

/// In the order in which they happened.
#[derive(Debug, Default)]
pub(crate) struct Incidents(Mutex<VecDeque<OriginIncident>>);

impl Incidents {
    fn queue(&self) -> MutexGuard<'_, VecDeque<OriginIncident>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, incident: OriginIncident) {
        let mut queue = self.queue();
        if queue.len() >= INCIDENTS_MAX {
            queue.pop_front();
        }
        queue.push_back(incident);
    }

    /// Those that the next report names.
    pub(crate) fn due(&self) -> Vec<OriginIncident> {
        self.queue().iter().take(REPORTED_MAX).cloned().collect()
    }

    /// The cloud has taken a report with these.
    pub(crate) fn reported(&self, incidents: &[OriginIncident]) {
        let mut queue = self.queue();
        for incident in incidents {
            // Unless the oldest went in the meantime.
            if queue.front() == Some(incident) {
                queue.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incident_is_reported_until_the_cloud_has_taken_it_and_the_oldest_go() {
        let incidents = Incidents::default();
        let of = |number: usize| OriginIncident { stream: number.to_string(), ..OriginIncident::default() };
        (0..300).for_each(|number| incidents.push(of(number)));
        let due = incidents.due();
        assert_eq!((due.len(), due[0].stream.as_str()), (REPORTED_MAX, "44"));
        assert_eq!(incidents.due(), due);
        incidents.reported(&due);
        assert_eq!(incidents.due()[0].stream, "108");
    }
}
