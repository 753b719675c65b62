//! What outputs keep for a stream, as long as the stream is there.

use std::any::{Any, TypeId};
use std::sync::{Arc, Mutex, PoisonError};

/// At most one value of each type. A stream has as many as there are kinds of output that were asked for: a few.
#[derive(Default)]
pub(crate) struct Extensions(Mutex<Vec<(TypeId, Arc<dyn Any + Send + Sync>)>>);

impl Extensions {
    /// The value of this type, made at the first call.
    pub(crate) fn get_or_make<T: Send + Sync + 'static>(&self, make: impl FnOnce() -> T) -> Arc<T> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = held.iter().find(|(id, _)| *id == TypeId::of::<T>()).and_then(|(_, value)| value.clone().downcast().ok());
        found.unwrap_or_else(|| {
            let made = Arc::new(make());
            held.push((TypeId::of::<T>(), made.clone()));
            made
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_one_value() {
        let extensions = Extensions::default();
        assert_eq!(*extensions.get_or_make(|| 5_u32), 5);
        assert_eq!(*extensions.get_or_make(|| 6_u32), 5);
        assert_eq!(*extensions.get_or_make(|| "text"), "text");
    }
}
