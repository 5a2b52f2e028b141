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
pub struct Cache<K, V>(Mutex<CLruCache<K, V>>);

impl<K: Eq + Hash, V> Cache<K, V> {
    /// Returns an empty cache.
    pub fn new(capacity: NonZeroUsize) -> Self {
        Self(Mutex::new(CLruCache::new(capacity)))
    }

    /// Returns the value of a key.
    pub fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        V: Clone,
    {
        self.lock().get(key).cloned()
    }

    /// Sets the value of a key.
    pub fn insert(&self, key: K, value: V) {
        self.lock().put(key, value);
    }

    /// Forgets a key.
    pub fn remove<Q: Eq + Hash + ?Sized>(&self, key: &Q)
    where
        K: Borrow<Q>,
    {
        self.lock().pop(key);
    }

    /// Uses the value of a key, if there is one.
    pub fn change<Q: Eq + Hash + ?Sized, R>(&self, key: &Q, then: impl FnOnce(&mut V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
    {
        self.lock().get_mut(key).map(then)
    }

    /// Uses the value of a key, which is the default at first.
    pub fn with<R>(&self, key: &K, then: impl FnOnce(&mut V) -> R) -> R
    where
        K: Clone,
        V: Default,
    {
        let mut map = self.lock();
        if map.get(key).is_none() {
            map.put(key.clone(), V::default());
        }
        then(map.get_mut(key).expect("the key was put"))
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
        cache.with(&"two".to_owned(), |value| *value = 20);
        cache.insert("four".to_owned(), 4);
        assert_eq!(values(&cache), [Some(1), Some(20), None, Some(4)]);
    }

    #[test]
    fn a_new_value_of_a_known_key_evicts_nothing() {
        let cache = full();
        cache.insert("two".to_owned(), 20);
        let changed = |value: &mut u32| {
            *value += 30;
            *value
        };
        assert_eq!(cache.with(&"three".to_owned(), changed), 33);
        assert_eq!(values(&cache), [Some(1), Some(20), Some(33), None]);
        assert_eq!(cache.with(&"four".to_owned(), changed), 30, "an unknown key has the default");
    }
}
