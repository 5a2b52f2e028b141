//! The templates as CloudFormation reads them.

use std::collections::BTreeMap;

use serde_json::Value;
use tests::read_file;

use super::STACK;

/// The conditions under which the templates are read: the table is the stack's own, traces are on, and no function is in a VPC.
pub(super) const CONDITIONS: [(&str, bool); 4] =
    [("Restored", false), ("Traces", true), ("InVpc", false), ("HasPrivateHosts", false)];

pub(super) struct Template(pub(super) Value);

/// A function in the template.
pub(super) struct Function {
    /// The name, such as `list-repositories`.
    pub(super) name: String,
    /// The logical id, such as `ListRepositories`.
    pub(super) id: String,
    pub(super) properties: Value,
}

impl Template {
    pub(super) fn read() -> Self {
        Self::read_if(&CONDITIONS)
    }

    pub(super) fn read_if(conditions: &[(&str, bool)]) -> Self {
        let file = |name: &str| {
            let mut template = serde_saphyr::from_str::<Value>(&read_file(&format!("infra/{name}"))).unwrap();
            decide(&mut template, conditions);
            template
        };
        let mut whole = file("template.yaml");
        let stacks: Vec<_> = Self(whole.clone()).of_type(STACK).into_iter().map(|(_, stack)| stack.clone()).collect();
        for stack in stacks {
            let mut nested = file(text(&stack["TemplateURL"]));
            let parameters: Vec<_> = nested["Parameters"].as_object().unwrap().keys().cloned().collect();
            let given = stack["Parameters"].as_object().unwrap();
            assert_eq!(parameters, given.keys().cloned().collect::<Vec<_>>(), "{}", stack["TemplateURL"]);
            fill_in(&mut nested["Resources"], given);
            if let Some(globals) = nested.get_mut("Globals") {
                fill_in(globals, given);
            }
            for (id, resource) in nested["Resources"].as_object().unwrap() {
                let before = whole["Resources"].as_object_mut().unwrap().insert(id.clone(), resource.clone());
                assert_eq!(before, None, "two resources are named {id}");
            }
            let (globals, nested) = (&mut whole["Globals"], nested["Globals"].take());
            assert!(globals.is_null() || nested.is_null() || *globals == nested, "the areas have different Globals");
            if globals.is_null() {
                *globals = nested;
            }
        }
        Self(whole)
    }

    pub(super) fn resource(&self, id: &str) -> &Value {
        let resource = &self.0["Resources"][id];
        assert!(resource.is_object(), "the template has no resource {id}");
        resource
    }

    pub(super) fn properties(&self, id: &str) -> &Value {
        &self.resource(id)["Properties"]
    }

    /// Returns the ids and properties of the resources of a type.
    pub(super) fn of_type(&self, kind: &str) -> Vec<(&str, &Value)> {
        let resources = self.0["Resources"].as_object().unwrap().iter();
        resources.filter(|(_, r)| r["Type"] == kind).map(|(id, r)| (id.as_str(), &r["Properties"])).collect()
    }

    /// Returns the functions, merged with the globals.
    pub(super) fn functions(&self) -> Vec<Function> {
        let globals = &self.0["Globals"]["Function"];
        let function = |(id, own): (&str, &Value)| {
            let mut properties = globals.clone();
            merge(&mut properties, own);
            let name = text(&properties["FunctionName"]).trim_start_matches("${AWS::StackName}-").to_owned();
            Function { name, id: id.to_owned(), properties }
        };
        self.of_type("AWS::Serverless::Function").into_iter().map(function).collect()
    }

    pub(super) fn function(&self, name: &str) -> Function {
        let found = self.functions().into_iter().find(|function| function.name == name);
        found.unwrap_or_else(|| panic!("the template has no function {name}"))
    }

    /// Returns the name of the function that `X.Alias` stands for.
    pub(super) fn called(&self, alias: &Value) -> String {
        let id = text(alias).strip_suffix(".Alias").unwrap_or_else(|| panic!("{alias} is no function's alias"));
        self.functions().into_iter().find(|function| function.id == id).unwrap().name
    }
}

impl Function {
    pub(super) fn environment(&self) -> BTreeMap<&str, &Value> {
        let variables = self.properties["Environment"]["Variables"].as_object().unwrap();
        variables.iter().map(|(name, value)| (name.as_str(), value)).collect()
    }

    pub(super) fn timeout(&self) -> u64 {
        self.properties["Timeout"].as_u64().unwrap()
    }
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// Merges a function's properties into the globals, like SAM.
fn merge(into: &mut Value, own: &Value) {
    match (into, own) {
        (Value::Object(into), Value::Object(own)) => {
            for (key, value) in own {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, own) => *into = own.clone(),
    }
}

/// Replaces each `!If` on one of these conditions with the chosen value.
fn decide(value: &mut Value, conditions: &[(&str, bool)]) {
    if let Value::Array(elements) = value
        && elements.len() == 3
        && let Some((_, holds)) = conditions.iter().find(|(name, _)| elements[0] == *name)
    {
        let chosen = elements.swap_remove(if *holds { 1 } else { 2 });
        *value = chosen;
    }
    match value {
        Value::Object(members) => members.values_mut().for_each(|member| decide(member, conditions)),
        Value::Array(elements) => elements.iter_mut().for_each(|element| decide(element, conditions)),
        _ => (),
    }
}

/// Replaces the parameters of a nested template with their values.
fn fill_in(value: &mut Value, given: &serde_json::Map<String, Value>) {
    match value {
        Value::Object(members) => members.values_mut().for_each(|member| fill_in(member, given)),
        Value::Array(elements) => elements.iter_mut().for_each(|element| fill_in(element, given)),
        Value::String(name) if given.contains_key(name) => *value = given[name].clone(),
        Value::String(pattern) => {
            for (name, value) in given {
                let place = format!("${{{name}}}");
                if pattern.contains(&place) {
                    *pattern = pattern.replace(&place, &in_a_pattern(text(value)));
                }
            }
        }
        _ => (),
    }
}

/// Returns a `!Ref` or `!GetAtt` in the form that `!Sub` uses.
fn in_a_pattern(value: &str) -> String {
    if value.contains("${") { value.to_owned() } else { format!("${{{value}}}") }
}

pub(super) fn in_pascal_case(name: &str) -> String {
    name.split('-').map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}
