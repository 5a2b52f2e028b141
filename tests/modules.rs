//! The layers of the crates: their modules depend in one direction.

use std::collections::{BTreeMap, BTreeSet};

use tests::{checkout, sources};

/// Returns the modules at the top of a crate, each with those that its files name outside of their tests.
fn dependencies(source: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut found = BTreeMap::<_, BTreeSet<_>>::new();
    for file in sources(&[source]) {
        let path = file.strip_prefix(checkout().join(source)).unwrap().with_extension("");
        let names: Vec<_> = path.iter().map(|name| name.to_str().unwrap()).collect();
        let module = names[0];
        if ["lib", "main"].contains(&module) || names.contains(&"tests") {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        let named = lines.flat_map(|line| line.split("crate::").skip(1));
        let named = named.filter_map(|rest| rest.split(|char: char| !char.is_alphanumeric() && char != '_').next());
        found.entry(module.to_owned()).or_default().extend(named.map(str::to_owned).filter(|name| name != module));
    }
    let modules: BTreeSet<_> = found.keys().cloned().collect();
    found.values_mut().for_each(|named| named.retain(|name| modules.contains(name)));
    found
}

#[test]
fn modules_depend_in_one_direction() {
    for source in ["shared/src", "functions/deployment-consumer/src"] {
        let mut left = dependencies(source);
        assert!(left.len() > 10, "{source}: {left:?}");
        // What is left in the end depends on itself, by way of others.
        while let Some(lowest) = left.iter().find(|(_, named)| named.is_empty()).map(|(module, _)| module.clone()) {
            left.remove(&lowest);
            left.values_mut().for_each(|named| named.retain(|name| *name != lowest));
        }
        assert_eq!(left, BTreeMap::new(), "{source} has modules in a circle");
    }
}
