//! Fields that don't fit their types.

use std::fmt::{self, Display, Formatter};

use serde::de::{Error, Expected, Unexpected};

use crate::error::REQUIRED;

/// A field that does not fit its type.
#[derive(Debug)]
pub(super) struct Misfit {
    /// The steps from the field outwards.
    steps: Vec<Step>,
    /// A predicate, such as "must be a string". The field is its subject.
    pub(super) message: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Member(String),
    Item(usize),
}

impl Misfit {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { steps: Vec::new(), message: message.into() }
    }

    /// Places the misfit in a member of an object.
    pub(super) fn in_member(mut self, name: &str) -> Self {
        self.steps.push(Step::Member(name.to_owned()));
        self
    }

    /// Places the misfit in an item of an array.
    pub(super) fn in_item(mut self, index: usize) -> Self {
        self.steps.push(Step::Item(index));
        self
    }

    /// Returns the steps from the whole input to the field.
    pub(super) fn place(&self) -> Vec<Step> {
        self.steps.iter().rev().cloned().collect()
    }

    /// Returns the path of the field, such as `locks[0].width`. `whole` names the field without a path.
    pub(super) fn path(&self, whole: &str) -> String {
        let mut path = String::new();
        for step in self.steps.iter().rev() {
            match step {
                Step::Member(name) if path.is_empty() => path.push_str(name),
                Step::Member(name) => path.extend([".", name]),
                Step::Item(index) => path.push_str(&format!("[{index}]")),
            }
        }
        if path.is_empty() { whole.to_owned() } else { path }
    }
}

impl Display for Misfit {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path("the value"), self.message)
    }
}

impl std::error::Error for Misfit {}

/// The refusals of types. A [`Node`](super::Node) has checked the kind of the value before.
impl Error for Misfit {
    /// Takes the message of a type's own check.
    fn custom<T: Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("must be {expected}"))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("must be {expected}"))
    }

    fn invalid_length(_: usize, expected: &dyn Expected) -> Self {
        Self::new(format!("must be {expected}"))
    }

    fn unknown_variant(_: &str, variants: &'static [&'static str]) -> Self {
        Self::new(match variants {
            [one] => format!("must be `{one}`"),
            [one, other] => format!("must be `{one}` or `{other}`"),
            many => format!("must be one of {}", listed(many)),
        })
    }

    /// The member that is unknown, which places the misfit, is the key that is read.
    fn unknown_field(_: &str, fields: &'static [&'static str]) -> Self {
        Self::new(unknown(fields))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(REQUIRED).in_member(field)
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::new("is given twice").in_member(field)
    }
}

/// Returns the message about a name that is none of these.
pub(super) fn unknown(names: &[&str]) -> String {
    match names {
        [] => "is unknown".to_owned(),
        [one] => format!("is not `{one}`"),
        [one, other] => format!("is not one of `{one}` or `{other}`"),
        many => format!("is not one of {}", listed(many)),
    }
}

fn listed(names: &[&str]) -> String {
    format!("`{}`", names.join("`, `"))
}
