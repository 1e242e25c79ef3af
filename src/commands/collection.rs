//! Collections behind keys, by their type.
//!
//! A handler says which type it expects; a key of another type is WRONGTYPE, and a collection
//! that became empty is removed together with its key.

use crate::commands::ctx::Ctx;
use crate::commands::error::Error;
use crate::commands::keys::{Keys, Ttl};
use crate::effects::Class;
use crate::values::{Hash, Kind, List, Set, SortedSet, Value};

/// A type of value that lives outside of its key's entry.
pub trait Collection: Sized {
    /// Its type.
    const KIND: Kind;
    /// The collection in a value.
    fn of(value: &Value) -> Option<&Self>;
    /// The collection in a value, to be changed.
    fn of_mut(value: &mut Value) -> Option<&mut Self>;
    /// The collection as a value.
    fn into_value(self) -> Value;
    /// Whether nothing is in it.
    fn is_vacant(&self) -> bool;
}

macro_rules! collection {
    ($type:ident, $variant:ident) => {
        impl Collection for $type {
            const KIND: Kind = Kind::$variant;
            fn of(value: &Value) -> Option<&Self> {
                if let Value::$variant(it) = value { Some(it) } else { None }
            }
            fn of_mut(value: &mut Value) -> Option<&mut Self> {
                if let Value::$variant(it) = value { Some(it) } else { None }
            }
            fn into_value(self) -> Value {
                Value::$variant(self)
            }
            fn is_vacant(&self) -> bool {
                self.is_empty()
            }
        }
    };
}

collection!(List, List);
collection!(Set, Set);
collection!(Hash, Hash);
collection!(SortedSet, ZSet);

impl Keys<'_, '_> {
    /// The collection at key `i`, handed to `f` (`None`: no such key).
    pub fn collection<T: Collection, R>(
        &mut self,
        i: usize,
        f: impl FnOnce(Option<&T>) -> R,
    ) -> Result<R, Error> {
        if !self.expect_kind(i, T::KIND)? {
            return Ok(f(None));
        }
        Ok(self.value(i, |value| f(value.and_then(T::of))))
    }

    /// The collection at key `i`, to be changed in place; `None` if there is no such key.
    pub fn edit_collection<T: Collection, R>(
        &mut self,
        i: usize,
        f: impl FnOnce(&mut T) -> R,
    ) -> Result<Option<R>, Error> {
        if !self.expect_kind(i, T::KIND)? {
            return Ok(None);
        }
        Ok(self.value_mut(i, |value| T::of_mut(value).map(f)).flatten())
    }
}

impl Ctx<'_, '_> {
    /// Removes key `i` if nothing is left in the collection there. To be called after the
    /// change was stated: the `del` event comes second.
    pub fn remove_if_vacant<T: Collection>(&mut self, i: usize) -> Result<bool, Error> {
        let vacant = self.keys.collection(i, |it: Option<&T>| it.is_some_and(T::is_vacant))?;
        if vacant && self.keys.remove(i) {
            self.fx.event(i, Class::GENERIC, "del");
        }
        Ok(vacant)
    }

    /// Stores a command's whole outcome at key `i`, replacing what is there, and states
    /// `event`; an empty outcome removes the key.
    pub fn store<T: Collection>(
        &mut self,
        i: usize,
        it: T,
        class: Class,
        event: &'static str,
    ) -> Result<(), Error> {
        if it.is_vacant() {
            if self.keys.remove(i) {
                self.fx.changed(i, Class::GENERIC, "del");
            }
            return Ok(());
        }
        self.keys.put_value(i, it.into_value(), Ttl::Clear)?;
        self.fx.changed(i, class, event);
        self.fx.ready(i);
        Ok(())
    }
}
