//! Names of services, and typed names of what they give.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// A service's name, shared between all who mention it.
pub(crate) type Name = Arc<str>;

/// The name of a service together with the type of what that service gives: an `Arc<T>`.
///
/// Whoever gives and whoever takes use the same constant, so they agree on the type when they are compiled.
pub struct Key<T: ?Sized> {
    name: Cow<'static, str>,
    type_: PhantomData<fn() -> Arc<T>>,
}

impl<T: ?Sized> Key<T> {
    /// The key of a service whose name is known when the program is written.
    pub const fn new(name: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), type_: PhantomData }
    }

    /// The key of a service whose name is found out as the program runs, for example one for each plugin.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: Cow::Owned(name.into()), type_: PhantomData }
    }

    /// The name of the service.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl<T: ?Sized> Clone for Key<T> {
    fn clone(&self) -> Self {
        Self { name: self.name.clone(), type_: PhantomData }
    }
}

impl<T: ?Sized> fmt::Debug for Key<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key<{}>({})", std::any::type_name::<T>(), self.name)
    }
}

/// What a started service gives to those that need it.
pub struct Output(pub(crate) Option<Given>);

/// A value under the name of its key.
pub(crate) struct Given {
    pub(crate) name: Name,
    pub(crate) value: Value,
}

/// Holds an `Arc<T>`, so that `T` may be a trait.
pub(crate) type Value = Arc<dyn Any + Send + Sync>;

impl Output {
    /// Nothing but that the service is there.
    pub fn none() -> Self {
        Self(None)
    }

    /// A value for whoever asks with this key, whose name must be that of the service.
    pub fn of<T: ?Sized + Send + Sync + 'static>(key: &Key<T>, value: Arc<T>) -> Self {
        Self(Some(Given { name: key.name().into(), value: Arc::new(value) }))
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Output").field(&self.0.as_ref().map(|given| &*given.name)).finish()
    }
}
