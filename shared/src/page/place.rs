//! Positions in lists whose items have long names.

use sha2::{Digest, Sha256};

use crate::hex::hex;

/// The maximum size of a place. Each of its characters can take two in a cursor.
const MAX_PLACE_BYTES: usize = 150;
/// The size of the start of a longer name, which is followed by a hash.
const START_BYTES: usize = 85;

/// Returns the place of a name among others: the name itself, unless it is too long for a cursor.
pub fn place(name: &str) -> String {
    if name.len() <= MAX_PLACE_BYTES {
        return name.to_owned();
    }
    let hash = hex(&Sha256::digest(name));
    format!("{}{hash}", &name[..name.floor_char_boundary(START_BYTES)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_in_the_order_of_names_and_differ() {
        let long = |end: char| format!("refs/heads/{}{end}", "a".repeat(200));
        let names = ["refs/heads/a", "refs/heads/a/b", &long('x'), &long('y'), "refs/heads/b", "refs/tags/a"];
        let mut places = names.map(place).to_vec();
        assert!(places.iter().all(|place| place.len() <= MAX_PLACE_BYTES));
        let (first, last) = (places[0].clone(), places[5].clone());
        places.sort();
        places.dedup();
        assert_eq!((places.len(), &places[0], &places[5]), (6, &first, &last));
    }
}
