//! Types read from nodes. Each `deserialize_` method asks for one kind of value.

use std::iter::Enumerate;
use std::slice::Iter;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};

use super::Node;
use super::misfit::Misfit;

/// Asks for a whole number in the range of a type.
macro_rules! whole_numbers {
    ($($method:ident: $type:ty as $get:ident and $visit:ident;)+) => {
        $(
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
                let number = match self {
                    Node::Number(number) => number.$get().and_then(|number| <$type>::try_from(number).ok()),
                    _ => None,
                };
                let wanted = || format!("must be a whole number from {} to {}", <$type>::MIN, <$type>::MAX);
                visitor.$visit(number.ok_or_else(|| Misfit::new(wanted()))?)
            }
        )+
    };
}

/// Asks for the same as another method.
macro_rules! like {
    ($($other:ident: $($method:ident($($argument:ty),*))+;)+) => {
        $($(
            fn $method<V: Visitor<'de>>(self, $(_: $argument,)* visitor: V) -> Result<V::Value, Misfit> {
                self.$other(visitor)
            }
        )+)+
    };
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = Misfit;

    /// Gives the value as it is. The visitor refuses what it does not take.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self {
            Node::Null => visitor.visit_unit(),
            Node::Bool(value) => visitor.visit_bool(*value),
            Node::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(whole), _, _) => visitor.visit_u64(whole),
                (_, Some(negative), _) => visitor.visit_i64(negative),
                (_, _, fraction) => visitor.visit_f64(fraction.unwrap_or(f64::NAN)),
            },
            Node::String(text) => visitor.visit_borrowed_str(text),
            Node::Array(items) => visitor.visit_seq(Items::of(items)),
            Node::Object(members) => visitor.visit_map(Members::of(members)),
            Node::Skipped => Err(Misfit::new("is nested too deeply")),
            Node::LeftOut => Err(Misfit::new("is left out")),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self {
            Node::Bool(value) => visitor.visit_bool(*value),
            _ => Err(Misfit::new("must be a boolean")),
        }
    }

    whole_numbers! {
        deserialize_u8: u8 as as_u64 and visit_u8;
        deserialize_u16: u16 as as_u64 and visit_u16;
        deserialize_u32: u32 as as_u64 and visit_u32;
        deserialize_u64: u64 as as_u64 and visit_u64;
        deserialize_i8: i8 as as_i64 and visit_i8;
        deserialize_i16: i16 as as_i64 and visit_i16;
        deserialize_i32: i32 as as_i64 and visit_i32;
        deserialize_i64: i64 as as_i64 and visit_i64;
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        let number = match self {
            Node::Number(number) => number.as_f64(),
            _ => None,
        };
        visitor.visit_f64(number.ok_or_else(|| Misfit::new("must be a number"))?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self {
            Node::String(text) => visitor.visit_borrowed_str(text),
            _ => Err(Misfit::new("must be a string")),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self {
            Node::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self {
            Node::Null => visitor.visit_unit(),
            _ => Err(Misfit::new("must be null")),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self {
            Node::Array(items) => visitor.visit_seq(Items::of(items)),
            _ => Err(Misfit::new("must be an array")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self {
            Node::Object(members) => visitor.visit_map(Members::of(members)),
            _ => Err(Misfit::new("must be an object")),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        match self {
            Node::String(text) => visitor.visit_enum(text.as_str().into_deserializer()),
            _ => Err(Misfit::new("must be a string")),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_unit()
    }

    like! {
        deserialize_f64: deserialize_f32();
        deserialize_str: deserialize_string() deserialize_char() deserialize_bytes() deserialize_byte_buf() deserialize_identifier();
        deserialize_unit: deserialize_unit_struct(&'static str);
        deserialize_seq: deserialize_tuple(usize) deserialize_tuple_struct(&'static str, usize);
        deserialize_map: deserialize_struct(&'static str, &'static [&'static str]);
    }
}

/// The items of an array, with their indexes.
struct Items<'de> {
    items: Enumerate<Iter<'de, Node>>,
}

impl<'de> Items<'de> {
    fn of(items: &'de [Node]) -> Self {
        Self { items: items.iter().enumerate() }
    }
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Misfit;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Misfit> {
        let is_there = |(_, item): &(usize, &Node)| !matches!(item, Node::LeftOut);
        let Some((index, item)) = self.items.find(is_there) else { return Ok(None) };
        seed.deserialize(item).map(Some).map_err(|misfit| misfit.in_item(index))
    }
}

/// The members of an object, with the one whose name was read last.
struct Members<'de> {
    members: Iter<'de, (String, Node)>,
    current: Option<&'de (String, Node)>,
}

impl<'de> Members<'de> {
    fn of(members: &'de [(String, Node)]) -> Self {
        Self { members: members.iter(), current: None }
    }
}

impl<'de> MapAccess<'de> for Members<'de> {
    type Error = Misfit;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Misfit> {
        self.current = self.members.find(|(_, value)| !matches!(value, Node::LeftOut));
        let Some((name, _)) = self.current else { return Ok(None) };
        let read = seed.deserialize(BorrowedStrDeserializer::new(name));
        read.map(Some).map_err(|misfit: Misfit| misfit.in_member(name))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Misfit> {
        let (name, value) = self.current.expect("a member's name is read before its value");
        seed.deserialize(value).map_err(|misfit| misfit.in_member(name))
    }
}
