//! The bounded cache of an execution environment.

use std::borrow::Borrow;
use std::fmt::{self, Debug, Formatter};
use std::hash::Hash;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use clru::CLruCache;

/// A cache of at most `capacity` entries. A new entry takes the place of the least recently used one.
///
/// A panic while the cache is locked leaves it usable: each change is one call of the map.
pub(crate) struct Cache<K, V>(Mutex<CLruCache<K, V>>);

impl<K: Eq + Hash, V> Cache<K, V> {
    pub(crate) fn new(capacity: NonZeroUsize) -> Self {
        Self(Mutex::new(CLruCache::new(capacity)))
    }

    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        V: Clone,
    {
        self.lock().get(key).cloned()
    }

    /// Sets the value of a key.
    pub(crate) fn insert(&self, key: K, value: V) {
        self.lock().put(key, value);
    }

    /// Changes the value of a key, if there is one, and returns it. Sets it to `value` if there is none.
    pub(crate) fn change_or_insert(&self, key: K, value: V, mut change: impl FnMut(&mut V)) -> V
    where
        V: Clone,
    {
        self.lock().put_or_modify(key, |_, value| value, |_, current, _| change(current), value).clone()
    }

    /// Changes the value of a key, if there is one.
    pub(crate) fn change<Q: Eq + Hash + ?Sized>(&self, key: &Q, change: impl FnOnce(&mut V))
    where
        K: Borrow<Q>,
    {
        if let Some(value) = self.lock().get_mut(key) {
            change(value);
        }
    }

    pub(crate) fn remove<Q: Eq + Hash + ?Sized>(&self, key: &Q)
    where
        K: Borrow<Q>,
    {
        self.lock().pop(key);
    }

    fn lock(&self) -> MutexGuard<'_, CLruCache<K, V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shows no entry: keys and values may identify tokens.
impl<K, V> Debug for Cache<K, V> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Cache<String, u32> {
        let cache = Cache::new(NonZeroUsize::new(3).unwrap());
        for (key, value) in [("one", 1), ("two", 2), ("three", 3)] {
            cache.insert(key.to_owned(), value);
        }
        cache
    }

    fn values(cache: &Cache<String, u32>) -> [Option<u32>; 4] {
        ["one", "two", "three", "four"].map(|key| cache.get(key))
    }

    #[test]
    fn a_new_entry_takes_the_place_of_the_least_recently_used_one_alone() {
        let cache = full();
        cache.insert("four".to_owned(), 4);
        assert_eq!(values(&cache), [None, Some(2), Some(3), Some(4)]);
    }

    #[test]
    fn a_read_or_a_change_is_a_use() {
        let cache = full();
        assert_eq!(cache.get("one"), Some(1));
        cache.change("two", |value| *value = 20);
        cache.insert("four".to_owned(), 4);
        assert_eq!(values(&cache), [Some(1), Some(20), None, Some(4)]);
    }

    #[test]
    fn a_new_value_of_a_known_key_evicts_nothing() {
        let cache = full();
        cache.insert("two".to_owned(), 20);
        assert_eq!(cache.change_or_insert("three".to_owned(), 0, |value| *value += 30), 33);
        assert_eq!(values(&cache), [Some(1), Some(20), Some(33), None]);
    }

    #[test]
    fn an_unknown_key_is_inserted_and_not_changed() {
        let cache = full();
        assert_eq!(cache.change_or_insert("four".to_owned(), 4, |value| *value = 0), 4);
        cache.change("five", |value| *value = 0);
        cache.remove("two");
        assert_eq!(values(&cache), [None, None, Some(3), Some(4)]);
        assert_eq!(cache.get("five"), None);
    }
}
